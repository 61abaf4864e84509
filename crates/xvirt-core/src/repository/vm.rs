//! The VMs of a repository.

use std::collections::{BTreeMap, HashSet};
use std::fs;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::name::{check_name, is_disk_name, is_plain, shown};
use super::record::{corrupt, read_bounded, write_new};
use super::snapshot::link_saved_state;
use super::store::absent_is;
use super::template::Lineage;
use super::{Change, Child, Directory, ExclusiveLock, FORMAT, Locked, Record, Repository, Stage};
use crate::config::{Disk, DiskSource, VmConfig, check_labels};
use crate::disk::{self, ImageFormat, ImageStamp};
use crate::{Error, ErrorKind, Result};

/// The prefix of the file names of attachments.
const ATTACHMENT: &str = "attachment-";
/// The size limit of an attachment in bytes.
const MAX_ATTACHMENT: u64 = 16 << 20;

/// The stored data of a VM. The paths of its disks are names beside the record, or absolute paths.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct VmRecord {
    format: u32,
    pub(crate) config: VmConfig,
    /// The template on which its disks are based.
    #[serde(default)]
    pub(crate) layer: Option<Lineage>,
    /// The snapshot on which its disks are based.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) snapshot: Option<Uuid>,
    /// Describes the saved state in its folder, if the VM is suspended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) suspended: Option<Suspended>,
}

/// What belongs to the saved state of a VM.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Suspended {
    /// Identifies it: each suspend has a new one.
    pub(crate) id: Uuid,
    /// What would build the VM as it was: with all that was plugged in, but without changes of the stored configuration
    /// since it was started. The paths of its own disks are names beside the record.
    pub(crate) config: VmConfig,
    /// Its own disks as they were, by name.
    #[serde(default)]
    pub(crate) stamps: BTreeMap<String, ImageStamp>,
    /// The VM whose state it is, of a copy that has not run yet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) original: Option<Uuid>,
}

impl Suspended {
    /// A saved state of a VM whose disks are in `folder`, and do not change any more.
    pub(crate) fn new(config: VmConfig, folder: &Path) -> Self {
        let mut suspended = Self { id: Uuid::new_v4(), config, stamps: BTreeMap::new(), original: None };
        suspended.read_stamps(folder);
        suspended
    }

    /// Takes the disks in `folder` as those that belong to the saved state.
    pub(crate) fn read_stamps(&mut self, folder: &Path) {
        let writable = |own: &OwnDisk| self.config.disks.get(own.index).is_some_and(|disk| !disk.read_only);
        let own = own_disks(&self.config, folder).into_iter().filter(writable);
        self.stamps = own.filter_map(|own| Some((own.name, ImageStamp::of(&own.path).ok()?))).collect();
    }
}

impl Record for VmRecord {
    const FILE: &str = "vm.json";
}

impl VmRecord {
    pub(crate) fn new(config: VmConfig, layer: Option<Lineage>) -> Result<Self> {
        check_name("VM", &config.name)?;
        check_labels(&config.labels)?;
        Ok(Self { format: FORMAT, config, layer, snapshot: None, suspended: None })
    }

    /// The record of the same VM with another configuration.
    pub(crate) fn with_config(&self, config: VmConfig) -> Result<Self> {
        let new = Self::new(config, self.layer.clone())?;
        Ok(Self { snapshot: self.snapshot, suspended: self.suspended.clone(), ..new })
    }

    /// Lets the VM be suspended with the saved state in the folder `from`, which is one of the VM `original`. The disks of
    /// this record are in `folder`, and do not change any more.
    pub(crate) fn suspend_as_copy(
        &mut self,
        lock: &impl Locked,
        from: &Path,
        original: Uuid,
        folder: &Path,
    ) -> Result<()> {
        link_saved_state(lock, from, folder)?;
        let suspended = Suspended::new(self.config.clone(), folder);
        self.suspended = Some(Suspended { original: Some(original), ..suspended });
        Ok(())
    }

    /// Sets a disk to its image beside the record.
    pub(crate) fn set_disk(&mut self, index: usize, name: String, format: ImageFormat) {
        if let Some(disk) = self.config.disks.get_mut(index) {
            disk.source = DiskSource::Image { path: name.into(), format };
        }
    }

