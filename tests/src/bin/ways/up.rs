//! From nothing to a pod, on every node, of an image that was just pushed to localhost: `wharf up`, and kind with its documented script.

use std::time::{Duration, Instant};

use anyhow::Result;
use serde_json::json;
use wharf_tests::bed::{Bed, Cluster};
use wharf_tests::command::{self, say};
use wharf_tests::example;

use crate::cluster::{LONG, free_port, up};
use crate::report::{line, median, spread, target};

/// kind's documented script, as far as a cluster of two nodes has it: <https://kind.sigs.k8s.io/docs/user/local-registry/>.
const SCRIPT: &str = include_str!("kind-with-registry.sh");
/// The registry that the script runs, where no image of it can be pulled.
const REGISTRY: &str = "wharf-test/distribution";
const PULLS: &str = "300s";

pub(crate) fn measure(bed: &Bed, pairs: usize) -> Result<()> {
    let port = free_port()?;
    let mut took = [Vec::new(), Vec::new()];
    let mut parts = Vec::new();
    for pair in 0..pairs {
        for turn in 0..2 {
            let turn = (turn + pair) % 2;
            let cluster = Cluster::reserve(bed, "ways")?;
            let image = example::image(port);
            // Before time is taken.
            example::build(&cluster, &image)?;
            if turn == 1 {
                registry(bed, &cluster)?;
            }
            let started = Instant::now();
            match turn {
                0 => drop(command::output(&mut up(bed, &cluster, port)?, LONG)?),
                _ => script(bed, &cluster, port)?,
            }
            let made = started.elapsed();
            cluster.docker(&["push", &image])?;
            everywhere(&cluster, &image)?;
            let whole = started.elapsed();
            let name = ["wharf up", "kind's script"][turn];
            let part = format!(
                "{name}: {} s, of which {} s until it returned",
                s(whole),
                s(made)
            );
            say(&format!("ways: pair {}: {part}", pair + 1));
            parts.push(part);
            took[turn].push(whole.as_secs_f64());
            cluster.docker(&["image", "rm", "--force", &image])?;
        }
    }
    line(
        "\n## From nothing to a pod of an image just pushed, Ready on both nodes: s, median (least–most)\n",
    );
    line("| wharf up | kind's script |\n|---|---|");
    line(&format!(
        "| {} | {} |\n",
        spread(&took[0], 1),
        spread(&took[1], 1)
    ));
    for part in parts {
        line(&format!("- {part}"));
    }
    let figure = median(&took[0]) / median(&took[1]);
    target(
        "wharf up / kind's script",
        figure,
        "<= 1.25",
        figure <= 1.25,
    );
    Ok(())
}

fn s(duration: Duration) -> String {
    format!("{:.1}", duration.as_secs_f64())
}

/// The registry that the script runs, as an image of one program.
fn registry(bed: &Bed, cluster: &Cluster) -> Result<()> {
    let folder = cluster.dir().join("registry");
    std::fs::create_dir_all(&folder)?;
    std::fs::copy(bed.node_program("registry"), folder.join("registry"))?;
    let config = json!({
        "version": "0.1",
        "storage": {"filesystem": {"rootdirectory": "/var/lib/registry"}, "delete": {"enabled": true}},
        "http": {"addr": ":5000"},
    });
    std::fs::write(folder.join("config.yml"), config.to_string())?;
    let file = "FROM scratch\nCOPY registry /registry\nCOPY config.yml /config.yml\nENV OTEL_TRACES_EXPORTER=none\nENTRYPOINT [\"/registry\"]\nCMD [\"serve\", \"/config.yml\"]\n";
    std::fs::write(folder.join("Dockerfile"), file)?;
    let folder = folder.display().to_string();
    cluster
        .docker(&["build", "--tag", REGISTRY, &folder])
        .map(drop)
}

fn script(bed: &Bed, cluster: &Cluster, port: u16) -> Result<()> {
    let file = cluster.dir().join("kind-with-registry.sh");
    std::fs::write(&file, SCRIPT)?;
    let mut sh = cluster.command("sh");
    sh.arg(&file)
        .env("cluster_name", cluster.name())
        .env("reg_name", cluster.container("registry"))
        .env("reg_port", port.to_string())
        .env("reg_image", REGISTRY);
    if let Some(image) = bed.node_image() {
        sh.env("node_image", image);
    }
    command::output(&mut sh, LONG).map(drop)
}

/// Runs the image on every node, and waits until it is ready there.
fn everywhere(cluster: &Cluster, image: &str) -> Result<()> {
    cluster.apply(&example::everywhere(image))?;
    let timeout = format!("--timeout={PULLS}");
    let status = ["rollout", "status", "daemonset/everywhere", &timeout];
    cluster.kubectl(&status).map(drop)
}
