//! Every limit of the server, in one place. What has no limit can be used to take the machine down.

use std::time::Duration;

/// Size of a manifest. The specification asks registries to take at least 4 MiB.
pub const MANIFEST_BYTES: usize = 4 << 20;
/// Descriptors (config, layers, children) in one manifest.
pub const DESCRIPTORS_PER_MANIFEST: usize = 20_000;
/// Upload sessions open at one time, on disk. Opening one more waits for [`OPEN_UPLOAD_WAIT`],
/// because clients do not come back after a 429.
pub const OPEN_UPLOADS: usize = 10_000;
/// How long a new upload waits for a place.
pub const OPEN_UPLOAD_WAIT: Duration = Duration::from_secs(30);
/// Finished uploads that are remembered, so that a `PUT` repeated after its answer was lost gets
/// that answer again.
pub const REMEMBERED_UPLOADS: usize = 4096;
/// Bytes of an upload gathered before they are written: large enough that a write's fixed costs
/// vanish, small enough that many uploads at once fit into memory.
pub const WRITE_BYTES: usize = 1 << 20;
/// Bytes read from disk for one frame of a pull.
pub const READ_BYTES: usize = 512 << 10;
/// Connections in all. Not for each peer: behind a relay everyone is one peer. Further ones wait in
/// the kernel's queue.
pub const CONNECTIONS: usize = 8192;
/// Header fields in one request.
pub const HEADERS: usize = 100;
/// Bytes of a connection's read buffer: the most that a request's line and headers may have, and
/// that one read of a body takes.
pub const READ_BUFFER_BYTES: usize = 256 << 10;
/// How long a connection may take to send a whole request head, and how long it may be idle between
/// requests.
pub const HEADER_WAIT: Duration = Duration::from_secs(60);
/// How long a request's body may be silent.
pub const BODY_IDLE: Duration = Duration::from_secs(60);
/// How long a peer may leave an answer untouched.
pub const WRITE_IDLE: Duration = Duration::from_secs(120);
/// Bytes of a refused request's body that are read and dropped, so that the peer gets to read the
/// answer instead of a reset.
pub const DRAIN_BYTES: u64 = 64 << 20;
/// How long that may take.
pub const DRAIN_WAIT: Duration = Duration::from_secs(20);
/// Tags on one page of a list, whatever the client asks for.
pub const PAGE: usize = 10_000;
/// Referrers on one page.
pub const REFERRERS: usize = 1000;
/// Tags that one push of a manifest may move.
pub const TAGS_PER_PUSH: usize = 100;
/// How long a stopping server lets running requests finish.
pub const SHUTDOWN_WAIT: Duration = Duration::from_secs(25);
/// Transactions waiting for the catalog's writer; callers wait for a place.
pub const CATALOG_QUEUE: usize = 1024;
/// Transactions that the catalog's writer puts into one commit.
pub const CATALOG_BATCH: usize = 256;
