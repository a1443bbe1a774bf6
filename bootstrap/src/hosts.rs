//! What containerd is told about `localhost:PORT`: a `hosts.toml` that leads to the node's relay.

use std::io;
use std::path::Path;

use crate::names::registry_host;

/// How a file of wharf's begins; one that does not is somebody else's.
const MARK: &str = "# Written by wharf.\n";

/// The file. `server` names the same place, so that an error names it too and no other is tried.
pub(crate) fn hosts(port: u16) -> String {
    let relay = format!("http://127.0.0.1:{port}");
    format!(
        "{MARK}server = \"{relay}\"\n\n[host.\"{relay}\"]\n  capabilities = [\"pull\", \"resolve\"]\n"
    )
}

/// Writes the file below a directory that containerd looks into, whole or not at all. One of somebody else stays, and the answer is
/// `false`.
pub(crate) fn write(directory: &Path, port: u16) -> io::Result<bool> {
    let directory = directory.join(registry_host(port));
    let (path, text) = (directory.join("hosts.toml"), hosts(port));
    match std::fs::read_to_string(&path) {
        Ok(there) if there == text => return Ok(true),
        Ok(there) if !there.starts_with(MARK) => return Ok(false),
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    std::fs::create_dir_all(&directory)?;
    let next = directory.join(".hosts.toml.new");
    std::fs::write(&next, text)?;
    std::fs::rename(next, path)?;
    Ok(true)
}

/// Removes the file, and the folder that was made for it. One of somebody else stays, and the answer is `false`.
pub(crate) fn forget(directory: &Path, port: u16) -> io::Result<bool> {
    let directory = directory.join(registry_host(port));
    let path = directory.join("hosts.toml");
    match std::fs::read_to_string(&path) {
        Ok(there) if there.starts_with(MARK) => std::fs::remove_file(&path)?,
        Ok(_) => return Ok(false),
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        Err(_) => {}
    }
    match std::fs::remove_dir(&directory) {
        Err(error)
            if !matches!(
                error.kind(),
                io::ErrorKind::NotFound | io::ErrorKind::DirectoryNotEmpty
            ) =>
        {
            Err(error)
        }
        _ => Ok(true),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_containerd_is_told() {
        insta::assert_snapshot!(hosts(5055));
    }

    #[test]
    fn a_file_of_somebody_else_stays() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("localhost:5055/hosts.toml");
        assert!(write(directory.path(), 5055).unwrap());
        assert_eq!(std::fs::read_to_string(&file).unwrap(), hosts(5055));
        std::fs::write(&file, format!("{MARK}of another version")).unwrap();
        assert!(write(directory.path(), 5055).unwrap());
        assert_eq!(std::fs::read_to_string(&file).unwrap(), hosts(5055));
        std::fs::write(&file, "server = \"http://elsewhere\"\n").unwrap();
        assert!(!write(directory.path(), 5055).unwrap());
        let there = std::fs::read_to_string(&file).unwrap();
        assert_eq!(there, "server = \"http://elsewhere\"\n");
        assert!(!forget(directory.path(), 5055).unwrap());
        assert!(file.exists());
        std::fs::write(&file, hosts(5055)).unwrap();
        assert!(forget(directory.path(), 5055).unwrap());
        assert!(!file.exists() && directory.path().exists());
        assert!(forget(directory.path(), 5055).unwrap());
    }
}
