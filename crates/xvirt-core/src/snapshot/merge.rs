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
}

impl Repository {
    /// Merges each image of a removed snapshot into the only image that is based on it, so that their chains become
    /// shorter and space returns. Returns the number of merged images.
    ///
    /// This copies what both images have. Left as they are: an image on which several are based, one that is based on
    /// nothing itself, and one on which a running VM's disk is directly based. It may be cancelled and repeated at any
    /// time. VMs can run and start meanwhile.
    ///
    /// # Errors
    /// [`Cancelled`](ErrorKind::Cancelled); [`NoSpace`](ErrorKind::NoSpace): a merge needs room for its result; or the
    /// repository is damaged. What is merged by then stays merged.
    pub fn merge_removed(&self, progress: &dyn Progress) -> Result<usize> {
        let (mut merged, mut skipped) = (0, Vec::new());
        while let Some(next) = self.next_merge(&skipped)? {
            match self.merge(&next, progress) {
                Ok(()) => merged += 1,
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
                all.push(Merge { upper, lower });
            }
        }
        let removed = inventory.snapshots.iter().filter(|snapshot| snapshot.is_removed());
        let removed: Vec<_> = removed.flat_map(Snapshot::images).map(|own| resolved(&own.path)).collect();
        let based: Vec<_> = all.iter().map(|merge| (resolved(&merge.upper.path), merge.lower.clone())).collect();
        let alone = |lower: &Path| based.iter().filter(|(_, below)| below == lower).count() == 1;
        let has_base = |lower: &Path| based.iter().any(|(image, _)| image == lower);
        Ok(all.into_iter().find(|Merge { upper, lower }| {
            removed.contains(lower) && alone(lower) && has_base(lower) && !skipped.contains(&upper.path)
        }))
    }

    fn merge(&self, merge: &Merge, progress: &dyn Progress) -> Result<()> {
        let upper = &merge.upper.path;
        // Keeps a VM from starting with the image that is replaced.
        let claim: Option<Claim> = merge.upper.of_vm.then(|| disk::claim(upper)).transpose()?;
        let stage = self.stage()?;
        let target = stage.disk_path(0, ImageFormat::Qcow2);
        disk::merge(upper, &target, progress)?;
        // The VM may be suspended, and resumes only with disks that nobody has changed since.
        ImageStamp::keep(upper, &target)
            .map_err(|error| Error::io(format!("cannot replace {}", upper.display()), error))?;
        if !merge.upper.of_vm {
            protect(&target)?;
        }
        let lock = self.lock_exclusive()?;
        // Others may have moved or replaced the image meanwhile.
        if merge.upper.base()?.as_ref() == Some(&merge.lower) {
            fs::rename(&target, upper)
                .map_err(|error| Error::io(format!("cannot replace {}", upper.display()), error))?;
            upper.parent().map_or(Ok(()), sync_folder)?;
        }
        drop((lock, claim));
        self.sweep_removed();
        Ok(())
    }
}
