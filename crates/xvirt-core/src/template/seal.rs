//! Turns a VM into a template.

use std::collections::BTreeMap;
use std::time::{SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::unwritten::overlay_is_unwritten;
use crate::config::{Disk, DiskSource, VmConfig, check_labels};
use crate::disk::{self, Access, BlockBackend, ImageFormat};
use crate::progress::Progress;
use crate::repository::{
    Base, Change, Directory, FORMAT, Lineage, MAX_IMAGES_BELOW, NewLayer, OwnDisk, Record, Replacement, Repository,
    Stage, StoredVm, Template, TemplateDisk, TemplateRecord, check_name, child, disk_name, hash_disk, protect,
};
use crate::vm::{Verb, Vm};
use crate::{Error, ErrorKind, Result};

/// Name, version and description of a new template.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct Seal {
    /// The name.
    pub name: String,
    /// The version, which can be any text; the next number if absent.
    #[serde(default)]
    pub version: Option<String>,
    /// The description for users.
    #[serde(default)]
    pub description: String,
    /// Keys and values by which programs find the template.
    #[serde(default)]
    pub labels: BTreeMap<String, String>,
}

/// The source of a template.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub enum Source<'a> {
    /// A VM of the repository. Its disks become the template's without a copy, and it continues with copy-on-write
    /// copies of them, as an instance of the template. If it has snapshots, its disks are copied.
    Stored(&'a StoredVm),
    /// A halted VM. A VM of the repository is treated like [`Stored`](Self::Stored), and must be built again before it
    /// can start; the disks of any other VM are copied.
    Halted(&'a Vm),
    /// A configuration, whose disks are copied.
    Config(&'a VmConfig),
}

impl Seal {
    /// A template with this name. The default version is the next number.
    pub fn new(name: impl Into<String>) -> Self {
        Self { name: name.into(), version: None, description: String::new(), labels: BTreeMap::new() }
    }

    /// Sets the version, which can be any text.
    #[must_use]
    pub fn version(mut self, version: impl Into<String>) -> Self {
        self.version = Some(version.into());
        self
    }

    /// Sets the description for users.
    #[must_use]
    pub fn description(mut self, text: impl Into<String>) -> Self {
        self.description = text.into();
        self
    }

    /// Sets a label, in addition to those of the VM; it replaces a label of the VM with the same key.
    #[must_use]
    pub fn label(mut self, key: impl Into<String>, value: impl Into<String>) -> Self {
        self.labels.insert(key.into(), value.into());
        self
    }

    fn check(&self) -> Result<()> {
        for (of, name) in [("template", Some(&self.name)), ("version", self.version.as_ref())] {
            let Some(name) = name else { continue };
            check_name(of, name)?;
            if name.contains(':') || Uuid::try_parse(name).is_ok() {
                return Err(Error::new(ErrorKind::InvalidConfig, format!("'{name}' cannot be the name of a {of}"))
                    .with_remedy("use no colon, and nothing that looks like a UUID"));
            }
        }
        Ok(())
    }
}

impl From<&str> for Seal {
    fn from(name: &str) -> Self {
        Self::new(name)
    }
}

impl From<String> for Seal {
    fn from(name: String) -> Self {
        Self::new(name)
    }
}

impl<'a> From<&'a StoredVm> for Source<'a> {
    fn from(vm: &'a StoredVm) -> Self {
        Self::Stored(vm)
    }
}

impl<'a> From<&'a Vm> for Source<'a> {
    fn from(vm: &'a Vm) -> Self {
        Self::Halted(vm)
    }
}

impl<'a> From<&'a VmConfig> for Source<'a> {
    fn from(config: &'a VmConfig) -> Self {
        Self::Config(config)
    }
}

/// A template without the fields that are set when it is put in place.
pub(super) struct LayerDraft {
    id: Uuid,
    pub(super) parent: Option<Lineage>,
    pub(super) disks: Vec<TemplateDisk>,
    pub(super) config: VmConfig,
    /// The VM whose memory it has.
    pub(super) memory: Option<Uuid>,
}

impl LayerDraft {
    /// One for this configuration, without memory.
    pub(super) fn new(config: VmConfig) -> Self {
        Self { id: Uuid::new_v4(), parent: None, disks: Vec::new(), config, memory: None }
    }
}

