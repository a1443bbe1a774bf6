//! An OCI distribution registry as a library.
//!
//! Each module knows only those left of it: [`oci`] ← [`blobs`], [`catalog`] ← [`registry`] ←
//! [`api`] ← [`server`]. [`client`], which talks to registries, knows [`oci`] alone.

pub mod api;
pub mod blobs;
pub mod catalog;
pub mod client;
pub mod clock;
mod durable;
pub mod limits;
pub mod oci;
#[cfg(any(test, fuzzing))]
pub mod properties;
pub mod registry;
pub mod server;
mod transfers;
