//! Checks a repository for damage.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::check_memory::SavedMemory;
use super::reference::References;
use super::store::id_of;
use super::vm::names_in;
use super::{Directory, Lineage, Repository, Snapshot, StoredVm, Template, hash_disk, saved_state};
use crate::disk::{self, Access, ImageFormat};
use crate::progress::Progress;
use crate::vm::SuspendedVm;
use crate::{Error, ErrorKind, Result};

/// The result of a check.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Check {
    /// The number of VMs checked.
    pub vms: usize,
    /// The number of templates checked, including the contents of their disks and their memory.
    pub templates: usize,
    /// The number of snapshots, with those that were removed and on which others are based.
    pub snapshots: usize,
    /// The damage found; empty if there is none.
    pub problems: Vec<Problem>,
}

/// Damage.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Problem {
    /// What is wrong, and where.
    pub what: String,
    /// How to repair it.
    pub remedy: String,
}

impl Check {
    pub(super) fn add(&mut self, what: impl Into<String>, remedy: impl Into<String>) {
        let problem = Problem { what: what.into(), remedy: remedy.into() };
        // The same problem can be found in several ways.
        if !self.problems.contains(&problem) {
            self.problems.push(problem);
        }
    }

    /// Records an error as damage, unless it does not concern the checked object.
    fn add_error(&mut self, error: Error, remedy: &str) -> Result<()> {
        if error.is_shortage() {
            return Err(error);
        }
        self.add(error.without_remedy().to_string(), remedy);
        Ok(())
    }
}

impl Repository {
    /// Checks the repository for damage. It reads all records, follows all backing chains, looks for disks that are
    /// missing or belong to another VM, for missing kernels and initrds, and for qcow2 images with inconsistent tables,
    /// compares the disks of all templates with their hashes, and verifies the checksums of all saved memory: that of
    /// suspended VMs, checkpoints and templates. This requires reading those disks and this memory, each file once. The
    /// repository may be in use meanwhile.
    ///
    /// # Errors
    /// [`Cancelled`](ErrorKind::Cancelled); [`OutOfDescriptors`](ErrorKind::OutOfDescriptors) or
    /// [`OutOfMemory`](ErrorKind::OutOfMemory) if there is not enough to check everything; or the repository itself
    /// cannot be read. Damage is not an error.
    pub fn check(&self, progress: &dyn Progress) -> Result<Check> {
        let (mut check, mut memory) = (Check::default(), SavedMemory::default());
        let lock = self.lock_shared()?;
        for directory in Directory::ALL {
            self.check_names(directory, &mut check)?;
        }
        let templates = self.check_templates(&mut memory, &mut check)?;
        self.check_snapshots(&templates, &mut memory, &mut check)?;
        self.check_vms(&templates, &mut memory, &mut check)?;
        drop(lock);
        for template in &templates {
            check_hashes(template, progress, &mut check)?;
        }
        memory.verify(progress, &mut check)?;
        Ok(check)
    }

    /// Finds foreign files, and missing folders.
    fn check_names(&self, directory: Directory, check: &mut Check) -> Result<()> {
        let folder = self.directory(directory);
        match names_in(&folder) {
            Ok(names) => {
                for name in names.iter().filter(|name| id_of(name).is_none()) {
                    let what = format!("{} is not a part of the repository", folder.join(name).display());
                    check.add(what, "move it elsewhere, or remove it");
                }
            }
            Err(error) => check.add_error(error, "create the folder, or restore it from a copy")?,
        }
        Ok(())
    }

    fn check_templates(&self, memory: &mut SavedMemory, check: &mut Check) -> Result<Vec<Template>> {
        let mut templates = Vec::new();
        for id in self.ids(Directory::Layers)? {
            check.templates += 1;
            match self.read_template(id).and_then(|template| self.read_chain(template)) {
                Ok(chain) => templates.extend(self.check_template(chain, memory, check)?),
                Err(error) => check.add_error(error, "restore it from a copy")?,
            }
        }
        Ok(templates)
    }

    /// Checks a template; the chain below it is known.
    fn check_template(
        &self,
        chain: Vec<Template>,
        memory: &mut SavedMemory,
        check: &mut Check,
    ) -> Result<Option<Template>> {
        let mut folders: Vec<_> = chain.iter().skip(1).map(Template::folder).collect();
        folders.extend(self.snapshots_below(&chain)?);
        let Some(template) = chain.into_iter().next() else { return Ok(None) };
        if let Some(original) = template.record().memory {
            let (folder, title) = (template.folder(), template.title());
            check_saved_state(&folder, original, &title, RESTORE_TEMPLATE, check)?;
            require_read_only(&saved_state(&folder), "a template", check);
            memory.add(&folder, &title, RESTORE_TEMPLATE);
        }
        for (disk, (_, path, format)) in template.disks().iter().zip(template.images()) {
            require_read_only(&path, "a template", check);
            let size = check_image(&path, format, &folders, check)?;
            if size.is_some_and(|size| size != disk.size) {
                check.add(format!("{} does not have the size in its record", path.display()), RESTORE_TEMPLATE);
            }
        }
        Ok(Some(template))
    }

