//! Who may do what.

use super::{Error, Result};
use crate::oci::Name;

/// What a caller wants to do with a repository.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    /// Read blobs, manifests and lists.
    Pull,
    /// Add blobs and manifests, and move tags.
    Push,
    /// Remove tags, manifests and blobs.
    Delete,
}

/// What a caller may do. Every rule asks it, so that there is one place to decide in.
#[derive(Debug, Clone)]
pub struct Access {
    /// Only [`Access::anonymous`] makes one.
    _private: (),
}

impl Access {
    /// The access of a caller who did not say who they are. Without logins, that is everyone, and
    /// everyone may do everything; which is why the server listens on loopback unless told
    /// otherwise.
    pub fn anonymous() -> Self {
        Self { _private: () }
    }

    /// Whether the caller may do `action` with the repository `name`.
    pub fn may(&self, _action: Action, _name: &Name) -> bool {
        true
    }

    /// # Errors
    /// [`Error::Denied`] where the caller may not.
    pub(super) fn check(&self, action: Action, name: &Name) -> Result<()> {
        if self.may(action, name) {
            Ok(())
        } else {
            Err(Error::Denied {
                action,
                name: name.clone(),
            })
        }
    }
}
