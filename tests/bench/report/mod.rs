//! What people read.

pub(crate) mod table;
