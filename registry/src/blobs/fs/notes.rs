//! What the store remembers of itself.

use std::io::{Read, Write};
use std::path::Path;

use super::folder::found;
use super::layout::Layout;
use crate::blobs::{Error, Note, Result};
use crate::limits;

pub(super) fn read(layout: &Layout, note: Note) -> Result<Option<String>> {
    let name = name(note);
    let Some(file) = found(layout.blobs()?.read(name))? else {
        return Ok(None);
    };
    let mut text = String::new();
    file.take(limits::NOTES_BYTES)
        .read_to_string(&mut text)
        .map_err(Error::io("read", Path::new(name)))?;
    Ok(Some(text.trim().to_owned()))
}

/// Under another name first: a crash leaves the old note or the new one.
pub(super) fn write(layout: &Layout, note: Note, text: &str) -> Result<()> {
    let (name, blobs) = (name(note), layout.blobs()?);
    let new = format!("{name}.new");
    blobs.remove(&new)?;
    let mut file = blobs.create(&new)?;
    file.write_all(format!("{text}\n").as_bytes())
        .and_then(|()| file.sync_all())
        .map_err(Error::io("write", Path::new(&new)))?;
    blobs.rename(&new, &file, &blobs, name)?;
    blobs.sync()
}

fn name(note: Note) -> &'static str {
    match note {
        Note::StoreId => "store-id",
        Note::Generation => "generation",
    }
}