    fn check_vms(&self, templates: &[Template], memory: &mut SavedMemory, check: &mut Check) -> Result<()> {
        for id in self.ids(Directory::Vms)? {
            check.vms += 1;
            match self.read_vm(id) {
                Ok(vm) => {
                    self.check_references(&vm, check)?;
                    self.check_vm(&vm, templates, memory, check)?;
                }
                Err(error) => check.add_error(error, "restore it from a copy, or remove the VM")?,
            }
        }
        Ok(())
    }

    fn check_vm(
        &self,
        vm: &StoredVm,
        templates: &[Template],
        memory: &mut SavedMemory,
        check: &mut Check,
    ) -> Result<()> {
        let title = format!("VM '{}' ({})", vm.name(), vm.uuid());
        if let Some(suspended) = &vm.record().suspended {
            let original = suspended.original.unwrap_or(vm.uuid());
            let remedy = "discard it: Repository::hard_shutdown";
            check_saved_state(&vm.folder(), original, &title, remedy, check)?;
            memory.add(&vm.folder(), &title, remedy);
        }
        let (layer, snapshot) = (vm.layer(), vm.record().snapshot);
        let Some(folders) = self.check_bases(&title, layer, snapshot, templates, check)? else { return Ok(()) };
        for disk in vm.own_disks() {
            check_image(&disk.path, disk.format, &folders, check)?;
        }
        Ok(())
    }

    /// The folders of everything on which a VM or a snapshot is based; `None` after adding a problem.
    fn check_bases(
        &self,
        title: &str,
        layer: Option<&Lineage>,
        snapshot: Option<Uuid>,
        templates: &[Template],
        check: &mut Check,
    ) -> Result<Option<Vec<PathBuf>>> {
        let mut folders = Vec::new();
        if let Some(layer) = layer {
            let template = templates.iter().find(|template| template.uuid() == layer.template);
            match template.map(|template| self.read_chain(template.clone())) {
                Some(Err(error)) if error.is_shortage() => return Err(error),
                Some(Ok(chain)) => {
                    folders.extend(chain.iter().map(Template::folder));
                    folders.extend(self.snapshots_below(&chain)?);
                }
                _ => {
                    let what = format!("{title} is based on a template that is missing or damaged");
                    check.add(format!("{what}: '{}:{}'", layer.name, layer.version), RESTORE_TEMPLATE);
                    return Ok(None);
                }
            }
        }
        let mut removed = self.readable_snapshots()?;
        removed.retain(|snapshot| snapshot.record().removed);
        match self.ancestry(snapshot) {
            // The images of removed snapshots stay where others are based on them.
            Ok(ancestry) => folders.extend(ancestry.iter().chain(&removed).map(Snapshot::folder)),
            Err(error) => {
                check.add_error(error, RESTORE_SNAPSHOT)?;
                return Ok(None);
            }
        }
        Ok(Some(folders))
    }

    /// The folders of the snapshots on which these templates may be based, whose images stay as long as anything is based on
    /// them: those that were removed, and any if the VM was sealed while it ran.
    fn snapshots_below(&self, chain: &[Template]) -> Result<Vec<PathBuf>> {
        let (hot, mut below) = (chain.iter().any(Template::has_memory), self.readable_snapshots()?);
        below.retain(|snapshot| hot || snapshot.record().removed);
        Ok(below.iter().map(Snapshot::folder).collect())
    }

    fn check_snapshots(&self, templates: &[Template], memory: &mut SavedMemory, check: &mut Check) -> Result<()> {
        for id in self.ids(Directory::Snapshots)? {
            check.snapshots += 1;
            match self.read_snapshot(id) {
                Ok(snapshot) => self.check_snapshot(&snapshot, templates, memory, check)?,
                Err(error) => check.add_error(error, RESTORE_SNAPSHOT)?,
            }
        }
        Ok(())
    }

    fn check_snapshot(
        &self,
        snapshot: &Snapshot,
        templates: &[Template],
        memory: &mut SavedMemory,
        check: &mut Check,
    ) -> Result<()> {
        let (record, title) = (snapshot.record(), snapshot.title());
        if record.memory && !record.removed {
            let remedy = "restore it from a copy, or remove the snapshot: Repository::remove_snapshot";
            check_saved_state(&snapshot.folder(), snapshot.original(), &title, remedy, check)?;
            memory.add(&snapshot.folder(), &title, remedy);
        }
        let bases = self.check_bases(&title, record.layer.as_ref(), record.parent, templates, check)?;
        let Some(folders) = bases else { return Ok(()) };
        // The images of a removed snapshot on which nothing is based are gone.
        for own in snapshot.images().into_iter().filter(|own| !record.removed || own.path.exists()) {
            require_read_only(&own.path, "a snapshot", check);
            check_image(&own.path, own.format, &folders, check)?;
        }
        Ok(())
    }