impl Repository {
    /// Turns a halted VM into a template.
    ///
    /// The pair of name and version must be unique. The contents of the disks are hashed, which requires reading them,
    /// except those of overlays that an instance has not written to; only disks outside the repository are copied.
    /// Kernels given by path stay where they are.
    ///
    /// A [`Vm`] lists the operation in its [`current_operations`](Vm::current_operations). Its other verbs wait
    /// meanwhile, so `progress` must not call any.
    ///
    /// # Errors
    /// [`AlreadyExists`](ErrorKind::AlreadyExists) if there is a template with this name and version;
    /// [`InvalidState`](ErrorKind::InvalidState) if the VM is not halted; [`Busy`](ErrorKind::Busy) if a disk is in
    /// use, or the VM was changed meanwhile; [`InUse`](ErrorKind::InUse) if other VMs use disks of this VM, or disks
    /// based on them; [`Cancelled`](ErrorKind::Cancelled); [`InvalidConfig`](ErrorKind::InvalidConfig) if the
    /// configuration contains open objects other than disks, which cannot be stored;
    /// [`UnsupportedImage`](ErrorKind::UnsupportedImage) if there are 48 layers or images below already. Then nothing has
    /// changed.
    pub fn seal<'a>(
        &self,
        seal: impl Into<Seal>,
        source: impl Into<Source<'a>>,
        progress: &dyn Progress,
    ) -> Result<Template> {
        let seal = seal.into();
        self.require_sealable(&seal)?;
        match source.into() {
            Source::Stored(vm) => self.seal_stored(&seal, self.vm(&vm.uuid().to_string())?, progress),
            Source::Config(config) => self.seal_copy(&seal, config, progress),
            Source::Halted(vm) => {
                let operation = vm.begin_long(Verb::Seal)?;
                let progress = &operation.progress(progress);
                match self.vm(&vm.uuid().to_string()) {
                    Ok(stored) => self.seal_stored(&seal, stored, progress),
                    Err(error) if error.kind() == ErrorKind::NotFound => self.seal_copy(&seal, &vm.config()?, progress),
                    Err(error) => Err(error),
                }
            }
        }
    }

    /// Fails if there cannot be a template of this name and version.
    pub(super) fn require_sealable(&self, seal: &Seal) -> Result<()> {
        seal.check()?;
        let _lock = self.lock_shared()?;
        self.number(seal).map(drop)
    }

    /// Copies the disks, which may be anywhere.
    fn seal_copy(&self, seal: &Seal, config: &VmConfig, progress: &dyn Progress) -> Result<Template> {
        let mut stage = self.stage()?;
        let mut draft = LayerDraft::new(config.clone());
        for (index, disk) in draft.config.disks.iter_mut().enumerate() {
            let opened = disk.open_backend(Access::ReadOnly)?;
            draft.disks.push(take_copy(&stage, index, disk, &*opened, progress)?);
        }
        self.require_own_files(&draft.config, stage.folder())?;
        let lock = self.lock_exclusive()?;
        let template = self.finish(seal, draft, &stage)?;
        stage.put(&lock, Directory::Layers, template.uuid())?;
        Ok(template)
    }

    /// Moves the disks of a VM into a layer, and gives the VM copy-on-write copies of them. Disks that are based on a
    /// snapshot are copied instead.
    fn seal_stored(&self, seal: &Seal, vm: StoredVm, progress: &dyn Progress) -> Result<Template> {
        vm.require_halted("seal")?;
        if vm.record().snapshot.is_some() {
            // A template must not depend on a snapshot, which can be removed at any time.
            return self.seal_copy(seal, &vm.config(), progress);
        }
        self.require_unused(vm.uuid())?;
        let below = vm.layer().map(|layer| self.template(&layer.template.to_string())).transpose()?;
        if let Some(below) = &below {
            let count = below.chain()?.len();
            if count >= MAX_IMAGES_BELOW {
                let what = format!("VM '{}' is based on {count} layers, which is the maximum", vm.name());
                return Err(Error::new(ErrorKind::UnsupportedImage, what).with_remedy("flatten the VM, then seal it"));
            }
        }
        let (layer_stage, vm_stage) = (self.stage()?, self.stage()?);
        let mut record = vm.record().clone();
        let mut draft = LayerDraft { parent: vm.layer().cloned(), ..LayerDraft::new(record.config.clone()) };
        let (id, mut moves) = (draft.id, Vec::new());
        // Held open until the end, so that no one writes to disks that become immutable.
        let mut held = Vec::new();
        let mut own = vm.own_disks().into_iter().peekable();
        for (index, disk) in draft.config.disks.iter_mut().enumerate() {
            let Some(own) = own.next_if(|own| own.index == index) else {
                let opened = disk.open_backend(Access::ReadOnly)?;
                draft.disks.push(take_copy(&layer_stage, index, disk, &*opened, progress)?);
                continue;
            };
            // There can be more images below than layers: those of removed snapshots.
            own.require_room()?;
            // Opened for writing, because that also repairs an image that a killed process left dirty.
            let opened = disk::open(&own.path, Some(own.format), Access::ReadWrite)?;
            draft.disks.push(describe(&own, &*opened, below.as_ref(), progress)?);
            let OwnDisk { name, path, format, .. } = own;
            held.push(opened);
            let to = disk_name(index, format);
            let base = Base { image: &path, format, directory: Directory::Layers, owner: id, name: &to };
            let made = child(&vm_stage, index, &base)?;
            record.set_disk(index, made.name, made.format);
            disk.source = DiskSource::Image { path: to.clone().into(), format };
            moves.push(Replacement { from: name, to });
        }
        vm.copy_attachments(&vm_stage)?;
        let lock = self.lock_exclusive()?;
        let template = self.finish(seal, draft, &layer_stage)?;
        record.layer = Some(template.lineage());
        record.write(vm_stage.folder())?;
        let layer = NewLayer { directory: Directory::Layers, id, stage: layer_stage, disks: moves };
        self.replace(lock, &vm, Change { vm: vm.uuid(), stage: vm_stage, layer: Some(layer) })?;
        drop(held);
        Ok(template)
    }

    /// Sets number and version, and writes the record into the stage.
    pub(super) fn finish(&self, seal: &Seal, mut draft: LayerDraft, stage: &Stage) -> Result<Template> {
        draft.config.labels.extend(seal.labels.clone());
        check_labels(&draft.config.labels)?;
        let number = self.number(seal)?;
        let record = TemplateRecord {
            format: FORMAT,
            uuid: draft.id,
            name: seal.name.clone(),
            version: seal.version.clone().unwrap_or_else(|| number.to_string()),
            description: seal.description.clone(),
            number,
            created: SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |age| age.as_secs()),
            parent: draft.parent,
            disks: draft.disks,
            memory: draft.memory,
            config: draft.config,
        };
        record.write(stage.folder())?;
        stage.settle()?;
        Ok(Template::new(self.clone(), record))
    }

    /// The number of the next template of this name; fails if the version exists. The caller must hold a lock.
    fn number(&self, seal: &Seal) -> Result<u64> {
        let mut same = self.readable_templates()?;
        same.retain(|template| template.name() == seal.name);
        let last = same.last().map_or(0, |template| template.record().number);
        let taken = |version: &str| same.iter().any(|template| template.version() == version);
        match &seal.version {
            Some(version) if taken(version) => {
                let what = format!("template '{}:{version}' already exists", seal.name);
                Err(Error::new(ErrorKind::AlreadyExists, what).with_remedy("use another version, or none"))
            }
            Some(_) => Ok(last.saturating_add(1)),
            None => Ok((last.saturating_add(1)..).find(|number| !taken(&number.to_string())).unwrap_or(u64::MAX)),
        }
    }
}

