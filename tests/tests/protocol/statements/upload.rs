//! Pushing blobs.

use super::Statement;

pub(super) const ALL: &[Statement] = &[
    Statement {
        id: "upload-1",
        words: "In each implementation, if the client provided digest is invalid or uses an \
                unsupported algorithm, the registry SHOULD respond with a response code `400 Bad \
                Request`.",
        tests: &["protocol::uploads::a_wrong_digest_is_refused_by_every_way_and_leaves_nothing"],
        note: "",
    },
    Statement {
        id: "upload-2",
        words: "Upon success, the response MUST have a code of `202 Accepted`, and MUST include \
                the following header:",
        tests: &["protocol::sessions::a_new_session_says_where_it_is_and_how_far"],
        note: "`Location: <blob-push-location>`, which is relative.",
    },
    Statement {
        id: "upload-3",
        words: "The `<blob-push-location>` MUST contain a UUID representing a unique session ID \
                for the upload to follow.",
        tests: &["protocol::sessions::a_new_session_says_where_it_is_and_how_far"],
        note: "",
    },
    Statement {
        id: "upload-4",
        words: "Upon successful completion of the request, the response MUST have code `201 \
                Created` and MUST have the following header:",
        tests: &["protocol::uploads::all_with_the_closing_put"],
        note: "`Location: <blob-location>`",
    },
    Statement {
        id: "upload-5",
        words: "The `Content-Length` header MUST match the blob's actual content length.",
        tests: &[
            "protocol::interrupted::a_truncated_single_post_leaves_nothing",
            "protocol::errors::a_body_that_breaks_off_is_retried",
        ],
        note: "",
    },
    Statement {
        id: "upload-6",
        words: "Likewise, the `<digest>` MUST match the blob's digest.",
        tests: &[
            "protocol::uploads::a_wrong_digest_is_refused_by_every_way_and_leaves_nothing",
            "protocol::uploads::bytes_that_did_not_match_are_gone",
        ],
        note: "",
    },
    Statement {
        id: "upload-7",
        words: "Successful completion of the request MUST return a `201 Created` and MUST include \
                the following header:",
        tests: &["protocol::uploads::all_with_one_post"],
        note: "`Location: <blob-location>`",
    },
    Statement {
        id: "upload-8",
        words: "When pushing a blob with a digest algorithm other than `sha256`, the post request \
                SHOULD include the `digest-algorithm` parameter:",
        tests: &["protocol::uploads::sha512_by_name_or_by_the_closing_digest"],
        note: "A client that does not is understood by its closing digest.",
    },
    Statement {
        id: "upload-9",
        words: "If the registry has a minimum chunk size, the `POST` response SHOULD include the \
                following header, where `<size>` is the size in bytes (see the blob `PATCH` \
                definition for usage):",
        tests: &["protocol::sessions::a_new_session_says_where_it_is_and_how_far"],
        note: "It has none, and sends no `OCI-Chunk-Min-Length`.",
    },
    Statement {
        id: "upload-10",
        words: "The `<range>` refers to the byte range of the chunk, and MUST be inclusive on \
                both ends.",
        tests: &[
            "protocol::uploads::chunks_whose_last_comes_with_the_put",
            "protocol::sessions::a_chunk_of_another_length_than_it_says_is_refused",
        ],
        note: "",
    },
    Statement {
        id: "upload-11",
        words: "The first chunk's range MUST begin with `0`.",
        tests: &["protocol::sessions::a_chunk_out_of_order_is_refused_and_the_session_goes_on"],
        note: "",
    },
    Statement {
        id: "upload-12",
        words: "It MUST match the following regular expression:",
        tests: &["protocol::sessions::a_chunk_out_of_order_is_refused_and_the_session_goes_on"],
        note: "`^[0-9]+-[0-9]+$`",
    },
    Statement {
        id: "upload-13",
        words: "The response for each successful chunk upload MUST be `202 Accepted`, and MUST \
                have the following headers:",
        tests: &["protocol::uploads::chunks_whose_last_comes_with_the_put"],
        note: "`Location` and `Range: 0-<end-of-range>`; as in every registry, `0-0` also stands \
               for nothing.",
    },
    Statement {
        id: "upload-14",
        words: "Chunks MUST be uploaded in order, with the first byte of a chunk being the last \
                chunk's `<end-of-range>` plus one.",
        tests: &["protocol::sessions::a_chunk_out_of_order_is_refused_and_the_session_goes_on"],
        note: "",
    },
    Statement {
        id: "upload-15",
        words: "If a chunk is uploaded out of order, the registry MUST respond with a `416 \
                Requested Range Not Satisfiable` code.",
        tests: &["protocol::sessions::a_chunk_out_of_order_is_refused_and_the_session_goes_on"],
        note: "",
    },
    Statement {
        id: "upload-16",
        words: "Regardless of how the final chunk is uploaded, the session MUST be closed with a \
                `PUT` request.",
        tests: &["protocol::uploads::a_stream_without_length_and_an_empty_put"],
        note: "",
    },
    Statement {
        id: "upload-17",
        words: "The closing `PUT` request MUST include the `<digest>` of the whole blob (not the \
                final chunk) as a query parameter.",
        tests: &[
            "protocol::uploads::chunks_whose_last_comes_with_the_put",
            "protocol::errors::every_refusal_can_be_read_and_is_retried_where_that_helps",
        ],
        note: "",
    },
    Statement {
        id: "upload-18",
        words: "The response to a successful closing of the session MUST be `201 Created`, and \
                MUST contain the following header:",
        tests: &["protocol::uploads::a_stream_without_length_and_an_empty_put"],
        note: "`Location: <blob-location>`",
    },
    Statement {
        id: "upload-19",
        words: "If the final chunk is uploaded out of order, the registry MUST respond with a \
                `416 Requested Range Not Satisfiable` code.",
        tests: &["protocol::sessions::a_chunk_out_of_order_is_refused_and_the_session_goes_on"],
        note: "",
    },
    Statement {
        id: "upload-20",
        words: "The response to an active upload `<blob-push-location>` MUST be a `204 No \
                Content` response code, and MUST have the following headers:",
        tests: &[
            "protocol::sessions::a_new_session_says_where_it_is_and_how_far",
            "protocol::sessions::a_chunk_out_of_order_is_refused_and_the_session_goes_on",
        ],
        note: "`Location` and `Range: 0-<end-of-range>`",
    },
    Statement {
        id: "upload-21",
        words: "If successful, the response SHOULD be a `204 No Content` response code.",
        tests: &["protocol::sessions::a_deleted_session_is_gone"],
        note: "",
    },
    Statement {
        id: "upload-22",
        words: "If this request fails or is not called, the server SHOULD eventually timeout \
                unfinished uploads.",
        tests: &["protocol::sessions::an_upload_that_nobody_goes_on_with_ends"],
        note: "After a day, or as `--upload-expiry` says.",
    },
    Statement {
        id: "upload-23",
        words: "The response to a successful mount MUST be `201 Created`, and MUST contain the \
                following header:",
        tests: &["protocol::uploads::mounts_with_and_without_a_source"],
        note: "`Location: <blob-location>`",
    },
    Statement {
        id: "upload-24",
        words: "Alternatively, if a registry does not support cross-repository mounting or is \
                unable to mount the requested blob, it SHOULD return a `202`.",
        tests: &["protocol::uploads::mounts_with_and_without_a_source"],
        note: "",
    },
];
