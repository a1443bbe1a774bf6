//! What the store remembers of itself.

use std::fs;
use std::io;

use super::layout::Layout;
use crate::blobs::{Error, Note, Result};
use crate::durable;

pub(super) fn read(layout: &Layout, note: Note) -> Result<Option<String>> {
    let path = layout.note(note);
    match fs::read_to_string(&path) {
        Ok(text) => Ok(Some(text.trim().to_owned())),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(Error::io("read", &path)(error)),
    }
}

pub(super) fn write(layout: &Layout, note: Note, text: &str) -> Result<()> {
    let path = layout.note(note);
    durable::write(&path, format!("{text}\n").as_bytes()).map_err(Error::io("write", &path))
}
