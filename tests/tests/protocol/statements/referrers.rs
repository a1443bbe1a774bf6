//! Listing referrers.

use super::Statement;

pub(super) const ALL: &[Statement] = &[
    Statement {
        id: "referrers-1",
        words: "Assuming a repository is found, this request MUST return a `200 OK` response \
                code.",
        tests: &["protocol::referrers::what_names_a_subject_is_listed"],
        note: "",
    },
    Statement {
        id: "referrers-2",
        words: "If the registry supports the referrers API, the registry MUST NOT return a `404 \
                Not Found` to a referrers API requests.",
        tests: &["protocol::referrers::what_names_a_subject_is_listed"],
        note: "",
    },
    Statement {
        id: "referrers-3",
        words: "If the request is invalid, such as a `<digest>` with an invalid syntax, a `400 \
                Bad Request` MUST be returned.",
        tests: &[
            "protocol::referrers::what_names_a_subject_is_listed",
            "protocol::errors::every_refusal_can_be_read_and_is_retried_where_that_helps",
        ],
        note: "",
    },
    Statement {
        id: "referrers-4",
        words: "Upon success, the response MUST be a JSON body with an image index containing a \
                list of descriptors.",
        tests: &["protocol::referrers::what_names_a_subject_is_listed"],
        note: "",
    },
    Statement {
        id: "referrers-5",
        words: "The `Content-Type` header MUST be set to \
                `application/vnd.oci.image.index.v1+json`.",
        tests: &["protocol::referrers::what_names_a_subject_is_listed"],
        note: "",
    },
    Statement {
        id: "referrers-6",
        words: "The descriptors MUST include an `artifactType` field that is set to the value of \
                the `artifactType` in the image manifest or index, if present.",
        tests: &["protocol::referrers::what_names_a_subject_is_listed"],
        note: "",
    },
    Statement {
        id: "referrers-7",
        words: "If the `artifactType` is empty or missing in the image manifest, the value of \
                `artifactType` MUST be set to the config descriptor `mediaType` value.",
        tests: &["protocol::referrers::an_image_without_artifact_type_is_listed_by_its_config"],
        note: "",
    },
    Statement {
        id: "referrers-8",
        words: "If the `artifactType` is empty or missing in an index, the `artifactType` MUST be \
                omitted.",
        tests: &["protocol::referrers::an_image_without_artifact_type_is_listed_by_its_config"],
        note: "",
    },
    Statement {
        id: "referrers-9",
        words: "The descriptors MUST include annotations from the image manifest or index.",
        tests: &["protocol::referrers::what_names_a_subject_is_listed"],
        note: "",
    },
    Statement {
        id: "referrers-10",
        words: "If a query results in no matching referrers, an empty manifest list MUST be \
                returned.",
        tests: &["protocol::referrers::what_names_a_subject_is_listed"],
        note: "",
    },
    Statement {
        id: "referrers-11",
        words: "A `Link` header MUST be included in the response when the descriptor list cannot \
                be returned in a single manifest.",
        tests: &[
            "protocol::referrers::lists_come_in_pages_that_lead_on",
            "protocol::limits::a_page_of_referrers_is_no_larger_than_a_manifest",
        ],
        note: "",
    },
    Statement {
        id: "referrers-12",
        words: "The `Link` header MUST be set according to [RFC \
                5988](https://www.rfc-editor.org/rfc/rfc5988) with the Relation Type \
                `rel=\"next\"`.",
        tests: &["protocol::referrers::lists_come_in_pages_that_lead_on"],
        note: "",
    },
    Statement {
        id: "referrers-13",
        words: "The registry SHOULD support filtering on `artifactType`.",
        tests: &["protocol::referrers::what_names_a_subject_is_listed"],
        note: "",
    },
    Statement {
        id: "referrers-14",
        words: "If filtering is requested and applied, the response MUST include a header \
                `OCI-Filters-Applied: artifactType` denoting that an `artifactType` filter was \
                applied.",
        tests: &["protocol::referrers::what_names_a_subject_is_listed"],
        note: "",
    },
    Statement {
        id: "referrers-15",
        words: "If multiple filters are applied, the header MUST contain a comma separated list \
                of applied filters.",
        tests: &["protocol::referrers::what_names_a_subject_is_listed"],
        note: "There is one filter.",
    },
    Statement {
        id: "referrers-16",
        words: "The Truncated Algorithm associated with a Content Digest MUST match the digest's \
                `algorithm` section truncated to 32 characters.",
        tests: &["protocol::referrers::what_clients_listed_under_the_fallback_tag_is_listed_too"],
        note: "",
    },
    Statement {
        id: "referrers-17",
        words: "The Truncated Encoded section associated with a Content Digest MUST match the \
                digest's `encoded` section truncated to 64 characters.",
        tests: &["protocol::referrers::what_clients_listed_under_the_fallback_tag_is_listed_too"],
        note: "",
    },
    Statement {
        id: "referrers-18",
        words: "Registries MUST include preexisting image manifests that are listed in an image \
                index tagged with the [referrers tag schema](#referrers-tag-schema) and have a \
                valid `subject` field in the referrers API response.",
        tests: &["protocol::referrers::what_clients_listed_under_the_fallback_tag_is_listed_too"],
        note: "Listed as the client listed them, also where the manifest itself names no subject.",
    },
    Statement {
        id: "referrers-19",
        words: "After the referrers API is enabled, Registries MUST include all newly pushed \
                image manifests with a valid `subject` field in the referrers API response.",
        tests: &[
            "protocol::referrers::what_names_a_subject_is_listed",
            "protocol::referrers::what_clients_listed_under_the_fallback_tag_is_listed_too",
        ],
        note: "",
    },
];
