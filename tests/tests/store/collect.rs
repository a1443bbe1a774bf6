//! Garbage collection.

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use wharf_tests::content::{self, MANIFEST, sha256};
use wharf_tests::http::{Body, Connection, Request};
use wharf_tests::talk::{
    ask, blobs_of, delete, files, get, head, manifest_of, open, push, push_image, put, until,
};

use crate::{PATIENCE, operate, report, said, serve, stored};

#[test]
fn what_nothing_needs_goes_by_itself_and_nothing_else() -> Result<()> {
    let (server, mut http) = serve(&["--gc-grace", "1s"])?;
    // Two images that share a layer, and one of them a second time elsewhere.
    let kept = push_image(&mut http, "kept", "v1")?;
    let shared = push(&mut http, "kept", b"shared")?;
    let image = |layers: &[&[u8]]| {
        let layers: Vec<_> = layers
            .iter()
            .map(|layer| content::descriptor(content::LAYER, layer))
            .collect();
        content::manifest(&content::descriptor(content::CONFIG, b"{}"), &layers)
    };
    push(&mut http, "kept", b"{}")?;
    push(&mut http, "kept", b"own")?;
    let (one, other) = (image(&[b"shared"]), image(&[b"shared", b"own"]));
    ask(&mut http, 201, put("kept", "one", MANIFEST, &one))?;
    ask(&mut http, 201, put("kept", "other", MANIFEST, &other))?;
    push_image(&mut http, "gone", "v1")?;
    push_image(&mut http, "gone", "v2")?;
    push(&mut http, "loose", b"never needed")?;

    let manifest = |manifest: &[u8]| format!("/v2/kept/manifests/{}", sha256(manifest));
    ask(&mut http, 202, delete(manifest(&other)))?;
    let v2 = sha256(&manifest_of("v2"));
    ask(&mut http, 202, delete(format!("/v2/gone/manifests/{v2}")))?;
    // A tag is no reason to keep a manifest, and an untagged manifest is kept.
    ask(&mut http, 202, delete("/v2/gone/manifests/v1"))?;

    let mut expected: Vec<String> = blobs_of("v1").iter().map(|blob| sha256(blob)).collect();
    expected.extend([shared.clone(), sha256(b"{}")]);
    let expected = expected.into_iter().collect();
    until(PATIENCE, &expected, || stored(&server))?;
    for (repository, bytes) in [("kept", &kept), ("gone", &kept)] {
        let path = format!("/v2/{repository}/manifests/{}", sha256(bytes));
        ask(&mut http, 200, get(path))?;
        for blob in blobs_of("v1") {
            let path = format!("/v2/{repository}/blobs/{}", sha256(&blob));
            ensure!(ask(&mut http, 200, get(path))?.body == blob);
        }
    }
    ask(&mut http, 200, get(format!("/v2/kept/blobs/{shared}")))?;
    ask(
        &mut http,
        404,
        get(format!("/v2/loose/blobs/{}", sha256(b"never needed"))),
    )?;
    Ok(())
}

#[test]
fn a_push_that_takes_longer_than_the_grace_keeps_what_it_began_with() -> Result<()> {
    let (server, mut http) = serve(&["--gc-grace", "1s"])?;
    let [config, one, other] = blobs_of("slow");
    push(&mut http, "a", &config)?;
    push(&mut http, "a", &one)?;
    let witness = push(&mut http, "b", b"nobody pushes to this repository")?;
    let upload = open(&mut http, "a")?;
    // The others' garbage has gone; so collection has been here, and what it left it left on purpose.
    until(PATIENCE, &false, || Ok(stored(&server)?.contains(&witness)))?;

    let last = Request::new("PUT", format!("{upload}?digest={}", sha256(&other)));
    ask(&mut http, 201, last.body(Body::Sized(&other)))?;
    let manifest = manifest_of("slow");
    ask(&mut http, 201, put("a", "slow", MANIFEST, &manifest))?;
    Ok(())
}

