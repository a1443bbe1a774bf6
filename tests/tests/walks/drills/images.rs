//! A node that has lost its images, as after a clean-up that knows no pins.

use anyhow::{Context, Result, ensure};
use wharf_tests::command;

use super::world::World;

/// No image of wharf is to be had from outside, so this takes a command: `wharf status` names the node as long as everything still
/// runs, and `wharf up` helps.
pub(crate) fn wiped(world: &World) -> Result<()> {
    let nodes = world.cluster.nodes()?;
    let worker = nodes.last().context("no nodes")?;
    // The one that stays is what every pod's sandbox is made of: the node could run nothing again without a registry outside.
    let wipe = r#"
        images() { ctr --namespace=k8s.io images ls | tail -n +2; }
        pause=$(images | awk '$1 ~ "/pause:" { print $3; exit }')
        images | awk -v pause="$pause" '$3 != pause { print $1 }' | xargs ctr --namespace=k8s.io images rm --sync >/dev/null
        images
    "#;
    let left = world.cluster.docker(&["exec", worker, "sh", "-c", wipe])?;
    ensure!(
        !left.contains("wharf/wharf") && !left.contains("python-server"),
        "{left}"
    );
    let said = world.complaint()?;
    ensure!(
        said.contains(&format!("wharf's image on {worker}: it is gone"))
            && said.contains("`wharf up"),
        "{said}"
    );
    let of_worker = format!("--field-selector=spec.nodeName={worker}");
    let delete = [
        "delete",
        "pods",
        "--namespace=wharf-system",
        "--selector=app.kubernetes.io/part-of=wharf",
        &of_worker,
    ];
    world.cluster.kubectl(&delete)?;
    command::output(&mut world.cluster.wharf(&["up"])?, super::world::LONG)?;
    world.works()
}
