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
    let project = world.cluster.dir().join("project");
    std::fs::create_dir_all(&project)?;
    for file in ["deployment.yaml", "service.yaml"] {
        let text = std::fs::read_to_string(format!("{}/{file}", example::DIRECTORY))?;
        std::fs::write(project.join(file), text.replace(own, &pulled))?;
    }
    let project = project.display().to_string();
    world.kubectl(&["apply", "--filename", &project])?;
    let deployment = "deployment/python-server";
    world.kubectl(&["rollout", "status", deployment, "--timeout=180s"])?;
    let image = "--output=jsonpath={.spec.template.spec.containers[0].image}";
    let runs = world.kubectl(&["get", deployment, image])?;
    ensure!(runs == pulled, "{runs} runs");
    world
        .kubectl(&["delete", "--now", "--filename", &project])
        .map(drop)
}
