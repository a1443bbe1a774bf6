//! Memory for bytes on their way out.

use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;

use crate::limits;

/// Buffers of [`limits::READ_BYTES`] that are used again: fresh memory costs more than the bytes
/// that are read into it, and what was just used is in the processor's cache.
#[derive(Debug, Clone, Default)]
pub(super) struct Buffers(Arc<Mutex<Vec<Box<[u8]>>>>);

/// A buffer in use.
#[derive(Debug)]
pub(super) struct Buffer {
    bytes: Box<[u8]>,
    filled: usize,
    idle: Buffers,
}

impl Buffers {
    /// A buffer of `size` bytes.
    pub(super) fn take(&self, size: usize) -> Buffer {
        let idle = match size == limits::READ_BYTES {
            true => self.lock().pop(),
            false => None,
        };
        Buffer {
            bytes: idle.unwrap_or_else(|| vec![0; size].into()),
            filled: 0,
            idle: self.clone(),
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Vec<Box<[u8]>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Buffer {
    /// Room for bytes.
    pub(super) fn room(&mut self) -> &mut [u8] {
        &mut self.bytes
    }

    /// The first `filled` bytes.
    pub(super) fn freeze(mut self, filled: usize) -> Bytes {
        self.filled = filled;
        Bytes::from_owner(self)
    }
}

impl AsRef<[u8]> for Buffer {
    fn as_ref(&self) -> &[u8] {
        &self.bytes[..self.filled]
    }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        if self.bytes.len() != limits::READ_BYTES {
            return;
        }
        let mut idle = self.idle.lock();
        if idle.len() < limits::IDLE_BUFFERS {
            idle.push(std::mem::take(&mut self.bytes));
        }
    }
}
