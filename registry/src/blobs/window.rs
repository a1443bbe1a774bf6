//! Parts of files that are lent to sockets.
//!
//! What a frame of a pull holds has to be in memory, and whoever writes a connection gets to see nothing but that memory. A
//! window is a part of a file in the system's own memory, mapped and not touched: whoever reads it sees the file's bytes. But
//! who writes it to a socket can ask [`behind`] what is behind it, and have the system send that, with no copy at all
//! (registry/doc/decisions/016).

use std::fs::File;
use std::sync::Arc;

use bytes::Bytes;

/// The part of a file behind some bytes of a window.
pub(crate) struct Part {
    pub(crate) file: Arc<File>,
    /// Of the first of those bytes.
    pub(crate) offset: u64,
}

/// What is behind these bytes, if they are all in one window.
pub(crate) fn behind(bytes: &[u8]) -> Option<Part> {
    system::behind(bytes)
}

/// Whether the system still has bytes of a window in memory.
#[cfg(target_os = "linux")]
pub(crate) fn is_in_memory(bytes: &[u8]) -> bool {
    system::is_in_memory(bytes)
}

/// `length` bytes of a file, which must not get shorter as long as they live. Nothing where the system does not have all of them
/// in memory.
pub(super) fn lend(file: &Arc<File>, offset: u64, length: usize) -> Option<Bytes> {
    system::lend(file, offset, length)
}

#[cfg(target_os = "linux")]
mod system {
    use std::collections::BTreeMap;
    use std::fs::File;
    use std::os::fd::AsRawFd;
    use std::ptr::NonNull;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::sync::{Arc, PoisonError, RwLock};

    use bytes::Bytes;

    use super::Part;

    /// A multiple of a page's size, on whatever processor.
    const STEP: u64 = 64 << 10;

    /// The open windows, by the addresses of their first bytes.
    static OPEN: RwLock<BTreeMap<usize, Open>> = RwLock::new(BTreeMap::new());

    /// How many are open: most writes are of none, and need not look.
    static COUNT: AtomicUsize = AtomicUsize::new(0);

    struct Open {
        file: Arc<File>,
        offset: u64,
        length: usize,
    }

    /// A mapping of a file's bytes, readable, for as long as this lives.
    struct Window {
        address: NonNull<u8>,
        mapped: usize,
        /// Bytes that are mapped before the ones that are asked for.
        before: usize,
    }

    pub(super) fn behind(bytes: &[u8]) -> Option<Part> {
        // Whoever has bytes of a window has them from whoever opened it, and so sees it counted.
        if COUNT.load(Ordering::Relaxed) == 0 {
            return None;
        }
        let address = bytes.as_ptr().addr();
        let open = OPEN.read().unwrap_or_else(PoisonError::into_inner);
        let (start, window) = open.range(..=address).next_back()?;
        let into = address - start;
        (!bytes.is_empty() && into + bytes.len() <= window.length).then(|| Part {
            file: window.file.clone(),
            offset: window.offset + into as u64,
        })
    }

    pub(super) fn lend(file: &Arc<File>, offset: u64, length: usize) -> Option<Bytes> {
        let window = Window::open(file, offset, length)?;
        if !is_in_memory(window.as_ref()) {
            return None;
        }
        let open = Open {
            file: file.clone(),
            offset,
            length,
        };
        let start = window.as_ref().as_ptr().addr();
        let mut all = OPEN.write().unwrap_or_else(PoisonError::into_inner);
        all.insert(start, open);
        COUNT.store(all.len(), Ordering::Relaxed);
        Some(Bytes::from_owner(window))
    }

    #[expect(unsafe_code, reason = "the system has to be asked")]
    fn page_bytes() -> usize {
        // SAFETY: the call takes a number, and returns one.
        let bytes = unsafe { libc::sysconf(libc::_SC_PAGESIZE) };
        usize::try_from(bytes).unwrap_or(4 << 10)
    }

