//! Content that no registry and no file system can save on: random bytes, with a number in each 4 KiB that comes once only.

use std::sync::OnceLock;
use std::thread;

use anyhow::Result;
use sha2::{Digest as _, Sha256};
use wharf_tests::content::{Random, hex};

/// Bytes that are handed to the system at a time.
const BLOCK: usize = 1 << 20;
/// What a file system could share between files.
const PAGE: usize = 4 << 10;
/// Bytes of one chunk of a chunked body: those of Go's `io.Copy`, which docker sends layers with.
const FRAME: usize = 32 << 10;
const FRAME_HEAD: &[u8] = b"8000\r\n";
const FRAME_END: &[u8] = b"\r\n";
const FRAMED: usize = FRAME_HEAD.len() + FRAME + FRAME_END.len();

/// A content: its number among all that this process makes, and its length.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Content {
    pub(crate) id: u64,
    pub(crate) size: u64,
}

/// The buffers that a worker makes content in.
pub(crate) struct Blocks {
    raw: Vec<u8>,
    framed: Vec<u8>,
}

fn base() -> &'static [u8] {
    static BASE: OnceLock<Vec<u8>> = OnceLock::new();
    BASE.get_or_init(|| Random::new(20).bytes(BLOCK))
}

impl Blocks {
    /// None yet: most clients send nothing.
    pub(crate) fn new() -> Self {
        let (raw, framed) = (Vec::new(), Vec::new());
        Self { raw, framed }
    }

    fn raw(&mut self) -> &mut Vec<u8> {
        if self.raw.is_empty() {
            self.raw.extend_from_slice(base());
        }
        &mut self.raw
    }

    fn framed(&mut self) -> &mut Vec<u8> {
        if self.framed.is_empty() {
            for frame in base().chunks(FRAME) {
                self.framed.extend_from_slice(FRAME_HEAD);
                self.framed.extend_from_slice(frame);
                self.framed.extend_from_slice(FRAME_END);
            }
        }
        &mut self.framed
    }

    /// Hands out a part of a content, a block at a time. The part begins at a multiple of a block.
    pub(crate) fn part(
        &mut self,
        content: Content,
        from: u64,
        length: u64,
        mut to: impl FnMut(&[u8]) -> Result<()>,
    ) -> Result<()> {
        let (mut at, end) = (from, content.size.min(from + length));
        while at < end {
            let here = length_of(end - at);
            stamp(self.raw(), content.id, at, here, |page| page);
            to(&self.raw[..here])?;
            at += here as u64;
        }
        Ok(())
    }

    /// Hands out a whole content in the chunks of a chunked body, with its end.
    pub(crate) fn chunked(
        &mut self,
        content: Content,
        mut to: impl FnMut(&[u8]) -> Result<()>,
    ) -> Result<()> {
        let mut at = 0;
        while at < content.size {
            let here = length_of(content.size - at);
            let whole = here / FRAME;
            stamp(self.framed(), content.id, at, whole * FRAME, |page| {
                page / FRAME * FRAMED + FRAME_HEAD.len() + page % FRAME
            });
            to(&self.framed[..whole * FRAMED])?;
            let rest = here - whole * FRAME;
            if rest > 0 {
                let mut frame = format!("{rest:x}\r\n").into_bytes();
                stamp(self.raw(), content.id, at, here, |page| page);
                frame.extend_from_slice(&self.raw[whole * FRAME..here]);
                frame.extend_from_slice(FRAME_END);
                to(&frame)?;
            }
            at += here as u64;
        }
        to(b"0\r\n\r\n")
    }

    /// A whole content that is small.
    pub(crate) fn small(&mut self, content: Content) -> &[u8] {
        let length = length_of(content.size);
        stamp(self.raw(), content.id, 0, length, |page| page);
        &self.raw[..length]
    }

    fn digest(&mut self, content: Content) -> Result<String> {
        let mut hash = Sha256::new();
        self.part(content, 0, content.size, |bytes| {
            hash.update(bytes);
            Ok(())
        })?;
        Ok(format!("sha256:{}", hex(&hash.finalize())))
    }
}

fn length_of(left: u64) -> usize {
    usize::try_from(left).unwrap_or(BLOCK).min(BLOCK)
}

/// Writes into each page which content's it is, and which of it. The pages of `length` bytes at `at` lie where `place` says.
fn stamp(buffer: &mut [u8], id: u64, at: u64, length: usize, place: impl Fn(usize) -> usize) {
    for page in (0..length).step_by(PAGE) {
        let number = at + page as u64;
        let stamp = u128::from(id) << 64 | u128::from(number);
        let place = place(page);
        buffer[place..place + 16].copy_from_slice(&stamp.to_be_bytes());
    }
}

/// The digests of contents, made on all cores, before the clock starts.
pub(crate) fn digests(contents: &[Content]) -> Result<Vec<String>> {
    let workers = thread::available_parallelism().map_or(2, usize::from);
    let share = contents.len().div_ceil(workers).max(1);
    thread::scope(|scope| {
        let parts: Vec<_> = contents
            .chunks(share)
            .map(|part| {
                scope.spawn(move || {
                    let mut blocks = Blocks::new();
                    part.iter()
                        .map(|content| blocks.digest(*content))
                        .collect::<Result<Vec<_>>>()
                })
            })
            .collect();
        let mut all = Vec::with_capacity(contents.len());
        for part in parts {
            all.extend(
                part.join()
                    .map_err(|_| anyhow::anyhow!("hashing panicked"))??,
            );
        }
        Ok(all)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    fn raw(content: Content) -> Vec<u8> {
        let mut all = Vec::new();
        let keep = |bytes: &[u8]| {
            all.extend_from_slice(bytes);
            Ok(())
        };
        Blocks::new().part(content, 0, content.size, keep).unwrap();
        all
    }

    #[test]
    fn no_page_comes_twice() {
        let mut pages = HashSet::new();
        for id in 1..4 {
            let size = 3 * BLOCK as u64 + 5000;
            for page in raw(Content { id, size }).chunks(PAGE) {
                assert!(pages.insert(page.to_vec()));
            }
        }
        assert!(pages.len() > 3 * 3 * 256);
    }

    #[test]
    fn a_chunked_body_is_the_same_content() {
        for size in [1, 100, 32_768, 100_000, (2 << 20) + 70_000] {
            let content = Content { id: 7, size };
            let mut wire = Vec::new();
            let keep = |bytes: &[u8]| {
                wire.extend_from_slice(bytes);
                Ok(())
            };
            Blocks::new().chunked(content, keep).unwrap();
            let (mut rest, mut content_of_wire) = (&wire[..], Vec::new());
            loop {
                let line = rest.iter().position(|byte| *byte == b'\r').unwrap();
                let length = std::str::from_utf8(&rest[..line]).unwrap();
                let length = usize::from_str_radix(length, 16).unwrap();
                content_of_wire.extend_from_slice(&rest[line + 2..line + 2 + length]);
                rest = &rest[line + 2 + length + 2..];
                if length == 0 {
                    break;
                }
            }
            assert!(rest.is_empty());
            assert!(content_of_wire == raw(content), "{size} bytes");
            assert_eq!(
                digests(&[content]).unwrap(),
                [wharf_tests::content::sha256(&content_of_wire)]
            );
        }
    }
}
