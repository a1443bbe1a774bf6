//! What people read.

pub(crate) mod chart;
pub(crate) mod more;
pub(crate) mod table;
