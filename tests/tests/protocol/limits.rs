//! The limits of a server as everybody runs it: what is taken at the limit, and what is said one
//! above. (Names: `names`. Bytes of a manifest: `manifests`. Limits that take long to reach:
//! `small`.)

use std::collections::BTreeSet;

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use wharf_tests::content::{self, INDEX, MANIFEST};
use wharf_tests::http::{Connection, Request};

use wharf_tests::talk::{ask, get, push, push_blobs, put, refuse, serve};

/// Header fields in one request.
const HEADERS: usize = 100;
/// Bytes of a request's line and headers.
const HEAD_BYTES: usize = 64 << 10;
/// Descriptors in one manifest.
const DESCRIPTORS: usize = 20_000;
/// Tags that one push moves.
const TAGS: usize = 100;
/// Bytes of what clients read as a manifest.
const MANIFEST_BYTES: usize = 4 << 20;

/// What HTTP itself refuses has no body: no client of the protocol ever sends it.
fn is_refused(http: &mut Connection, status: u16) -> Result<()> {
    let answer = http.read_answer("GET")?;
    ensure!(answer.status == status, "{answer:?}");
    ensure!(http.read_to_end()?.is_empty(), "it goes on after {status}");
    Ok(())
}

#[test]
fn a_hundred_headers_and_not_one_more() -> Result<()> {
    let (_server, mut http) = serve()?;
    // Beside the one that says which host is asked.
    let mut request = get("/v2/");
    for _ in 1..HEADERS {
        request = request.header("X-Filler", "x");
    }
    ask(&mut http, 200, request.clone())?;
    http.write(&request.header("X-Filler", "x").head())?;
    is_refused(&mut http, 431)
}

#[test]
fn a_head_of_so_many_bytes_and_not_one_more() -> Result<()> {
    let (server, mut http) = serve()?;
    let head = |bytes: usize| {
        let rest = get("/v2/").header("X-Filler", "").head().len();
        get("/v2/")
            .header("X-Filler", "x".repeat(bytes - rest))
            .head()
    };
    http.write(&head(HEAD_BYTES))?;
    assert_eq!(http.read_answer("GET")?.status, 200);
    // It is refused for what has come, whether the rest ever comes or not.
    let larger = head(HEAD_BYTES + 1);
    http.write(&larger[..HEAD_BYTES])?;
    is_refused(&mut http, 431)?;
    let mut http = Connection::open(server.address())?;
    ask(&mut http, 200, get("/v2/"))?;
    Ok(())
}

#[test]
fn any_number_is_a_number_of_items_and_nothing_else_is() -> Result<()> {
    let (_server, mut http) = serve()?;
    let index = content::index(&[]);
    ask(&mut http, 201, put("a", "v1", INDEX, &index))?;
    let lists = [
        "/v2/a/tags/list".to_owned(),
        "/v2/_catalog".to_owned(),
        format!("/v2/a/referrers/{}", content::sha256(b"")),
    ];
    for list in lists {
        for n in [
            "0",
            "1",
            "00",
            "9223372036854775807",
            "9223372036854775808",
            "18446744073709551615",
            "18446744073709551616",
            &"9".repeat(100),
        ] {
            let answer = ask(&mut http, 200, get(format!("{list}?n={n}")))?;
            assert_eq!(answer.header("Link"), None, "{list}?n={n}");
        }
        for n in [
            "-1", "-0", "%2B1", "x", "1x", "0x10", "1e3", "1.0", "", "%20", "%D9%A1",
        ] {
            let request = get(format!("{list}?n={n}"));
            refuse(&mut http, 400, "SIZE_INVALID", request)?;
        }
    }
    Ok(())
}

#[test]
fn twenty_thousand_descriptors_and_not_one_more() -> Result<()> {
    let (_server, mut http) = serve()?;
    let index = |count: usize| {
        let child = |number: usize| {
            let digest = content::sha256(&number.to_le_bytes());
            json!({"mediaType": MANIFEST, "digest": digest, "size": 8})
        };
        let bytes = content::index(&(0..count).map(child).collect::<Vec<_>>());
        assert!(bytes.len() <= MANIFEST_BYTES);
        bytes
    };
    let most = index(DESCRIPTORS);
    let answer = ask(&mut http, 201, put("a", "most", INDEX, &most))?;
    let warning = answer.header("Warning").unwrap_or_default();
    ensure!(warning.contains("20000"), "{warning}");
    let more = index(DESCRIPTORS + 1);
    refuse(
        &mut http,
        400,
        "MANIFEST_INVALID",
        put("a", "more", INDEX, &more),
    )?;
    refuse(
        &mut http,
        404,
        "MANIFEST_UNKNOWN",
        get("/v2/a/manifests/more"),
    )?;
    Ok(())
}

