//! What running transfers may hold in memory.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::limits;

/// Counts transfers of one direction that share [`limits::TRANSFER_BYTES`].
#[derive(Debug, Clone, Default)]
pub(crate) struct Transfers(Arc<AtomicUsize>);

/// One of them, for as long as it lives.
#[derive(Debug)]
pub(crate) struct Transfer(Arc<AtomicUsize>);

impl Transfers {
    pub(crate) fn begin(&self) -> Transfer {
        self.0.fetch_add(1, Ordering::Relaxed);
        Transfer(self.0.clone())
    }
}

impl Transfer {
    /// How many bytes it may hold now, `most` if there are few others.
    pub(crate) fn bytes(&self, most: usize) -> usize {
        let running = self.0.load(Ordering::Relaxed).max(1);
        (limits::TRANSFER_BYTES / running)
            .min(most)
            .max(limits::LEAST_TRANSFER_BYTES)
    }
}

impl Drop for Transfer {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_more_there_are_the_less_each_holds() {
        let transfers = Transfers::default();
        let first = transfers.begin();
        assert_eq!(first.bytes(1 << 20), 1 << 20);
        let others: Vec<_> = (0..999).map(|_| transfers.begin()).collect();
        assert_eq!(first.bytes(1 << 20), limits::LEAST_TRANSFER_BYTES);
        drop(others);
        assert_eq!(first.bytes(1 << 20), 1 << 20);
    }
}
