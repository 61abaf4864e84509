//! Changes of a VM that take several renames.
//!
//! A change of a VM replaces its folder with a new one; sealing also moves its disks into a new layer. The renames are
//! recorded in a file before the first one, and each step can detect whether it is done. Whoever finds such a file
//! completes the change.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::name::is_disk_name;
use super::record::{corrupt, explain_damage};
use super::stage::{self, ALIVE};
use super::store::{absent_is, move_into, rename, swap, sync_folder};
use super::{Directory, ExclusiveLock, FORMAT, Record, Repository, Stage};
use crate::{Error, Result};

/// Everyone may read; no one may write.
const READ_ONLY: u32 = 0o444;

/// The remedy for a damaged change file: its contents are unknown, and disks may be staged.
const RESTORE_CHANGE: &str = "restore it from a copy; if there is none, copy the folder staging elsewhere, which may hold \
                              disks of a VM that was being changed, remove this file, open the repository again, and \
                              see with Repository::check which VM has to be restored";

/// New folders that take their places together.
#[derive(Debug)]
pub(crate) struct Change {
    /// The VM, and the stage with its new contents.
    pub(crate) vm: Uuid,
    pub(crate) stage: Stage,
    /// The layer or snapshot that takes over its disks, if any.
    pub(crate) layer: Option<NewLayer>,
}

/// A layer or a snapshot that takes over disks of a VM.
#[derive(Debug)]
pub(crate) struct NewLayer {
    /// Where it is kept: layers or snapshots.
    pub(crate) directory: Directory,
    pub(crate) id: Uuid,
    pub(crate) stage: Stage,
    /// The disks that move out of the VM's old folder.
    pub(crate) disks: Vec<Replacement>,
}

/// A disk that moves out of a VM's folder into a layer.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Replacement {
    /// Its name in the VM's folder.
    pub(crate) from: String,
    /// Its name in the layer's folder.
    pub(crate) to: String,
}

/// A change in its recorded form: stages are named instead of owned.
#[derive(Debug, Serialize, Deserialize)]
struct Pending {
    format: u32,
    vm: Uuid,
    stage: Uuid,
    #[serde(default)]
    layer: Option<PendingLayer>,
}

#[derive(Debug, Serialize, Deserialize)]
struct PendingLayer {
    #[serde(default = "layers")]
    directory: Directory,
    id: Uuid,
    stage: Uuid,
    disks: Vec<Replacement>,
}

fn layers() -> Directory {
    Directory::Layers
}

impl Record for Pending {
    const FILE: &str = "change.json";
}

impl Repository {
    /// Makes a change, and returns the name of the VM's old folder in the trash. Once it is recorded, this does not fail any
    /// more: if a rename fails, the next one to take the lock completes the change.
    pub(crate) fn change(&self, lock: &ExclusiveLock, change: Change) -> Result<Uuid> {
        let Change { vm, mut stage, mut layer } = change;
        let names = layer.as_ref().map(|layer| PendingLayer {
            directory: layer.directory,
            id: layer.id,
            stage: layer.stage.id(),
            disks: layer.disks.clone(),
        });
        let pending = Pending { format: FORMAT, vm, stage: stage.id(), layer: names };
        pending.write(stage.folder())?;
        stage.settle()?;
        if let Some(layer) = &layer {
            layer.stage.settle()?;
        }
        move_into(&stage.folder().join(Pending::FILE), &self.folder().join(Pending::FILE), self.folder())?;
        stage.keep();
        if let Some(layer) = &mut layer {
            layer.stage.keep();
        }
        if let Err(error) = complete(self, lock) {
            tracing::warn!("a change of {} is not complete yet: {error}", self.folder().display());
        }
        Ok(pending.stage)
    }
}

/// Whether a process died before its change was complete.
pub(super) fn is_pending(repository: &Repository) -> Result<bool> {
    exists(&repository.folder().join(Pending::FILE))
}

