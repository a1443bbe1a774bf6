//! The directory that holds the images, beyond the life of any cluster.

use std::path::{Path, PathBuf};

use anyhow::Context;

use crate::exit::Code;

/// The registry's lock file: a directory that has it is a registry's.
pub(crate) const MARK: &str = "wharf.lock";
/// File systems over a network, on which the catalog's log cannot be shared between processes safely.
const REMOTE: [&str; 8] = [
    "nfs",
    "nfs4",
    "cifs",
    "smb3",
    "9p",
    "virtiofs",
    "fuse.sshfs",
    "fuse.rclone",
];

/// Makes the directory if it is missing, and returns its one true path. A directory with other things in it is refused,
/// because `--purge` deletes the whole.
pub(crate) fn prepare(path: &Path) -> anyhow::Result<PathBuf> {
    std::fs::create_dir_all(path)
        .with_context(|| format!("making the data directory {}", path.display()))?;
    let path = std::fs::canonicalize(path)
        .with_context(|| format!("finding the data directory {}", path.display()))?;
    if !is_ours(&path)? {
        return Err(Code::Conflict.error(format!(
            "{} is not empty, and what is in it is not a registry's: name another directory with --storage host:DIR",
            path.display()
        )));
    }
    require_local(&path)?;
    Ok(path)
}

/// Fails on a directory of a network file system.
pub(crate) fn require_local(path: &Path) -> anyhow::Result<()> {
    let mounts = std::fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
    require_local_among(&mounts, path)
}

/// The same, where these are the mounts (as `/proc/self/mountinfo` has them).
pub(crate) fn require_local_among(mounts: &str, path: &Path) -> anyhow::Result<()> {
    match file_system(mounts, path) {
        Some(kind) if REMOTE.contains(&kind) => Err(Code::Conflict.error(format!(
            "{} is on a network file system ({kind}), where the catalog could be damaged: name a local directory with --storage host:DIR",
            path.display()
        ))),
        _ => Ok(()),
    }
}

/// User and group that own the directory: the registry runs as them.
pub(crate) fn owner(path: &Path) -> anyhow::Result<(u32, u32)> {
    #[cfg(unix)]
    {
        use std::os::unix::fs::MetadataExt;
        let metadata = std::fs::metadata(path)
            .with_context(|| format!("looking at the data directory {}", path.display()))?;
        Ok((metadata.uid(), metadata.gid()))
    }
    #[cfg(not(unix))]
    {
        let _ = path;
        Ok((0, 0))
    }
}

/// Deletes the directory and all images in it. One that is gone is deleted already.
pub(crate) fn purge(path: &Path) -> anyhow::Result<()> {
    if !path.exists() {
        return Ok(());
    }
    if !is_ours(path)? {
        return Err(Code::Conflict.error(format!(
            "{} is not a registry's directory (no {MARK} in it): it was not deleted",
            path.display()
        )));
    }
    let delete = || -> std::io::Result<()> {
        // The mark goes last: whatever is left after a kill is still a registry's, and goes the next time.
        for entry in std::fs::read_dir(path)? {
            let entry = entry?;
            match entry.file_type()?.is_dir() {
                true => std::fs::remove_dir_all(entry.path())?,
                false if entry.file_name() != MARK => std::fs::remove_file(entry.path())?,
                false => {}
            }
        }
        std::fs::remove_dir_all(path)
    };
    delete().with_context(|| format!("deleting the images in {}", path.display()))
}

fn is_ours(path: &Path) -> anyhow::Result<bool> {
    let mut entries =
        std::fs::read_dir(path).with_context(|| format!("reading {}", path.display()))?;
    Ok(entries.next().is_none() || path.join(MARK).exists())
}

/// The type of the file system that a path is on: the one of the longest mount point above it, the last if there are several.
fn file_system<'a>(mountinfo: &'a str, path: &Path) -> Option<&'a str> {
    let mounts = mountinfo.lines().filter_map(|line| {
        let (mount, system) = line.split_once(" - ")?;
        // The kernel writes a blank in a path as \040.
        let point = mount.split(' ').nth(4)?.replace("\\040", " ");
        let kind = system.split(' ').next()?;
        path.starts_with(&point).then_some((point.len(), kind))
    });
    mounts
        .max_by_key(|(length, _)| *length)
        .map(|(_, kind)| kind)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_registrys_directory_is_taken_and_purged() {
        let directory = tempfile::tempdir().unwrap();
        let data = directory.path().join("a/b");
        let path = prepare(&data).unwrap();
        std::fs::write(path.join("letter.txt"), "dear").unwrap();
        assert_eq!(Code::of(&prepare(&data).unwrap_err()), Code::Conflict);
        assert_eq!(Code::of(&purge(&data).unwrap_err()), Code::Conflict);
        assert!(path.join("letter.txt").exists());
        std::fs::write(path.join(MARK), "").unwrap();
        prepare(&data).unwrap();
        purge(&data).unwrap();
        purge(&data).unwrap();
        assert!(!data.exists());
    }

    #[test]
    fn the_file_system_of_a_path() {
        let mounts = "22 1 8:1 / / rw shared:1 - ext4 /dev/sda1 rw\n\
                      40 22 0:35 / /home/ann/my\\040share rw - nfs4 server:/ rw\n\
                      41 22 0:36 / /home rw - btrfs /dev/sdb rw\n";
        assert_eq!(
            file_system(mounts, Path::new("/home/ann/my share/x")),
            Some("nfs4")
        );
        assert_eq!(file_system(mounts, Path::new("/home/ann")), Some("btrfs"));
        assert_eq!(file_system(mounts, Path::new("/var")), Some("ext4"));
        assert_eq!(file_system("", Path::new("/var")), None);
        let refused = require_local_among(mounts, Path::new("/home/ann/my share/x"));
        assert_eq!(Code::of(&refused.unwrap_err()), Code::Conflict);
        require_local_among(mounts, Path::new("/var")).unwrap();
    }
}