#[test]
fn a_hundred_tags_in_one_push_and_not_one_more() -> Result<()> {
    let (_server, mut http) = serve()?;
    let manifest = push_blobs(&mut http, "a", "image")?;
    let digest = content::sha256(&manifest);
    let reference = |count: usize| {
        let tags: Vec<_> = (0..count)
            .map(|number| format!("tag={number:0>128}"))
            .collect();
        format!("{digest}?{}", tags.join("&"))
    };
    let more = reference(TAGS + 1);
    refuse(
        &mut http,
        414,
        "SIZE_INVALID",
        put("a", &more, MANIFEST, &manifest),
    )?;
    refuse(&mut http, 404, "NAME_UNKNOWN", get("/v2/b/tags/list"))?;
    let most = reference(TAGS);
    let answer = ask(&mut http, 201, put("a", &most, MANIFEST, &manifest))?;
    let told = answer.headers.iter();
    let told = told.filter(|(name, _)| name.eq_ignore_ascii_case("OCI-Tag"));
    assert_eq!(told.count(), TAGS);
    let tags = ask(&mut http, 200, get("/v2/a/tags/list"))?.json()?;
    assert_eq!(tags["tags"].as_array().map(Vec::len), Some(TAGS));
    Ok(())
}

/// A thousand referrers may each be four mebibytes of annotations; clients stop reading a list where
/// a manifest would be too large.
#[test]
fn a_page_of_referrers_is_no_larger_than_a_manifest() -> Result<()> {
    let (_server, mut http) = serve()?;
    push(&mut http, "a", b"{}")?;
    let subject = content::descriptor(MANIFEST, b"subject");
    let mut expected = BTreeSet::new();
    for number in 0..7 {
        let padding = "x".repeat(1 << 20);
        let referrer = json!({
            "schemaVersion": 2,
            "mediaType": MANIFEST,
            "config": content::descriptor("application/vnd.oci.empty.v1+json", b"{}"),
            "layers": [],
            "subject": subject,
            "annotations": {"padding": padding, "number": number.to_string()},
        });
        let bytes = referrer.to_string().into_bytes();
        let digest = content::sha256(&bytes);
        ask(&mut http, 201, put("a", &digest, MANIFEST, &bytes))?;
        expected.insert(digest);
    }
    let digest = subject["digest"].as_str().unwrap_or_default();
    let mut next = Some(format!("/v2/a/referrers/{digest}"));
    let (mut seen, mut pages) = (BTreeSet::new(), 0);
    while let Some(path) = next {
        let answer = ask(&mut http, 200, get(path))?;
        ensure!(answer.body.len() <= MANIFEST_BYTES, "{}", answer.body.len());
        let list = answer.json()?;
        let items = list["manifests"].as_array().context("no list")?;
        ensure!(!items.is_empty(), "an empty page leads nowhere");
        let digest = |item: &Value| item["digest"].as_str().map(str::to_owned);
        for digest in items.iter().filter_map(digest) {
            ensure!(seen.insert(digest), "the pages overlap");
        }
        next = answer.next_page()?;
        pages += 1;
    }
    assert_eq!(seen, expected);
    ensure!(pages > 1, "seven mebibytes came on one page");
    Ok(())
}

/// A message may quote what was sent, and that may be megabytes.
#[test]
fn a_message_is_short_whatever_it_quotes() -> Result<()> {
    let (_server, mut http) = serve()?;
    let long = "é".repeat(1 << 20);
    let index = json!({"schemaVersion": 2, "mediaType": long, "manifests": []}).to_string();
    let request = put("a", "v1", INDEX, index.as_bytes());
    let answer = refuse(&mut http, 400, "MANIFEST_INVALID", request)?;
    ensure!(answer.body.len() < 4096, "{} bytes", answer.body.len());
    let version = json!({"schemaVersion": long, "manifests": []}).to_string();
    let request = put("a", "v1", INDEX, version.as_bytes());
    let answer = refuse(&mut http, 400, "MANIFEST_INVALID", request)?;
    ensure!(answer.body.len() < 4096, "{} bytes", answer.body.len());
    Ok(())
}

#[test]
fn a_hundred_missing_blobs_are_named_and_not_one_more() -> Result<()> {
    let (_server, mut http) = serve()?;
    for (missing, named) in [(100, 100), (101, 100)] {
        let layer = |number: i32| content::descriptor(content::LAYER, &number.to_le_bytes());
        let layers: Vec<_> = (1..missing).map(layer).collect();
        let image = content::manifest(&content::descriptor(content::CONFIG, b"{}"), &layers);
        let request = put("a", "v1", MANIFEST, &image);
        let answer = refuse(&mut http, 400, "MANIFEST_BLOB_UNKNOWN", request)?;
        let digests = answer.json()?["errors"][0]["detail"]["digests"].clone();
        assert_eq!(digests.as_array().map(Vec::len), Some(named), "{digests}");
    }
    Ok(())
}

/// Only the whole of it can be refused: nobody reads a manifest bit by bit.
#[test]
fn a_manifest_that_is_all_brackets_is_refused() -> Result<()> {
    let (_server, mut http) = serve()?;
    let deep = |open: &str, close: &str, depth: usize| {
        let nested = open.repeat(depth) + "1" + &close.repeat(depth);
        format!(
            "{{\"schemaVersion\":2,\"mediaType\":\"{INDEX}\",\"manifests\":[],\"annotations\":{nested}}}"
        )
    };
    for body in [
        deep("[", "]", 1 << 20),
        deep("{\"a\":", "}", 1 << 19),
        "[".repeat(4 << 20),
    ] {
        let request = put("a", "v1", INDEX, body.as_bytes());
        refuse(&mut http, 400, "MANIFEST_INVALID", request)?;
    }
    ask(&mut http, 200, Request::new("GET", "/v2/"))?;
    Ok(())
}
