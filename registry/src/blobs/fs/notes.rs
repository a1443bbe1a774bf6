//! What the store remembers of itself.

use std::fs;
use std::io::{self, Write};

use super::layout::Layout;
use crate::blobs::{Error, Note, Result};

pub(super) fn read(layout: &Layout, note: Note) -> Result<Option<String>> {
    let path = layout.note(note);
    match fs::read_to_string(&path) {
        Ok(text) => Ok(Some(text.trim().to_owned())),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(Error::io("read", &path)(error)),
    }
}

/// Writes the note under another name first: a crash leaves the old one or the new one.
pub(super) fn write(layout: &Layout, note: Note, text: &str) -> Result<()> {
    let path = layout.note(note);
    let new = path.with_extension("new");
    let mut file = fs::File::create(&new).map_err(Error::io("create", &new))?;
    writeln!(file, "{text}")
        .and_then(|()| file.sync_all())
        .map_err(Error::io("write", &new))?;
    fs::rename(&new, &path).map_err(Error::io("rename", &new))?;
    layout.sync_blobs()
}
