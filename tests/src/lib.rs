//! What whole-program tests stand on: the machine they need ([`bed`]), the program under test
//! ([`wharf`]), how commands are run ([`command`]), an HTTP client with bad manners ([`http`]),
//! what is said to registries with it ([`talk`]), things to push ([`content`]), rows for a catalog ([`seed`]), a tracer of
//! system calls ([`strace`]), the example in a cluster ([`example`]), what a registry takes there that nobody brings
//! ([`by_hand`]), step after step on one cluster ([`walk`]), what `localhost` is ([`localhost`]), commands to kill in each of
//! their steps ([`steps`]), what a cluster leaves behind ([`traces`]), and the proof that the tests notice when something is
//! taken away ([`protections`]).

pub mod bed;
pub mod by_hand;
pub mod command;
pub mod content;
pub mod example;
pub mod http;
pub mod localhost;
pub mod protections;
pub mod seed;
pub mod steps;
pub mod strace;
pub mod talk;
pub mod traces;
pub mod volume;
pub mod walk;
pub mod wharf;

/// Whether what could go on for ever takes as long as it takes to believe it (`WHARF_LONG=1`), and not
/// seconds.
#[must_use]
pub fn is_long() -> bool {
    std::env::var("WHARF_LONG").is_ok_and(|value| value == "1")
}
