//! Every limit of the server, in one place. What has no limit can be used to take the machine down.

use std::time::Duration;

/// Size of a manifest. The specification asks registries to take at least 4 MiB.
pub const MANIFEST_BYTES: usize = 4 << 20;
/// Descriptors (config, layers, children) in one manifest.
pub const DESCRIPTORS_PER_MANIFEST: usize = 20_000;
/// Annotations of one manifest, which lists of referrers repeat.
pub const ANNOTATIONS_PER_MANIFEST: usize = 10_000;
/// Manifests of up to so many bytes are taken at once: nearly all are smaller.
pub const SMALL_MANIFEST_BYTES: usize = 64 << 10;
/// Larger manifests taken at the same time, because each costs several times its size while it is
/// looked into. Further ones wait for [`LARGE_MANIFEST_WAIT`].
pub const LARGE_MANIFESTS: usize = 1;
/// How long a large manifest waits for its turn.
pub const LARGE_MANIFEST_WAIT: Duration = Duration::from_secs(30);
/// How long it may take to arrive once it has its turn.
pub const LARGE_MANIFEST_TIME: Duration = Duration::from_secs(20);
/// Bytes of annotations in a page of referrers: clients read a list like a manifest.
pub const REFERRERS_BYTES: usize = 2 << 20;
/// Upload sessions open at one time, on disk. Opening one more waits for [`OPEN_UPLOAD_WAIT`],
/// because clients do not come back after a 429.
pub const OPEN_UPLOADS: usize = 10_000;
/// How long a new upload waits for a place.
pub const OPEN_UPLOAD_WAIT: Duration = Duration::from_secs(30);
/// Bytes of the notes that are kept with an upload: a name of 255 bytes, and little more.
pub const NOTES_BYTES: u64 = 4096;
/// Finished uploads of blobs that were there already that are remembered, so that a `PUT` repeated
/// after its answer was lost gets that answer again.
pub const REMEMBERED_UPLOADS: usize = 4096;
/// Bytes of an upload gathered before they are written: large enough that a write's fixed costs
/// vanish, small enough that many uploads at once fit into memory.
pub const WRITE_BYTES: usize = 1 << 20;
/// Bytes of an upload from which on the system is asked to write them to the disk, long before its
/// end.
pub const WRITEBACK_BYTES: u64 = 512 << 10;
/// Frames of an upload gathered before they are written, however small they are.
pub const WRITE_FRAMES: usize = 4096;
/// How long bytes of an upload are gathered: who sends no more leaves none in memory.
pub const WRITE_WAIT: Duration = Duration::from_secs(1);
/// Memory for bytes that are gathered, and as much again for bytes that are being sent, shared by
/// all transfers that run: the more there are, the smaller are the pieces of each.
pub const TRANSFER_BYTES: usize = 8 << 20;
/// The least that a transfer moves at a time.
pub const LEAST_TRANSFER_BYTES: usize = 16 << 10;
/// Bytes read from disk for one frame of a pull: as many as a processor's cache holds until they
/// are sent.
pub const READ_BYTES: usize = 512 << 10;
/// Bytes of a file that a connection is lent at a time: none of them is in a buffer.
pub const LENT_BYTES: usize = 1 << 20;
/// The fewest that are worth it.
pub const LEAST_LENT_BYTES: usize = 64 << 10;
/// Buffers of [`READ_BYTES`] that are kept for the next pull.
pub const IDLE_BUFFERS: usize = 4;
/// Connections in all. Not for each peer: behind a relay everyone is one peer. Further ones wait in
/// the kernel's queue.
pub const CONNECTIONS: usize = 8192;
/// Requests that one connection may send, one after the other. The last one's answer says that the
/// connection closes, so whoever has more to ask connects again, and nobody keeps a place for ever.
pub const REQUESTS_PER_CONNECTION: usize = 10_000;
/// Header fields in one request.
pub const HEADERS: usize = 100;
/// Bytes of a connection's read buffer: the most that a request's line and headers may have, and
/// that one read of a body takes. A caller who stops in the middle of a body keeps it.
pub const READ_BUFFER_BYTES: usize = 64 << 10;
/// Open files that are none of connections and of what they transfer.
pub const OTHER_FILES: usize = 64;
/// How long a connection may take to send a whole request head, how long it may be idle between
/// requests, and how long a request's body may be silent, unless the user says otherwise.
pub const IDLE: Duration = Duration::from_secs(60);
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
/// Characters of a message to a client, which may quote what the client sent.
pub const MESSAGE_CHARACTERS: usize = 1000;
/// Missing blobs that an error names.
pub const NAMED_BLOBS: usize = 100;
/// Tags that one push of a manifest may move.
pub const TAGS_PER_PUSH: usize = 100;
/// How long a stopping server lets running requests finish.
pub const SHUTDOWN_WAIT: Duration = Duration::from_secs(25);
/// Transactions waiting for the catalog's writer; callers wait for a place.
pub const CATALOG_QUEUE: usize = 1024;
/// Transactions that the catalog's writer puts into one commit.
pub const CATALOG_BATCH: usize = 256;
/// Memory for manifests that were asked for, so that the next request for one finds it.
pub const KEPT_MANIFEST_BYTES: u64 = 4 << 20;
/// Manifests of more bytes are not kept: few would fit.
pub const KEPT_MANIFEST: usize = 64 << 10;
/// Memory for what is known of blobs that were asked for.
pub const KEPT_BLOB_BYTES: u64 = 2 << 20;
/// Pages in the catalog's journal from which on they are moved into the database beside the writing.
pub const CHECKPOINT_PAGES: usize = 1000;
/// Pages (of 4 KiB) from which on the writer moves the rest itself, so that the journal begins anew.
pub const JOURNAL_PAGES: usize = 8000;
/// Uses of blobs that are remembered until they are written down.
pub const REMEMBERED_USES: usize = 100_000;
/// Blobs that one transaction of garbage collection takes: few, because pushes wait for it.
pub const GARBAGE_PER_TRANSACTION: usize = 8;
/// How much longer than that it pauses after each.
pub const GARBAGE_PAUSE: u32 = 1;
/// Blobs that a report names one by one.
pub const GARBAGE_LISTED: usize = 1000;
/// How long garbage collection pauses at least between two rounds, and at most.
pub const SHORTEST_PAUSE: Duration = Duration::from_millis(500);
/// See [`SHORTEST_PAUSE`].
pub const LONGEST_PAUSE: Duration = Duration::from_secs(20);
/// How often the blobs' folders are searched for orphans.
pub const SWEEP_EVERY: Duration = Duration::from_secs(24 * 3600);
/// How long a file has to lie untouched to be taken for one.
pub const ORPHAN_AGE: Duration = Duration::from_secs(24 * 3600);
/// How long an orphan stays in quarantine.
pub const QUARANTINE: Duration = Duration::from_secs(7 * 24 * 3600);
/// Orphans that one sweep takes.
pub const ORPHANS_PER_SWEEP: usize = 100_000;
/// What part of all bytes they may be before a person has to look at it: one in so many.
pub const ORPHANS_PART: u64 = 100;
/// Within which time every blob is read again.
pub const SCRUB_EVERY: Duration = Duration::from_secs(30 * 24 * 3600);
/// How fast.
pub const SCRUB_BYTES_PER_SECOND: u64 = 32 << 20;
/// How long it pauses when none is due.
pub const SCRUB_PAUSE: Duration = Duration::from_secs(60);
/// Blobs that are looked up at a time for that.
pub const SCRUB_BATCH: usize = 64;
/// How much of the disk has to be free for new uploads, or a 64th of a small one.
pub const RESERVE_BYTES: u64 = 512 << 20;
/// How many files have to be left.
pub const RESERVE_FILES: u64 = 128;
/// What is kept back for the catalog, or a 128th of a small disk.
pub const BALLAST_BYTES: u64 = 64 << 20;
/// How long garbage is kept on a full disk, and open uploads that nobody goes on with.
pub const GRACE_WHEN_FULL: Duration = Duration::from_secs(300);
/// Bytes of an operator's order.
pub const ORDER_BYTES: u64 = 64 << 10;

/// The limits that whoever embeds the server may choose otherwise: those that nobody reaches in a
/// moment at their usual size.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// [`OPEN_UPLOADS`]
    pub open_uploads: usize,
    /// [`OPEN_UPLOAD_WAIT`]
    pub open_upload_wait: Duration,
    /// [`REMEMBERED_UPLOADS`]
    pub remembered_uploads: usize,
    /// [`CONNECTIONS`]
    pub connections: usize,
    /// [`REQUESTS_PER_CONNECTION`]
    pub requests_per_connection: usize,
    /// [`IDLE`]
    pub idle: Duration,
    /// [`WRITE_IDLE`]
    pub write_idle: Duration,
    /// [`PAGE`]
    pub page: usize,
    /// [`REFERRERS`]
    pub referrers: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            open_uploads: OPEN_UPLOADS,
            open_upload_wait: OPEN_UPLOAD_WAIT,
            remembered_uploads: REMEMBERED_UPLOADS,
            connections: CONNECTIONS,
            requests_per_connection: REQUESTS_PER_CONNECTION,
            idle: IDLE,
            write_idle: WRITE_IDLE,
            page: PAGE,
            referrers: REFERRERS,
        }
    }
}
