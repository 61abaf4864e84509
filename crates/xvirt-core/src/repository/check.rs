//! Finding damage.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use super::reference::References;
use super::store::id_of;
use super::vm::names_in;
use super::{Directory, Repository, StoredVm, Template, hash_disk};
use crate::disk::{self, Access, ImageFormat};
use crate::progress::Progress;
use crate::{Error, ErrorKind, Result};

/// What a check found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Check {
    /// How many VMs were looked at.
    pub vms: usize,
    /// How many templates were looked at, and their disks read.
    pub templates: usize,
    /// What is not as it must be; nothing, if all is well.
    pub problems: Vec<Problem>,
}

/// Damage.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Problem {
    /// What is wrong, and where.
    pub what: String,
    /// What to do about it.
    pub remedy: String,
}

impl Check {
    fn add(&mut self, what: impl Into<String>, remedy: impl Into<String>) {
        let problem = Problem { what: what.into(), remedy: remedy.into() };
        // What is wrong with a file is found on more than one way to it.
        if !self.problems.contains(&problem) {
            self.problems.push(problem);
        }
    }

    /// Takes an error for damage, unless it says nothing about what was looked at.
    fn add_error(&mut self, error: Error, remedy: &str) -> Result<()> {
        if error.is_shortage() {
            return Err(error);
        }
        self.add(error.without_remedy().to_string(), remedy);
        Ok(())
    }
}

impl Repository {
    /// Looks for damage: reads all records, follows what every disk is based on, looks for disks that are missing or
    /// belong to another VM, for kernels and initrds that are missing and for qcow2 images whose tables contradict each
    /// other, and compares the disks of all templates with their hashes, which takes the time to read them. Others may use
    /// the repository meanwhile.
    ///
    /// # Errors
    /// [`Cancelled`](ErrorKind::Cancelled); [`OutOfDescriptors`](ErrorKind::OutOfDescriptors) or
    /// [`OutOfMemory`](ErrorKind::OutOfMemory) if there is not enough to look at everything; or the repository itself cannot
    /// be read. Damage is no error.
    pub fn check(&self, progress: &dyn Progress) -> Result<Check> {
        let mut check = Check::default();
        let lock = self.lock_shared()?;
        for room in Directory::ALL {
            self.check_names(room, &mut check)?;
        }
        let templates = self.check_templates(&mut check)?;
        self.check_vms(&templates, &mut check)?;
        drop(lock);
        for template in &templates {
            check_hashes(template, progress, &mut check)?;
        }
        Ok(check)
    }

    /// Finds what nobody put there, and rooms that are missing.
    fn check_names(&self, room: Directory, check: &mut Check) -> Result<()> {
        let folder = self.room(room);
        match names_in(&folder) {
            Ok(names) => {
                for name in names.iter().filter(|name| id_of(name).is_none()) {
                    let what = format!("{} is not a part of the repository", folder.join(name).display());
                    check.add(what, "move it elsewhere, or remove it");
                }
            }
            Err(error) => check.add_error(error, "make the folder, or restore it from a copy")?,
        }
        Ok(())
    }

    fn check_templates(&self, check: &mut Check) -> Result<Vec<Template>> {
        let mut templates = Vec::new();
        for id in self.ids(Directory::Layers)? {
            check.templates += 1;
            match self.read_template(id).and_then(|template| self.read_chain(template)) {
                Ok(chain) => templates.extend(self.check_template(chain, check)?),
                Err(error) => check.add_error(error, "restore it from a copy")?,
            }
        }
        Ok(templates)
    }

    /// Looks at a template, of which the chain below is known.
    fn check_template(&self, chain: Vec<Template>, check: &mut Check) -> Result<Option<Template>> {
        let folders: Vec<_> = chain.iter().skip(1).map(Template::folder).collect();
        let Some(template) = chain.into_iter().next() else { return Ok(None) };
        for (disk, (_, path, format)) in template.disks().iter().zip(template.images()) {
            if fs::metadata(&path).is_ok_and(|metadata| metadata.mode() & 0o222 != 0) {
                check.add(
                    format!("{} may be written to, and is a template's", path.display()),
                    format!("take the right away: chmod 444 {}", path.display()),
                );
            }
            let size = check_image(&path, format, &folders, check)?;
            if size.is_some_and(|size| size != disk.size) {
                check.add(format!("{} has another size than its record says", path.display()), RESTORE_TEMPLATE);
            }
        }
        Ok(Some(template))
    }

