//! Pulling blobs: whole, in ranges, or not at all where the client has them.

use anyhow::{Result, ensure};
use wharf_tests::content::{Random, sha256};
use wharf_tests::http::Answer;

use wharf_tests::talk::{ask, get, head, push, refuse, serve};

/// What every answer with a blob says.
fn describes(answer: &Answer, digest: &str, length: usize) -> Result<()> {
    for (name, value) in [
        ("Content-Length", length.to_string()),
        ("Docker-Content-Digest", digest.to_owned()),
        ("ETag", format!("\"{digest}\"")),
        ("Content-Type", "application/octet-stream".to_owned()),
        ("Accept-Ranges", "bytes".to_owned()),
    ] {
        ensure!(
            answer.header(name) == Some(&value),
            "{name} is not {value}: {:?}",
            answer.headers
        );
    }
    let cache = answer.header("Cache-Control").unwrap_or_default();
    ensure!(cache.contains("immutable"), "{cache:?}");
    Ok(())
}

#[test]
fn get_and_head_say_the_same() -> Result<()> {
    let (_server, mut http) = serve()?;
    for length in [0, 1, 1000, 1_300_000] {
        let bytes = Random::new(length).bytes(usize::try_from(length)?);
        let digest = push(&mut http, "a", &bytes)?;
        let path = format!("/v2/a/blobs/{digest}");
        let whole = ask(&mut http, 200, get(&path))?;
        describes(&whole, &digest, bytes.len())?;
        assert_eq!(whole.body, bytes);
        let only_head = ask(&mut http, 200, head(&path))?;
        describes(&only_head, &digest, bytes.len())?;
        // The connection is still in step: nothing followed the head.
        ask(&mut http, 200, get("/v2/"))?;
    }
    let unknown = format!("/v2/a/blobs/{}", sha256(b"unknown"));
    refuse(&mut http, 404, "BLOB_UNKNOWN", get(&unknown))?;
    ask(&mut http, 404, head(&unknown))?;
    ask(&mut http, 200, get("/v2/"))?;
    Ok(())
}

#[test]
fn ranges() -> Result<()> {
    let (_server, mut http) = serve()?;
    let bytes = Random::new(1).bytes(1_100_000);
    let digest = push(&mut http, "a", &bytes)?;
    let path = format!("/v2/a/blobs/{digest}");
    let end = bytes.len();
    for (range, from, to) in [
        ("bytes=0-0", 0, 1),
        ("bytes=500-1499", 500, 1500),
        // Across the server's own reads.
        ("bytes=524287-1048577", 524_287, 1_048_578),
        ("bytes=1000-", 1000, end),
        ("bytes=-500", end - 500, end),
        ("bytes=-9999999", 0, end),
        ("bytes=1099999-99999999", end - 1, end),
    ] {
        let answer = ask(&mut http, 206, get(&path).header("Range", range))?;
        assert_eq!(answer.body, bytes[from..to], "{range}");
        describes(&answer, &digest, to - from)?;
        let said = format!("bytes {from}-{}/{end}", to - 1);
        assert_eq!(
            answer.header("Content-Range"),
            Some(said.as_str()),
            "{range}"
        );
        // Ranges are defined for GET alone (RFC 9110 §14.2).
        let answer = ask(&mut http, 200, head(&path).header("Range", range))?;
        describes(&answer, &digest, end)?;
    }
    for range in [
        "bytes=1100000-",
        "bytes=2000000-3000000",
        "bytes=-0",
        "bytes=5-2",
    ] {
        let answer = refuse(
            &mut http,
            416,
            "SIZE_INVALID",
            get(&path).header("Range", range),
        )?;
        assert_eq!(
            answer.header("Content-Range"),
            Some("bytes */1100000"),
            "{range}"
        );
    }
    // What is no range, or more than one, is answered with the whole.
    for range in ["lines=1-2", "bytes=0-1,5-6", "bytes=a-b", "bytes=-"] {
        let answer = ask(&mut http, 200, get(&path).header("Range", range))?;
        assert_eq!(answer.body.len(), end, "{range}");
    }
    // So is a range of something that the client had before and that is something else now.
    let conditional = get(&path).header("Range", "bytes=0-9");
    ask(
        &mut http,
        206,
        conditional
            .clone()
            .header("If-Range", format!("\"{digest}\"")),
    )?;
    ask(
        &mut http,
        200,
        conditional.header("If-Range", "\"another\""),
    )?;
    Ok(())
}

#[test]
fn nothing_is_sent_to_who_has_it() -> Result<()> {
    let (_server, mut http) = serve()?;
    let digest = push(&mut http, "a", b"content")?;
    let path = format!("/v2/a/blobs/{digest}");
    let tag = format!("\"{digest}\"");
    for has in [
        tag.clone(),
        format!("W/{tag}"),
        format!("\"other\", {tag}"),
        "*".to_owned(),
    ] {
        for request in [get(&path), head(&path)] {
            let answer = ask(&mut http, 304, request.header("If-None-Match", &has))?;
            assert_eq!(answer.header("ETag"), Some(tag.as_str()));
        }
    }
    ask(
        &mut http,
        200,
        get(&path).header("If-None-Match", "\"other\""),
    )?;
    Ok(())
}
