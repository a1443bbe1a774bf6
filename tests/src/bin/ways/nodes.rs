//! What the relay adds to a node's pull of an image, unpacking included.

use std::fs::File;
use std::io::Read;
use std::time::Instant;

use anyhow::{Context, Result};
use wharf_tests::command::say;

use crate::cluster::World;
use crate::report::{line, median, spread, target};

/// Of the image: this many layers of this many bytes, half of which can be compressed.
const LAYERS: usize = 4;
const LAYER: u64 = 64 << 20;

pub(crate) fn measure(world: &World, rounds: usize) -> Result<()> {
    let image = format!("localhost:{}/layers", world.port);
    build(world, &image)?;
    let nodes = world.cluster.nodes()?;
    let service = world
        .cluster
        .get(&["service", "registry", "--namespace=wharf-system"])?;
    let service = service["spec"]["clusterIP"]
        .as_str()
        .context("no address")?;
    let mut report = Vec::new();
    for node in &nodes {
        // The same name, with another idea of where that is.
        let straight = format!(
            "mkdir -p /tmp/straight/localhost:{port} && printf 'server = \"http://{service}:5000\"\\n[host.\"http://{service}:5000\"]\\n' > /tmp/straight/localhost:{port}/hosts.toml",
            port = world.port
        );
        world
            .cluster
            .docker(&["exec", node, "sh", "-c", &straight])?;
        let mut took = [Vec::new(), Vec::new()];
        for round in 0..=rounds {
            for turn in 0..2 {
                let turn = (turn + round) % 2;
                let hosts = ["/etc/containerd/certs.d", "/tmp/straight"][turn];
                let seconds = pull(world, node, hosts, &image)?;
                // The first of each finds nothing in any cache.
                if round > 0 {
                    took[turn].push(seconds);
                }
            }
        }
        report.push((node, took));
    }
    line(
        "\n## A node's pull of an image of 256 MiB in 4 layers, unpacking included: s, median (least–most)\n",
    );
    line("| node | through the relay | straight to the Service |\n|---|---|---|");
    for (node, [relay, straight]) in &report {
        line(&format!(
            "| {node} | {} | {} |",
            spread(relay, 2),
            spread(straight, 2)
        ));
    }
    line("");
    for (node, [relay, straight]) in &report {
        let figure = median(relay) / median(straight);
        let what = format!("relay / straight on {node}");
        target(&what, figure, "<= 1.05", figure <= 1.05);
    }
    world.cluster.docker(&["image", "rm", &image])?;
    Ok(())
}

fn pull(world: &World, node: &str, hosts: &str, image: &str) -> Result<f64> {
    let name = format!("{image}:latest");
    // Not where the kubelet's images are: there containerd gives each a second name, by which its content would stay.
    let ctr = ["exec", node, "ctr", "--namespace=ways", "images"];
    let hosts = ["pull", "--hosts-dir", hosts, &name];
    let started = Instant::now();
    world.cluster.docker(&[&ctr[..], &hosts].concat())?;
    let took = started.elapsed().as_secs_f64();
    // Nothing of it stays: the content is collected before the command ends.
    let forget = ["rm", "--sync", &name];
    world.cluster.docker(&[&ctr[..], &forget].concat())?;
    Ok(took)
}

fn build(world: &World, image: &str) -> Result<()> {
    say("ways: building an image of four layers ...");
    let folder = world.cluster.dir().join("layers");
    std::fs::create_dir_all(&folder)?;
    let mut dockerfile = "FROM scratch\n".to_owned();
    for layer in 0..LAYERS {
        let name = format!("layer-{layer}");
        let mut file = File::create(folder.join(&name))?;
        std::io::copy(&mut File::open("/dev/urandom")?.take(LAYER / 2), &mut file)?;
        file.set_len(LAYER)?;
        dockerfile += &format!("COPY {name} /{name}\n");
    }
    dockerfile += "CMD [\"/none\"]\n";
    std::fs::write(folder.join("Dockerfile"), dockerfile)?;
    let folder = folder.display().to_string();
    world.cluster.docker(&["build", "--tag", image, &folder])?;
    world.cluster.docker(&["push", image]).map(drop)
}
