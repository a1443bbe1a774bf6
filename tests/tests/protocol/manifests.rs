//! Manifests: the very bytes that were pushed, and never one whose content is missing.

use anyhow::{Result, ensure};
use serde_json::json;
use wharf_tests::content::{self, INDEX, MANIFEST, descriptor, sha256, sha512};
use wharf_tests::http::{Connection, Request};

use wharf_tests::talk::{ask, get, head, push, push_blobs, push_image, put, refuse, serve};

const DOCKER_MANIFEST: &str = "application/vnd.docker.distribution.manifest.v2+json";
const DOCKER_LIST: &str = "application/vnd.docker.distribution.manifest.list.v2+json";

/// Pulls a manifest by all its names, with and without its body.
fn holds(
    http: &mut Connection,
    repository: &str,
    references: &[&str],
    media_type: &str,
    bytes: &[u8],
) -> Result<()> {
    let digest = if references.iter().any(|one| one.starts_with("sha512:")) {
        sha512(bytes)
    } else {
        sha256(bytes)
    };
    for reference in references {
        let path = format!("/v2/{repository}/manifests/{reference}");
        // Clients name the types that they take; the answer is what was pushed all the same.
        let accept = [MANIFEST, DOCKER_MANIFEST].join(", ");
        let answer = ask(http, 200, get(&path).header("Accept", accept))?;
        ensure!(answer.body == bytes, "{path} came back as other bytes");
        for answer in [answer, ask(http, 200, head(&path))?] {
            for (name, value) in [
                ("Content-Type", media_type.to_owned()),
                ("Content-Length", bytes.len().to_string()),
                ("Docker-Content-Digest", digest.clone()),
                ("ETag", format!("\"{digest}\"")),
            ] {
                ensure!(
                    answer.header(name) == Some(&value),
                    "{name} of {path} is not {value}: {answer:?}"
                );
            }
        }
        ask(
            http,
            304,
            get(&path).header("If-None-Match", format!("\"{digest}\"")),
        )?;
    }
    Ok(())
}

#[test]
fn by_tag_and_by_digest_the_bytes_that_were_pushed() -> Result<()> {
    let (_server, mut http) = serve()?;
    let manifest = push_blobs(&mut http, "a/b", "image")?;
    let digest = sha256(&manifest);
    let answer = ask(&mut http, 201, put("a/b", "v1", MANIFEST, &manifest))?;
    assert_eq!(answer.location()?, format!("/v2/a/b/manifests/{digest}"));
    assert_eq!(
        answer.header("Docker-Content-Digest"),
        Some(digest.as_str())
    );
    holds(&mut http, "a/b", &["v1", &digest], MANIFEST, &manifest)?;
    // By digest alone, and again, which changes nothing.
    let other = push_blobs(&mut http, "a/b", "other")?;
    for _ in 0..2 {
        ask(
            &mut http,
            201,
            put("a/b", &sha256(&other), MANIFEST, &other),
        )?;
    }
    holds(&mut http, "a/b", &[&sha256(&other)], MANIFEST, &other)?;
    // A tag moves, and what it left stays.
    ask(&mut http, 201, put("a/b", "v1", MANIFEST, &other))?;
    holds(&mut http, "a/b", &["v1"], MANIFEST, &other)?;
    holds(&mut http, "a/b", &[&digest], MANIFEST, &manifest)
}

#[test]
fn docker_schema_2_images_and_lists() -> Result<()> {
    let (_server, mut http) = serve()?;
    push(&mut http, "a", b"{}")?;
    let image = format!(
        r#"{{"schemaVersion": 2, "mediaType": "{DOCKER_MANIFEST}", "config": {}, "layers": []}}"#,
        descriptor("application/vnd.docker.container.image.v1+json", b"{}")
    );
    ask(
        &mut http,
        201,
        put("a", "image", DOCKER_MANIFEST, image.as_bytes()),
    )?;
    holds(
        &mut http,
        "a",
        &["image", &sha256(image.as_bytes())],
        DOCKER_MANIFEST,
        image.as_bytes(),
    )?;
    let list = format!(
        r#"{{"schemaVersion": 2, "mediaType": "{DOCKER_LIST}", "manifests": [{}]}}"#,
        descriptor(DOCKER_MANIFEST, image.as_bytes())
    );
    ask(
        &mut http,
        201,
        put("a", "list", DOCKER_LIST, list.as_bytes()),
    )?;
    holds(&mut http, "a", &["list"], DOCKER_LIST, list.as_bytes())
}

