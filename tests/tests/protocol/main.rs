//! The protocol, statement by statement, against the real server and over real sockets.

mod blobs;
mod deletes;
mod errors;
mod guard;
mod interrupted;
mod limits;
mod manifests;
mod manners;
mod moves;
mod names;
mod reads;
mod referrers;
mod sessions;
mod small;
mod statements;
mod tags;
mod tunnel;
mod uploads;
