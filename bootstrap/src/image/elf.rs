//! Whether a file is a program that a node can run from an image that holds nothing else.

/// What keeps a file from running on a node.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Unsuitable {
    #[error("it is no Linux program")]
    NotElf,
    #[error("it is made for another processor than {0}")]
    Foreign(String),
    #[error("it is linked dynamically")]
    Dynamic,
}

const MACHINE_X86_64: u16 = 62;
const MACHINE_AARCH64: u16 = 183;
/// The program header that names a dynamic loader; a static program, position-independent or not, has none.
const PT_INTERP: u32 = 3;

/// Checks a file's headers against a Kubernetes architecture (`amd64`, `arm64`).
pub(super) fn check(file: &[u8], architecture: &str) -> Result<(), Unsuitable> {
    // 64 bits, little-endian: what both architectures are.
    if file.get(..6) != Some(b"\x7fELF\x02\x01") {
        return Err(Unsuitable::NotElf);
    }
    let machine = match architecture {
        "amd64" => MACHINE_X86_64,
        "arm64" => MACHINE_AARCH64,
        other => return Err(Unsuitable::Foreign(other.to_owned())),
    };
    if number(file, 18, 2)? != u64::from(machine) {
        return Err(Unsuitable::Foreign(architecture.to_owned()));
    }
    let (table, size, count) = (
        number(file, 32, 8)?,
        number(file, 54, 2)?,
        number(file, 56, 2)?,
    );
    for index in 0..count {
        let header = index
            .checked_mul(size)
            .and_then(|n| n.checked_add(table))
            .ok_or(Unsuitable::NotElf)?;
        if number(
            file,
            usize::try_from(header).map_err(|_| Unsuitable::NotElf)?,
            4,
        )? == u64::from(PT_INTERP)
        {
            return Err(Unsuitable::Dynamic);
        }
    }
    Ok(())
}

/// A little-endian number at an offset.
fn number(file: &[u8], offset: usize, bytes: usize) -> Result<u64, Unsuitable> {
    let end = offset.checked_add(bytes).ok_or(Unsuitable::NotElf)?;
    let field = file.get(offset..end).ok_or(Unsuitable::NotElf)?;
    Ok(field
        .iter()
        .rev()
        .fold(0, |n, byte| n << 8 | u64::from(*byte)))
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// A header with one program header, of type PT_LOAD.
    pub(crate) fn static_elf(machine: u16) -> Vec<u8> {
        let mut file = vec![0; 64 + 56];
        file[..6].copy_from_slice(b"\x7fELF\x02\x01");
        file[18..20].copy_from_slice(&machine.to_le_bytes());
        file[32..40].copy_from_slice(&64u64.to_le_bytes());
        file[54..56].copy_from_slice(&56u16.to_le_bytes());
        file[56..58].copy_from_slice(&1u16.to_le_bytes());
        file[64..68].copy_from_slice(&1u32.to_le_bytes());
        file
    }

    #[test]
    fn static_programs_for_the_node_pass() {
        assert_eq!(check(&static_elf(MACHINE_X86_64), "amd64"), Ok(()));
        assert_eq!(check(&static_elf(MACHINE_AARCH64), "arm64"), Ok(()));
    }

    #[test]
    fn others_do_not() {
        assert_eq!(check(b"#!/bin/sh", "amd64"), Err(Unsuitable::NotElf));
        assert_eq!(
            check(&static_elf(MACHINE_X86_64), "arm64"),
            Err(Unsuitable::Foreign("arm64".into()))
        );
        assert_eq!(
            check(&static_elf(MACHINE_X86_64), "s390x"),
            Err(Unsuitable::Foreign("s390x".into()))
        );
        let mut dynamic = static_elf(MACHINE_X86_64);
        dynamic[64] = PT_INTERP as u8;
        assert_eq!(check(&dynamic, "amd64"), Err(Unsuitable::Dynamic));
        let mut far = static_elf(MACHINE_X86_64);
        far[32..40].copy_from_slice(&u64::MAX.to_le_bytes());
        assert_eq!(check(&far, "amd64"), Err(Unsuitable::NotElf));
        for length in 0..120 {
            let _ = check(&static_elf(MACHINE_X86_64)[..length], "amd64");
        }
    }
}
