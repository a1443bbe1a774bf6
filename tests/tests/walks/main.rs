//! Clusters that have nothing to do with each other, two at a time: they wait for much and work little. The tests are started in the order
//! of their names, the longest ones first.

mod adopt;
mod drills;
mod existing;
mod minikube;

use anyhow::Result;

#[test]
fn a_cluster_that_is_used() -> Result<()> {
    drills::walk_through()
}

#[test]
fn a_cluster_that_wharf_makes_with_minikube() -> Result<()> {
    minikube::made()
}

#[test]
fn one_by_its_kubeconfig_alone() -> Result<()> {
    existing::walk_through()
}

#[test]
fn one_of_somebody_else_of_kind() -> Result<()> {
    adopt::walk_through()
}

#[test]
fn one_of_somebody_else_of_minikube() -> Result<()> {
    minikube::adopted()
}
