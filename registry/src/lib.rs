//! An OCI distribution registry as a library.
//!
//! Each module knows only those left of it: [`oci`] ← [`blobs`], [`catalog`] ← [`registry`] ←
//! [`api`] ← [`server`].

pub mod api;
pub mod blobs;
pub mod catalog;
pub mod limits;
pub mod oci;
pub mod registry;
pub mod server;