    fn check_vms(&self, templates: &[Template], check: &mut Check) -> Result<()> {
        for id in self.ids(Directory::Vms)? {
            check.vms += 1;
            match self.read_vm(id) {
                Ok(vm) => {
                    self.check_references(&vm, check)?;
                    self.check_vm(&vm, templates, check)?;
                }
                Err(error) => check.add_error(error, "restore it from a copy, or remove the VM")?,
            }
        }
        Ok(())
    }

    fn check_vm(&self, vm: &StoredVm, templates: &[Template], check: &mut Check) -> Result<()> {
        let mut folders = Vec::new();
        if let Some(layer) = vm.layer() {
            let template = templates.iter().find(|template| template.uuid() == layer.template);
            match template.map(|template| self.read_chain(template.clone())) {
                Some(Err(error)) if error.is_shortage() => return Err(error),
                Some(Ok(chain)) => folders.extend(chain.iter().map(Template::folder)),
                _ => {
                    let what = format!("VM '{}' ({}) is based on a template that is missing", vm.name(), vm.uuid());
                    check.add(format!("{what} or damaged: '{}:{}'", layer.name, layer.version), RESTORE_TEMPLATE);
                    return Ok(());
                }
            }
        }
        for disk in vm.own_disks() {
            check_image(&disk.path, disk.format, &folders, check)?;
        }
        Ok(())
    }

    /// Finds what a VM uses of others, and what it uses from outside the repository that is missing.
    fn check_references(&self, vm: &StoredVm, check: &mut Check) -> Result<()> {
        let folder = vm.folder();
        match self.references(&vm.record().config, &folder) {
            // What its own disks are based on is looked at with them.
            Ok(References { found, unknown }) => {
                found.iter().filter(|reference| !reference.is_based_in(&folder)).for_each(|reference| {
                    let title = vm.title();
                    let what = format!("{title} does not have files of its own: its {}", reference.describe(self));
                    check.add(what, "copy the disk (qemu-img convert) and make a VM of the copy, then remove this one");
                });
                for error in unknown {
                    let what = format!("it is not known what {} uses: {}", vm.title(), error.without_remedy());
                    check.add(what, "make it readable, then check again");
                }
            }
            Err(error) => check.add_error(error, "make it readable, then check again")?,
        }
        for (user, path) in self.missing(&vm.record().config) {
            let what = format!("{} is missing: {} names it as its {user}", path.display(), vm.title());
            check.add(what, "restore it from a copy, or mount the file system that it was on");
        }
        Ok(())
    }
}

const RESTORE_TEMPLATE: &str = "restore the template from a copy";

/// Checks that an image can be opened and written, and is only based on images in these folders. Answers the size of the
/// disk.
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
            let what = format!("{} is based on {}, which is not its template's", path.display(), place.display());
            check.add(what, "restore it from a copy, or remove what it belongs to");
        }
    }
    Ok(Some(info.virtual_size))
}

/// Compares what the disks of a template hold with what they held when it was sealed.
fn check_hashes(template: &Template, progress: &dyn Progress, check: &mut Check) -> Result<()> {
    for (disk, (_, path, format)) in template.disks().iter().zip(template.images()) {
        let hash = disk::open(&path, Some(format), Access::ReadOnly).and_then(|disk| hash_disk(&*disk, progress));
        match hash {
            Ok(hash) if hash == disk.hash => {}
            Ok(_) => check.add(format!("{} does not hold what was sealed", path.display()), RESTORE_TEMPLATE),
            Err(error) if error.kind() == ErrorKind::Cancelled => return Err(error),
            // Somebody may have removed it meanwhile.
            Err(error) if template.folder().exists() => check.add_error(error, RESTORE_TEMPLATE)?,
            Err(_) => {}
        }
    }
    Ok(())
}
