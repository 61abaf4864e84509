//! The snapshots of a repository.
//!
//! A snapshot owns the images that its VM had when it was taken; the VM continues with copy-on-write copies of them. A
//! snapshot that is removed while other images are based on its own keeps those images, and is no longer listed.

use std::collections::HashMap;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::being_taken::is_being_taken;
use super::record::corrupt;
use super::update::link_file;
use super::vm::{check_disks, names_in, own_disks, readable, with_full_paths};
use super::{Base, Directory, FORMAT, Lineage, Locked, OwnDisk, Record, Repository, StoredVm};
use crate::config::VmConfig;
use crate::state::{MAX_BASES, base_path};
use crate::vm::CheckpointReport;
use crate::{Error, ErrorKind, Result};

/// The file with the memory and the devices of a VM.
pub(crate) const SAVED_STATE: &str = "saved-state";
/// The most snapshots between one and the first of its tree.
const MAX_ANCESTORS: usize = 4096;

#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct SnapshotRecord {
    format: u32,
    pub(crate) uuid: Uuid,
    pub(crate) name: String,
    #[serde(default)]
    pub(crate) description: String,
    /// Numbers the snapshots of one VM.
    pub(crate) number: u64,
    /// Seconds since 1970.
    pub(crate) created: u64,
    /// The VM of which it was taken.
    pub(crate) vm: Uuid,
    /// The snapshot on which its disks are based.
    #[serde(default)]
    pub(crate) parent: Option<Uuid>,
    /// The template on which its disks are based.
    #[serde(default)]
    pub(crate) layer: Option<Lineage>,
    /// Whether it has the memory of the VM.
    #[serde(default)]
    pub(crate) memory: bool,
    /// The VM whose memory it has, if that is another: a checkpoint of a copy that had not run yet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) original: Option<Uuid>,
    /// Whether it was removed, and stays only because others are based on it.
    #[serde(default)]
    pub(crate) removed: bool,
    /// How its memory was saved, if the VM was in memory.
    #[serde(default)]
    pub(crate) checkpoint: Option<CheckpointReport>,
    /// The configuration of the VM. The paths of its own disks are names beside the record.
    pub(crate) config: VmConfig,
}

impl Record for SnapshotRecord {
    const FILE: &str = "snapshot.json";
}

impl SnapshotRecord {
    /// The record of a new snapshot of `vm`, which gets its number when it is put in place.
    pub(crate) fn new(uuid: Uuid, name: String, vm: &StoredVm, config: VmConfig) -> Self {
        let created = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).map_or(0, |age| age.as_secs());
        let (layer, parent) = (vm.layer().cloned(), vm.record().snapshot);
        Self {
            format: FORMAT,
            uuid,
            name,
            description: String::new(),
            number: 0,
            created,
            vm: vm.uuid(),
            parent,
            layer,
            memory: false,
            original: None,
            removed: false,
            checkpoint: None,
            config,
        }
    }
}

/// A snapshot of a VM: its disks and its configuration at one moment, and for a checkpoint its memory.
#[derive(Clone, Debug)]
pub struct Snapshot {
    repository: Repository,
    record: SnapshotRecord,
    parent: Option<Uuid>,
    /// Whether it is a checkpoint that is not complete yet.
    being_taken: bool,
}

impl Snapshot {
    /// A snapshot that is about to be put in place, for callers that hold a lock.
    pub(crate) fn new(repository: &Repository, record: SnapshotRecord) -> Result<Self> {
        let parent = repository.ancestry(record.parent)?.into_iter().find(|parent| !parent.record.removed);
        Ok(Self {
            repository: repository.clone(),
            record,
            parent: parent.map(|parent| parent.uuid()),
            being_taken: false,
        })
    }

    /// The UUID.
    pub fn uuid(&self) -> Uuid {
        self.record.uuid
    }

    /// The name, which other snapshots may have too.
    pub fn name(&self) -> &str {
        &self.record.name
    }

    /// The description for users.
    pub fn description(&self) -> &str {
        &self.record.description
    }

    /// The time at which it was taken.
    pub fn created(&self) -> SystemTime {
        SystemTime::UNIX_EPOCH.checked_add(Duration::from_secs(self.record.created)).unwrap_or(SystemTime::UNIX_EPOCH)
    }

    /// The UUID of the VM of which it was taken. The VM may have been removed since.
    pub fn vm(&self) -> Uuid {
        self.record.vm
    }

    /// The snapshot from which the VM had continued when this one was taken: its parent in the tree of snapshots.
    pub fn parent(&self) -> Option<Uuid> {
        self.parent
    }

    /// Whether it is a checkpoint, which has the VM's memory: a VM that is reverted to it is suspended.
    pub fn has_memory(&self) -> bool {
        self.record.memory
    }

    /// How a checkpoint was taken; `None` if it is none, or its VM was suspended.
    pub fn checkpoint_report(&self) -> Option<&CheckpointReport> {
        self.record.checkpoint.as_ref()
    }

    /// The VM's configuration at that moment, with the absolute paths of the snapshot's disks.
    pub fn config(&self) -> VmConfig {
        with_full_paths(&self.record.config, &self.folder())
    }

