//! Images that are being made: named in the store before they exist, so that a service that ends meanwhile leaves none that
//! nobody knows. What is not named is never removed, since it may belong to a newer state than the store's.

use std::fs;
use std::path::PathBuf;

use uuid::Uuid;

use crate::host::Inner;
use crate::objects::{Change, beside_of};
use crate::operation::Failure;

/// Images that are being made.
#[derive(Clone, Debug)]
pub(crate) struct Pending {
    key: String,
    paths: Vec<PathBuf>,
}

impl Inner {
    /// Names images that are to be made.
    pub(crate) fn pending(&self, paths: Vec<PathBuf>) -> Result<Pending, Failure> {
        let pending = Pending { key: format!("{}{}", self.pending_folder(), Uuid::new_v4()), paths };
        self.objects.change(|change| change.put_beside(&pending.key, &pending.paths))?;
        Ok(pending)
    }

    /// Removes the images that could not be made.
    pub(crate) fn abandon(&self, pending: &Pending) {
        pending.remove_images();
        // If that fails, the next service does it.
        let _ = self.objects.change(|change| {
            pending.done(change);
            Ok(())
        });
    }

    /// Removes the images that earlier services were making.
    pub(crate) fn abandon_earlier(&self) -> Result<(), Failure> {
        for (key, paths) in self.objects.besides(&self.pending_folder())? {
            self.abandon(&Pending { key, paths });
        }
        Ok(())
    }

    fn pending_folder(&self) -> String {
        format!("{}/", beside_of(self.host, "pending"))
    }
}

impl Pending {
    /// They are made: the records name them, from the same transaction on.
    pub(crate) fn done(&self, change: &mut Change<'_>) {
        change.remove_beside(&self.key);
    }

    fn remove_images(&self) {
        for path in &self.paths {
            match fs::remove_file(path) {
                Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                    tracing::warn!(%error, path = %path.display(), "an image that was not finished cannot be removed");
                }
                _ => {}
            }
        }
    }
}