/// Completes a recorded change, if there is one. The old folder of the VM goes to the trash.
pub(super) fn complete(repository: &Repository, _: &ExclusiveLock) -> Result<()> {
    if !is_pending(repository)? {
        return Ok(());
    }
    let pending = Pending::read(repository.folder()).map_err(|error| explain_damage(error, RESTORE_CHANGE))?;
    let place = repository.place(Directory::Vms, pending.vm);
    if let Some(layer) = &pending.layer {
        move_into_layer(repository, &place, layer)?;
    }
    let (staged, trash) =
        (repository.place(Directory::Staging, pending.stage), repository.place(Directory::Trash, pending.stage));
    // The `alive` file distinguishes the new folder from the one it replaces.
    if exists(&staged.join(ALIVE))? {
        if exists(&place)? && !swap(&staged, &place)? {
            rename(&place, &trash)?;
        }
        if !exists(&place)? {
            rename(&staged, &place)?;
        }
    }
    if exists(&staged)? {
        rename(&staged, &trash)?;
    }
    stage::settled(&place);
    sync_folder(&repository.directory(Directory::Vms))?;
    let done = repository.folder().join(Pending::FILE);
    fs::remove_file(&done).map_err(|error| Error::io(format!("cannot remove {}", done.display()), error))?;
    sync_folder(repository.folder())
}

/// Moves the disks of a VM into a layer, and the layer into its place. Only then is the VM's folder replaced, so a
/// layer in its place needs no further steps.
fn move_into_layer(repository: &Repository, vm: &Path, layer: &PendingLayer) -> Result<()> {
    let staged = repository.place(Directory::Staging, layer.stage);
    if !exists(&staged)? {
        return Ok(());
    }
    let harmless = |moved: &Replacement| is_disk_name(&moved.from) && is_disk_name(&moved.to);
    let immutable = matches!(layer.directory, Directory::Layers | Directory::Snapshots);
    if !immutable || !layer.disks.iter().all(harmless) {
        let what = "it names a file or a folder that cannot belong to a template or a snapshot";
        return Err(explain_damage(corrupt(&repository.folder().join(Pending::FILE), what), RESTORE_CHANGE));
    }
    for Replacement { from, to } in &layer.disks {
        let to = staged.join(to);
        if !exists(&to)? {
            rename(&vm.join(from), &to)?;
        }
        protect(&to)?;
    }
    sync_folder(&staged)?;
    stage::settle_in(&staged, &repository.place(layer.directory, layer.id), &repository.directory(layer.directory))
}

/// Makes a file read-only.
pub(crate) fn protect(path: &Path) -> Result<()> {
    fs::set_permissions(path, Permissions::from_mode(READ_ONLY))
        .map_err(|error| Error::io(format!("cannot protect {}", path.display()), error))
}

