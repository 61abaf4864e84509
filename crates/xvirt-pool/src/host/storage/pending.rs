//! Images that are being made or removed: named in the store before they exist, and until they are gone, so that a service
//! that ends meanwhile leaves none that nobody knows. What is not named is never removed, since it may belong to a newer
//! state than the store's.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use uuid::Uuid;

use crate::host::Inner;
use crate::objects::{Change, beside_of};
use crate::operation::{Failure, codes};
use crate::worker::place::failed;

/// Images that are being made or removed.
#[derive(Clone, Debug)]
pub(crate) struct Pending {
    key: String,
    paths: Vec<PathBuf>,
}

impl Inner {
    /// Names images that are to be made.
    pub(crate) fn pending(&self, paths: Vec<PathBuf>) -> Result<Pending, Failure> {
        let pending = self.doomed(paths);
        self.objects.change(|change| pending.record(change))?;
        Ok(pending)
    }

    /// Images that are to be removed once a transaction that [names](Pending::record) them is committed.
    pub(crate) fn doomed(&self, paths: Vec<PathBuf>) -> Pending {
        Pending { key: format!("{}{}", self.pending_folder(), Uuid::new_v4()), paths }
    }

    /// Removes the images that could not be made. If that fails, the next service does it.
    pub(crate) fn abandon(&self, pending: &Pending) {
        match self.objects.change(|change| pending.exclude(change)) {
            Ok(true) => self.remove(pending),
            // They are made.
            Ok(false) => {}
            Err(failure) => pending.is_left(&failure),
        }
    }

    /// Removes images that are in no record, and never will be. If that fails, the next service does it.
    pub(crate) fn remove(&self, pending: &Pending) {
        if !pending.remove_images() {
            return;
        }
        let removed = self.objects.change(|change| {
            change.remove_beside(&pending.key);
            Ok(())
        });
        if let Err(failure) = removed {
            pending.is_left(&failure);
        }
    }

    /// Removes the images that earlier services were making or removing.
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
    /// Names the images.
    pub(crate) fn record(&self, change: &mut Change<'_>) -> Result<(), Failure> {
        change.put_beside(&self.key, &self.paths)
    }

    /// They are made: the records name them, from the same transaction on. It reads the key, and so is never committed
    /// after [`exclude`](Self::exclude).
    pub(crate) fn done(&self, change: &mut Change<'_>) -> Result<(), Failure> {
        let named: Option<Vec<PathBuf>> = change.beside(&self.key)?;
        named.ok_or_else(|| codes::internal("the images are being removed").with_remedy("try again"))?;
        change.remove_beside(&self.key);
        Ok(())
    }

    /// Writes the key again, so that no transaction that says that they are made can still be committed: the outcome of one
    /// may be unknown. `false` if it was committed.
    fn exclude(&self, change: &mut Change<'_>) -> Result<bool, Failure> {
        let named: Option<Vec<PathBuf>> = change.beside(&self.key)?;
        let Some(paths) = named else { return Ok(false) };
        change.put_beside(&self.key, &paths)?;
        Ok(true)
    }

    fn is_left(&self, failure: &Failure) {
        tracing::warn!(%failure, paths = ?self.paths, "images that nobody needs are left to the next service");
    }

    /// Whether all are gone, also after a failure of the host.
    fn remove_images(&self) -> bool {
        let removed = self.paths.iter().map(|path| match fs::remove_file(path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                tracing::warn!(%error, path = %path.display(), "an image that nobody needs cannot be removed");
                false
            }
            _ => true,
        });
        let all = removed.fold(true, |all, removed| all & removed);
        all && sync_folders(self.paths.iter().map(PathBuf::as_path)).is_ok()
    }
}

/// Brings the names of files to stable storage: that of a file that was made, renamed or removed is in its folder.
pub(crate) fn sync_folders<'a>(files: impl IntoIterator<Item = &'a Path>) -> Result<(), Failure> {
    let folders: std::collections::BTreeSet<&Path> = files.into_iter().filter_map(Path::parent).collect();
    for folder in folders {
        let synced = fs::File::open(folder).and_then(|folder| folder.sync_all());
        synced.map_err(|error| failed("write", folder, &error))?;
    }
    Ok(())
}

#[cfg(all(test, feature = "simulation"))]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::objects::Objects;
    use crate::store::{ManualClock, SimulatedStore};

    #[test]
    fn what_may_have_been_recorded_is_excluded_before_its_images_are_removed() {
        let store = Arc::new(SimulatedStore::new(1, Arc::new(ManualClock::default())));
        let objects = Objects::new(store, Uuid::new_v4(), Arc::new(crate::host::SystemHostClock));
        let pending = Pending { key: "/host/a/pending/b".to_owned(), paths: vec!["/disks/c.raw".into()] };
        objects.change(|change| pending.record(change)).unwrap();
        let mut attempts = 0;
        let recorded = objects.change(|change| {
            attempts += 1;
            pending.done(change)?;
            // Then the first attempt is not committed any more.
            if attempts == 1 {
                assert!(objects.change(|change| pending.exclude(change))?);
            }
            Ok(())
        });
        recorded.unwrap();
        assert_eq!(attempts, 2);
        // The records name them now.
        assert!(!objects.change(|change| pending.exclude(change)).unwrap());
        objects.change(|change| pending.done(change)).unwrap_err();
    }
}
