//! Writing bytes to the disk ahead of the sync that makes them safe.

use std::fs::File;
use std::io;

/// Lets the system begin to write some bytes of a file to the disk, and waits for nothing. Left alone it would begin
/// with the sync at an upload's end, which then takes as long as all that came before. What becomes of it is told by
/// [`finish`].
#[cfg(target_os = "linux")]
pub(super) fn begin(file: &File, offset: u64, length: u64) {
    if let (Ok(offset), Ok(length)) = (i64::try_from(offset), i64::try_from(length)) {
        let _ = sync_range(file, offset, length, libc::SYNC_FILE_RANGE_WRITE);
    }
}

/// Waits until all bytes of a file are written. What the system notes down of the file after that comes behind them in the
/// file system's journal; they are safe with the next sync.
///
/// # Errors
/// They could not be written. A sync would not say so again.
#[cfg(target_os = "linux")]
pub(super) fn finish(file: &File) -> io::Result<()> {
    let flags = libc::SYNC_FILE_RANGE_WAIT_BEFORE
        | libc::SYNC_FILE_RANGE_WRITE
        | libc::SYNC_FILE_RANGE_WAIT_AFTER;
    sync_range(file, 0, 0, flags)
}

/// A length of 0 is one to the file's end.
#[cfg(target_os = "linux")]
#[expect(unsafe_code, reason = "no library has a safe way to this call")]
fn sync_range(file: &File, offset: i64, length: i64, flags: libc::c_uint) -> io::Result<()> {
    use std::os::fd::AsRawFd;

    // SAFETY: the call takes numbers only. The descriptor is open as long as `file` is borrowed, and
    // the call changes neither it nor the file's content.
    match unsafe { libc::sync_file_range(file.as_raw_fd(), offset, length, flags) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

/// Other systems have no such call.
#[cfg(not(target_os = "linux"))]
pub(super) fn begin(_file: &File, _offset: u64, _length: u64) {}

/// Other systems have no such call; a sync is more than is asked for.
#[cfg(not(target_os = "linux"))]
pub(super) fn finish(file: &File) -> io::Result<()> {
    file.sync_data()
}
