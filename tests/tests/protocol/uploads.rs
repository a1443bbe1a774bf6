//! The ways to push a blob, and what is refused.

use anyhow::{Result, ensure};
use wharf_tests::content::{Random, sha256, sha512};
use wharf_tests::http::{Body, Connection, Request};

use wharf_tests::talk::{ask, get, head, open, push, refuse, serve, stored};

/// Reads a blob and compares it.
fn holds(http: &mut Connection, repository: &str, digest: &str, bytes: &[u8]) -> Result<()> {
    let answer = ask(http, 200, get(format!("/v2/{repository}/blobs/{digest}")))?;
    ensure!(answer.body == bytes, "{digest} came back as other bytes");
    ensure!(answer.header("Docker-Content-Digest") == Some(digest));
    Ok(())
}

#[test]
fn a_stream_without_length_and_an_empty_put() -> Result<()> {
    let (_server, mut http) = serve()?;
    // More than one write of the server, and no multiple of anything.
    let bytes = Random::new(1).bytes(3_500_001);
    let digest = sha256(&bytes);
    let upload = open(&mut http, "a/b")?;
    let answer = ask(
        &mut http,
        202,
        Request::new("PATCH", &upload).body(Body::Chunked(&bytes)),
    )?;
    assert_eq!(answer.header("Range"), Some("0-3500000"));
    assert_eq!(answer.location()?, upload);
    // Not before it is closed.
    refuse(
        &mut http,
        404,
        "BLOB_UNKNOWN",
        get(format!("/v2/a/b/blobs/{digest}")),
    )?;
    let answer = ask(
        &mut http,
        201,
        Request::new("PUT", format!("{upload}?digest={digest}")),
    )?;
    assert_eq!(answer.location()?, format!("/v2/a/b/blobs/{digest}"));
    assert_eq!(
        answer.header("Docker-Content-Digest"),
        Some(digest.as_str())
    );
    holds(&mut http, "a/b", &digest, &bytes)
}

#[test]
fn all_with_the_closing_put() -> Result<()> {
    let (_server, mut http) = serve()?;
    for bytes in [&b""[..], b"{}", &Random::new(2).bytes(2 << 20)] {
        let digest = push(&mut http, "a", bytes)?;
        holds(&mut http, "a", &digest, bytes)?;
    }
    Ok(())
}

#[test]
fn all_with_one_post() -> Result<()> {
    let (_server, mut http) = serve()?;
    let bytes = Random::new(3).bytes(100_000);
    let digest = sha256(&bytes);
    let request = Request::new("POST", format!("/v2/a/blobs/uploads/?digest={digest}"));
    let answer = ask(&mut http, 201, request.body(Body::Sized(&bytes)))?;
    assert_eq!(answer.location()?, format!("/v2/a/blobs/{digest}"));
    holds(&mut http, "a", &digest, &bytes)
}

#[test]
fn chunks_whose_last_comes_with_the_put() -> Result<()> {
    let (_server, mut http) = serve()?;
    let bytes = Random::new(4).bytes(2500);
    let digest = sha256(&bytes);
    let upload = open(&mut http, "a")?;
    let chunk = |method, target: &str, from: usize, to: usize| {
        Request::new(method, target)
            .header("Content-Range", format!("{from}-{}", to - 1))
            .body(Body::Sized(&bytes[from..to]))
    };
    for (from, to) in [(0, 1000), (1000, 2000)] {
        let answer = ask(&mut http, 202, chunk("PATCH", &upload, from, to))?;
        // Of the whole blob, not of the chunk.
        assert_eq!(
            answer.header("Range"),
            Some(format!("0-{}", to - 1).as_str())
        );
    }
    ask(
        &mut http,
        201,
        chunk("PUT", &format!("{upload}?digest={digest}"), 2000, 2500),
    )?;
    holds(&mut http, "a", &digest, &bytes)
}

#[test]
fn sha512_by_name_or_by_the_closing_digest() -> Result<()> {
    let (_server, mut http) = serve()?;
    let bytes = Random::new(5).bytes(70_000);
    let digest = sha512(&bytes);
    for (repository, algorithm) in [("named", "?digest-algorithm=sha512"), ("unnamed", "")] {
        let start = Request::new(
            "POST",
            format!("/v2/{repository}/blobs/uploads/{algorithm}"),
        );
        let upload = ask(&mut http, 202, start)?.location()?.to_owned();
        ask(
            &mut http,
            202,
            Request::new("PATCH", &upload).body(Body::Chunked(&bytes)),
        )?;
        ask(
            &mut http,
            201,
            Request::new("PUT", format!("{upload}?digest={digest}")),
        )?;
        holds(&mut http, repository, &digest, &bytes)?;
    }
    // The other algorithm's name of the same bytes names nothing.
    let other = format!("/v2/named/blobs/{}", sha256(&bytes));
    refuse(&mut http, 404, "BLOB_UNKNOWN", get(other))?;
    Ok(())
}