/// Copies a disk into the stage of a layer, and sets it in the configuration.
pub(super) fn take_copy(
    stage: &Stage,
    index: usize,
    disk: &mut Disk,
    opened: &dyn BlockBackend,
    progress: &dyn Progress,
) -> Result<TemplateDisk> {
    let image = match &disk.source {
        DiskSource::Image { path, format } => Some((path.as_path(), *format)),
        DiskSource::Descriptors(_) | DiskSource::Backend(_) => None,
    };
    let format = image.map_or(ImageFormat::Raw, |image| image.1);
    let path = stage.disk_path(index, format);
    disk::copy(opened, image, &path, format, progress)?;
    let hash = hash_disk(opened, progress)?;
    protect(&path)?;
    disk.source = DiskSource::Image { path: disk_name(index, format).into(), format };
    Ok(TemplateDisk { size: opened.capacity(), hash })
}

/// Describes a disk, which may be an overlay of a disk of the template `below`.
pub(super) fn describe(
    own: &OwnDisk,
    opened: &dyn BlockBackend,
    below: Option<&Template>,
    progress: &dyn Progress,
) -> Result<TemplateDisk> {
    let hash = match below.map_or(Ok(None), |below| known_hash(own, opened, below))? {
        Some(hash) => hash,
        None => hash_disk(opened, progress)?,
    };
    Ok(TemplateDisk { size: opened.capacity(), hash })
}

/// The hash of a disk that its template knows, because the disk is an overlay without data of its own.
fn known_hash(own: &OwnDisk, opened: &dyn BlockBackend, template: &Template) -> Result<Option<String>> {
    let images = template.images();
    let (Some((_, below, _)), Some(was)) = (images.get(own.index), template.disks().get(own.index)) else {
        return Ok(None);
    };
    let unwritten = overlay_is_unwritten(own, opened, below, was)? == Some(true);
    Ok(unwritten.then(|| was.hash.clone()))
}
