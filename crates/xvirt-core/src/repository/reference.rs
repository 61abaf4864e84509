//! References of a VM to files of other objects in the repository.
//!
//! If the other object were removed or changed, the VM would lose its files, so a commit refuses such references. A
//! record of an older version, or a rebased image, may still contain them: removing and changing VMs and templates look
//! for them first, and a check reports them.

use std::fs;
use std::path::{Path, PathBuf, absolute};

use uuid::Uuid;

use super::store::id_of;
use super::{Directory, Repository, StoredVm};
use crate::config::{Boot, BootFile, DiskSource, VmConfig};
use crate::disk::{self, ImageFormat};
use crate::{Error, ErrorKind, Result};

/// The length limit of a backing chain, the same as for opening an image.
const MAX_DEPTH: usize = 64;

/// The object to which a file of a repository belongs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Owner {
    pub(crate) directory: Directory,
    pub(crate) id: Uuid,
}

/// A VM's use of a file that belongs to another object.
#[derive(Debug)]
pub(crate) struct Reference {
    /// The user, such as "disk 0".
    user: String,
    /// The file that the configuration names.
    named: PathBuf,
    /// The file that belongs to the other object: the named file, or one in its backing chain.
    path: PathBuf,
    based: bool,
    pub(crate) owner: Owner,
}

/// All such references of a VM.
#[derive(Debug, Default)]
pub(crate) struct References {
    pub(crate) found: Vec<Reference>,
    /// Why the backing chains of images outside the repository could not be read.
    pub(crate) unknown: Vec<Error>,
}

/// A file that a configuration uses.
struct UsedFile<'a> {
    user: String,
    path: &'a Path,
    /// The format, if it is a disk.
    format: Option<ImageFormat>,
}

impl UsedFile<'_> {
    /// Whether it is outside the repository and missing.
    fn is_missing_outside(&self, repository: &Repository) -> bool {
        let outside = self.path.is_absolute() && !self.path.starts_with(repository.folder());
        outside && matches!(self.path.try_exists(), Ok(false))
    }

    /// Whether it is in the folder of the VM, like disks with relative paths.
    fn is_own(&self) -> bool {
        self.format.is_some() && self.path.is_relative()
    }
}

impl Owner {
    /// Whether its files never change: it is a template or a snapshot.
    fn is_immutable(self) -> bool {
        matches!(self.directory, Directory::Layers | Directory::Snapshots)
    }
}

impl Reference {
    /// Whether the named file is in this folder, so that only its backing chain leads to another object.
    pub(super) fn is_based_in(&self, folder: &Path) -> bool {
        self.based && self.named.starts_with(folder)
    }

    /// Describes the reference and the owner of the file.
    pub(super) fn describe(&self, repository: &Repository) -> String {
        let owner = repository.title(self.owner);
        let (user, path) = (&self.user, self.path.display());
        let missing = if self.path.exists() { "" } else { " and is missing" };
        if !self.based {
            return format!("{user} is {path}, which belongs to {owner}{missing}");
        }
        format!("{user} is {}, based on {path}, which belongs to {owner}{missing}", self.named.display())
    }

    /// The error for storing a configuration with this reference.
    fn refuse(&self, repository: &Repository, vm: &str) -> Error {
        let what = format!("VM '{vm}' cannot be stored: its {}", self.describe(repository));
        Error::new(ErrorKind::InvalidConfig, what).with_remedy(match self.owner.directory {
            Directory::Layers => "create an instance of the template: Repository::instantiate",
            Directory::Snapshots => "create a VM from the snapshot: Repository::clone_vm",
            Directory::Staging => "create disks at Stage::disk_path of the stage that is committed",
            Directory::Vms | Directory::Trash => {
                "copy the disk into the stage (qemu-img convert -O FORMAT OLD NEW), or seal the other VM and instantiate \
                 the template"
            }
        })
    }
}

impl Repository {
    /// The references of a configuration, whose own disks are in `folder`, to other objects.
    ///
    /// A missing or damaged image is not an error, and its backing chain is ignored: the VM cannot use it either.
    ///
    /// # Errors
    /// An image in the repository cannot be read, or there are not enough descriptors to read an image.
    pub(super) fn references(&self, config: &VmConfig, folder: &Path) -> Result<References> {
        let References { mut found, mut unknown } = References::default();
        for file in files(config) {
            let own = file.is_own();
            let named = if own { folder.join(file.path) } else { file.path.to_owned() };
            let (mut path, mut format) = (resolve(&named), file.format);
            for depth in 0..MAX_DEPTH {
                let owner = self.owner(&path);
                let below = match format.map_or(Ok(None), |format| below(&path, format)) {
                    Err(error) if owner.is_none() && !path.starts_with(self.folder()) && !error.is_shortage() => {
                        unknown.push(error);
                        None
                    }
                    below => below?,
                };
                if let Some(owner) = owner.filter(|owner| !own || self.place(owner.directory, owner.id) != folder) {
                    let (user, named) = (file.user.clone(), named.clone());
                    found.push(Reference { user, named, path, based: depth > 0, owner });
                }
                match below {
                    // The records of templates and snapshots name their backing files.
                    Some(below) if !owner.is_some_and(|owner| owner.is_immutable()) => {
                        (path, format) = (resolve(&below.0), below.1);
                    }
                    _ => break,
                }
            }
        }
        Ok(References { found, unknown })
    }