    #[expect(unsafe_code, reason = "it is about addresses")]
    pub(super) fn is_in_memory(bytes: &[u8]) -> bool {
        let page = page_bytes();
        let before = bytes.as_ptr().addr() % page;
        let start = bytes.as_ptr().wrapping_sub(before);
        let length = before + bytes.len();
        let mut pages = vec![0; length.div_ceil(page)];
        // SAFETY: nothing is read or written but `pages`, which has a byte for each page of the range.
        let known = unsafe { libc::mincore(start.cast_mut().cast(), length, pages.as_mut_ptr()) };
        known == 0 && pages.iter().all(|page| page & 1 == 1)
    }

    impl Window {
        #[expect(unsafe_code, reason = "memory is mapped")]
        fn open(file: &File, offset: u64, length: usize) -> Option<Self> {
            let before = usize::try_from(offset % STEP).ok()?;
            let mapped = length.checked_add(before).filter(|_| length > 0)?;
            let from = libc::off_t::try_from(offset - offset % STEP).ok()?;
            // SAFETY: the system chooses where, so nothing of ours is there.
            let address = unsafe {
                let (protection, flags) = (libc::PROT_READ, libc::MAP_SHARED);
                let file = file.as_raw_fd();
                libc::mmap(std::ptr::null_mut(), mapped, protection, flags, file, from)
            };
            if address == libc::MAP_FAILED {
                return None;
            }
            Some(Self {
                address: NonNull::new(address.cast())?,
                mapped,
                before,
            })
        }
    }

    impl AsRef<[u8]> for Window {
        #[expect(unsafe_code, reason = "memory is mapped")]
        fn as_ref(&self) -> &[u8] {
            // SAFETY: so much is mapped as long as `self` lives. Nobody writes to a blob's file: its bytes are what they are.
            unsafe {
                let bytes = std::slice::from_raw_parts(self.address.as_ptr(), self.mapped);
                bytes.get_unchecked(self.before..)
            }
        }
    }

    // SAFETY: a mapping is the whole process's, and is only read.
    #[expect(unsafe_code, reason = "a pointer is in it")]
    unsafe impl Send for Window {}
    // SAFETY: as above.
    #[expect(unsafe_code, reason = "a pointer is in it")]
    unsafe impl Sync for Window {}

    impl Drop for Window {
        #[expect(unsafe_code, reason = "memory is mapped")]
        fn drop(&mut self) {
            let start = self.as_ref().as_ptr().addr();
            let mut open = OPEN.write().unwrap_or_else(PoisonError::into_inner);
            open.remove(&start);
            COUNT.store(open.len(), Ordering::Relaxed);
            drop(open);
            // SAFETY: it was mapped by us, and nobody borrows it any more.
            unsafe {
                libc::munmap(self.address.as_ptr().cast(), self.mapped);
            }
        }
    }
}

#[cfg(not(target_os = "linux"))]
mod system {
    use std::fs::File;
    use std::sync::Arc;

    use bytes::Bytes;

    use super::Part;

    pub(super) fn behind(_bytes: &[u8]) -> Option<Part> {
        None
    }

    pub(super) fn lend(_file: &Arc<File>, _offset: u64, _length: usize) -> Option<Bytes> {
        None
    }
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use std::io::Write;

    use super::*;

    #[test]
    fn bytes_of_a_window_are_the_files_and_tell_where_they_are_in_it() {
        let mut file = tempfile::tempfile().unwrap();
        let content: Vec<u8> = (0..300_000_u32).map(|i| (i / 7) as u8).collect();
        file.write_all(&content).unwrap();
        let file = Arc::new(file);
        for offset in [0_usize, 1, 4096, 65_535, 65_536, 70_000] {
            let bytes = lend(&file, offset as u64, 200_000).unwrap();
            assert!(bytes == content[offset..offset + 200_000]);
            assert_eq!(behind(&bytes).unwrap().offset, offset as u64);
            let part = bytes.slice(10..20);
            assert!(is_in_memory(&part));
            assert_eq!(behind(&part).unwrap().offset, offset as u64 + 10);
        }
        assert!(behind(&content).is_none());
    }

    #[test]
    fn what_is_not_in_the_file_is_not_lent() {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(&[1; 10_000]).unwrap();
        let file = Arc::new(file);
        assert!(lend(&file, 0, 10_000).is_some());
        assert!(lend(&file, 0, 20_000).is_none());
        assert!(lend(&file, 0, 0).is_none());
    }
}