    /// The bytes that its files use on the host. Most of them return when it is removed, if no other snapshot and no VM
    /// is based on it. Files on a file system with reflinks may share these bytes with others.
    ///
    /// # Errors
    /// [`NotFound`](ErrorKind::NotFound) if it was removed; or its folder cannot be read.
    pub fn size(&self) -> Result<u64> {
        let folder = self.folder();
        let size = |name: &String| fs::symlink_metadata(folder.join(name)).map_or(0, |file| file.blocks() * 512);
        let mut names = names_in(&folder).map_err(|error| explain(self.uuid(), error))?;
        // The checkpoints on which it is based have these too, or had them.
        let bases: Vec<_> = saved_state_files().into_iter().skip(1).collect();
        let shared = |name: &String| fs::symlink_metadata(folder.join(name)).is_ok_and(|file| file.nlink() > 1);
        names.retain(|name| !(bases.contains(name) && shared(name)));
        Ok(names.iter().map(size).sum())
    }

    /// Changes the snapshot on which its record says that it is based.
    pub(super) fn set_parent(&mut self, parent: Option<Uuid>) -> Result<()> {
        self.record.parent = parent;
        self.record.replace(&self.folder())
    }

    /// Whether it was removed, and what nobody needs of it can be deleted.
    pub(crate) fn is_removed(&self) -> bool {
        self.record.removed && !self.being_taken
    }

    pub(crate) fn record(&self) -> &SnapshotRecord {
        &self.record
    }

    pub(crate) fn folder(&self) -> PathBuf {
        self.repository.place(Directory::Snapshots, self.uuid())
    }

    /// The images of its own disks.
    pub(crate) fn images(&self) -> Vec<OwnDisk> {
        own_disks(&self.record.config, &self.folder())
    }

    /// The VM whose memory it has: another one than [`vm`](Self::vm) if that was a copy which had not run yet.
    pub(crate) fn original(&self) -> Uuid {
        self.record.original.unwrap_or(self.vm())
    }

    /// The name for messages.
    pub(crate) fn title(&self) -> String {
        format!("snapshot '{}' ({})", self.name(), self.uuid())
    }
}

impl OwnDisk {
    /// The disk of a snapshot as the base of a copy.
    pub(crate) fn as_base<'a>(&'a self, snapshot: &Snapshot) -> Base<'a> {
        let (directory, owner) = (Directory::Snapshots, snapshot.uuid());
        Base { image: &self.path, format: self.format, directory, owner, name: &self.name }
    }
}

impl Repository {
    /// The snapshots of a VM, in the order in which they were taken, so that a parent comes before its children.
    /// Damaged ones are skipped; [`check`](Self::check) finds them.
    ///
    /// # Errors
    /// The repository cannot be read.
    pub fn snapshots(&self, vm: Uuid) -> Result<Vec<Snapshot>> {
        let _lock = self.lock_shared()?;
        let mut snapshots = self.listed_snapshots()?;
        snapshots.retain(|snapshot| snapshot.vm() == vm);
        Ok(snapshots)
    }

    /// All snapshots, also of VMs that were removed, in the order of [`snapshots`](Self::snapshots).
    ///
    /// # Errors
    /// The repository cannot be read.
    pub fn all_snapshots(&self) -> Result<Vec<Snapshot>> {
        let _lock = self.lock_shared()?;
        self.listed_snapshots()
    }

    /// The snapshot with this UUID.
    ///
    /// # Errors
    /// [`NotFound`](ErrorKind::NotFound); [`CorruptRepository`](ErrorKind::CorruptRepository).
    pub fn find_snapshot(&self, uuid: Uuid) -> Result<Snapshot> {
        let _lock = self.lock_shared()?;
        self.require_snapshot(uuid)
    }

    /// The snapshot from which a VM continues: the last one taken of it or reverted to, if it was not removed.
    ///
    /// # Errors
    /// The repository cannot be read.
    pub fn current_snapshot(&self, vm: &StoredVm) -> Result<Option<Snapshot>> {
        let _lock = self.lock_shared()?;
        let current = self.ancestry(self.read_vm(vm.uuid())?.record().snapshot)?;
        Ok(current.into_iter().find(|snapshot| !snapshot.record.removed))
    }

    /// The snapshot with this UUID unless it was removed, for callers that hold a lock.
    pub(crate) fn require_snapshot(&self, id: Uuid) -> Result<Snapshot> {
        let Snapshot { record, .. } = self.read_snapshot(id)?;
        if record.removed { Err(absent(id)) } else { Snapshot::new(self, record) }
    }

    /// All snapshots that are not removed, for callers that hold a lock.
    fn listed_snapshots(&self) -> Result<Vec<Snapshot>> {
        let all: HashMap<_, _> = self.readable_snapshots()?.into_iter().map(|found| (found.uuid(), found)).collect();
        let mut listed: Vec<_> = all.values().filter(|snapshot| !snapshot.record.removed).cloned().collect();
        for snapshot in &mut listed {
            let mut parent = snapshot.record.parent.and_then(|id| all.get(&id));
            for _ in 0..all.len() {
                parent = match parent {
                    Some(removed) if removed.record.removed => removed.record.parent.and_then(|id| all.get(&id)),
                    _ => break,
                };
            }
            snapshot.parent = parent.map(Snapshot::uuid);
        }
        listed.sort_by_key(|snapshot| (snapshot.vm(), snapshot.record.number));
        Ok(listed)
    }