#[test]
fn a_wrong_digest_is_refused_by_every_way_and_leaves_nothing() -> Result<()> {
    let (server, mut http) = serve()?;
    let digests = [
        sha256(b"something else"),
        sha512(b"something else"),
        "sha256:abc".to_owned(),
        format!("md5:{}", "0".repeat(32)),
        format!("sha256:{}", "G".repeat(64)),
        format!("sha256:..%2f..%2f{}", "0".repeat(58)),
        String::new(),
    ];
    for digest in &digests {
        let body = Body::Sized(b"content");
        let upload = open(&mut http, "a")?;
        refuse(
            &mut http,
            400,
            "DIGEST_INVALID",
            Request::new("PUT", format!("{upload}?digest={digest}")).body(body),
        )?;
        let post = format!("/v2/a/blobs/uploads/?digest={digest}");
        refuse(
            &mut http,
            400,
            "DIGEST_INVALID",
            Request::new("POST", post).body(body),
        )?;
        let upload = open(&mut http, "a")?;
        ask(
            &mut http,
            202,
            Request::new("PATCH", &upload).body(Body::Chunked(b"content")),
        )?;
        refuse(
            &mut http,
            400,
            "DIGEST_INVALID",
            Request::new("PUT", format!("{upload}?digest={digest}")),
        )?;
    }
    refuse(
        &mut http,
        404,
        "BLOB_UNKNOWN",
        get(format!("/v2/a/blobs/{}", sha256(b"content"))),
    )?;
    for file in stored(&server)? {
        // A digest that cannot be read says nothing about the bytes: the session may be closed with
        // a better one.
        let name = file.strip_prefix(server.data())?;
        ensure!(name.starts_with("uploads"), "{} was stored", file.display());
    }
    Ok(())
}

#[test]
fn bytes_that_did_not_match_are_gone() -> Result<()> {
    let (server, mut http) = serve()?;
    let upload = open(&mut http, "a")?;
    ask(
        &mut http,
        202,
        Request::new("PATCH", &upload).body(Body::Chunked(b"content")),
    )?;
    let wrong = format!("{upload}?digest={}", sha256(b"something else"));
    refuse(
        &mut http,
        400,
        "DIGEST_INVALID",
        Request::new("PUT", &wrong),
    )?;
    assert_eq!(stored(&server)?, Vec::<std::path::PathBuf>::new());
    refuse(&mut http, 404, "BLOB_UPLOAD_UNKNOWN", get(&upload))?;
    Ok(())
}

#[test]
fn the_same_blob_again_takes_no_more_space() -> Result<()> {
    let (server, mut http) = serve()?;
    let bytes = Random::new(6).bytes(10_000);
    for repository in ["a", "a", "b"] {
        let digest = push(&mut http, repository, &bytes)?;
        holds(&mut http, repository, &digest, &bytes)?;
    }
    assert_eq!(stored(&server)?.len(), 1, "{:?}", stored(&server)?);
    Ok(())
}

#[test]
fn mounts_with_and_without_a_source() -> Result<()> {
    let (_server, mut http) = serve()?;
    let digest = push(&mut http, "source", b"to be mounted")?;
    let nowhere = sha256(b"nowhere");
    let mount = |target: &str, digest: &str, from: &str| {
        Request::new(
            "POST",
            format!("/v2/{target}/blobs/uploads/?mount={digest}{from}"),
        )
    };
    for (target, from) in [
        ("one", "&from=source"),
        ("two", ""),
        ("deep/er", "&from=source"),
    ] {
        let answer = ask(&mut http, 201, mount(target, &digest, from))?;
        assert_eq!(answer.location()?, format!("/v2/{target}/blobs/{digest}"));
        holds(&mut http, target, &digest, b"to be mounted")?;
    }
    // What cannot be mounted is uploaded instead, without a further question. Docker tries on the
    // strength of what it remembers.
    for (digest, from) in [
        (&digest, "&from=empty"),
        (&nowhere, "&from=source"),
        (&nowhere, ""),
    ] {
        let answer = ask(&mut http, 202, mount("three", digest, from))?;
        ask(&mut http, 204, get(answer.location()?))?;
        refuse(
            &mut http,
            404,
            "BLOB_UNKNOWN",
            get(format!("/v2/three/blobs/{digest}")),
        )?;
    }
    refuse(
        &mut http,
        400,
        "DIGEST_INVALID",
        mount("three", "sha256:1", ""),
    )?;
    refuse(
        &mut http,
        400,
        "NAME_INVALID",
        mount("three", &digest, "&from=../source"),
    )?;
    Ok(())
}

#[test]
fn a_digest_of_another_repository_is_unknown() -> Result<()> {
    let (_server, mut http) = serve()?;
    let digest = push(&mut http, "one", b"only there")?;
    for (method, code) in [("GET", Some("BLOB_UNKNOWN")), ("HEAD", None)] {
        let answer = ask(
            &mut http,
            404,
            Request::new(method, format!("/v2/two/blobs/{digest}")),
        )?;
        if let Some(code) = code {
            assert_eq!(answer.error_code()?, code);
        }
    }
    // Nor is one repository's session another's.
    let upload = open(&mut http, "one")?;
    let elsewhere = upload.replace("/one/", "/two/");
    for method in ["GET", "PATCH", "DELETE"] {
        refuse(
            &mut http,
            404,
            "BLOB_UPLOAD_UNKNOWN",
            Request::new(method, &elsewhere),
        )?;
    }
    ask(&mut http, 204, head(&upload))?;
    Ok(())
}
