//! Writing to the disk while more arrives.

use std::fs::File;

/// Lets the system begin to write some bytes of a file to the disk, and waits for nothing. Left alone it would begin
/// with the sync at an upload's end, which then takes as long as all that came before. That sync stays what makes the
/// bytes safe, and what tells of errors; so what comes of this is of no interest.
#[cfg(target_os = "linux")]
#[expect(unsafe_code, reason = "no library has a safe way to this call")]
pub(super) fn begin(file: &File, offset: u64, length: u64) {
    use std::os::fd::AsRawFd;

    let (Ok(offset), Ok(length)) = (i64::try_from(offset), i64::try_from(length)) else {
        return;
    };
    // SAFETY: the call takes numbers only. The descriptor is open as long as `file` is borrowed, and
    // the call changes neither it nor the file's content.
    unsafe {
        libc::sync_file_range(
            file.as_raw_fd(),
            offset,
            length,
            libc::SYNC_FILE_RANGE_WRITE,
        );
    }
}

/// Other systems have no such call.
#[cfg(not(target_os = "linux"))]
pub(super) fn begin(_file: &File, _offset: u64, _length: u64) {}
