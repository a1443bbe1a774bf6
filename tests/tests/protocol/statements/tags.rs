//! Listing tags.

use super::Statement;

pub(super) const ALL: &[Statement] = &[
    Statement {
        id: "tags-1",
        words: "Assuming a repository is found, this request MUST return a `200 OK` response \
                code.",
        tests: &["protocol::tags::a_repository_without_tags_and_none_at_all"],
        note: "",
    },
    Statement {
        id: "tags-2",
        words: "If the list is not empty, the tags MUST be in lexical (i.e. case-insensitive \
                alphanumeric order) or \"ASCIIbetical\" ([Go's \
                `sort.Strings`](https://pkg.go.dev/sort#Strings)) order.",
        tests: &["protocol::tags::pages_in_ascii_order"],
        note: "ASCII order.",
    },
    Statement {
        id: "tags-3",
        words: "Upon success, the response MUST be a json body in the following format:",
        tests: &["protocol::tags::pages_in_ascii_order"],
        note: "`{\"name\": \"<name>\", \"tags\": [...]}`",
    },
    Statement {
        id: "tags-4",
        words: "Otherwise, the response MUST include `<int>` results.",
        tests: &[
            "protocol::tags::pages_in_ascii_order",
            "protocol::small::a_page_is_no_longer_than_the_server_says",
        ],
        note: "Where a page holds fewer than were asked for, it has a `Link`.",
    },
    Statement {
        id: "tags-5",
        words: "If included, the `Link` header MUST be set according to [RFC \
                5988](https://www.rfc-editor.org/rfc/rfc5988) with the Relation Type \
                `rel=\"next\"`.",
        tests: &["protocol::tags::links_lead_through_all_tags"],
        note: "",
    },
    Statement {
        id: "tags-6",
        words: "When `n` is zero, this endpoint MUST return an empty list, and MUST NOT include a \
                `Link` header.",
        tests: &["protocol::tags::pages_in_ascii_order"],
        note: "",
    },
    Statement {
        id: "tags-7",
        words: "As above, the tags MUST be in lexical or \"ASCIIbetical\" order.",
        tests: &["protocol::tags::links_lead_through_all_tags"],
        note: "",
    },
    Statement {
        id: "tags-8",
        words: "`<tagname>` MUST NOT be a numerical index, but rather it MUST be a proper tag.",
        tests: &["protocol::tags::pages_in_ascii_order"],
        note: "`last=10` is the tag `10`.",
    },
    Statement {
        id: "tags-9",
        words: "The tags MUST be in lexical or \"ASCIIbetical\" order.",
        tests: &["protocol::tags::pages_in_ascii_order"],
        note: "",
    },
];
