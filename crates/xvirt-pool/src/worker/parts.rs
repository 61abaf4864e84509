//! Opens everything that a worker gets.

use std::fs::File;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::path::Path;

use uuid::Uuid;
use xvirt_core::config::{Boot, BootFile, Disk, DiskSource};
use xvirt_core::disk::inspect;
use xvirt_core::host::Host;
use xvirt_worker::protocol::{Build, Json, Layer, MAX_DESCRIPTORS, NewDisk, NewNic, NicBackend, Slot, TakeOver};

use super::config::{self, Records};
use super::place::failed;
use crate::model::{Network, Vbd, Vdi, Vif};
use crate::network;
use crate::operation::{Failure, codes};

/// Open files, and the slots that name them.
#[derive(Debug, Default)]
pub(crate) struct Files(Vec<OwnedFd>);

impl Files {
    fn add(&mut self, file: impl Into<OwnedFd>) -> Slot {
        self.0.push(file.into());
        Slot(u32::try_from(self.0.len() - 1).unwrap_or(u32::MAX))
    }

    /// The files, in the order of their slots.
    pub(crate) fn borrowed(&self) -> Vec<BorrowedFd<'_>> {
        self.0.iter().map(AsFd::as_fd).collect()
    }
}

/// What a VM is built from: the message, and the files that go with it.
#[derive(Debug)]
pub(crate) struct Parts {
    pub(crate) build: Build,
    pub(crate) files: Files,
}

impl Parts {
    /// Opens everything.
    ///
    /// # Errors
    /// A file is missing, or the service may not open it.
    pub(crate) fn open(records: &Records, kernels: &Path, host: &Host, epoch: u64) -> Result<Self, Failure> {
        let mut config = config::config(records, kernels)?;
        let mut files = Files::default();
        let mut build = Build { owner_epoch: epoch, ..Build::default() };
        let kvm = Path::new("/dev/kvm");
        build.kvm = Some(files.add(writable(kvm, true)?));
        if let Boot::Kernel { kernel, initrd, .. } = &config.boot {
            build.kernel = Some(files.add(boot_file(kernel)?));
            if let Some(initrd) = initrd {
                build.initrd = Some(files.add(boot_file(initrd)?));
            }
        }
        for disk in &config.disks {
            build.disks.push(layers(disk, &mut files)?);
        }
        require_passable(&files, config.nics.len())?;
        for (nic, (_, vif, network)) in config.nics.iter_mut().zip(&records.nics) {
            let tap = network::open_tap(vif, network)?;
            nic.backend = xvirt_core::config::NicBackendConfig::Tap(tap.name().to_owned());
            build.nics.push(NicBackend::Tap(files.add(network::descriptor(&tap)?)));
        }
        build.host = json(host)?;
        build.config = json(&config)?;
        Ok(Self { build, files })
    }

    /// Adds the saved state from which the VM goes on.
    pub(crate) fn add_saved_state(&mut self, path: &Path) -> Result<(), Failure> {
        self.build.saved_state = Some(self.files.add(writable(path, true)?));
        Ok(())
    }
}

/// What a worker needs to take a VM over from another one, with which `channel` connects it. `disks` are in the order in
/// which that one has them.
///
/// # Errors
/// A file is missing, or the service may not open it.
pub(crate) fn take_over<'a>(
    disks: impl IntoIterator<Item = &'a (Uuid, Vbd, Vdi)>,
    host: &Host,
    channel: UnixStream,
) -> Result<(TakeOver, Files), Failure> {
    let mut files = Files::default();
    let mut wish = TakeOver { host: json(host)?, channel: files.add(channel), ..TakeOver::default() };
    wish.kvm = Some(files.add(writable(Path::new("/dev/kvm"), true)?));
    for (_, vbd, vdi) in disks {
        wish.disks.push(layers(&config::disk(vbd, vdi)?, &mut files)?);
    }
    Ok((wish, files))
}

/// A disk to plug in.
pub(crate) fn new_disk(vbd: &Vbd, vdi: &Vdi) -> Result<(NewDisk, Files), Failure> {
    let disk = config::disk(vbd, vdi)?;
    let mut files = Files::default();
    let layers = layers(&disk, &mut files)?;
    require_passable(&files, 0)?;
    Ok((NewDisk { config: json(&disk)?, layers }, files))
}

/// A network interface to plug in.
pub(crate) fn new_nic(vif: &Vif, network: &Network) -> Result<(NewNic, Files), Failure> {
    let mut nic = config::nic(vif, network)?;
    let mut files = Files::default();
    let tap = network::open_tap(vif, network)?;
    nic.backend = xvirt_core::config::NicBackendConfig::Tap(tap.name().to_owned());
    let backend = NicBackend::Tap(files.add(network::descriptor(&tap)?));
    Ok((NewNic { config: json(&nic)?, backend }, files))
}

/// Requires that one message can pass the files to a worker, and those of so many network interfaces and of a saved state.
fn require_passable(files: &Files, nics: usize) -> Result<(), Failure> {
    let needed = files.0.len() + nics + 1;
    if needed <= MAX_DESCRIPTORS {
        return Ok(());
    }
    let what = format!(
        "the VM needs {needed} open files, and its worker gets {MAX_DESCRIPTORS} at most: each disk takes one, and one more for \
         each image that it is over"
    );
    Err(codes::not_allowed(
        what,
        "attach fewer disks, or some that are over fewer images: a clone of a clone is over more",
    ))
}

/// Opens the image of a disk and its backing files.
fn layers(disk: &Disk, files: &mut Files) -> Result<Vec<Layer>, Failure> {
    let DiskSource::Image { path, format } = &disk.source else {
        return Err(codes::internal("a disk of the host service is not an image"));
    };
    let info = inspect(path, Some(*format)).map_err(|error| codes::of_core(&error))?;
    let mut layers = vec![Layer { file: files.add(writable(path, !disk.read_only)?), format: format.to_string() }];
    for backing in &info.backing {
        let file = files.add(writable(&backing.path, false)?);
        layers.push(Layer { file, format: backing.format.to_string() });
    }
    Ok(layers)
}

fn boot_file(file: &BootFile) -> Result<File, Failure> {
    match file {
        BootFile::Path(path) => writable(path, false),
        other => Err(codes::internal(format!("{other:?} is not the path of a kernel"))),
    }
}

fn writable(path: &Path, write: bool) -> Result<File, Failure> {
    let file = File::options().read(true).write(write).open(path);
    file.map_err(|error| failed("open", path, &error))
}

fn json(value: &impl serde::Serialize) -> Result<Json, Failure> {
    Json::of(value).map_err(|error| codes::of_worker(&error))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn more_files_than_one_message_passes_are_refused_with_the_reason() {
        let file = File::open("/dev/null").unwrap();
        let files = |count| Files((0..count).map(|_| file.try_clone().unwrap().into()).collect());
        require_passable(&files(MAX_DESCRIPTORS - 3), 2).unwrap();
        let failure = require_passable(&files(MAX_DESCRIPTORS - 2), 2).unwrap_err();
        assert_eq!(failure.code, "OPERATION_NOT_ALLOWED");
        assert!(
            failure.to_string().contains("needs 251 open files") && failure.to_string().contains("250"),
            "{failure}"
        );
    }
}
