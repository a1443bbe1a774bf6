//! The time that stored things are dated with.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// A clock that is set once, when it is started, and then only runs: whoever sets the machine's
/// clock meanwhile makes nothing older or younger.
#[derive(Debug, Clone, Copy)]
pub struct Clock {
    started: i64,
    since: Instant,
}

impl Clock {
    /// A clock set by the machine's.
    pub fn start() -> Self {
        let started = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .map_or(0, seconds);
        Self {
            started,
            since: Instant::now(),
        }
    }

    /// Seconds since 1970.
    pub fn now(&self) -> i64 {
        self.started.saturating_add(seconds(self.since.elapsed()))
    }

    /// When it was started, in seconds since 1970.
    pub fn started(&self) -> i64 {
        self.started
    }
}

/// Whole seconds.
pub(crate) fn seconds(duration: Duration) -> i64 {
    i64::try_from(duration.as_secs()).unwrap_or(i64::MAX)
}
