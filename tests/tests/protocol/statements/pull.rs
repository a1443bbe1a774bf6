//! Pulling.

use super::Statement;

pub(super) const ALL: &[Statement] = &[
    Statement {
        id: "pull-1",
        words: "`<tag-or-digest>` MUST be either (a) the digest of the manifest or (b) a tag.",
        tests: &[
            "protocol::manifests::by_tag_and_by_digest_the_bytes_that_were_pushed",
            "protocol::names::bad_tags_and_digests_are_refused",
        ],
        note: "",
    },
    Statement {
        id: "pull-2",
        words: "The `<tag-or-digest>` MUST NOT be in any other format.",
        tests: &["protocol::names::bad_tags_and_digests_are_refused"],
        note: "",
    },
    Statement {
        id: "pull-3",
        words: "Throughout this document, `<name>` MUST match the following regular expression:",
        tests: &[
            "protocol::names::bad_names_are_refused_everywhere_and_reach_no_file",
            "protocol::names::names_may_be_long_deep_and_look_like_paths_of_the_protocol",
        ],
        note: "`[a-z0-9]+((\\.|_|__|-+)[a-z0-9]+)*(\\/[a-z0-9]+((\\.|_|__|-+)[a-z0-9]+)*)*`, and \
               255 bytes at most, because no client could use more.",
    },
    Statement {
        id: "pull-4",
        words: "Throughout this document, `<tag-or-digest>` as a tag MUST be at most 128 \
                characters in length and MUST match the following regular expression:",
        tests: &["protocol::names::bad_tags_and_digests_are_refused"],
        note: "`[a-zA-Z0-9_][a-zA-Z0-9._-]{0,127}`",
    },
    Statement {
        id: "pull-5",
        words: "The registry SHOULD NOT include parameters on the `Content-Type` header.",
        tests: &[
            "protocol::manifests::content_types_parameters_are_dropped_and_contradictions_refused",
        ],
        note: "",
    },
    Statement {
        id: "pull-6",
        words: "The `Content-Type` header SHOULD match what the client [pushed as the manifest's \
                `Content-Type`](#pushing-manifests).",
        tests: &[
            "protocol::manifests::docker_schema_2_images_and_lists",
            "protocol::manifests::indexes_whole_nested_sparse_and_empty",
        ],
        note: "What a client pushes as `application/json` or the like is served as the type that \
               it calls itself: those say nothing about a manifest.",
    },
    Statement {
        id: "pull-7",
        words: "A GET request to an existing manifest URL MUST provide the expected manifest, \
                with a response code that MUST be `200 OK`.",
        tests: &["protocol::manifests::by_tag_and_by_digest_the_bytes_that_were_pushed"],
        note: "",
    },
    Statement {
        id: "pull-8",
        words: "A successful response MUST contain the digest of the uploaded blob in the header \
                `Docker-Content-Digest`.",
        tests: &[
            "protocol::manifests::by_tag_and_by_digest_the_bytes_that_were_pushed",
            "protocol::blobs::get_and_head_say_the_same",
        ],
        note: "",
    },
    Statement {
        id: "pull-9",
        words: "If the manifest is not found in the repository, the response code MUST be `404 \
                Not Found`.",
        tests: &["protocol::manifests::a_manifest_of_another_repository_is_unknown"],
        note: "",
    },
    Statement {
        id: "pull-10",
        words: "A GET request to an existing blob URL MUST provide the expected blob, with a \
                response code that MUST be `200 OK`.",
        tests: &["protocol::blobs::get_and_head_say_the_same"],
        note: "",
    },
    Statement {
        id: "pull-11",
        words: "If present, the value of this header MUST be a digest matching that of the \
                response body.",
        tests: &[
            "protocol::blobs::get_and_head_say_the_same",
            "protocol::uploads::sha512_by_name_or_by_the_closing_digest",
        ],
        note: "",
    },
    Statement {
        id: "pull-12",
        words: "If the blob is not found in the repository, the response code MUST be `404 Not \
                Found`.",
        tests: &[
            "protocol::blobs::get_and_head_say_the_same",
            "protocol::uploads::a_digest_of_another_repository_is_unknown",
        ],
        note: "",
    },
    Statement {
        id: "pull-13",
        words: "A registry SHOULD support the `Range` request header in accordance with [RFC 9110 \
                (section 14)](https://www.rfc-editor.org/rfc/rfc9110#section-14).",
        tests: &["protocol::blobs::ranges"],
        note: "Several ranges in one request are answered with the whole, as the RFC permits.",
    },
    Statement {
        id: "pull-14",
        words: "A HEAD request to an existing blob or manifest URL MUST return `200 OK`.",
        tests: &[
            "protocol::blobs::get_and_head_say_the_same",
            "protocol::manifests::by_tag_and_by_digest_the_bytes_that_were_pushed",
        ],
        note: "",
    },
    Statement {
        id: "pull-15",
        words: "A successful response MUST contain the digest of the uploaded blob or manifest in \
                the header `Docker-Content-Digest`.",
        tests: &[
            "protocol::blobs::get_and_head_say_the_same",
            "protocol::manifests::by_tag_and_by_digest_the_bytes_that_were_pushed",
        ],
        note: "",
    },
    Statement {
        id: "pull-16",
        words: "A successful response MUST contain the size in bytes of the uploaded blob or \
                manifest in the header `Content-Length`.",
        tests: &[
            "protocol::blobs::get_and_head_say_the_same",
            "protocol::manifests::by_tag_and_by_digest_the_bytes_that_were_pushed",
        ],
        note: "",
    },
    Statement {
        id: "pull-17",
        words: "If the blob or manifest is not found in the repository, the response code MUST be \
                `404 Not Found`.",
        tests: &[
            "protocol::blobs::get_and_head_say_the_same",
            "protocol::manifests::a_manifest_of_another_repository_is_unknown",
        ],
        note: "",
    },
];
