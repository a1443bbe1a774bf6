//! An OCI distribution registry as a library.
