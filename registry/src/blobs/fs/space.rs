//! Room on the disk.

use std::os::unix::fs::MetadataExt;

use rustix::fs::{FallocateFlags, StatVfs, fallocate, statfs, statvfs};

use super::layout::Layout;
use crate::blobs::{Error, Result, Space};

/// What is kept back.
const BALLAST: &str = "ballast";
/// A file system in memory, where what is kept back is memory that nobody can use.
const TMPFS: i64 = 0x0102_1994;

pub(super) fn space(layout: &Layout) -> Result<Space> {
    let root = layout.path();
    let StatVfs {
        f_frsize,
        f_bavail,
        f_blocks,
        f_files,
        f_favail,
        ..
    } = statvfs(root).map_err(|error| Error::io("look at", root)(error.into()))?;
    Ok(Space {
        free: f_bavail.saturating_mul(f_frsize),
        total: f_blocks.saturating_mul(f_frsize),
        free_files: (f_files > 0).then_some(f_favail),
    })
}

pub(super) fn keep_ballast(layout: &Layout, bytes: u64) -> Result<()> {
    let root = layout.root();
    if bytes == 0 {
        return root.remove(BALLAST);
    }
    if statfs(layout.path()).is_ok_and(|file_system| file_system.f_type == TMPFS) {
        return Ok(());
    }
    let file = root.write(BALLAST)?;
    if file
        .metadata()
        .is_ok_and(|there| there.blocks() * 512 >= bytes)
    {
        return Ok(());
    }
    // Where a file system cannot set blocks aside, there is no ballast: it is a help and no promise.
    let _ = fallocate(&file, FallocateFlags::empty(), 0, bytes);
    Ok(())
}