#[test]
fn who_asks_for_a_blob_keeps_it() -> Result<()> {
    const GRACE: Duration = Duration::from_secs(3);
    let (server, mut http) = serve(&["--gc-grace", "3s"])?;
    let blob = push(&mut http, "a", b"asked for")?;
    let witness = push(&mut http, "b", b"not asked for")?;
    let mut asked = Instant::now();
    let mut gaps = Vec::new();
    // Until the other one has gone, and for as long again.
    let mut gone: Option<Instant> = None;
    while gone.is_none_or(|gone| gone.elapsed() < GRACE) {
        let answer = http.send(head(format!("/v2/a/blobs/{blob}")))?;
        gaps.push(asked.elapsed());
        asked = Instant::now();
        // A machine that lets us wait for so long has let the blob go rightly.
        if gaps.iter().all(|gap| *gap < GRACE / 2) {
            ensure!(answer.status == 200, "gone while it was asked for");
        }
        if gone.is_none() && !stored(&server)?.contains(&witness) {
            gone = Some(Instant::now());
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    ensure!(gaps.len() > 10, "asked {} times", gaps.len());
    until(PATIENCE, &false, || Ok(stored(&server)?.contains(&blob)))
}

#[test]
fn a_deleted_blob_gives_its_space_back_at_once() -> Result<()> {
    let (server, mut http) = serve(&[])?;
    let blob = push(&mut http, "a", b"content")?;
    push(&mut http, "b", b"content")?;
    ask(&mut http, 202, delete(format!("/v2/a/blobs/{blob}")))?;
    ensure!(
        stored(&server)?.contains(&blob),
        "the other repository has it"
    );
    ask(&mut http, 202, delete(format!("/v2/b/blobs/{blob}")))?;
    ensure!(stored(&server)?.is_empty());
    Ok(())
}

#[test]
fn a_dry_run_says_what_would_go_and_takes_nothing() -> Result<()> {
    let (mut server, mut http) = serve(&["--gc-grace", "1h"])?;
    let blob = push(&mut http, "a", b"content")?;
    // A server with a longer grace does not see it so.
    let theirs = report(&server, &["gc", "--dry-run"])?;
    ensure!(theirs["collected"]["collection"]["blobs"] == 0, "{theirs}");

    server.terminate(PATIENCE)?;
    std::thread::sleep(Duration::from_millis(2100));
    let dry = ["gc", "--dry-run", "--gc-grace", "1s"];
    let would = report(&server, &dry)?;
    let garbage = &would["collected"]["collection"]["garbage"][0];
    ensure!(
        garbage["digest"] == blob.as_str() && garbage["repository"] == "a",
        "{would}"
    );
    ensure!(would["collected"]["collection"]["bytes"] == 7, "{would}");
    ensure!(stored(&server)?.contains(&blob));
    let text = said(&operate(&server, &dry)?);
    ensure!(text.contains("would free 7 B of 1 blobs"), "{text}");
    let text = said(&operate(&server, &["gc", "--gc-grace", "1s"])?);
    ensure!(text.contains("freed 7 B"), "{text}");
    ensure!(stored(&server)?.is_empty());
    Ok(())
}

#[test]
fn after_a_crash_everything_counts_as_just_used() -> Result<()> {
    let (mut server, mut http) = serve(&["--gc-grace", "1h"])?;
    push(&mut http, "a", b"content")?;
    server.kill()?;
    std::thread::sleep(Duration::from_millis(1100));
    let held = report(&server, &["gc", "--gc-grace", "2s"])?;
    let held = &held["collected"]["collection"];
    ensure!(held["blobs"] == 0 && held["held"].is_string(), "{held}");
    // And an orderly end right after that does not make it known.
    let again = report(&server, &["gc", "--gc-grace", "2s"])?;
    ensure!(
        again["collected"]["collection"]["held"].is_string(),
        "{again}"
    );
    ensure!(stored(&server)?.len() == 1);
    Ok(())
}

#[test]
fn an_upload_that_nobody_goes_on_with_ends() -> Result<()> {
    let (server, mut http) = serve(&["--upload-expiry", "2s", "--gc-grace", "1s"])?;
    let abandoned = open(&mut http, "a")?;
    let chunk = Request::new("PATCH", &abandoned).body(Body::Chunked(b"some bytes"));
    ask(&mut http, 202, chunk)?;
    // One whose body is on its way does not end, however slow it is.
    let mut slow = Connection::open(server.address())?;
    let upload = open(&mut slow, "b")?;
    slow.write(
        format!("PATCH {upload} HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n")
            .as_bytes(),
    )?;
    until(PATIENCE, &1, || {
        slow.write_chunk(b"a")?;
        Ok(files(&server.data().join("uploads"))?.len())
    })?;
    ask(&mut http, 404, get(&abandoned))?;
    for _ in 0..30 {
        slow.write_chunk(b"a")?;
        std::thread::sleep(Duration::from_millis(100));
    }
    slow.write(b"0\r\n\r\n")?;
    ensure!(slow.read_answer("PATCH")?.status == 202);
    Ok(())
}

#[test]
fn why_a_blob_is_kept() -> Result<()> {
    let (server, mut http) = serve(&[])?;
    let manifest = push_image(&mut http, "team/app", "v1")?;
    ask(
        &mut http,
        201,
        put("team/app", "stable", MANIFEST, &manifest),
    )?;
    let layer = sha256(&blobs_of("v1")[1]);
    let why = said(&operate(&server, &["image", "why", &layer])?);
    ensure!(
        why.contains(&format!(
            "team/app: stable, v1 (manifest {})",
            sha256(&manifest)
        )),
        "{why}"
    );
    ask(
        &mut http,
        202,
        delete(format!("/v2/team/app/manifests/{}", sha256(&manifest))),
    )?;
    let why = said(&operate(&server, &["image", "why", &layer])?);
    ensure!(
        why.contains("no manifest; unused for") && why.contains("kept for 60 min"),
        "{why}"
    );
    let unknown = operate(&server, &["image", "why", &sha256(b"?")])?;
    ensure!(unknown.status.code() == Some(5), "{}", said(&unknown));
    let wrong = operate(&server, &["image", "why", "latest"])?;
    ensure!(wrong.status.code() == Some(1), "{}", said(&wrong));
    Ok(())
}
