//! What whole-program tests stand on: the machine they need ([`bed`]), the program under test ([`wharf`]) and how commands are run
//! ([`command`]).

pub mod bed;
pub mod command;
pub mod wharf;