    /// The snapshots whose records can be read, removed or not, for callers that hold a lock.
    pub(super) fn readable_snapshots(&self) -> Result<Vec<Snapshot>> {
        let ids = self.ids(Directory::Snapshots)?.into_iter();
        ids.filter_map(|id| readable("a snapshot", self.read_snapshot(id))).collect()
    }

    /// All snapshots, also those that are removed and kept, for callers that hold a lock.
    pub(crate) fn read_snapshots(&self) -> Result<Vec<Snapshot>> {
        self.ids(Directory::Snapshots)?.into_iter().map(|id| self.read_snapshot(id)).collect()
    }

    /// The snapshot with this UUID, removed or not, for callers that hold a lock.
    pub(crate) fn read_snapshot(&self, id: Uuid) -> Result<Snapshot> {
        let folder = self.place(Directory::Snapshots, id);
        let record = SnapshotRecord::read(&folder).map_err(|error| match fs::symlink_metadata(&folder) {
            Ok(_) if error.kind() == ErrorKind::NotFound => corrupt(&folder, "its record is missing"),
            _ => explain(id, error),
        })?;
        if record.uuid != id {
            return Err(corrupt(&folder, "its record belongs to another snapshot"));
        }
        check_disks(&record.config, &folder)?;
        let (parent, being_taken) = (record.parent, record.removed && is_being_taken(&folder)?);
        Ok(Snapshot { repository: self.clone(), record, parent, being_taken })
    }

    /// A snapshot and those on which it is based, removed or not, for callers that hold a lock.
    pub(crate) fn ancestry(&self, first: Option<Uuid>) -> Result<Vec<Snapshot>> {
        let (mut found, mut next) = (Vec::<Snapshot>::new(), first);
        while let Some(id) = next {
            let folder = self.place(Directory::Snapshots, id);
            if found.len() >= MAX_ANCESTORS || found.iter().any(|snapshot| snapshot.uuid() == id) {
                return Err(corrupt(&folder, "it is based on itself, or on too many others"));
            }
            let snapshot = self.read_snapshot(id).map_err(|error| match error.kind() {
                ErrorKind::NotFound => corrupt(&folder, "it is missing, and others are based on it"),
                _ => error,
            })?;
            next = snapshot.record.parent;
            found.push(snapshot);
        }
        Ok(found)
    }

    /// The number of the next snapshot of a VM, for callers that hold a lock.
    pub(crate) fn next_number(&self, vm: Uuid) -> Result<u64> {
        let snapshots = self.readable_snapshots()?;
        let numbers = snapshots.iter().filter(|snapshot| snapshot.vm() == vm).map(|snapshot| snapshot.record.number);
        Ok(numbers.max().map_or(1, |last| last.saturating_add(1)))
    }
}

fn explain(id: Uuid, error: Error) -> Error {
    if error.kind() == ErrorKind::NotFound { absent(id) } else { error }
}

fn absent(id: Uuid) -> Error {
    Error::new(ErrorKind::NotFound, format!("there is no snapshot {id}"))
        .with_remedy("list the snapshots with Repository::snapshots")
}

/// The names of all files of a saved state.
pub(crate) fn saved_state_files() -> Vec<String> {
    let name = |number| base_path(Path::new(SAVED_STATE), number).to_string_lossy().into_owned();
    std::iter::once(SAVED_STATE.to_owned()).chain((1..=MAX_BASES).map(name)).collect()
}

/// Gives the saved state in one folder, with the files on which it is based, a name in another, too. Without a lock, others
/// could replace some of these files meanwhile.
pub(crate) fn link_saved_state(_: &impl Locked, from: &Path, to: &Path) -> Result<()> {
    for name in saved_state_files().iter().filter(|name| *name == SAVED_STATE || from.join(name).exists()) {
        link_file(&from.join(name), &to.join(name))?;
    }
    Ok(())
}

/// Lets a saved state that is created in folder `to` be based on the one in `from`, which stays there as long as it is
/// needed, because it has a name there.
pub(crate) fn link_as_base(_: &impl Locked, from: &Path, to: &Path) -> Result<()> {
    let base = |number| base_path(&saved_state(to), number);
    let link = || {
        link_file(&saved_state(from), &base(1))?;
        for number in 1..MAX_BASES {
            let below = base_path(&saved_state(from), number);
            if below.exists() {
                link_file(&below, &base(number + 1))?;
            }
        }
        Ok(())
    };
    link().inspect_err(|_| {
        // The saved state will be based on nothing, so nothing would use these.
        for path in (1..=MAX_BASES).map(base) {
            let _ = fs::remove_file(path);
        }
    })
}

/// The path of the saved state in the folder of a VM or a snapshot.
pub(crate) fn saved_state(folder: &Path) -> PathBuf {
    folder.join(SAVED_STATE)
}
