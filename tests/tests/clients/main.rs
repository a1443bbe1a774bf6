//! Clients and the registry. docker, crane and skopeo push and pull: whoever pushed, all of them get
//! back what was pushed, byte for byte. And the matrix of all clients and everything they can do.

mod image;
mod matrix;
mod pull;
mod rot;
mod sample;
mod seen;
mod world;

use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use wharf_tests::bed::{Bed, Tool};
use wharf_tests::command::output;
use wharf_tests::content::{INDEX, sha256};
use wharf_tests::http::{Connection, Request};
use wharf_tests::wharf::Server;

use image::Image;

/// For any one command of a client.
const PATIENCE: Duration = Duration::from_secs(120);

/// A server, and the clients to try on it.
struct Clients {
    bed: Bed,
    server: Server,
}

impl Clients {
    fn new() -> Result<Self> {
        Self::with(&[Tool::Crane, Tool::Skopeo])
    }

    fn with(tools: &[Tool]) -> Result<Self> {
        Ok(Self {
            bed: Bed::ensure_with(tools)?,
            server: Server::start()?,
        })
    }

    fn command(&self, program: &str, arguments: &[&str]) -> Command {
        let mut command = self.bed.command(program);
        command.args(arguments);
        command
    }

    fn run(&self, program: &str, arguments: &[&str]) -> Result<String> {
        output(&mut self.command(program, arguments), PATIENCE)
    }

    /// The manifest under a name, as the registry has it, read with no client at all.
    fn manifest(&self, repository: &str, reference: &str) -> Result<Vec<u8>> {
        let get = Request::new("GET", format!("/v2/{repository}/manifests/{reference}"));
        let answer = Connection::open(self.server.address())?.send(get)?;
        ensure!(answer.status == 200, "{answer:?}");
        Ok(answer.body)
    }

    /// Holds the registry to a push: all clients pull the image, and get its bytes.
    fn all_pull(&self, repository: &str, image: &Image) -> Result<()> {
        let manifest = self.manifest(repository, "v1")?;
        let name = self.server.image(&format!("{repository}:v1"));
        pull::with_crane(self, &name, &manifest)?;
        pull::with_skopeo(self, &name, &manifest)?;
        pull::with_docker(self, &name, &sha256(&manifest), image)?;
        // Reads everything once more and compares digests, sizes and what is inside the layers with
        // what manifest and config say.
        self.run("crane", &["validate", "--insecure", "--remote", &name])?;
        Ok(())
    }
}

#[test]
fn docker_pushes_and_all_pull() -> Result<()> {
    let clients = Clients::new()?;
    let image = Image::build(&clients, "docker")?;
    let name = clients.server.image("by/docker:v1");
    clients.run("docker", &["tag", &image.name, &name])?;
    let said = clients.run("docker", &["push", &name])?;
    // Docker tells the digest of what it pushed.
    let digest = sha256(&clients.manifest("by/docker", "v1")?);
    ensure!(said.contains(&digest), "{digest} is not in: {said}");

    // To another repository it mounts the layers, and again it finds that there is nothing to do.
    let copy = clients.server.image("by/docker/copy:v1");
    clients.run("docker", &["tag", &name, &copy])?;
    let said = clients.run("docker", &["push", &copy])?;
    ensure!(said.contains("Mounted from by/docker"), "{said}");
    let said = clients.run("docker", &["push", &copy])?;
    ensure!(said.contains("Layer already exists"), "{said}");

    clients.run("docker", &["rmi", &copy, &name])?;
    image.forget()?;
    clients.all_pull("by/docker", &image)?;
    clients.all_pull("by/docker/copy", &image)
}

#[test]
fn crane_pushes_and_all_pull() -> Result<()> {
    let clients = Clients::new()?;
    let image = Image::build(&clients, "crane")?;
    image.forget()?;
    let name = clients.server.image("by/crane:v1");
    clients.run("crane", &["push", "--insecure", &image.saved(), &name])?;
    clients.all_pull("by/crane", &image)
}

#[test]
fn skopeo_pushes_and_all_pull() -> Result<()> {
    let clients = Clients::new()?;
    let image = Image::build(&clients, "skopeo")?;
    image.forget()?;
    let name = format!("docker://{}", clients.server.image("by/skopeo:v1"));
    let saved = format!("docker-archive:{}", image.saved());
    skopeo_copy(&clients, &[&saved, &name])?;
    clients.all_pull("by/skopeo", &image)?;
    // The OCI form of the same image is another manifest of other media types.
    let name = format!("docker://{}", clients.server.image("by/skopeo/oci:v1"));
    skopeo_copy(&clients, &["--format", "oci", &saved, &name])?;
    clients.all_pull("by/skopeo/oci", &image)
}

