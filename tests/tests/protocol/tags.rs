//! The list of tags.

use anyhow::{Result, ensure};
use serde_json::{Value, json};
use wharf_tests::content::MANIFEST;
use wharf_tests::http::Connection;

use wharf_tests::talk::{ask, get, head, push, push_blobs, put, refuse, serve};

const TAGS: [&str; 6] = ["1.0", "10", "2", "A", "_x", "a"];

fn push_tags(http: &mut Connection) -> Result<()> {
    let manifest = push_blobs(http, "a/b", "image")?;
    for tag in TAGS.iter().rev() {
        ask(http, 201, put("a/b", tag, MANIFEST, &manifest))?;
    }
    Ok(())
}

#[test]
fn pages_in_ascii_order() -> Result<()> {
    let (_server, mut http) = serve()?;
    push_tags(&mut http)?;
    let all = ask(&mut http, 200, get("/v2/a/b/tags/list"))?;
    assert_eq!(all.json()?, json!({"name": "a/b", "tags": TAGS}));
    for (query, tags, more) in [
        ("?n=100", &TAGS[..], false),
        ("?n=6", &TAGS[..], false),
        ("?n=5", &TAGS[..5], true),
        ("?n=2&last=10", &TAGS[2..4], true),
        ("?n=2&last=A", &TAGS[4..], false),
        // A tag that is not there (any more) is a place all the same.
        ("?last=5", &TAGS[3..], false),
        ("?last=a", &[], false),
        ("?n=0", &[], false),
    ] {
        let answer = ask(&mut http, 200, get(format!("/v2/a/b/tags/list{query}")))?;
        assert_eq!(answer.json()?["tags"], json!(tags), "{query}");
        assert_eq!(answer.header("Link").is_some(), more, "{query}");
    }
    for query in ["?n=-1", "?n=x", "?n="] {
        ask(&mut http, 400, get(format!("/v2/a/b/tags/list{query}")))?.error_code()?;
    }
    Ok(())
}

#[test]
fn links_lead_through_all_tags() -> Result<()> {
    let (_server, mut http) = serve()?;
    push_tags(&mut http)?;
    let (mut next, mut seen) = (Some("/v2/a/b/tags/list?n=2".to_owned()), Vec::new());
    while let Some(path) = next {
        let answer = ask(&mut http, 200, get(path))?;
        let page = answer.json()?["tags"]
            .as_array()
            .cloned()
            .unwrap_or_default();
        ensure!(page.len() == 2, "{page:?}");
        seen.extend(page);
        next = answer.next_page()?;
    }
    assert_eq!(Value::from(seen), json!(TAGS));
    Ok(())
}

#[test]
fn a_repository_without_tags_and_none_at_all() -> Result<()> {
    let (_server, mut http) = serve()?;
    push(&mut http, "untagged", b"blob")?;
    let answer = ask(&mut http, 200, get("/v2/untagged/tags/list"))?;
    assert_eq!(answer.json()?, json!({"name": "untagged", "tags": []}));
    refuse(&mut http, 404, "NAME_UNKNOWN", get("/v2/none/tags/list"))?;
    Ok(())
}

#[test]
fn head_says_what_get_would() -> Result<()> {
    let (_server, mut http) = serve()?;
    push_tags(&mut http)?;
    let full = ask(&mut http, 200, get("/v2/a/b/tags/list?n=2"))?;
    let short = ask(&mut http, 200, head("/v2/a/b/tags/list?n=2"))?;
    for name in ["Content-Length", "Content-Type", "Link"] {
        assert_eq!(short.header(name), full.header(name), "{name}");
    }
    Ok(())
}