    /// Finds the VM's references to other objects of the repository, and its missing files outside.
    fn check_references(&self, vm: &StoredVm, check: &mut Check) -> Result<()> {
        let folder = vm.folder();
        match self.references(&vm.record().config, &folder) {
            // The chains of its own disks are checked with those disks.
            Ok(References { found, unknown }) => {
                found.iter().filter(|reference| !reference.is_based_in(&folder)).for_each(|reference| {
                    let title = vm.title();
                    let what = format!("{title} uses a file of another object: its {}", reference.describe(self));
                    check
                        .add(what, "copy the disk (qemu-img convert), create a VM with the copy, then remove this one");
                });
                for error in unknown {
                    let what = format!("the backing files of {} are unknown: {}", vm.title(), error.without_remedy());
                    check.add(what, "make it readable, then check again");
                }
            }
            Err(error) => check.add_error(error, "make it readable, then check again")?,
        }
        for (user, path) in self.missing(&vm.record().config) {
            let what = format!("{} is missing; {} uses it as its {user}", path.display(), vm.title());
            check.add(what, "restore it from a copy, or mount the file system that it was on");
        }
        Ok(())
    }
}

const RESTORE_TEMPLATE: &str = "restore the template from a copy";
const RESTORE_SNAPSHOT: &str = "restore the snapshot from a copy";

fn require_read_only(path: &Path, owner: &str, check: &mut Check) {
    if fs::metadata(path).is_ok_and(|metadata| metadata.mode() & 0o222 != 0) {
        let what = format!("{} belongs to {owner} but is writable", path.display());
        check.add(what, format!("make it read-only: chmod 444 {}", path.display()));
    }
}

/// Checks the saved state in the folder of a template, a VM or a snapshot, which is one of the VM `original`, except guest
/// memory.
fn check_saved_state(folder: &Path, original: Uuid, title: &str, remedy: &str, check: &mut Check) -> Result<()> {
    match SuspendedVm::open(saved_state(folder)) {
        Ok(saved) if saved.uuid() == original => Ok(()),
        Ok(saved) => {
            let what = format!("{title} has the saved state of another VM, '{}' ({})", saved.name(), saved.uuid());
            check.add(what, remedy);
            Ok(())
        }
        Err(error) if error.is_shortage() => Err(error),
        Err(error) => {
            check.add(format!("{title} has no usable saved state: {}", error.without_remedy()), remedy);
            Ok(())
        }
    }
}

/// Checks that an image can be opened for writing, and that its chain stays within these folders. Returns the size of
/// the disk.
fn check_image(path: &Path, format: ImageFormat, folders: &[PathBuf], check: &mut Check) -> Result<Option<u64>> {
    let info = match disk::inspect(path, Some(format)) {
        Ok(info) => info,
        Err(error) => {
            check.add_error(error, "restore it from a copy")?;
            return Ok(None);
        }
    };
    if let Err(error) = disk::check_tables(path, format) {
        check.add_error(error, "restore it from a copy")?;
    }
    for below in info.backing {
        let place = fs::canonicalize(&below.path).unwrap_or(below.path);
        if !folders.iter().any(|folder| place.parent() == Some(folder)) {
            let what = format!(
                "{} is based on {}, which does not belong to its template or its snapshots",
                path.display(),
                place.display()
            );
            check.add(what, "restore it from a copy, or remove the VM or template that it belongs to");
        }
    }
    Ok(Some(info.virtual_size))
}

/// Compares the contents of a template's disks with their hashes.
fn check_hashes(template: &Template, progress: &dyn Progress, check: &mut Check) -> Result<()> {
    for (disk, (_, path, format)) in template.disks().iter().zip(template.images()) {
        let hash = disk::open(&path, Some(format), Access::ReadOnly).and_then(|disk| hash_disk(&*disk, progress));
        match hash {
            Ok(hash) if hash == disk.hash => {}
            Ok(_) => check.add(format!("{} has changed since it was sealed", path.display()), RESTORE_TEMPLATE),
            Err(error) if error.kind() == ErrorKind::Cancelled => return Err(error),
            // It may have been removed meanwhile.
            Err(error) if template.folder().exists() => check.add_error(error, RESTORE_TEMPLATE)?,
            Err(_) => {}
        }
    }
    Ok(())
}