    /// The missing files outside the repository that a configuration names: description and path.
    pub(super) fn missing<'a>(&self, config: &'a VmConfig) -> Vec<(String, &'a Path)> {
        let missing = files(config).into_iter().filter(|file| file.is_missing_outside(self));
        missing.map(|file| (file.user, file.path)).collect()
    }

    /// Fails if a configuration, whose own disks are in `folder`, references other objects. The backing chains of its
    /// own disks are checked when they are committed.
    pub(crate) fn require_own_files(&self, config: &VmConfig, folder: &Path) -> Result<()> {
        let References { found, unknown } = self.references(config, folder)?;
        let foreign = found.iter().find(|reference| !reference.is_based_in(folder));
        let refused = foreign.map(|reference| reference.refuse(self, &config.name));
        refused.or(unknown.into_iter().next()).map_or(Ok(()), Err)
    }

    /// The references of all VMs except the owner. VMs with unreadable records are skipped.
    pub(crate) fn all_references(&self, but: Option<Owner>) -> Result<Vec<(StoredVm, Vec<Reference>)>> {
        let itself = |vm: &StoredVm| but == Some(Owner { directory: Directory::Vms, id: vm.uuid() });
        let others = self.vms()?.into_iter().filter(|vm| !itself(vm));
        let references = |vm: StoredVm| {
            let References { found, unknown } = self.references(&vm.record().config, &vm.folder())?;
            for error in unknown {
                tracing::warn!("cannot read the backing files of {}: {error}", vm.title());
            }
            Ok((vm, found))
        };
        others.map(references).collect()
    }

    /// The VMs that use files of another object, as text.
    pub(crate) fn referring(&self, to: Owner) -> Result<Vec<String>> {
        let mut referring = self.all_references(Some(to))?;
        referring.retain(|(_, found)| found.iter().any(|reference| reference.owner == to));
        Ok(referring.iter().map(|(vm, _)| vm.title()).collect())
    }

    /// Fails if other VMs use files of this one.
    pub(crate) fn require_unused(&self, vm: Uuid) -> Result<()> {
        let owner = Owner { directory: Directory::Vms, id: vm };
        let users = self.referring(owner)?;
        if users.is_empty() {
            return Ok(());
        }
        let what = format!("disks of {} are in use by {}", self.title(owner), users.join(", "));
        Err(Error::new(ErrorKind::InUse, what)
            .with_remedy("remove these VMs first, or recreate them with copies of the disks: qemu-img convert"))
    }

    /// The owner of a file, if it is in the repository.
    fn owner(&self, path: &Path) -> Option<Owner> {
        let mut names = path.strip_prefix(self.folder()).ok()?.iter().map(|name| name.to_str());
        let (name, id) = (names.next()??, names.next()??);
        let directory = Directory::ALL.into_iter().find(|directory| directory.name() == name)?;
        Some(Owner { directory, id: id_of(id)? })
    }

    /// The name of an owner for messages.
    fn title(&self, Owner { directory, id }: Owner) -> String {
        let known = match directory {
            Directory::Vms => self.read_vm(id).map(|vm| vm.title()),
            Directory::Layers => self.read_template(id).map(|template| template.title()),
            Directory::Snapshots => self.read_snapshot(id).map(|snapshot| snapshot.title()),
            Directory::Staging => return "an object in preparation".to_owned(),
            Directory::Trash => return "a removed object".to_owned(),
        };
        let kind = match directory {
            Directory::Vms => "VM",
            Directory::Snapshots => "snapshot",
            _ => "template",
        };
        known.unwrap_or_else(|_| format!("the {kind} {id}"))
    }
}

/// The files that a configuration names.
fn files(config: &VmConfig) -> Vec<UsedFile<'_>> {
    let mut files = Vec::new();
    for (index, disk) in config.disks.iter().enumerate() {
        if let DiskSource::Image { path, format } = &disk.source {
            files.push(UsedFile { user: format!("disk {index}"), path, format: Some(*format) });
        }
    }
    if let Boot::Kernel { kernel, initrd, .. } = &config.boot {
        for (user, file) in [("kernel", Some(kernel)), ("initrd", initrd.as_ref())] {
            if let Some(BootFile::Path(path)) = file {
                files.push(UsedFile { user: user.to_owned(), path, format: None });
            }
        }
    }
    files
}

/// The backing file of an image, and its format if known.
fn below(path: &Path, format: ImageFormat) -> Result<Option<(PathBuf, Option<ImageFormat>)>> {
    if format == ImageFormat::Raw {
        return Ok(None);
    }
    disk::below(path, format).or_else(|error| match error.kind() {
        ErrorKind::NotFound | ErrorKind::CorruptImage | ErrorKind::EncryptedImage | ErrorKind::UnsupportedImage => {
            Ok(None)
        }
        _ => Err(error.with_remedy("make it readable, so that its backing file can be checked")),
    })
}

/// The absolute path without symbolic links. For a missing file, its folder is resolved.
fn resolve(path: &Path) -> PathBuf {
    let whole = fs::canonicalize(path).ok();
    let parent = || Some(fs::canonicalize(path.parent()?).ok()?.join(path.file_name()?));
    whole.or_else(parent).or_else(|| absolute(path).ok()).unwrap_or_else(|| path.to_owned())
}
