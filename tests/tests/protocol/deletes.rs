//! Deleting tags, manifests and blobs.

use anyhow::Result;
use wharf_tests::content::{self, MANIFEST};
use wharf_tests::http::Connection;
use wharf_tests::wharf::Server;

use wharf_tests::talk::{ask, delete, get, head, push, push_blobs, push_image, put, refuse, serve};

#[test]
fn a_deleted_tag_leaves_its_manifest() -> Result<()> {
    let (_server, mut http) = serve()?;
    let digest = content::sha256(&push_image(&mut http, "a", "v1")?);
    ask(&mut http, 202, delete("/v2/a/manifests/v1"))?;
    ask(&mut http, 404, head("/v2/a/manifests/v1"))?;
    ask(&mut http, 200, head(format!("/v2/a/manifests/{digest}")))?;
    let again = delete("/v2/a/manifests/v1");
    refuse(&mut http, 404, "MANIFEST_UNKNOWN", again)?;
    Ok(())
}

#[test]
fn a_deleted_manifest_takes_its_tags_along_here_and_nowhere_else() -> Result<()> {
    let (mut server, mut http) = serve()?;
    let manifest = push_image(&mut http, "a", "v1")?;
    ask(&mut http, 201, put("a", "v2", MANIFEST, &manifest))?;
    push_image(&mut http, "b", "v1")?;
    let path = format!("/v2/a/manifests/{}", content::sha256(&manifest));
    ask(&mut http, 202, delete(&path))?;
    // Deleted stays deleted.
    server.kill()?;
    server.restart()?;
    let mut http = Connection::open(server.address())?;
    for gone in [path.as_str(), "/v2/a/manifests/v1", "/v2/a/manifests/v2"] {
        ask(&mut http, 404, head(gone))?;
    }
    ask(&mut http, 200, head("/v2/b/manifests/v1"))?;
    refuse(&mut http, 404, "MANIFEST_UNKNOWN", delete(&path))?;
    Ok(())
}

#[test]
fn a_blob_goes_only_when_no_manifest_needs_it() -> Result<()> {
    let (_server, mut http) = serve()?;
    let manifest = push_image(&mut http, "a", "v1")?;
    let layer: serde_json::Value = serde_json::from_slice(&manifest)?;
    let layer = layer["layers"][0]["digest"].as_str().unwrap_or_default();
    let blob = format!("/v2/a/blobs/{layer}");
    refuse(&mut http, 409, "DENIED", delete(&blob))?;
    ask(&mut http, 200, head(&blob))?;

    let path = format!("/v2/a/manifests/{}", content::sha256(&manifest));
    ask(&mut http, 202, delete(path))?;
    ask(&mut http, 202, delete(&blob))?;
    ask(&mut http, 404, head(&blob))?;
    refuse(&mut http, 404, "BLOB_UNKNOWN", delete(&blob))?;
    Ok(())
}

#[test]
fn a_blob_deleted_here_stays_elsewhere() -> Result<()> {
    let (_server, mut http) = serve()?;
    let digest = push(&mut http, "a", b"shared")?;
    push(&mut http, "b", b"shared")?;
    ask(&mut http, 202, delete(format!("/v2/a/blobs/{digest}")))?;
    ask(&mut http, 404, head(format!("/v2/a/blobs/{digest}")))?;
    let there = ask(&mut http, 200, get(format!("/v2/b/blobs/{digest}")))?;
    assert_eq!(there.body, b"shared");
    Ok(())
}

#[test]
fn deletes_can_be_switched_off() -> Result<()> {
    let server = Server::start_with(["--no-delete"])?;
    let mut http = Connection::open(server.address())?;
    let manifest = push_blobs(&mut http, "a", "image")?;
    ask(&mut http, 201, put("a", "v1", MANIFEST, &manifest))?;
    let blob = push(&mut http, "a", b"alone")?;
    let digest = content::sha256(&manifest);
    for path in [
        "/v2/a/manifests/v1".to_owned(),
        format!("/v2/a/manifests/{digest}"),
        format!("/v2/a/blobs/{blob}"),
    ] {
        refuse(&mut http, 405, "UNSUPPORTED", delete(&path))?;
        ask(&mut http, 200, head(path))?;
    }
    Ok(())
}
