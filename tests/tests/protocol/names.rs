//! Names, tags and digests that are none: refused in the specification's words, and no path for
//! anything.

use anyhow::{Result, ensure};
use wharf_tests::content::{INDEX, index, sha256};
use wharf_tests::http::{Body, Request};

use wharf_tests::talk::{ask, files, get, head, push, put, refuse, serve};

const BAD: [&str; 19] = [
    "..",
    "../../etc",
    "a/../b",
    "a/./b",
    ".",
    "%2e%2e",
    "%2e%2e%2fa",
    "a%2fb",
    "a%2f..%2f..%2fb",
    "a%00b",
    "a%0d%0ab",
    "%ff",
    "A",
    "a/B",
    "a//b",
    "/a",
    "-a",
    "a_",
    "a..b",
];

#[test]
fn bad_names_are_refused_everywhere_and_reach_no_file() -> Result<()> {
    let (server, mut http) = serve()?;
    let scratch = server.scratch().to_owned();
    let there = || -> Result<Vec<_>> {
        let mut files = files(&scratch)?;
        // Some come by themselves: the catalog's journal, the mark of finished folders, the ballast.
        files.retain(|file| {
            let file = file.to_string_lossy();
            !["catalog.db", ".fan-out", "ballast"]
                .iter()
                .any(|own| file.contains(own))
        });
        Ok(files)
    };
    let before = there()?;
    let digest = sha256(b"content");
    let empty = index(&[]);
    for name in BAD.into_iter().chain([&*"a".repeat(256)]) {
        let uploads = format!("/v2/{name}/blobs/uploads/");
        let single = format!("{uploads}?digest={digest}");
        for request in [
            Request::new("POST", &uploads),
            Request::new("POST", &single).body(Body::Sized(b"content")),
            Request::new("PATCH", format!("{uploads}{}", "0".repeat(32)))
                .body(Body::Chunked(b"content")),
            Request::new(
                "PUT",
                format!("{uploads}{}?digest={digest}", "0".repeat(32)),
            )
            .body(Body::Sized(b"content")),
            put(name, "v1", INDEX, &empty),
            put(name, &sha256(&empty), INDEX, &empty),
            get(format!("/v2/{name}/manifests/v1")),
            get(format!("/v2/{name}/blobs/{digest}")),
            get(format!("/v2/{name}/tags/list")),
        ] {
            let asked = request.head();
            let answer = http.send(request)?;
            let code = answer.error_code()?;
            ensure!(
                matches!(
                    (answer.status, code.as_str()),
                    (400, "NAME_INVALID") | (404, "UNSUPPORTED")
                ),
                "{} {code} to {:?}",
                answer.status,
                String::from_utf8_lossy(&asked)
            );
        }
        let answer = http.send(head(format!("/v2/{name}/blobs/{digest}")))?;
        ensure!(matches!(answer.status, 400 | 404), "{}", answer.status);
    }
    assert_eq!(there()?, before);
    Ok(())
}

#[test]
fn names_may_be_long_deep_and_look_like_paths_of_the_protocol() -> Result<()> {
    let (_server, mut http) = serve()?;
    for name in [
        "a",
        "a.b_c__d---e",
        "0/1/2/3/4/5/6/7/8/9",
        "blobs/uploads",
        "tags/list",
        "v2",
        &"a".repeat(255),
    ] {
        let digest = push(&mut http, name, name.as_bytes())?;
        assert_eq!(
            ask(&mut http, 200, get(format!("/v2/{name}/blobs/{digest}")))?.body,
            name.as_bytes()
        );
        let index = index(&[]);
        ask(&mut http, 201, put(name, "list", INDEX, &index))?;
        ask(&mut http, 200, get(format!("/v2/{name}/manifests/list")))?;
        ask(&mut http, 200, get(format!("/v2/{name}/tags/list")))?;
    }
    Ok(())
}

#[test]
fn bad_tags_and_digests_are_refused() -> Result<()> {
    let (_server, mut http) = serve()?;
    let index = index(&[]);
    for tag in [
        ".",
        "..",
        "-a",
        ".a",
        "a%2fb",
        "a%20b",
        "%c3%a9",
        "a%00",
        &"a".repeat(129),
    ] {
        refuse(
            &mut http,
            400,
            "MANIFEST_INVALID",
            put("a", tag, INDEX, &index),
        )?;
        refuse(
            &mut http,
            400,
            "MANIFEST_INVALID",
            get(format!("/v2/a/manifests/{tag}")),
        )?;
    }
    ask(&mut http, 201, put("a", &"a".repeat(128), INDEX, &index))?;
    let hex = "0".repeat(64);
    for digest in [
        "sha256:",
        "sha256",
        "sha256:..%2f..",
        ":",
        "sha1:abc",
        &format!("SHA256:{hex}"),
        &format!("sha256:{hex}0"),
    ] {
        refuse(
            &mut http,
            400,
            "DIGEST_INVALID",
            get(format!("/v2/a/blobs/{digest}")),
        )?;
    }
    for upload in [
        "..",
        "%2e%2e",
        "x",
        &"0".repeat(32),
        &"A".repeat(32),
        "..%2f..%2fcatalog.db",
    ] {
        for method in ["GET", "DELETE", "PATCH"] {
            let request = Request::new(method, format!("/v2/a/blobs/uploads/{upload}"));
            refuse(&mut http, 404, "BLOB_UPLOAD_UNKNOWN", request)?;
        }
    }
    Ok(())
}

#[test]
fn what_is_no_resource_and_what_no_method_of_one() -> Result<()> {
    let (_server, mut http) = serve()?;
    for path in [
        "/v1/",
        "/v2x",
        "/v2/a",
        "/v2/a/blobs",
        "/etc/passwd",
        "/v2/../../etc/passwd",
        "/v2/a/b/c",
    ] {
        refuse(&mut http, 404, "UNSUPPORTED", get(path))?;
    }
    for (method, path) in [
        ("POST", "/v2/"),
        ("PUT", "/"),
        ("DELETE", "/healthz"),
        ("PUT", "/v2/a/tags/list"),
        ("PUT", "/v2/a/blobs/uploads/"),
        ("POST", "/v2/a/manifests/v1"),
    ] {
        let answer = refuse(&mut http, 405, "UNSUPPORTED", Request::new(method, path))?;
        ensure!(answer.header("Allow").is_some(), "{method} {path}");
    }
    Ok(())
}
