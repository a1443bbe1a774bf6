//! Tools that learn from the cluster where its registry is. Tilt and Skaffold take long to build; what they do with the ConfigMap is
//! short: they push the project's image to `host` under a name that they make of its own, and run it from
//! `hostFromContainerRuntime` (<https://github.com/tilt-dev/tilt/blob/v0.34.0/internal/container/registry.go>).

use anyhow::{Context, Result, ensure};
use wharf_tests::example;

use crate::world::World;

/// The project is the example as it comes, whose manifests name another registry.
pub(crate) fn need_no_settings(world: &World) -> Result<()> {
    let hosting = example::hosting(&world.cluster)?;
    let field = |name: &str| -> Result<String> {
        let said = hosting
            .lines()
            .find_map(|line| line.strip_prefix(&format!("{name}: ")));
        Ok(said.context("no such field")?.trim_matches('"').to_owned())
    };
    let name = "localhost_5000_python-server:tilt-1";
    let pushed = format!("{}/{name}", field("host")?);
    let pulled = format!("{}/{name}", field("hostFromContainerRuntime")?);
    example::push(&world.cluster, &pushed)?;
    world.docker(&["image", "rm", &pushed])?;

    let own = "localhost:5000/python-server:1.0";
    let mut files = Vec::new();
    for file in ["deployment.yaml", "service.yaml"] {
        let text = std::fs::read_to_string(format!("{}/{file}", example::DIRECTORY))?;
        let to = world.cluster.dir().join(file);
        std::fs::write(&to, text.replace(own, &pulled))?;
        files.push(format!("--filename={}", to.display()));
    }
    let files: Vec<_> = files.iter().map(String::as_str).collect();
    world.kubectl(&[&["apply"], &files[..]].concat())?;
    let deployment = "deployment/python-server";
    world.kubectl(&["rollout", "status", deployment, "--timeout=180s"])?;
    let image = "--output=jsonpath={.spec.template.spec.containers[0].image}";
    let runs = world.kubectl(&["get", deployment, image])?;
    ensure!(runs == pulled, "{runs} runs");
    world
        .kubectl(&[&["delete", "--now"], &files[..]].concat())
        .map(drop)
}
