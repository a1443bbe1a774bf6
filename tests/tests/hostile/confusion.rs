//! One thing taken for another: a blob for a manifest, a digest for another algorithm's.

use anyhow::{Result, ensure};
use wharf_tests::content::{INDEX, MANIFEST, Random, sha256, sha512};
use wharf_tests::http::{Body, Connection, Request};
use wharf_tests::talk::{ask, get, head, open, push, push_image, put, refuse, serve, stored};

use crate::still_serves;

/// Of whatever size it is: to read it all in search for a manifest would fill the memory.
#[test]
fn a_blob_is_no_manifest_and_a_manifest_no_blob() -> Result<()> {
    let (server, mut http) = serve()?;
    let layer = Random::new(1).bytes(9 << 20);
    let layer = push(&mut http, "a", &layer)?;
    // A manifest that was pushed as a blob only is a blob.
    let image = push_image(&mut http, "a", "v1")?;
    let digest = sha256(&image);
    let alone = wharf_tests::content::index(&[]);
    let blob = push(&mut http, "a", &alone)?;
    for blob in [&layer, &blob] {
        for request in [get, head].map(|ask| ask(format!("/v2/a/manifests/{blob}"))) {
            assert_eq!(http.send(request)?.status, 404);
        }
        let manifest = get(format!("/v2/a/manifests/{blob}"));
        refuse(&mut http, 404, "MANIFEST_UNKNOWN", manifest)?;
        let delete = Request::new("DELETE", format!("/v2/a/manifests/{blob}"));
        refuse(&mut http, 404, "MANIFEST_UNKNOWN", delete)?;
    }
    refuse(
        &mut http,
        404,
        "BLOB_UNKNOWN",
        get(format!("/v2/a/blobs/{digest}")),
    )?;
    let delete = Request::new("DELETE", format!("/v2/a/blobs/{digest}"));
    refuse(&mut http, 404, "BLOB_UNKNOWN", delete)?;
    let mount = format!("/v2/b/blobs/uploads/?mount={digest}&from=a");
    ask(&mut http, 202, Request::new("POST", mount))?;
    still_serves(&server, 1)
}

#[test]
fn a_digest_is_of_its_algorithm() -> Result<()> {
    let (server, mut http) = serve()?;
    let bytes = b"content";
    let (short, long) = (sha256(bytes), sha512(bytes));
    let hex = |digest: &str| digest[7..].to_owned();
    for wrong in [
        // Another algorithm's digits, cut or filled up to the right length, and under its own name.
        format!("sha256:{}", &hex(&long)[..64]),
        format!("sha512:{}{}", hex(&short), hex(&short)),
        sha256(b"other"),
        sha512(b"other"),
        format!("sha256:{}", "0".repeat(64)),
    ] {
        close_in_vain(&mut http, &wrong, bytes)?;
        let post = Request::new("POST", format!("/v2/a/blobs/uploads/?digest={wrong}"));
        refuse(
            &mut http,
            400,
            "DIGEST_INVALID",
            post.body(Body::Sized(bytes)),
        )?;
        refuse(
            &mut http,
            404,
            "BLOB_UNKNOWN",
            get(format!("/v2/a/blobs/{wrong}")),
        )?;
        let index = wharf_tests::content::index(&[]);
        refuse(
            &mut http,
            400,
            "DIGEST_INVALID",
            self::put("a", &wrong, INDEX, &index),
        )?;
    }
    for malformed in [
        format!("sha256:{}", hex(&long)),
        format!("sha512:{}", hex(&short)),
        format!("sha384:{}", &hex(&long)[..96]),
        format!("sha256:{}", hex(&short).to_uppercase()),
    ] {
        let upload = close_in_vain(&mut http, &malformed, bytes)?;
        // It is not over: nothing was compared.
        ask(&mut http, 204, Request::new("DELETE", upload))?;
    }
    assert!(stored(&server)?.is_empty(), "{:?}", stored(&server)?);
    still_serves(&server, 2)
}

/// Closes an upload under a digest that is refused, and says which upload it was.
fn close_in_vain(http: &mut Connection, digest: &str, bytes: &[u8]) -> Result<String> {
    let upload = open(http, "a")?;
    let put = Request::new("PUT", format!("{upload}?digest={digest}"));
    refuse(http, 400, "DIGEST_INVALID", put.body(Body::Sized(bytes)))?;
    Ok(upload)
}

/// CVE-2021-41190: what is an image to one client and an index to another.
#[test]
fn an_image_is_no_index() -> Result<()> {
    let (_server, mut http) = serve()?;
    let both = format!(r#"{{"schemaVersion":2,"mediaType":"{INDEX}","manifests":[],"layers":[]}}"#);
    let index = format!(r#"{{"schemaVersion":2,"mediaType":"{INDEX}","manifests":[]}}"#);
    for (kind, bytes) in [(INDEX, &both), (MANIFEST, &both), (MANIFEST, &index)] {
        let put = put("a", "v1", kind, bytes.as_bytes());
        refuse(&mut http, 400, "MANIFEST_INVALID", put)?;
    }
    let answer = ask(&mut http, 404, get("/v2/a/manifests/v1"))?;
    ensure!(answer.error_code()? == "MANIFEST_UNKNOWN");
    Ok(())
}