#[test]
fn an_index_of_two_platforms_in_both_forms() -> Result<()> {
    let clients = Clients::new()?;
    let image = Image::build(&clients, "index")?;
    image.forget()?;
    let name = |tag: &str| clients.server.image(&format!("by/index:{tag}"));
    clients.run(
        "crane",
        &["push", "--insecure", &image.saved(), &name("amd64")],
    )?;
    for platform in ["amd64", "arm64"] {
        let (os, from, to) = (format!("linux/{platform}"), name("amd64"), name(platform));
        clients.run(
            "crane",
            &[
                "mutate",
                "--insecure",
                "--set-platform",
                &os,
                &from,
                "--tag",
                &to,
            ],
        )?;
    }
    let append = |tag: &str, form: &[&str]| {
        let (one, other, to) = (name("amd64"), name("arm64"), name(tag));
        let append = [
            "index",
            "append",
            "--insecure",
            "-m",
            &one,
            "-m",
            &other,
            "--tag",
            &to,
        ];
        clients.run("crane", &[&append[..], form].concat())
    };
    append("index", &[])?;
    append("list", &["--docker-empty-base"])?;
    for tag in ["index", "list"] {
        all_pull_index(&clients, tag).with_context(|| format!("the {tag}"))?;
    }
    Ok(())
}

fn all_pull_index(clients: &Clients, tag: &str) -> Result<()> {
    let name = clients.server.image(&format!("by/index:{tag}"));
    let index = clients.manifest("by/index", tag)?;
    let children = children(&index)?;
    assert_eq!(children.len(), 2);
    pull::with_crane(clients, &name, &index)?;
    pull::skopeo_reads(clients, &name, &index)?;
    // From one repository to another, by each client that can push it.
    let copy = clients.server.image(&format!("by/crane/index:{tag}"));
    clients.run("crane", &["copy", "--insecure", &name, &copy])?;
    let mut copies = vec!["by/crane/index"];
    // An older skopeo cannot copy crane's OCI index as it is: it drops what it does not know of it,
    // or gives up.
    if tag == "list" {
        pull::with_skopeo(clients, &name, &index)?;
        let (from, to) = (
            format!("docker://{name}"),
            clients.server.image("by/skopeo/index:list"),
        );
        skopeo_copy(
            clients,
            &[
                "--all",
                "--src-tls-verify=false",
                &from,
                &format!("docker://{to}"),
            ],
        )?;
        copies.push("by/skopeo/index");
    }
    for copy in copies {
        assert_eq!(clients.manifest(copy, tag)?, index);
        for child in &children {
            assert_eq!(
                clients.manifest(copy, child)?,
                clients.manifest("by/index", child)?
            );
        }
    }
    // Docker takes the child for its own platform, or the one that it is asked for, and remembers
    // the index.
    for platform in ["linux/amd64", "linux/arm64"] {
        let said = clients.run("docker", &["pull", "--platform", platform, &name])?;
        let inspect = [
            "image",
            "inspect",
            "--format",
            "{{.Os}}/{{.Architecture}}",
            &name,
        ];
        let pulled = clients.run("docker", &inspect);
        clients.run("docker", &["rmi", &name])?;
        ensure!(said.contains(&sha256(&index)), "{said}");
        assert_eq!(pulled?.trim(), platform);
    }
    Ok(())
}

/// The digests of an index's manifests.
fn children(index: &[u8]) -> Result<Vec<String>> {
    let index: Value = serde_json::from_slice(index)?;
    let kind = index["mediaType"].as_str().unwrap_or(INDEX);
    ensure!(
        kind.contains("index") || kind.contains("manifest.list"),
        "{kind}"
    );
    let children = index["manifests"].as_array().context("no manifests")?;
    let digests = children
        .iter()
        .map(|child| child["digest"].as_str().map(str::to_owned));
    digests.collect::<Option<_>>().context("no digest")
}

fn skopeo_copy(clients: &Clients, arguments: &[&str]) -> Result<String> {
    let mut command = clients.command(
        "skopeo",
        &["--insecure-policy", "copy", "--dest-tls-verify=false"],
    );
    output(command.args(arguments), PATIENCE)
}
