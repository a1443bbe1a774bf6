//! Manifests that are deep, round, long or no JSON that anybody should read.

use anyhow::{Result, ensure};
use serde_json::{Value, json};
use wharf_tests::content::{self, INDEX, MANIFEST, sha256};
use wharf_tests::http::{Body, Connection, Request};
use wharf_tests::talk::{ask, get, push, push_image, put, refuse, serve};
use wharf_tests::wharf::Server;

use crate::still_serves;

/// What a manifest may have.
const MOST: usize = 4 << 20;

fn child(bytes: &[u8]) -> Value {
    content::descriptor(INDEX, bytes)
}

/// An index with annotations, so that each is another one.
fn index(children: &[Value], annotations: &Value) -> Vec<u8> {
    let index = json!({"schemaVersion": 2, "mediaType": INDEX, "manifests": children,
        "annotations": annotations});
    index.to_string().into_bytes()
}

/// Nobody here walks down an index: each is stored and served on its own, however deep they are.
#[test]
fn indexes_a_thousand_deep() -> Result<()> {
    let (server, mut http) = serve()?;
    let mut top = content::index(&[]);
    ask(&mut http, 201, put("a", &sha256(&top), INDEX, &top))?;
    for _ in 0..1000 {
        let next = content::index(&[child(&top)]);
        ask(&mut http, 201, put("a", &sha256(&next), INDEX, &next))?;
        top = next;
    }
    ask(&mut http, 201, put("a", "top", INDEX, &top))?;
    assert_eq!(ask(&mut http, 200, get("/v2/a/manifests/top"))?.body, top);
    let list = format!("/v2/a/referrers/{}", sha256(&top));
    ask(&mut http, 200, get(list))?;
    let delete = Request::new("DELETE", format!("/v2/a/manifests/{}", sha256(&top)));
    ask(&mut http, 202, delete)?;
    still_serves(&server, 1)
}

/// No content can have its own digest in it, so what is round goes through tags, repositories and
/// what is not there yet.
#[test]
fn what_leads_back_to_itself() -> Result<()> {
    let (server, mut http) = serve()?;
    // An index that names a manifest which names it as its subject.
    let image = push_image(&mut http, "a", "v1")?;
    let subject = content::descriptor(MANIFEST, &image);
    let config = content::descriptor(content::CONFIG, b"{}");
    push(&mut http, "a", b"{}")?;
    let referrer = json!({"schemaVersion": 2, "mediaType": MANIFEST, "config": config,
        "layers": [], "subject": subject});
    let referrer = referrer.to_string().into_bytes();
    ask(
        &mut http,
        201,
        put("a", &sha256(&referrer), MANIFEST, &referrer),
    )?;
    // The fall-back tag of the subject lists the subject itself, its referrer, and the list before.
    let tag = sha256(&image).replace(':', "-");
    let mut listed = vec![subject, content::descriptor(MANIFEST, &referrer)];
    for _ in 0..3 {
        let list = content::index(&listed);
        ask(&mut http, 201, put("a", &tag, INDEX, &list))?;
        listed.push(child(&list));
    }
    let list = ask(
        &mut http,
        200,
        get(format!("/v2/a/referrers/{}", sha256(&image))),
    )?;
    let listed = list.json()?["manifests"].as_array().map_or(0, Vec::len);
    ensure!((1..=4).contains(&listed), "{listed} referrers");
    // An index of itself under its tag's digest, in one repository and mounted from the other.
    let index = content::index(&[child(b"whatever comes")]);
    ask(&mut http, 201, put("b", "v1", INDEX, &index))?;
    let again = content::index(&[child(&index), child(&index)]);
    ask(&mut http, 201, put("b", "v1", INDEX, &again))?;
    for name in ["a", "b"] {
        for digest in [&image, &referrer, &index, &again].map(|bytes| sha256(bytes)) {
            let delete = Request::new("DELETE", format!("/v2/{name}/manifests/{digest}"));
            let answer = http.send(delete)?;
            ensure!(matches!(answer.status, 202 | 404), "{answer:?}");
        }
    }
    still_serves(&server, 2)
}

/// A manifest of almost 4 MiB that is a list of these.
fn full(before: &str, one: impl Fn(usize) -> String, after: &str) -> Vec<u8> {
    let mut text = before.to_owned();
    for number in 0.. {
        let one = one(number);
        if text.len() + one.len() + after.len() + 1 > MOST {
            break;
        }
        if number > 0 {
            text.push(',');
        }
        text += &one;
    }
    (text + after).into_bytes()
}