    /// Gives disks, by their names, other images, wherever the record names them.
    pub(crate) fn change_images(&mut self, new: &BTreeMap<String, Child>) {
        let suspended = self.suspended.iter_mut().flat_map(|suspended| &mut suspended.config.disks);
        for disk in self.config.disks.iter_mut().chain(suspended) {
            let DiskSource::Image { path, .. } = &disk.source else { continue };
            if let Some(Child { name, format, .. }) = path.to_str().and_then(|old| new.get(old)) {
                disk.source = DiskSource::Image { path: name.into(), format: *format };
            }
        }
    }
}

/// A disk of a VM in the VM's own folder.
#[derive(Debug)]
pub(crate) struct OwnDisk {
    /// Its index in the configuration.
    pub(crate) index: usize,
    /// Its name in the folder.
    pub(crate) name: String,
    /// Its absolute path.
    pub(crate) path: PathBuf,
    pub(crate) format: ImageFormat,
}

/// A VM in a repository: a snapshot of its record at the time of the call.
#[derive(Clone, Debug)]
pub struct StoredVm {
    repository: Repository,
    record: VmRecord,
}

impl StoredVm {
    pub(super) fn new(repository: Repository, record: VmRecord) -> Self {
        Self { repository, record }
    }

    /// The UUID.
    pub fn uuid(&self) -> Uuid {
        self.record.config.uuid
    }

    /// The name for users; several VMs may have the same name.
    pub fn name(&self) -> &str {
        &self.record.config.name
    }

    /// Its labels.
    pub fn labels(&self) -> &BTreeMap<String, String> {
        &self.record.config.labels
    }

    /// Its configuration with the absolute paths of its disks, ready to be built and started.
    pub fn config(&self) -> VmConfig {
        with_full_paths(&self.record.config, &self.folder())
    }

    /// The template on which its disks are based, if any.
    pub fn layer(&self) -> Option<&Lineage> {
        self.record.layer.as_ref()
    }