#[test]
fn indexes_whole_nested_sparse_and_empty() -> Result<()> {
    let (_server, mut http) = serve()?;
    let images = [
        push_image(&mut http, "a", "one")?,
        push_image(&mut http, "a", "two")?,
    ];
    let whole = content::index(&[
        descriptor(MANIFEST, &images[0]),
        descriptor(MANIFEST, &images[1]),
    ]);
    let nested = content::index(&[descriptor(INDEX, &whole)]);
    // Who copies one platform of many pushes an index whose other children never come.
    let sparse = content::index(&[
        descriptor(MANIFEST, &images[0]),
        descriptor(MANIFEST, b"elsewhere"),
    ]);
    let empty = content::index(&[]);
    for (tag, index) in [
        ("whole", &whole),
        ("nested", &nested),
        ("sparse", &sparse),
        ("empty", &empty),
    ] {
        ask(&mut http, 201, put("a", tag, INDEX, index))?;
        holds(&mut http, "a", &[tag, &sha256(index)], INDEX, index)?;
    }
    holds(&mut http, "a", &[&sha256(&images[1])], MANIFEST, &images[1])
}

#[test]
fn a_manifest_whose_blobs_are_missing_is_refused() -> Result<()> {
    let (_server, mut http) = serve()?;
    let config = descriptor(content::CONFIG, b"{}");
    let layer = descriptor(content::LAYER, b"layer");
    let manifest = content::manifest(&config, std::slice::from_ref(&layer));
    let missing = |http: &mut Connection, digests: &[&str]| -> Result<()> {
        let answer = refuse(
            http,
            400,
            "MANIFEST_BLOB_UNKNOWN",
            put("a", "v1", MANIFEST, &manifest),
        )?;
        assert_eq!(
            answer.json()?["errors"][0]["detail"]["digests"],
            json!(digests)
        );
        for reference in ["v1", &sha256(&manifest)] {
            ask(http, 404, get(format!("/v2/a/manifests/{reference}")))?;
        }
        Ok(())
    };
    let (config, layer) = (sha256(b"{}"), sha256(b"layer"));
    missing(&mut http, &[&config, &layer])?;
    push(&mut http, "a", b"{}")?;
    missing(&mut http, &[&layer])?;
    // In another repository it is as missing as nowhere.
    push(&mut http, "b", b"layer")?;
    missing(&mut http, &[&layer])?;
    push(&mut http, "a", b"layer")?;
    ask(&mut http, 201, put("a", "v1", MANIFEST, &manifest))?;
    Ok(())
}

#[test]
fn a_manifest_of_another_repository_is_unknown() -> Result<()> {
    let (_server, mut http) = serve()?;
    let manifest = push_image(&mut http, "one", "v1")?;
    for reference in ["v1", &sha256(&manifest)] {
        let path = format!("/v2/two/manifests/{reference}");
        refuse(&mut http, 404, "MANIFEST_UNKNOWN", get(&path))?;
        ask(&mut http, 404, head(&path))?;
    }
    Ok(())
}