pub(crate) fn largest(server: &Server) -> Result<()> {
    let mut http = Connection::open(server.address())?;
    let unknown = "0".repeat(58);
    let descriptor = |number| format!(r#"{{"digest":"sha256:{unknown}{number:06x}","size":1}}"#);
    let list = format!(r#"{{"schemaVersion":2,"mediaType":"{INDEX}","manifests":["#);
    let image = format!(
        r#"{{"schemaVersion":2,"mediaType":"{MANIFEST}","config":{},"layers":["#,
        descriptor(0)
    );
    let annotations =
        format!(r#"{{"schemaVersion":2,"mediaType":"{INDEX}","manifests":[],"annotations":{{"#);
    // As many as fit, which are more than are supported; of no digest, even more fit.
    let no_digest = |_| r#"{"digest":"","size":0}"#.to_owned();
    let annotation = |number| format!(r#""{number:x}":"""#);
    for (kind, bytes) in [
        (INDEX, full(&list, descriptor, "]}")),
        (INDEX, full(&list, no_digest, "]}")),
        (INDEX, full(&list, |_| "{}".to_owned(), "]}")),
        (MANIFEST, full(&image, descriptor, "]}")),
        (MANIFEST, full(&image, no_digest, "]}")),
        (INDEX, full(&annotations, annotation, "}}")),
    ] {
        refuse(
            &mut http,
            400,
            "MANIFEST_INVALID",
            put("a", "v1", kind, &bytes),
        )?;
    }
    // Those that are supported are stored, and said to be missing; and 4 MiB of anything else.
    let many: Vec<String> = (0..20_000).map(descriptor).collect();
    let index = format!("{list}{}]}}", many.join(","));
    let answer = ask(&mut http, 201, put("a", "v1", INDEX, index.as_bytes()))?;
    let warning = answer.header("Warning").unwrap_or_default();
    ensure!(warning.contains("20000 of the manifests"), "{warning}");
    let long = format!(r#""long":"{}""#, "x".repeat(MOST - annotations.len() - 11));
    let index = format!("{annotations}{long}}}}}");
    assert_eq!(index.len(), MOST);
    ask(&mut http, 201, put("a", "v2", INDEX, index.as_bytes()))?;
    let over = format!("{index} ");
    let over = over.as_bytes();
    refuse(
        &mut http,
        413,
        "MANIFEST_INVALID",
        put("a", "v3", INDEX, over),
    )?;
    let chunked = Request::new("PUT", "/v2/a/manifests/v3").body(Body::Chunked(over));
    refuse(&mut http, 413, "MANIFEST_INVALID", chunked)?;
    Ok(())
}

#[test]
fn as_many_descriptors_as_fit() -> Result<()> {
    let server = Server::start()?;
    largest(&server)?;
    still_serves(&server, 3)
}

/// A manifest that is one of the costliest to take.
pub(crate) fn one_of_the_largest(server: &Server, number: u64) -> Result<()> {
    let annotations = json!({"long": "\n".repeat(MOST / 2 - 200), "number": number.to_string()});
    let index = index(&[], &annotations);
    let mut http = Connection::open(server.address())?;
    ask(&mut http, 201, put("a", &sha256(&index), INDEX, &index))?;
    Ok(())
}

/// A page of referrers repeats their annotations: it is cut where those are many, and goes on.
pub(crate) fn referrers_with_much_to_say(server: &Server) -> Result<()> {
    let mut http = Connection::open(server.address())?;
    let subject = child(b"nothing");
    let mut pushed = 0;
    for number in 0..12 {
        let referrer = json!({"schemaVersion": 2, "mediaType": INDEX, "manifests": [],
            "subject": subject, "annotations": {"much": "x".repeat(1 << 20), "n": number.to_string()}});
        let referrer = referrer.to_string();
        ask(
            &mut http,
            201,
            put(
                "a",
                &sha256(referrer.as_bytes()),
                INDEX,
                referrer.as_bytes(),
            ),
        )?;
        pushed += 1;
    }
    let mut next = Some(format!("/v2/a/referrers/{}", sha256(b"nothing")));
    let mut listed = 0;
    while let Some(path) = next {
        let page = ask(&mut http, 200, get(path))?;
        ensure!(
            page.body.len() < MOST,
            "a page of {} bytes",
            page.body.len()
        );
        listed += page.json()?["manifests"].as_array().map_or(0, Vec::len);
        let link = page
            .header("Link")
            .and_then(|link| link.split(['<', '>']).nth(1));
        next = link.map(str::to_owned);
    }
    assert_eq!(listed, pushed);
    Ok(())
}

#[test]
fn a_page_of_referrers_has_an_end() -> Result<()> {
    let server = Server::start()?;
    referrers_with_much_to_say(&server)?;
    still_serves(&server, 4)
}

#[test]
fn json_that_nobody_should_read() -> Result<()> {
    let (server, mut http) = serve()?;
    let start = format!(r#"{{"schemaVersion":2,"mediaType":"{INDEX}""#);
    let digest = sha256(b"x");
    let sized =
        |size: &str| format!(r#"{start},"manifests":[{{"digest":"{digest}","size":{size}}}]}}"#);
    let deep = 500_000;
    let mut bad = vec![
        String::new(),
        "null".to_owned(),
        "[]".to_owned(),
        "\u{feff}{}".to_owned(),
        format!("{start},\"manifests\":[]"),
        format!("{start},\"manifests\":[]}}{{}}"),
        format!("{start},\"manifests\":null,\"manifests\":[]}}"),
        format!("{start},\"mediaType\":\"{MANIFEST}\",\"manifests\":[]}}"),
        format!("{start},\"schemaVersion\":2,\"manifests\":[]}}"),
        format!(
            "{start},\"manifests\":[{{\"digest\":\"{digest}\",\"digest\":\"{digest}\",\"size\":1}}]}}"
        ),
        format!("{start},\"manifests\":{{}}}}"),
        format!("{start},\"manifests\":[[]]}}"),
        format!("{start},\"manifests\":[],\"annotations\":{{\"a\":{{}}}}}}"),
        format!("{start},\"manifests\":[],\"annotations\":[]}}"),
        format!("{start},\"manifests\":[],\"subject\":[]}}"),
        // Where it is looked at, and where it is not.
        format!(
            "{start},\"manifests\":{}{}}}",
            "[".repeat(deep),
            "]".repeat(deep)
        ),
        format!(
            "{start},\"manifests\":[],\"annotations\":{}",
            "{\"a\":".repeat(deep)
        ),
        "[".repeat(MOST),
        "{\"a\":".repeat(deep),
        "\"".repeat(MOST),
        "1".repeat(MOST),
    ];
    for size in [
        "-1",
        "-9223372036854775808",
        "9223372036854775808",
        "18446744073709551616",
        "1e400",
        "1.5",
        "\"1\"",
        "null",
    ] {
        bad.push(sized(size));
    }
    for version in [
        "-2",
        "2.0",
        "4294967298",
        "18446744073709551618",
        "\"2\"",
        "1e999",
    ] {
        bad.push(format!(
            r#"{{"schemaVersion":{version},"mediaType":"{INDEX}","manifests":[]}}"#
        ));
    }
    for bytes in &bad {
        let refused = refuse(
            &mut http,
            400,
            "MANIFEST_INVALID",
            put("a", "v1", INDEX, bytes.as_bytes()),
        );
        let answer = refused.map_err(|error| {
            let start: String = bytes.chars().take(200).collect();
            error.context(format!("for {start}"))
        })?;
        ensure!(answer.body.len() < 4096, "it was told everything again");
    }
    refuse(
        &mut http,
        400,
        "MANIFEST_INVALID",
        put("a", "v1", INDEX, b"\xff\xfe{}"),
    )?;
    // What nobody looks at may be as deep as it likes; it is passed over.
    let ignored = format!(
        "{start},\"manifests\":[],\"x\":{}{}}}",
        "[".repeat(100),
        "]".repeat(100)
    );
    ask(&mut http, 201, put("a", "v1", INDEX, ignored.as_bytes()))?;
    ask(
        &mut http,
        201,
        put("a", "v1", INDEX, sized("9223372036854775807").as_bytes()),
    )?;
    let index = index(&[], &json!({"a": "b"}));
    ask(&mut http, 201, put("a", "v1", INDEX, &index))?;
    still_serves(&server, 5)
}
