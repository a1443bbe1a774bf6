//! Bytes that rot.

use anyhow::{Context, Result, ensure};
use wharf_tests::content::{MANIFEST, Random, sha256};
use wharf_tests::http::Connection;
use wharf_tests::talk::{
    ask, blobs_of, damage, file_of, get, head, manifest_of, push, push_image, put, refuse,
};

use crate::{operate, report, said, serve, stored};

#[test]
fn a_blob_that_rots_is_found_refused_and_healed_by_the_next_push() -> Result<()> {
    let (server, mut http) = serve(&[])?;
    let manifest = push_image(&mut http, "app", "v1")?;
    let bytes = Random::new(7).bytes(3 << 20);
    let blob = push(&mut http, "app", &bytes)?;
    let clean = operate(&server, &["scrub"])?;
    ensure!(
        clean.status.success() && said(&clean).contains("of 4 blobs"),
        "{}",
        said(&clean)
    );

    let layer: serde_json::Value = serde_json::from_slice(&manifest)?;
    let layer = layer["layers"][0]["digest"].as_str().context("no layer")?;
    for digest in [blob.as_str(), layer] {
        damage(&server, digest)?;
    }
    let dirty = operate(&server, &["scrub"])?;
    let text = said(&dirty);
    ensure!(dirty.status.code() == Some(7), "{text}");
    ensure!(
        text.contains(&format!("{layer} is damaged; push again: app:v1")),
        "{text}"
    );
    ensure!(server.log().contains("damaged"), "the log does not say so");
    for digest in [blob.as_str(), layer] {
        ask(&mut http, 404, head(format!("/v2/app/blobs/{digest}")))?;
        ask(&mut http, 404, get(format!("/v2/app/blobs/{digest}")))?;
    }
    // The image stays, and so does what is left of it.
    ask(&mut http, 200, get("/v2/app/manifests/v1"))?;

    // What any client does: it asks, is told that it is not there, and pushes it.
    push_image(&mut http, "app", "v1")?;
    push(&mut http, "app", &bytes)?;
    ensure!(ask(&mut http, 200, get(format!("/v2/app/blobs/{blob}")))?.body == bytes);
    let healed = ask(&mut http, 200, get(format!("/v2/app/blobs/{layer}")))?;
    ensure!(sha256(&healed.body) == layer);
    ensure!(operate(&server, &["scrub"])?.status.success());
    ensure!(stored(&server)?.len() == 4, "the bad copies are gone");
    Ok(())
}

#[test]
fn a_blob_of_another_length_or_none_is_refused_at_once_and_healed() -> Result<()> {
    let (server, mut http) = serve(&[])?;
    push_image(&mut http, "app", "v1")?;
    for (bytes, damage) in [(b"cut off", true), (b"removed", false)] {
        let blob = push(&mut http, "app", bytes)?;
        let file = file_of(&server, &blob)?.context("no file")?;
        match damage {
            true => std::fs::write(&file, "cut")?,
            false => std::fs::remove_file(&file)?,
        }
        ask(&mut http, 404, get(format!("/v2/app/blobs/{blob}")))?;
        // From then on nobody is told that it is there.
        ask(&mut http, 404, head(format!("/v2/app/blobs/{blob}")))?;
        push(&mut http, "app", bytes)?;
        ensure!(ask(&mut http, 200, get(format!("/v2/app/blobs/{blob}")))?.body == bytes);
    }
    Ok(())
}

#[test]
fn an_image_is_not_pushed_over_a_bad_blob() -> Result<()> {
    let (server, mut http) = serve(&[])?;
    push_image(&mut http, "app", "v1")?;
    let layer = sha256(&blobs_of("v1")[1]);
    damage(&server, &layer)?;
    report(&server, &["scrub"])?;
    let manifest = [manifest_of("v1"), b" ".to_vec()].concat();
    ask(&mut http, 400, put("app", "v2", MANIFEST, &manifest))?;
    Ok(())
}

#[test]
fn a_damaged_manifest_is_unknown_until_it_is_pushed_again() -> Result<()> {
    let (mut server, mut http) = serve(&[])?;
    let manifest = push_image(&mut http, "app", "v1")?;
    server.kill()?;
    let catalog = rusqlite::Connection::open(server.data().join("catalog.db"))?;
    let damaged = catalog.execute(
        "UPDATE manifest SET payload = CAST(payload || ' ' AS BLOB)",
        [],
    )?;
    ensure!(damaged == 1, "{damaged} manifests were damaged");
    drop(catalog);
    server.restart()?;
    let mut http = Connection::open(server.address())?;
    let path = "/v2/app/manifests/v1";
    refuse(&mut http, 404, "MANIFEST_UNKNOWN", get(path))?;
    ensure!(server.log().contains("a manifest is damaged"));
    ask(&mut http, 201, put("app", "v1", MANIFEST, &manifest))?;
    ensure!(ask(&mut http, 200, get(path))?.body == manifest);
    Ok(())
}