fn exists(path: &Path) -> Result<bool> {
    let found = fs::symlink_metadata(path).map(|_| true).or_else(absent_is(false));
    found.map_err(|error| Error::io(format!("cannot find {}", path.display()), error))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Boot, Disk, VmConfig};
    use crate::disk::{self, ImageFormat};
    use crate::repository::VmRecord;

    /// The number of renames in a change if two folders cannot be swapped.
    const RENAMES: usize = 4;
    /// Stands for a swap of the folders instead of the last two renames.
    const SWAPPED: usize = 5;

    /// A repository in which a change of a VM was recorded and then interrupted after `done` renames.
    fn interrupted(folder: &Path, done: usize) -> (Repository, Uuid, Uuid) {
        let repository = Repository::open(folder).unwrap();
        let mut stage = repository.stage().unwrap();
        let path = stage.disk_path(0, ImageFormat::Raw);
        disk::create(&path, ImageFormat::Raw, 512).unwrap();
        let vm = stage.commit(VmConfig::new("a").boot(Boot::kernel("k")).disk(Disk::raw(path))).unwrap();

        let (mut new, mut layer) = (repository.stage().unwrap(), repository.stage().unwrap());
        let mut config = vm.record().config.clone();
        config.name = "b".to_owned();
        disk::create(new.disk_path(0, ImageFormat::Raw), ImageFormat::Raw, 1024).unwrap();
        VmRecord::new(config, None).unwrap().write(new.folder()).unwrap();
        let moved = Replacement { from: "disk-0.raw".to_owned(), to: "disk-0.raw".to_owned() };
        let id = Uuid::new_v4();
        let names = PendingLayer { directory: Directory::Layers, id, stage: layer.id(), disks: vec![moved] };
        let pending = Pending { format: FORMAT, vm: vm.uuid(), stage: new.id(), layer: Some(names) };
        pending.write(repository.folder()).unwrap();

        let place = repository.place(Directory::Vms, vm.uuid());
        let renames = [
            (place.join("disk-0.raw"), layer.disk_path(0, ImageFormat::Raw)),
            (layer.folder().to_owned(), repository.place(Directory::Layers, id)),
            (place.clone(), repository.place(Directory::Trash, new.id())),
            (new.folder().to_owned(), place),
        ];
        let ordinary = if done == SWAPPED { 2 } else { done };
        for (number, (from, to)) in renames.iter().take(ordinary).enumerate() {
            rename(from, to).unwrap();
            if number == 0 {
                protect(to).unwrap();
            }
        }
        if done == SWAPPED {
            assert!(swap(new.folder(), &repository.place(Directory::Vms, vm.uuid())).unwrap());
        }
        new.keep();
        layer.keep();
        (repository, vm.uuid(), id)
    }

    #[test]
    fn a_change_is_completed_wherever_it_was_interrupted() {
        for done in (0..=RENAMES).chain([SWAPPED]) {
            for open in [false, true] {
                let folder = tempfile::tempdir().unwrap();
                let (repository, vm, layer) = interrupted(folder.path(), done);
                if open {
                    Repository::open(folder.path()).unwrap();
                }
                // A caller that has the repository open need not open it again.
                let vm = repository.vm(&vm.to_string()).unwrap();
                assert_eq!(vm.name(), "b", "{done}");
                let length = |path: &Path| fs::metadata(path).unwrap().len();
                assert_eq!(length(&vm.folder().join("disk-0.raw")), 1024, "{done}");
                let sealed = repository.place(Directory::Layers, layer).join("disk-0.raw");
                assert_eq!(length(&sealed), 512, "{done}");
                assert_eq!(fs::metadata(&sealed).unwrap().permissions().mode() & 0o777, READ_ONLY);
                assert!(!is_pending(&repository).unwrap());
                assert!(repository.ids(Directory::Staging).unwrap().is_empty());
                assert!(!vm.folder().join(ALIVE).exists());
            }
        }
    }

    #[test]
    fn a_hostile_change_moves_nothing() {
        for (good, hostile) in [
            ("\"from\": \"disk-0.raw\"", "\"from\": \"../../lock\""),
            ("\"directory\": \"layers\"", "\"directory\": \"vms\""),
        ] {
            let folder = tempfile::tempdir().unwrap();
            let (repository, vm, layer) = interrupted(folder.path(), 0);
            let path = folder.path().join(Pending::FILE);
            let text = fs::read_to_string(&path).unwrap();
            assert!(text.contains(good), "{text}");
            fs::write(&path, text.replace(good, hostile)).unwrap();
            let error = repository.vm(&vm.to_string()).unwrap_err();
            assert!(error.to_string().contains("it names a file or a folder that cannot belong"), "{error}");
            assert!(folder.path().join("lock").exists() && !repository.place(Directory::Vms, layer).exists());
        }
    }

    #[test]
    fn a_recorded_change_that_cannot_be_completed_now_is_completed_later() {
        let folder = tempfile::tempdir().unwrap();
        let (repository, vm, _) = interrupted(folder.path(), 0);
        let before = repository.vm(&vm.to_string()).unwrap();
        assert_eq!(before.name(), "b");
        let stage = repository.stage().unwrap();
        let mut config = before.record().config.clone();
        config.name = "c".to_owned();
        VmRecord::new(config, None).unwrap().write(stage.folder()).unwrap();
        let path = stage.disk_path(0, ImageFormat::Raw);
        disk::create(path, ImageFormat::Raw, 1024).unwrap();
        // Without it, the old folder has nowhere to go.
        let (trash, away) = (repository.directory(Directory::Trash), folder.path().join("away"));
        fs::rename(&trash, &away).unwrap();
        let lock = repository.lock_exclusive().unwrap();
        repository.change(&lock, Change { vm, stage, layer: None }).unwrap();
        drop(lock);
        assert!(is_pending(&repository).unwrap());
        assert!(repository.vm(&vm.to_string()).is_err());
        fs::rename(&away, &trash).unwrap();
        assert_eq!(repository.vm(&vm.to_string()).unwrap().name(), "c");
        assert!(!is_pending(&repository).unwrap());
    }
}
