//! Keeps glibc's allocator from holding on to what a burst of requests took.
//!
//! Left alone, it makes a heap for each of many threads, and after the first large buffer takes all
//! such buffers from those heaps, where small ones behind them keep them from being given back.
//! registry/doc/decisions/008-memory.md has the figures.

/// Allocations from here on are given back at once. Pieces of transfers are below it: for them, a
/// trip to the kernel each time would cost.
#[cfg(all(target_os = "linux", target_env = "gnu"))]
const LARGE: libc::c_int = 1 << 20;

/// To be called before there are other threads.
#[cfg(all(target_os = "linux", target_env = "gnu"))]
#[expect(unsafe_code, reason = "there is no other way to tell the allocator")]
pub(crate) fn tune() {
    // SAFETY: mallopt takes numbers, is told ones that its manual has, and no thread runs beside us.
    unsafe {
        libc::mallopt(libc::M_ARENA_MAX, 1);
        // Setting them also ends that they adapt themselves.
        libc::mallopt(libc::M_MMAP_THRESHOLD, LARGE);
        libc::mallopt(libc::M_TRIM_THRESHOLD, LARGE);
    }
}

/// Other allocators are good as they are.
#[cfg(not(all(target_os = "linux", target_env = "gnu")))]
pub(crate) fn tune() {}
