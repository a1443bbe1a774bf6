//! What whole-program tests stand on: the machine they need ([`bed`]), the program under test
//! ([`wharf`]), how commands are run ([`command`]), an HTTP client with bad manners ([`http`]),
//! what is said to registries with it ([`talk`]) and things to push ([`content`]).

pub mod bed;
pub mod command;
pub mod content;
pub mod http;
pub mod talk;
pub mod volume;
pub mod wharf;
