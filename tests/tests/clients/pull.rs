//! Pulling with each client, and comparing what it got with what the registry has.

use std::path::Path;

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use wharf_tests::command::output;
use wharf_tests::content::sha256;

use crate::image::{Image, image_layers};
use crate::{Clients, PATIENCE, children, skopeo_copy};

/// crane writes an OCI layout, in which every file is named after its digest.
pub(crate) fn with_crane(clients: &Clients, name: &str, manifest: &[u8]) -> Result<()> {
    let told = clients.run("crane", &["digest", "--insecure", name])?;
    assert_eq!(told.trim(), sha256(manifest));
    let folder = tempfile::tempdir()?;
    let path = folder.path().to_string_lossy();
    clients.run(
        "crane",
        &["pull", "--insecure", "--format", "oci", name, &path],
    )?;
    let blobs = folder.path().join("blobs/sha256");
    complete(manifest, &|digest| {
        std::fs::read(blobs.join(digest)).with_context(|| format!("crane has no {digest}"))
    })
}

/// skopeo writes a folder with the manifest beside the files named after their digests.
pub(crate) fn with_skopeo(clients: &Clients, name: &str, manifest: &[u8]) -> Result<()> {
    skopeo_reads(clients, name, manifest)?;
    let folder = tempfile::tempdir()?;
    let (from, to) = (
        format!("docker://{name}"),
        format!("dir:{}", folder.path().display()),
    );
    skopeo_copy(clients, &["--all", "--src-tls-verify=false", &from, &to])?;
    let read = |file: &str| {
        let path = folder.path().join(file);
        std::fs::read(&path).with_context(|| format!("skopeo has no {file}"))
    };
    ensure!(
        read("manifest.json")? == manifest,
        "skopeo copied another manifest"
    );
    complete(manifest, &|digest| {
        if sha256(manifest) == format!("sha256:{digest}") {
            return Ok(manifest.to_vec());
        }
        let child = format!("{digest}.manifest.json");
        read(if Path::exists(&folder.path().join(&child)) {
            &child
        } else {
            digest
        })
    })
}

/// The manifest as skopeo sees it.
pub(crate) fn skopeo_reads(clients: &Clients, name: &str, manifest: &[u8]) -> Result<()> {
    let inspect = [
        "--insecure-policy",
        "inspect",
        "--raw",
        "--tls-verify=false",
    ];
    let mut command = clients.command("skopeo", &inspect);
    let raw = output(command.arg(format!("docker://{name}")), PATIENCE)?;
    ensure!(
        raw.as_bytes() == manifest,
        "skopeo reads another manifest: {raw}"
    );
    Ok(())
}

/// Docker keeps what is inside the layers, and says which manifest it was.
pub(crate) fn with_docker(
    clients: &Clients,
    name: &str,
    digest: &str,
    image: &Image,
) -> Result<()> {
    let said = clients.run("docker", &["pull", name])?;
    ensure!(
        said.contains(digest) && !said.contains("Already exists"),
        "{digest}: {said}"
    );
    let layers = image_layers(clients.command("docker", &[]), name);
    clients.run("docker", &["rmi", name])?;
    assert_eq!(layers?, image.layers);
    Ok(())
}

/// Whether a manifest and all that it names, and so on, is there with the right bytes. `read` gives
/// what has this name in hexadecimal.
fn complete(manifest: &[u8], read: &dyn Fn(&str) -> Result<Vec<u8>>) -> Result<()> {
    let verified = |digest: &str| -> Result<Vec<u8>> {
        let bytes = read(digest.trim_start_matches("sha256:"))?;
        ensure!(
            sha256(&bytes) == digest,
            "{digest} came as {}",
            sha256(&bytes)
        );
        Ok(bytes)
    };
    ensure!(verified(&sha256(manifest))? == manifest);
    let document: Value = serde_json::from_slice(manifest)?;
    if document["manifests"].is_array() {
        for child in children(manifest)? {
            complete(&verified(&child)?, read)?;
        }
        return Ok(());
    }
    let layers = document["layers"].as_array().context("no layers")?;
    ensure!(layers.len() == 3, "{document}");
    for descriptor in layers.iter().chain([&document["config"]]) {
        verified(descriptor["digest"].as_str().context("no digest")?)?;
    }
    Ok(())
}
