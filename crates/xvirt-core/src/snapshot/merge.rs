//! Merges the images of removed snapshots into those that are based on them.

use std::fs;
use std::path::{Path, PathBuf};

use crate::disk::{self, Claim, ImageFormat, ImageStamp};
use crate::progress::Progress;
use crate::repository::{ImageFile, Inventory, Repository, Snapshot, protect, resolved, sync_folder};
use crate::{Error, ErrorKind, Result};

/// An image to merge with the one that it is based on.
#[derive(Debug)]
struct Merge {
    upper: ImageFile,
    lower: PathBuf,
    /// What `lower` is based on, and the merged image will be.
    base: PathBuf,
}

impl Merge {
    /// Whether the images are still based on each other as when they were chosen: others may move, replace or merge them.
    fn is_current(&self) -> Result<bool> {
        let lower = ImageFile { path: self.lower.clone(), format: ImageFormat::Qcow2, of_vm: false };
        Ok(self.upper.base()?.as_ref() == Some(&self.lower) && lower.base()?.as_ref() == Some(&self.base))
    }
}

impl Repository {
    /// Merges each image of a removed snapshot into the only image that is based on it, so that their chains become
    /// shorter and space returns. Returns the number of merged images.
    ///
    /// This copies what both images have. Left as they are: an image on which several are based, one that is based on
    /// nothing itself, and one on which a running VM's disk is directly based. It may be cancelled and repeated at any
    /// time. VMs run on meanwhile; the start of one whose own disk is being merged fails with [`Busy`](ErrorKind::Busy),
    /// and succeeds once that disk is done.
    ///
    /// # Errors
    /// [`Cancelled`](ErrorKind::Cancelled); [`NoSpace`](ErrorKind::NoSpace): a merge needs room for its result; or the
    /// repository is damaged. What is merged by then stays merged.
    pub fn merge_removed(&self, progress: &dyn Progress) -> Result<usize> {
        let (mut merged, mut skipped) = (0, Vec::new());
        while let Some(next) = self.next_merge(&skipped)? {
            match self.merge(&next, progress) {
                Ok(true) => merged += 1,
                // Others were faster, so the next choice is another.
                Ok(false) => {}
                // It is in use, or was removed meanwhile.
                Err(error) if matches!(error.kind(), ErrorKind::Busy | ErrorKind::NotFound) => {
                    skipped.push(next.upper.path);
                }
                Err(error) => return Err(error),
            }
        }
        self.sweep_removed();
        Ok(merged)
    }

    /// The next image to merge, except those in `skipped`.
    fn next_merge(&self, skipped: &[PathBuf]) -> Result<Option<Merge>> {
        let _lock = self.lock_shared()?;
        let inventory = Inventory::read(self)?;
        let mut all = Vec::new();
        for upper in inventory.images()? {
            if let Some(lower) = upper.base()? {
                all.push((upper, lower));
            }
        }
        let removed = inventory.snapshots.iter().filter(|snapshot| snapshot.is_removed());
        let removed: Vec<_> = removed.flat_map(Snapshot::images).map(|own| resolved(&own.path)).collect();
        let based: Vec<_> = all.iter().map(|(upper, lower)| (resolved(&upper.path), lower.clone())).collect();
        let alone = |lower: &Path| based.iter().filter(|(_, below)| below == lower).count() == 1;
        let base = |lower: &Path| based.iter().find(|(image, _)| image == lower).map(|(_, base)| base.clone());
        Ok(all.into_iter().find_map(|(upper, lower)| {
            let eligible = removed.contains(&lower) && alone(&lower) && !skipped.contains(&upper.path);
            let base = base(&lower).filter(|_| eligible)?;
            Some(Merge { upper, lower, base })
        }))
    }

    /// Merges two images, unless others change them meanwhile. Returns whether it did.
    fn merge(&self, merge: &Merge, progress: &dyn Progress) -> Result<bool> {
        let upper = &merge.upper.path;
        // Keeps a VM from starting with the image that is replaced. With the lock, as a VM that runs may have it closed.
        let lock = self.lock_shared()?;
        let claim: Option<Claim> = merge.upper.of_vm.then(|| disk::claim(upper)).transpose()?;
        drop(lock);
        let stage = self.stage()?;
        let target = stage.disk_path(0, ImageFormat::Qcow2);
        match disk::merge(upper, &target, progress) {
            Err(error) if error.kind() != ErrorKind::Cancelled && !merge.is_current()? => {
                tracing::debug!("others have merged {} meanwhile: {error}", upper.display());
                return Ok(false);
            }
            merged => merged?,
        }
        // The VM may be suspended, and resumes only with disks that nobody has changed since.
        ImageStamp::keep(upper, &target)
            .map_err(|error| Error::io(format!("cannot replace {}", upper.display()), error))?;
        if !merge.upper.of_vm {
            protect(&target)?;
        }
        let lock = self.lock_exclusive()?;
        // Otherwise the merged image may be based on one that was deleted.
        let current = merge.is_current()?;
        if current {
            fs::rename(&target, upper)
                .map_err(|error| Error::io(format!("cannot replace {}", upper.display()), error))?;
            upper.parent().map_or(Ok(()), sync_folder)?;
        }
        drop((lock, claim));
        self.sweep_removed();
        Ok(current)
    }
}
