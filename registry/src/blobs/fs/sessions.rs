//! The files of open uploads.
//!
//! An upload is one file, which is made once and renamed once. Were there a folder or a second file to each, they
//! would be removed with every blob, and a file system that gave many back searches long for the next free one: ext4
//! passes over what was removed in the last seconds (registry/doc/decisions/010).

use std::collections::HashMap;
use std::fs::File;
use std::io::{Read, Write};
use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError};

use percent_encoding::{AsciiSet, CONTROLS, percent_decode_str, percent_encode};

use super::folder::{Folder, found};
use super::layout::Layout;
use super::{Result, UploadId};
use crate::blobs::{Error, OpenUpload};
use crate::limits;

/// The bytes of an upload whose notes have a file of their own.
const DATA: &str = "data";
/// Those notes.
const NOTES: &str = "session";

/// What cannot stand in a file's name as it is.
const ESCAPED: &AsciiSet = &CONTROLS.add(b'/').add(b'%');

/// The longest name that a file may have.
const NAME_BYTES: usize = 255;

/// Where open uploads are.
#[derive(Default)]
pub(super) struct Sessions(Mutex<HashMap<UploadId, Session>>);

/// Where one is, below `uploads/`.
#[derive(Clone)]
enum Session {
    /// In a file of this name, which says what the notes say.
    File(String),
    /// In a folder, with a file of notes.
    Folder,
}

impl Sessions {
    fn lock(&self) -> MutexGuard<'_, HashMap<UploadId, Session>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn find(&self, upload: &UploadId) -> Option<Session> {
        self.lock().get(upload).cloned()
    }

    /// Whether there is anything of an upload.
    pub(super) fn has(&self, upload: &UploadId) -> bool {
        self.lock().contains_key(upload)
    }
}

impl Layout {
    /// A new upload's file.
    pub(super) fn create_upload(&self, upload: &UploadId, notes: &[u8]) -> Result<File> {
        let uploads = self.uploads_folder()?;
        let name = file_name(upload, notes);
        if name.len() <= NAME_BYTES {
            let file = uploads.create(&name)?;
            let session = Session::File(name);
            self.sessions().lock().insert(upload.clone(), session);
            return Ok(file);
        }
        let folder = uploads.make_new(upload.as_str())?;
        let session = Session::Folder;
        self.sessions().lock().insert(upload.clone(), session);
        // The notes come first: data without an owner would have to be thrown away.
        folder
            .create(NOTES)?
            .write_all(notes)
            .map_err(Error::io("write", Path::new(NOTES)))?;
        folder.create(DATA)
    }

    /// An upload's file, to go on with it. A crash may have come before that was made.
    pub(super) fn open_upload(&self, upload: &UploadId) -> Result<File> {
        let (folder, name) = self.upload(upload)?;
        folder.write(&name)
    }

    /// Makes `file`, an upload's, a file of another folder.
    pub(super) fn move_upload(
        &self,
        upload: &UploadId,
        file: &File,
        to: &Folder,
        name: &str,
    ) -> Result<()> {
        let (folder, data) = self.upload(upload)?;
        folder.rename(&data, file, to, name)?;
        let mut sessions = self.sessions().lock();
        if matches!(sessions.get(upload), Some(Session::File(_))) {
            sessions.remove(upload);
        }
        Ok(())
    }

    /// Removes what there is of an upload.
    pub(super) fn remove_upload(&self, upload: &UploadId) -> Result<()> {
        let uploads = self.uploads_folder()?;
        match self.sessions().find(upload) {
            Some(Session::File(name)) => uploads.remove(&name)?,
            Some(Session::Folder) => remove_folder(&uploads, upload)?,
            None => {}
        }
        self.sessions().lock().remove(upload);
        Ok(())
    }

    /// The uploads on disk with their notes; empty notes where a crash came before they were
    /// written. What somebody else has put there is left alone.
    pub(super) fn uploads(&self) -> Result<Vec<OpenUpload>> {
        let folder = self.uploads_folder()?;
        let mut uploads = Vec::new();
        for name in folder.names()? {
            let id = name.split_once('.').map_or(&*name, |(id, _)| id);
            let Ok(upload) = id.parse::<UploadId>() else {
                continue;
            };
            let session = match name == id {
                true => Session::Folder,
                false => Session::File(name),
            };
            let opened = match &session {
                Session::File(name) => open_file(&folder, &upload, name),
                Session::Folder => open_folder(&folder, &upload),
            };
            match opened {
                Ok(open) => {
                    self.sessions().lock().insert(upload, session);
                    uploads.push(open);
                }
                Err(error) => {
                    let error = &error as &dyn std::error::Error;
                    tracing::warn!(error, %upload, "an upload cannot be taken over");
                }
            }
        }
        Ok(uploads)
    }

    fn uploads_folder(&self) -> Result<Folder> {
        self.root().open("uploads")
    }

    /// The folder that an upload's bytes are in, and what their file is called there.
    fn upload(&self, upload: &UploadId) -> Result<(Folder, String)> {
        let uploads = self.uploads_folder()?;
        match self.sessions().find(upload) {
            Some(Session::File(name)) => Ok((uploads, name)),
            _ => Ok((uploads.open(upload.as_str())?, DATA.to_owned())),
        }
    }
}

fn file_name(upload: &UploadId, notes: &[u8]) -> String {
    format!("{upload}.{}", percent_encode(notes, ESCAPED))
}

fn remove_folder(uploads: &Folder, upload: &UploadId) -> Result<()> {
    let Some(folder) = uploads.find(upload.as_str())? else {
        return Ok(());
    };
    folder.remove(DATA)?;
    // The notes go last: without them the data could not be told from another's.
    folder.remove(NOTES)?;
    uploads.remove_folder(upload.as_str())
}

fn open_file(uploads: &Folder, upload: &UploadId, name: &str) -> Result<OpenUpload> {
    // Who finds something else there cannot go on with it.
    uploads.size(name)?;
    let (size, written_at) = uploads.file(name)?.unwrap_or_default();
    let (_, notes) = name.split_once('.').unwrap_or_default();
    Ok(OpenUpload {
        upload: upload.clone(),
        notes: percent_decode_str(notes).collect(),
        size,
        written_at,
    })
}

fn open_folder(uploads: &Folder, upload: &UploadId) -> Result<OpenUpload> {
    let folder = uploads.open(upload.as_str())?;
    // Who finds something else there cannot go on with it either.
    let size = folder.size(DATA)?.unwrap_or(0);
    let mut notes = Vec::new();
    if let Some(file) = found(folder.read(NOTES))? {
        file.take(limits::NOTES_BYTES)
            .read_to_end(&mut notes)
            .map_err(Error::io("read", Path::new(NOTES)))?;
    }
    let written = match folder.file(DATA)? {
        Some(data) => Some(data),
        None => folder.file(NOTES)?,
    };
    Ok(OpenUpload {
        upload: upload.clone(),
        notes,
        size,
        written_at: written.map_or(0, |(_, time)| time),
    })
}
