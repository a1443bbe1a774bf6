//! `deploy/`: what installs the registry without wharf's command line. The chart, the kustomization and `wharf up` make the same
//! objects; the container file makes the image that wharf packs of itself; the action makes a registry for a workflow.

mod action;
mod chart;
mod cluster;
mod container;
mod objects;

use std::sync::RwLock;
use std::time::Duration;

/// What is deployed.
const DEPLOY: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../deploy");
/// The workspace's version, of which everything in `deploy/` is.
const VERSION: &str = env!("CARGO_PKG_VERSION");
/// For what makes a cluster or moves hundreds of megabytes.
const LONG: Duration = Duration::from_secs(600);
/// Held by whoever has something in Docker Engine, and alone by who restarts it.
static ENGINE: RwLock<()> = RwLock::new(());
