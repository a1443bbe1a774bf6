//! An image of a few hundred bytes that runs and ends well, and that no node has seen before.

use anyhow::bail;
use serde_json::json;

use super::Image;

/// Where the program's bytes are put in memory.
const BASE: u64 = 0x40_0000;
const ELF_HEADER: usize = 64;
const PROGRAM_HEADER: usize = 56;

/// `exit(0)`, in the machine's own words.
const AMD64: (u16, &[u8]) = (62, &[0xb8, 60, 0, 0, 0, 0x31, 0xff, 0x0f, 0x05]);
const ARM64: (u16, &[u8]) = (
    183,
    &[
        0xa8, 0x0b, 0x80, 0xd2, 0x00, 0x00, 0x80, 0xd2, 0x01, 0x00, 0x00, 0xd4,
    ],
);

/// A probe. The nonce makes it new, so that a node that runs it must have pulled it.
pub(crate) fn probe(architecture: &str, nonce: &str) -> anyhow::Result<Image> {
    let program = program(architecture)?;
    Image::new(
        architecture,
        &json!({"Entrypoint": ["/probe"]}),
        &[],
        &[
            ("probe", 0o755, &program),
            ("nonce", 0o644, nonce.as_bytes()),
        ],
    )
}

/// The smallest program: a header, one segment, and the call that ends it.
fn program(architecture: &str) -> anyhow::Result<Vec<u8>> {
    let (machine, code) = match architecture {
        "amd64" => AMD64,
        "arm64" => ARM64,
        other => bail!("no probe is known for nodes of architecture {other}"),
    };
    let size = (ELF_HEADER + PROGRAM_HEADER + code.len()) as u64;
    let entry = BASE + (ELF_HEADER + PROGRAM_HEADER) as u64;
    let mut file = Vec::new();
    file.extend(b"\x7fELF\x02\x01\x01\0\0\0\0\0\0\0\0\0");
    file.extend(2u16.to_le_bytes()); // an executable
    file.extend(machine.to_le_bytes());
    file.extend(1u32.to_le_bytes());
    file.extend(entry.to_le_bytes());
    file.extend((ELF_HEADER as u64).to_le_bytes()); // the program header follows at once
    file.extend(0u64.to_le_bytes()); // no sections
    file.extend(0u32.to_le_bytes());
    file.extend((ELF_HEADER as u16).to_le_bytes());
    file.extend((PROGRAM_HEADER as u16).to_le_bytes());
    file.extend(1u16.to_le_bytes());
    file.extend([0; 6]);
    file.extend(1u32.to_le_bytes()); // a segment to load
    file.extend(5u32.to_le_bytes()); // that can be read and executed
    file.extend(0u64.to_le_bytes());
    file.extend(BASE.to_le_bytes());
    file.extend(BASE.to_le_bytes());
    file.extend(size.to_le_bytes());
    file.extend(size.to_le_bytes());
    file.extend(0x1000u64.to_le_bytes());
    file.extend(code);
    Ok(file)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::image::elf;

    #[test]
    fn it_is_a_static_program() {
        for architecture in ["amd64", "arm64"] {
            assert_eq!(
                elf::check(&program(architecture).unwrap(), architecture),
                Ok(())
            );
        }
        assert!(program("s390x").is_err());
    }

    #[test]
    #[cfg(all(
        target_os = "linux",
        any(target_arch = "x86_64", target_arch = "aarch64")
    ))]
    fn it_runs_and_ends_well() {
        use std::os::unix::fs::PermissionsExt;
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("probe");
        std::fs::write(
            &path,
            program(if cfg!(target_arch = "x86_64") {
                "amd64"
            } else {
                "arm64"
            })
            .unwrap(),
        )
        .unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
        assert!(
            std::process::Command::new(&path)
                .status()
                .unwrap()
                .success()
        );
    }

    #[test]
    fn a_nonce_makes_a_new_layer() {
        let digest = |nonce| probe("amd64", nonce).unwrap().layer.digest;
        assert_ne!(digest("a"), digest("b"));
        assert_eq!(digest("a"), digest("a"));
    }
}
