//! What holds of all requests.

use super::Statement;

pub(super) const ALL: &[Statement] = &[
    Statement {
        id: "general-1",
        words: "All registries conforming to this specification MUST support, at a minimum, all \
                APIs in the **Pull** category.",
        tests: &[
            "protocol::manifests::by_tag_and_by_digest_the_bytes_that_were_pushed",
            "protocol::blobs::get_and_head_say_the_same",
        ],
        note: "",
    },
    Statement {
        id: "general-2",
        words: "Registries SHOULD also support the **Push**, **Content Discovery**, and **Content \
                Management** categories.",
        tests: &[
            "protocol::uploads::all_with_the_closing_put",
            "protocol::tags::pages_in_ascii_order",
            "protocol::deletes::a_deleted_tag_leaves_its_manifest",
        ],
        note: "",
    },
    Statement {
        id: "general-3",
        words: "A registry claiming conformance with one of these specification categories MUST \
                implement all APIs in the claimed category.",
        tests: &["protocol::names::what_is_no_resource_and_what_no_method_of_one"],
        note: "All of the table of endpoints is there; the conformance program says so too \
               (`conformance.md`).",
    },
    Statement {
        id: "general-4",
        words: "A registry that uses the `ns` query parameter to scope the request SHOULD return \
                the `ns` query parameter value in the `OCI-Namespace` header.",
        tests: &["protocol::manners::the_mirrors_parameter_is_accepted"],
        note: "It is accepted and scopes nothing: this registry is no proxy. So there is no such \
               header.",
    },
    Statement {
        id: "general-5",
        words: "Where this specification does not define specific behavior, implementations \
                SHOULD follow the HTTP semantics defined in [RFC \
                9110](https://www.rfc-editor.org/rfc/rfc9110).",
        tests: &[
            "protocol::blobs::nothing_is_sent_to_who_has_it",
            "protocol::moves::a_tag_moves_only_from_what_the_push_expects",
            "protocol::manners::who_waits_for_a_go_ahead_gets_an_answer_first",
            "protocol::names::what_is_no_resource_and_what_no_method_of_one",
        ],
        note: "",
    },
    Statement {
        id: "general-6",
        words: "If the response is `200 OK`, then the registry implements this specification.",
        tests: &["protocol::manners::the_doors_that_clients_knock_at"],
        note: "",
    },
    Statement {
        id: "general-7",
        words: "If the response body is in JSON format, it MUST have the following format:",
        tests: &["protocol::errors::every_refusal_can_be_read_and_is_retried_where_that_helps"],
        note: "What is no HTTP (too many headers, too long a head) is refused without a body.",
    },
    Statement {
        id: "general-8",
        words: "The `code` field MUST be a unique identifier, containing only uppercase \
                alphabetic characters and underscores.",
        tests: &["protocol::errors::every_refusal_can_be_read_and_is_retried_where_that_helps"],
        note: "",
    },
    Statement {
        id: "general-9",
        words: "The `message` field is OPTIONAL, and if present, it SHOULD be a human readable \
                string or MAY be empty.",
        tests: &[
            "protocol::errors::every_refusal_can_be_read_and_is_retried_where_that_helps",
            "protocol::limits::a_message_is_short_whatever_it_quotes",
        ],
        note: "",
    },
    Statement {
        id: "general-10",
        words: "The `code` field MUST be one of the following:",
        tests: &[
            "protocol::errors::every_refusal_can_be_read_and_is_retried_where_that_helps",
            "protocol::errors::a_fault_of_the_server_is_told_without_its_reasons",
        ],
        note: "A fault of the server (500) has none of them; `UNKNOWN`, which Docker knows, \
               stands for it.",
    },
    Statement {
        id: "general-11",
        words: "A `429 Too Many Requests` response ([RFC 6585 (section \
                4)](https://www.rfc-editor.org/rfc/rfc6585#section-4)) SHOULD include a \
                `Retry-After` header per [RFC 9110 (section \
                10.2.3)](https://www.rfc-editor.org/rfc/rfc9110#section-10.2.3).",
        tests: &["protocol::small::who_waited_too_long_for_an_upload_is_told_to_try_again"],
        note: "There is none: callers wait. Those who waited too long get 503 with `Retry-After`, \
               because Docker gives up on 429.",
    },
    Statement {
        id: "general-12",
        words: "If included, `Warning` headers MUST specify a `warn-code` of `299` and a \
                `warn-agent` of `-`, and MUST NOT specify a `warn-date` value.",
        tests: &["protocol::moves::a_sparse_index_is_taken_with_a_warning"],
        note: "",
    },
    Statement {
        id: "general-13",
        words: "A registry MUST NOT send more than 4096 bytes of warning data from all headers \
                combined.",
        tests: &["protocol::moves::a_sparse_index_is_taken_with_a_warning"],
        note: "",
    },
];
