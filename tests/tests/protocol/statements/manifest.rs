//! Pushing manifests.

use super::Statement;

pub(super) const ALL: &[Statement] = &[
    Statement {
        id: "manifest-1",
        words: "A registry MUST initially accept an otherwise valid manifest with a `subject` \
                field that references a manifest that does not exist in the repository, allowing \
                clients to push a manifest and referrers to that manifest in either order.",
        tests: &["protocol::manifests::a_subject_need_not_be_there"],
        note: "",
    },
    Statement {
        id: "manifest-2",
        words: "When a manifest is rejected for this reason, it MUST result in one or more \
                `MANIFEST_BLOB_UNKNOWN` errors <sup>[code-1](#error-codes)</sup>.",
        tests: &["protocol::manifests::a_manifest_whose_blobs_are_missing_is_refused"],
        note: "An image needs its blobs, unless the operator says otherwise; the manifests that \
               an index lists need not be there.",
    },
    Statement {
        id: "manifest-3",
        words: "The registry SHOULD ignore parameters on the `Content-Type` header.",
        tests: &[
            "protocol::manifests::content_types_parameters_are_dropped_and_contradictions_refused",
        ],
        note: "",
    },
    Statement {
        id: "manifest-4",
        words: "If a manifest includes a `mediaType` field, clients MUST set the `Content-Type` \
                header to the value specified by the `mediaType` field.",
        tests: &[
            "protocol::manifests::content_types_parameters_are_dropped_and_contradictions_refused",
        ],
        note: "Those that contradict each other are refused with 400. A header that says nothing \
               (none, `application/json`) is no contradiction.",
    },
    Statement {
        id: "manifest-5",
        words: "`<name>` is the namespace of the repository, and the `<tag-or-digest>` MUST be \
                either a) a digest or b) a tag.",
        tests: &["protocol::names::bad_tags_and_digests_are_refused"],
        note: "",
    },
    Statement {
        id: "manifest-6",
        words: "The uploaded manifest MUST reference any blobs that make up the object.",
        tests: &[
            "protocol::manifests::a_manifest_whose_blobs_are_missing_is_refused",
            "protocol::deletes::a_blob_goes_only_when_no_manifest_needs_it",
        ],
        note: "",
    },
    Statement {
        id: "manifest-7",
        words: "The registry MUST store the manifest in the exact byte representation provided by \
                the client.",
        tests: &[
            "protocol::manifests::by_tag_and_by_digest_the_bytes_that_were_pushed",
            "protocol::manifests::four_mebibytes_and_not_a_byte_more",
        ],
        note: "",
    },
    Statement {
        id: "manifest-8",
        words: "Upon a successful upload, the registry MUST return response code `201 Created`, \
                and MUST have the following header:",
        tests: &["protocol::manifests::by_tag_and_by_digest_the_bytes_that_were_pushed"],
        note: "`Location: <location>`",
    },
    Statement {
        id: "manifest-9",
        words: "The Docker-Content-Digest header returns the digest of the uploaded blob, and \
                MUST be equal to the client provided digest.",
        tests: &[
            "protocol::manifests::by_tag_and_by_digest_the_bytes_that_were_pushed",
            "protocol::manifests::a_wrong_digest_is_refused",
            "protocol::manifests::sha512_by_digest",
        ],
        note: "",
    },
    Statement {
        id: "manifest-10",
        words: "SHOULD support pushing at least 10 tags per request.",
        tests: &["protocol::limits::a_hundred_tags_in_one_push_and_not_one_more"],
        note: "100; more are answered with 414.",
    },
    Statement {
        id: "manifest-11",
        words: "MUST include an `OCI-Tag` response header, in accordance with [RFC 9110 (section \
                5)](https://www.rfc-editor.org/rfc/rfc9110#section-5) semantics, for each \
                accepted tag.",
        tests: &["protocol::moves::one_push_moves_several_tags"],
        note: "One header for each tag.",
    },
    Statement {
        id: "manifest-12",
        words: "An attempt to pull a nonexistent repository MUST return response code `404 Not \
                Found`.",
        tests: &[
            "protocol::errors::every_refusal_can_be_read_and_is_retried_where_that_helps",
            "protocol::tags::a_repository_without_tags_and_none_at_all",
        ],
        note: "",
    },
    Statement {
        id: "manifest-13",
        words: "A registry SHOULD enforce some limit on the maximum manifest size that it can \
                accept.",
        tests: &["protocol::manifests::four_mebibytes_and_not_a_byte_more"],
        note: "",
    },
    Statement {
        id: "manifest-14",
        words: "A registry that enforces this limit SHOULD respond to a request to push a \
                manifest over this limit with a response code `413 Payload Too Large`.",
        tests: &["protocol::manifests::four_mebibytes_and_not_a_byte_more"],
        note: "",
    },
    Statement {
        id: "manifest-15",
        words: "Client and registry implementations SHOULD expect to be able to support manifest \
                pushes of at least 4 megabytes.",
        tests: &["protocol::manifests::four_mebibytes_and_not_a_byte_more"],
        note: "",
    },
    Statement {
        id: "manifest-16",
        words: "When processing a request for an image manifest with the `subject` field, a \
                registry implementation that supports the [referrers API](#listing-referrers) \
                MUST respond with the response header `OCI-Subject: <subject digest>` to indicate \
                to the client that the registry processed the request's `subject`.",
        tests: &["protocol::referrers::what_names_a_subject_is_listed"],
        note: "",
    },
];
