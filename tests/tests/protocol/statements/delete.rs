//! Deleting.

use super::Statement;

pub(super) const ALL: &[Statement] = &[
    Statement {
        id: "delete-1",
        words: "Upon success, the registry MUST respond with a `202 Accepted` code.",
        tests: &[
            "protocol::deletes::a_deleted_tag_leaves_its_manifest",
            "protocol::deletes::a_deleted_manifest_takes_its_tags_along_here_and_nowhere_else",
        ],
        note: "",
    },
    Statement {
        id: "delete-2",
        words: "If tag deletion is disabled, the registry MUST respond with either a `400 Bad \
                Request` or a `405 Method Not Allowed`.",
        tests: &["protocol::deletes::deletes_can_be_switched_off"],
        note: "405",
    },
    Statement {
        id: "delete-3",
        words: "Once deleted, a `GET` to `/v2/<name>/manifests/<tag>` will return a 404.",
        tests: &["protocol::deletes::a_deleted_tag_leaves_its_manifest"],
        note: "",
    },
    Statement {
        id: "delete-4",
        words: "If the repository does not exist, the response MUST return `404 Not Found`.",
        tests: &["protocol::errors::every_refusal_can_be_read_and_is_retried_where_that_helps"],
        note: "",
    },
    Statement {
        id: "delete-5",
        words: "If manifest deletion is disabled, the registry MUST respond with either a `400 \
                Bad Request` or a `405 Method Not Allowed`.",
        tests: &["protocol::deletes::deletes_can_be_switched_off"],
        note: "405",
    },
    Statement {
        id: "delete-6",
        words: "Once deleted, a `GET` to `/v2/<name>/manifests/<digest>` and any tag pointing to \
                that digest will return a 404.",
        tests: &[
            "protocol::deletes::a_deleted_manifest_takes_its_tags_along_here_and_nowhere_else",
        ],
        note: "",
    },
    Statement {
        id: "delete-7",
        words: "Upon success, the registry MUST respond with code `202 Accepted`.",
        tests: &[
            "protocol::deletes::a_blob_deleted_here_stays_elsewhere",
            "protocol::deletes::a_blob_goes_only_when_no_manifest_needs_it",
        ],
        note: "A blob that a manifest of the repository needs is not deleted: 409, until the \
               manifest is.",
    },
    Statement {
        id: "delete-8",
        words: "If the blob is not found, a `404 Not Found` code MUST be returned.",
        tests: &[
            "protocol::deletes::a_blob_goes_only_when_no_manifest_needs_it",
            "protocol::errors::every_refusal_can_be_read_and_is_retried_where_that_helps",
        ],
        note: "",
    },
    Statement {
        id: "delete-9",
        words: "If blob deletion is disabled, the registry MUST respond with either a `400 Bad \
                Request` or a `405 Method Not Allowed`.",
        tests: &["protocol::deletes::deletes_can_be_switched_off"],
        note: "405",
    },
];