#[test]
fn content_types_parameters_are_dropped_and_contradictions_refused() -> Result<()> {
    let (_server, mut http) = serve()?;
    let image = push_blobs(&mut http, "a", "image")?;
    let index = content::index(&[]);
    let sent = format!("{MANIFEST}; charset=utf-8");
    ask(&mut http, 201, put("a", "v1", &sent, &image))?;
    holds(&mut http, "a", &["v1"], MANIFEST, &image)?;
    let text = String::from_utf8(image.clone())?;
    let both = text.replacen('{', "{\"manifests\":[],", 1);
    let untyped = text.replacen(&format!("\"mediaType\": \"{MANIFEST}\","), "", 1);
    // What one client takes for an image and another for an index (CVE-2021-41190).
    for (media_type, bytes) in [
        (INDEX, &image[..]),
        (MANIFEST, &index),
        (DOCKER_MANIFEST, &image),
        (MANIFEST, both.as_bytes()),
        (INDEX, both.as_bytes()),
        (INDEX, untyped.as_bytes()),
        (MANIFEST, b"{}"),
        (MANIFEST, b"no json"),
        (MANIFEST, b""),
        (
            MANIFEST,
            text.replace("\"schemaVersion\" :2", "\"schemaVersion\":1")
                .as_bytes(),
        ),
        (MANIFEST, text.replace("sha256:", "sha256:../").as_bytes()),
    ] {
        refuse(
            &mut http,
            400,
            "MANIFEST_INVALID",
            put("a", "bad", media_type, bytes),
        )?;
    }
    refuse(
        &mut http,
        404,
        "MANIFEST_UNKNOWN",
        get("/v2/a/manifests/bad"),
    )?;
    Ok(())
}

#[test]
fn a_wrong_digest_is_refused() -> Result<()> {
    let (_server, mut http) = serve()?;
    let image = push_blobs(&mut http, "a", "image")?;
    let other = sha256(b"other");
    refuse(
        &mut http,
        400,
        "DIGEST_INVALID",
        put("a", &other, MANIFEST, &image),
    )?;
    for reference in [&other, &sha256(&image)] {
        refuse(
            &mut http,
            404,
            "MANIFEST_UNKNOWN",
            get(format!("/v2/a/manifests/{reference}")),
        )?;
    }
    for bad in [
        "sha256:abc",
        "md5:d41d8cd98f00b204e9800998ecf8427e",
        "sha256:",
    ] {
        refuse(
            &mut http,
            400,
            "DIGEST_INVALID",
            put("a", bad, MANIFEST, &image),
        )?;
    }
    Ok(())
}

#[test]
fn sha512_by_digest() -> Result<()> {
    let (_server, mut http) = serve()?;
    let image = push_blobs(&mut http, "a", "image")?;
    let digest = sha512(&image);
    ask(&mut http, 201, put("a", &digest, MANIFEST, &image))?;
    holds(&mut http, "a", &[&digest], MANIFEST, &image)
}

#[test]
fn four_mebibytes_and_not_a_byte_more() -> Result<()> {
    let (_server, mut http) = serve()?;
    let sized = |bytes: usize| {
        let empty = r#"{"schemaVersion":2,"manifests":[],"annotations":{"padding":""}}"#;
        let padding = "x".repeat(bytes - empty.len());
        empty
            .replace(r#""""#, &format!("\"{padding}\""))
            .into_bytes()
    };
    let largest = sized(4 << 20);
    ask(&mut http, 201, put("a", "largest", INDEX, &largest))?;
    holds(&mut http, "a", &["largest"], INDEX, &largest)?;
    let larger = sized((4 << 20) + 1);
    refuse(
        &mut http,
        413,
        "MANIFEST_INVALID",
        put("a", "larger", INDEX, &larger),
    )?;
    // Also where the length is not known before.
    let chunked = Request::new("PUT", "/v2/a/manifests/larger").header("Content-Type", INDEX);
    let chunked = chunked.body(wharf_tests::http::Body::Chunked(&larger));
    refuse(&mut http, 413, "MANIFEST_INVALID", chunked)?;
    refuse(
        &mut http,
        404,
        "MANIFEST_UNKNOWN",
        get("/v2/a/manifests/larger"),
    )?;
    Ok(())
}

#[test]
fn a_subject_need_not_be_there() -> Result<()> {
    let (_server, mut http) = serve()?;
    let image = String::from_utf8(push_blobs(&mut http, "a", "signature")?)?;
    let subject = format!("{{\"subject\":{},", descriptor(MANIFEST, b"never pushed"));
    let image = image.replacen('{', &subject, 1);
    ask(&mut http, 201, put("a", "v1", MANIFEST, image.as_bytes()))?;
    holds(&mut http, "a", &["v1"], MANIFEST, image.as_bytes())
}