    /// The file attached under this name, if there is one.
    ///
    /// # Errors
    /// The file cannot be read, or [`CorruptRepository`](ErrorKind::CorruptRepository): it is not a plain file, or too
    /// large.
    pub fn attachment(&self, name: &str) -> Result<Option<Vec<u8>>> {
        let path = attachment_path(&self.folder(), name)?;
        match read_bounded(&path, MAX_ATTACHMENT) {
            Ok(bytes) => Ok(Some(bytes)),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// The folder with its disks.
    pub fn folder(&self) -> PathBuf {
        self.repository.place(Directory::Vms, self.uuid())
    }

    /// The configuration that the VM has now if it is suspended, and with which it starts if it is halted, with the
    /// absolute paths of its disks. Name and labels are always those that are stored.
    pub(crate) fn current_config(&self) -> VmConfig {
        let Some(suspended) = &self.record.suspended else { return self.config() };
        let mut config = with_full_paths(&suspended.config, &self.folder());
        config.name = self.name().to_owned();
        config.labels.clone_from(self.labels());
        config
    }

    /// The same VM with another record.
    pub(crate) fn with_record(&self, record: VmRecord) -> Self {
        Self { repository: self.repository.clone(), record }
    }

    pub(super) fn repository(&self) -> &Repository {
        &self.repository
    }

    pub(crate) fn record(&self) -> &VmRecord {
        &self.record
    }

    /// Its disks, except those outside the repository.
    pub(crate) fn own_disks(&self) -> Vec<OwnDisk> {
        own_disks(&self.record.config, &self.folder())
    }

    /// The names of all disks in its folder. A disk that was plugged in while the VM runs is there before its record
    /// has it, and one that was unplugged is still there.
    pub(crate) fn disk_names(&self) -> Result<Vec<String>> {
        let mut names = names_in(&self.folder())?;
        names.retain(|name| is_disk_name(name));
        Ok(names)
    }

    /// Fails if it is suspended: its disks must stay as its guest knows them.
    pub(crate) fn require_halted(&self, verb: &str) -> Result<()> {
        if self.record.suspended.is_none() {
            return Ok(());
        }
        Err(Error::new(ErrorKind::InvalidState, format!("cannot {verb} VM '{}' while it is suspended", self.name()))
            .with_remedy("resume and shut it down, or discard its saved state: Repository::hard_shutdown"))
    }

    /// The name for messages.
    pub(crate) fn title(&self) -> String {
        format!("VM '{}' ({})", self.name(), self.uuid())
    }

    /// Copies its attachments into the stage of the VM's new version.
    pub(crate) fn copy_attachments(&self, stage: &Stage) -> Result<()> {
        for name in names_in(&self.folder())?.iter().filter_map(|name| name.strip_prefix(ATTACHMENT)) {
            if let Some(bytes) = self.attachment(name)? {
                stage.attach(name, &bytes)?;
            }
        }
        Ok(())
    }

    /// Whether the record is the same as in `other`.
    fn is_as(&self, other: &Self) -> bool {
        let text = |vm: &Self| serde_json::to_string(&vm.record).ok();
        text(self) == text(other)
    }
}

impl Repository {
    /// All VMs, by name. VMs with a damaged record or a newer format are skipped; [`check`](Self::check) finds them.
    ///
    /// # Errors
    /// The repository cannot be read, or there are not enough descriptors or memory to read everything.
    pub fn vms(&self) -> Result<Vec<StoredVm>> {
        let _lock = self.lock_shared()?;
        let ids = self.ids(Directory::Vms)?.into_iter();
        let mut vms: Vec<_> = ids.filter_map(|id| readable("a VM", self.read_vm(id))).collect::<Result<_>>()?;
        vms.sort_by(|a, b| (a.name(), a.uuid()).cmp(&(b.name(), b.uuid())));
        Ok(vms)
    }

    /// The VMs with a label of this key and, if given, this value, by name. Damaged ones are skipped, as in
    /// [`vms`](Self::vms).
    ///
    /// ```
    /// # fn main() -> xvirt_core::Result<()> {
    /// # let folder = tempfile::tempdir().unwrap();
    /// use xvirt_core::config::{Boot, VmConfig};
    /// use xvirt_core::repository::Repository;
    ///
    /// let repository = Repository::open(folder.path())?;
    /// let config = VmConfig::new("web-1").boot(Boot::kernel("/boot/vmlinuz")).label("tenant", "blue");
    /// repository.stage()?.commit(config)?;
    /// for vm in repository.vms_labelled("tenant", Some("blue"))? {
    ///     println!("{} is {}", vm.name(), vm.uuid());
    /// }
    /// # assert_eq!(repository.vms_labelled("tenant", None)?.len(), 1);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// The repository cannot be read.
    pub fn vms_labelled(&self, key: &str, value: Option<&str>) -> Result<Vec<StoredVm>> {
        let mut vms = self.vms()?;
        vms.retain(|vm| is_labelled(vm.labels(), key, value));
        Ok(vms)
    }

    /// The VM with this UUID or name.
    ///
    /// # Errors
    /// [`NotFound`](ErrorKind::NotFound); [`InvalidConfig`](ErrorKind::InvalidConfig) if several VMs have the name;
    /// [`CorruptRepository`](ErrorKind::CorruptRepository) if `name_or_uuid` is a UUID and the record is damaged.
    pub fn vm(&self, name_or_uuid: &str) -> Result<StoredVm> {
        if let Ok(id) = Uuid::try_parse(name_or_uuid) {
            let _lock = self.lock_shared()?;
            return self.read_vm(id);
        }
        let mut found: Vec<_> = self.vms()?.into_iter().filter(|vm| vm.name() == name_or_uuid).collect();
        if found.len() > 1 {
            let ids: Vec<_> = found.iter().map(|vm| vm.uuid().to_string()).collect();
            let what = format!("{} VMs are called '{}'", found.len(), shown(name_or_uuid));
            return Err(Error::new(ErrorKind::InvalidConfig, what)
                .with_remedy(format!("use the UUID of one of them: {}", ids.join(", "))));
        }
        found.pop().ok_or_else(|| {
            Error::new(ErrorKind::NotFound, format!("there is no VM '{}'", shown(name_or_uuid)))
                .with_remedy("list the VMs with Repository::vms")
        })
    }

    /// Deletes a VM with its disks. Files outside the repository stay. Also works if its record is damaged.
    ///
    /// # Errors
    /// [`NotFound`](ErrorKind::NotFound); [`Busy`](ErrorKind::Busy) while it runs or its disks are in use otherwise;
    /// [`InUse`](ErrorKind::InUse) if other VMs use its disks or disks based on them, which the error names; or disks
    /// of other VMs in the repository cannot be read. Unreadable disks outside the repository are skipped with a
    /// warning in the log.
    pub fn remove_vm(&self, uuid: Uuid) -> Result<()> {
        self.require_unused(uuid)?;
        let folder = self.place(Directory::Vms, uuid);
        let lock = self.lock_exclusive()?;
        let disks = names_in(&folder).map_err(|error| explain(uuid, error))?;
        let claims = disks.iter().filter(|name| is_disk_name(name)).map(|name| disk::claim(&folder.join(name)));
        let claims = claims.collect::<Result<Vec<_>>>()?;
        let trash = self.discard(&lock, Directory::Vms, uuid)?;
        drop(claims);
        drop(lock);
        self.empty(trash);
        self.sweep_removed();
        Ok(())
    }

    /// Deletes VMs that were just made, all at once, and goes on with the next when one cannot be deleted. Those that are in
    /// use by now stay. Returns the titles of all that stay.
    pub(crate) fn discard_new(&self, vms: &[StoredVm]) -> Vec<String> {
        let prepared = self.used_of(vms).and_then(|used| Ok((used, self.lock_exclusive()?)));
        let (used, lock) = match prepared {
            Ok(prepared) => prepared,
            Err(error) => {
                tracing::warn!("new VMs stay: {error}");
                return vms.iter().map(StoredVm::title).collect();
            }
        };
        let (mut trash, mut left) = (Vec::new(), Vec::new());
        for vm in vms {
            let discarded = || {
                if used.contains(&vm.uuid()) {
                    return Err(Error::new(ErrorKind::InUse, "it is in use"));
                }
                let _claims = vm.own_disks().iter().map(|own| disk::claim(&own.path)).collect::<Result<Vec<_>>>()?;
                self.discard(&lock, Directory::Vms, vm.uuid())
            };
            match discarded() {
                Ok(id) => trash.push(id),
                Err(error) => {
                    tracing::warn!("{} stays: {error}", vm.title());
                    left.push(vm.title());
                }
            }
        }
        drop(lock);
        trash.into_iter().for_each(|id| self.empty(id));
        left
    }

    /// Which VMs are used by others. One of `vms` whose references cannot be read counts as used.
    ///
    /// # Errors
    /// The VMs cannot be listed, or the references of another cannot be read, which may use any.
    fn used_of(&self, vms: &[StoredVm]) -> Result<HashSet<Uuid>> {
        let mut used = HashSet::new();
        for vm in self.vms()? {
            let id = vm.uuid();
            match self.references(&vm.record().config, &vm.folder()) {
                Ok(references) => {
                    used.extend(references.found.iter().map(|found| found.owner.id).filter(|owner| *owner != id));
                }
                Err(_) if vms.iter().any(|new| new.uuid() == id) => {
                    used.insert(id);
                }
                Err(error) => return Err(error),
            }
        }
        Ok(used)
    }

    /// Fails if there is a VM with this UUID.
    pub(crate) fn require_new(&self, uuid: Uuid) -> Result<()> {
        if !self.place(Directory::Vms, uuid).exists() {
            return Ok(());
        }
        Err(Error::new(ErrorKind::AlreadyExists, format!("a VM with the UUID {uuid} already exists"))
            .with_remedy("give the new one another UUID, or remove the old one"))
    }

    /// Makes a change of a VM, if its record is the same as when the change was prepared.
    pub(crate) fn replace(&self, lock: ExclusiveLock, vm: &StoredVm, change: Change) -> Result<()> {
        self.require_unchanged(vm)?;
        let old = self.change(&lock, change)?;
        drop(lock);
        self.empty(old);
        Ok(())
    }

    /// Fails if a VM's record is not the same as when it was read, for callers that hold a lock.
    pub(crate) fn require_unchanged(&self, vm: &StoredVm) -> Result<()> {
        if self.is_unchanged(vm)? {
            return Ok(());
        }
        Err(Error::new(ErrorKind::Busy, format!("VM '{}' was changed meanwhile", vm.name())).with_remedy("try again"))
    }

    /// Whether a VM's record is unchanged since it was read, for callers that hold a lock.
    pub(super) fn is_unchanged(&self, vm: &StoredVm) -> Result<bool> {
        Ok(self.read_vm(vm.uuid())?.is_as(vm))
    }

    /// Like [`vms`](Self::vms), but fails if one cannot be read, for callers that hold a lock.
    pub(crate) fn read_vms(&self) -> Result<Vec<StoredVm>> {
        self.ids(Directory::Vms)?.into_iter().map(|id| self.read_vm(id)).collect()
    }

    /// The VM with this UUID, for callers that hold a lock.
    pub(crate) fn read_vm(&self, id: Uuid) -> Result<StoredVm> {
        let folder = self.place(Directory::Vms, id);
        let record = VmRecord::read(&folder).map_err(|error| match fs::symlink_metadata(&folder) {
            Ok(_) if error.kind() == ErrorKind::NotFound => corrupt(&folder, "its record is missing"),
            _ => explain(id, error),
        })?;
        if record.config.uuid != id {
            return Err(corrupt(&folder, "its record belongs to another VM"));
        }
        check_disks(&record.config, &folder)?;
        record.suspended.iter().try_for_each(|suspended| check_disks(&suspended.config, &folder))?;
        Ok(StoredVm { repository: self.clone(), record })
    }
}

/// The result of reading an entry of a list; `None` to skip a damaged one. A shortage of resources is not damage and
/// skips nothing.
pub(super) fn readable<T>(what: &str, read: Result<T>) -> Option<Result<T>> {
    match read {
        Err(error) if !error.is_shortage() => {
            tracing::warn!("{what} is skipped: {error}");
            None
        }
        read => Some(read),
    }
}

/// Whether one of these labels has this key and, if given, this value.
pub(super) fn is_labelled(labels: &BTreeMap<String, String>, key: &str, value: Option<&str>) -> bool {
    labels.get(key).is_some_and(|found| value.is_none_or(|value| found == value))
}

/// Stores an attachment in a folder.
pub(super) fn write_attachment(folder: &Path, name: &str, bytes: &[u8]) -> Result<()> {
    let path = attachment_path(folder, name)?;
    if bytes.len() as u64 > MAX_ATTACHMENT {
        let what = format!("the attachment {name} of {} bytes is too large", bytes.len());
        return Err(Error::new(ErrorKind::InvalidConfig, what).with_remedy("attach at most 16 MiB"));
    }
    write_new(&path, bytes)
}

/// Checks that the disks of a record are beside it, or elsewhere by absolute path.
pub(crate) fn check_disks(config: &VmConfig, folder: &Path) -> Result<()> {
    for disk in &config.disks {
        let DiskSource::Image { path, .. } = &disk.source else { continue };
        if !path.is_absolute() && !path.to_str().is_some_and(is_disk_name) {
            return Err(corrupt(folder, &format!("{} in its record is not a valid disk name", path.display())));
        }
        if path.is_absolute() {
            continue;
        }
        let full = folder.join(path);
        let file = fs::symlink_metadata(&full).map(|metadata| metadata.is_file()).or_else(absent_is(true));
        if !file.map_err(|error| Error::io(format!("cannot find disk {}", full.display()), error))? {
            return Err(corrupt(&full, "it is not a plain file"));
        }
    }
    Ok(())
}

/// The disks in `folder` that a configuration names by their names in it.
pub(crate) fn own_disks(config: &VmConfig, folder: &Path) -> Vec<OwnDisk> {
    let own = |(index, disk): (usize, &Disk)| {
        let DiskSource::Image { path, format } = &disk.source else { return None };
        let name = path.to_str().filter(|name| is_disk_name(name))?.to_owned();
        Some(OwnDisk { index, path: folder.join(&name), name, format: *format })
    };
    config.disks.iter().enumerate().filter_map(own).collect()
}

/// The configuration of a record, with the absolute paths of the disks in its folder.
pub(crate) fn with_full_paths(config: &VmConfig, folder: &Path) -> VmConfig {
    let mut config = config.clone();
    for disk in &mut config.disks {
        if let DiskSource::Image { path, .. } = &mut disk.source {
            *path = folder.join(&path);
        }
    }
    config
}

/// The UTF-8 names in a folder; this crate creates no others.
pub(super) fn names_in(folder: &Path) -> Result<Vec<String>> {
    let read = || {
        let mut names = Vec::new();
        for entry in fs::read_dir(folder)? {
            names.extend(entry?.file_name().into_string());
        }
        Ok(names)
    };
    read().map_err(|error| Error::io(format!("cannot read {}", folder.display()), error))
}

fn attachment_path(folder: &Path, name: &str) -> Result<PathBuf> {
    if is_plain(name) {
        return Ok(folder.join(format!("{ATTACHMENT}{name}")));
    }
    Err(Error::new(ErrorKind::InvalidConfig, format!("{:?} cannot be the name of an attachment", shown(name)))
        .with_remedy("use up to 200 letters, digits, dots, dashes and underscores, and do not begin with a dot"))
}

fn explain(id: Uuid, error: Error) -> Error {
    if error.kind() != ErrorKind::NotFound {
        return error;
    }
    Error::new(ErrorKind::NotFound, format!("there is no VM {id}")).with_remedy("list the VMs with Repository::vms")
}
