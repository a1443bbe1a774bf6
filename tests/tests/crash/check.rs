//! Holding the server to the journal. Nobody writes meanwhile.

use std::collections::BTreeSet;
use std::path::Path;

use anyhow::{Context, Result, ensure};
use wharf_tests::content::sha256;
use wharf_tests::http::{Answer, Request};
use wharf_tests::talk::Client;
use wharf_tests::wharf::Server;

use crate::journal::{Journal, Key, Notes};

/// Checks all that was ever attempted.
pub(crate) fn everything(server: &Server, journal: &Journal) -> Result<()> {
    let mut notes = journal.notes();
    let all = notes.blobs.keys().chain(notes.manifests.keys());
    let all = all.chain(notes.tags.keys()).cloned().collect();
    check(server, &mut notes, &all)
}

/// Checks what was attempted since the last check.
pub(crate) fn touched(server: &Server, journal: &Journal) -> Result<()> {
    let mut notes = journal.notes();
    let touched = std::mem::take(&mut notes.touched);
    check(server, &mut notes, &touched)?;
    let pending = touched
        .into_iter()
        .filter(|key| !notes.is_acknowledged(key));
    let pending: Vec<_> = pending.collect();
    notes.touched.extend(pending);
    Ok(())
}

fn check(server: &Server, notes: &mut Notes, keys: &BTreeSet<Key>) -> Result<()> {
    let mut http = Client::new(server.address());
    // Repositories share the bytes of a blob; they are read through one of them, and all are asked.
    let mut read = BTreeSet::new();
    for key in keys {
        let (repository, reference) = key;
        let at = || format!("{repository} {reference}");
        if let Some(&acknowledged) = notes.blobs.get(key) {
            blob(&mut http, key, acknowledged, &mut read).with_context(at)?;
        } else if let Some(manifest) = notes.manifests.get_mut(key) {
            if let Some(answer) =
                self::manifest(&mut http, key, manifest.acknowledged).with_context(at)?
            {
                // Seen once, there for good.
                manifest.acknowledged = true;
                ensure!(
                    answer.body == manifest.payload
                        && answer.header("Content-Type") == Some(manifest.media_type),
                    "{}: another manifest than was pushed: {answer:?}",
                    at()
                );
            }
        } else if let Some(tag) = notes.tags.get_mut(key)
            && let Some(answer) = manifest(&mut http, key, tag.acknowledged).with_context(at)?
        {
            tag.see(&sha256(&answer.body)).with_context(at)?;
        }
    }
    Ok(())
}

/// Asks for a blob; one that is there has its digest.
fn blob(
    http: &mut Client,
    (repository, digest): &Key,
    acknowledged: bool,
    read: &mut BTreeSet<String>,
) -> Result<()> {
    let path = format!("/v2/{repository}/blobs/{digest}");
    let head = http.send(Request::new("HEAD", &path))?;
    if !found(&head, acknowledged)? || !read.insert(digest.clone()) {
        return Ok(());
    }
    let answer = http.send(Request::new("GET", &path))?;
    ensure!(
        answer.status == 200
            && answer.header("Content-Length") == head.header("Content-Length")
            && sha256(&answer.body) == *digest,
        "{} with {} bytes of {}",
        answer.status,
        answer.body.len(),
        sha256(&answer.body)
    );
    Ok(())
}

fn manifest(
    http: &mut Client,
    (repository, reference): &Key,
    acknowledged: bool,
) -> Result<Option<Answer>> {
    let path = format!("/v2/{repository}/manifests/{reference}");
    let answer = http.send(Request::new("GET", path))?;
    Ok(found(&answer, acknowledged)?.then_some(answer))
}

/// Whether something is there, which what was acknowledged is.
fn found(answer: &Answer, acknowledged: bool) -> Result<bool> {
    ensure!(
        answer.status == 200 || (answer.status == 404 && !acknowledged),
        "answered {} although it was acknowledged: {acknowledged}",
        answer.status
    );
    Ok(answer.status == 200)
}

/// Reads every file of the blob store, also those that the catalog does not know: each is whole, or
/// it would not have its name. Says how many they are.
pub(crate) fn files(data: &Path) -> Result<usize> {
    let mut count = 0;
    for folder in std::fs::read_dir(data.join("blobs/sha256"))? {
        for file in std::fs::read_dir(folder?.path())? {
            let path = file?.path();
            let name = path.file_stem().unwrap_or_default().to_string_lossy();
            let digest = sha256(&std::fs::read(&path)?);
            ensure!(
                digest == format!("sha256:{name}"),
                "{} holds {digest}",
                path.display()
            );
            count += 1;
        }
    }
    Ok(count)
}
