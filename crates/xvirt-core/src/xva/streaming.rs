//! Starts a VM from an archive immediately, and imports it while it runs.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use super::archive::Archive;
use super::import::{Import, Imported, METADATA, large_remark, make_disk};
use super::root_device;
use crate::config::{Disk, VmConfig};
use crate::disk::{BlockBackend, ImageFormat, StreamingDisk};
use crate::progress::{Done, Progress};
use crate::repository::{Repository, Stage};
use crate::sync::lock;
use crate::{Error, ErrorKind, Result};

/// The number of bytes copied at once: a chunk of the archive.
const CHUNK: u64 = 1 << 20;

/// A VM whose disks are still in an archive, or partly copied from it.
///
/// [`config`](Self::config) can be built and started immediately: data that the guest reads is fetched from the archive
/// on demand, and data that it writes goes to images in the repository. Meanwhile, [`complete`](Self::complete) copies
/// the rest and turns it into a VM of the repository, which may keep running. Until then, the VM exists only as long as
/// this value: when it is dropped, or the process dies, the images are removed, and the guest's writes are lost. So
/// keep it until [`complete`](Self::complete) has succeeded.
///
/// May be used from several threads.
#[derive(Debug)]
pub struct StreamingImport {
    config: VmConfig,
    stored: VmConfig,
    remarks: Vec<String>,
    disks: Vec<Arc<StreamingDisk>>,
    maps: Vec<PathBuf>,
    /// `None` once it is a VM of the repository.
    stage: Mutex<Option<Stage>>,
}

/// Prepares a VM from an archive so that it can start immediately. The archive must be a file that is uncompressed, or
/// that this library exported with zstd, and must not change until all of it was copied.
///
/// # Errors
/// [`UnsupportedArchive`](ErrorKind::UnsupportedArchive) if the archive supports only sequential reading (use
/// [`import`](super::import)); [`AlreadyExists`](ErrorKind::AlreadyExists) if its UUID is to be preserved and a VM has
/// it. Otherwise as for [`import`](super::import), except damaged chunks, which are I/O errors to the guest.
pub fn import_streaming(
    archive: impl AsRef<Path>,
    repository: &Repository,
    options: &Import,
) -> Result<StreamingImport> {
    options.check()?;
    let archive = Archive::open(archive)?;
    let stage = repository.stage()?;
    let (mut streaming, mut maps, mut paths) = (Vec::new(), Vec::new(), Vec::new());
    let (mut stored, mut large) = (Vec::new(), Vec::new());
    for (index, source) in archive.disks().into_iter().enumerate() {
        let (target, format) = make_disk(&stage, index, source.capacity())?;
        let path = stage.disk_path(index, format);
        let map = path.with_extension("map");
        streaming.push(Arc::new(StreamingDisk::create(source, target, &map, CHUNK)?));
        maps.push(map);
        stored.push(match format {
            ImageFormat::Qcow2 => {
                large.push(large_remark(index));
                Disk::qcow2(&path)
            }
            ImageFormat::Raw => Disk::raw(&path),
        });
        paths.push(path);
    }
    let (mut stored, mut remarks) = options.configure(archive.appliance(), stored)?;
    remarks.extend(large);
    repository.require_new(stored.uuid)?;
    let backend =
        |disk: &Disk| position(disk, &paths).and_then(|index| streaming.get(index)).map(|disk| Arc::clone(disk) as _);
    remarks.extend(root_device::adapt(&mut stored, |disk| {
        backend(disk).ok_or_else(|| Error::new(ErrorKind::NotFound, "the disk to boot from is not in the archive"))
    })?);
    stage.attach(METADATA, archive.document().to_xml().as_bytes())?;
    let mut config = stored.clone();
    for disk in &mut config.disks {
        if let Some(backend) = backend(disk) {
            disk.source = crate::config::DiskSource::Backend(backend);
        }
    }
    Ok(StreamingImport { config, stored, remarks, disks: streaming, maps, stage: Mutex::new(Some(stage)) })
}

/// The index of a disk among the staged images.
fn position(disk: &Disk, paths: &[PathBuf]) -> Option<usize> {
    let crate::config::DiskSource::Image { path, .. } = &disk.source else { return None };
    paths.iter().position(|other| other == path)
}

impl StreamingImport {
    /// The configuration, ready to be built and started.
    pub fn config(&self) -> &VmConfig {
        &self.config
    }

    /// What cannot be converted.
    pub fn remarks(&self) -> &[String] {
        &self.remarks
    }

    /// Copies the remaining data from the archive, and turns it into a VM of the repository. This takes long, so call
    /// it on a thread of its own while the VM runs; the guest's requests have priority. The archive is no longer needed
    /// afterwards.
    ///
    /// # Errors
    /// A chunk of the archive is damaged; the repository is full or cannot be written;
    /// [`AlreadyExists`](ErrorKind::AlreadyExists) if a VM with its UUID was created meanwhile; the operation was
    /// cancelled. Then the VM keeps running as before, and this can be retried once the cause is fixed.
    /// [`InvalidState`](ErrorKind::InvalidState) if it is a VM of the repository already.
    pub fn complete(&self, progress: &dyn Progress) -> Result<Imported> {
        let total: u64 = self.disks.iter().map(|disk| disk.capacity()).sum();
        let mut before = 0;
        for disk in &self.disks {
            disk.complete(&Part { progress, before, total })?;
            before += disk.capacity();
        }
        let mut stage = lock(&self.stage);
        let gone = || Error::new(ErrorKind::InvalidState, format!("VM '{}' is stored already", self.config.name));
        let staged = stage.as_mut().ok_or_else(gone)?;
        for map in &self.maps {
            match fs::remove_file(map) {
                Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                    return Err(Error::io(format!("cannot remove {}", map.display()), error));
                }
                _ => {}
            }
        }
        let vm = staged.commit_in_use(self.stored.clone())?;
        *stage = None;
        Ok(Imported { vm, remarks: self.remarks.clone() })
    }
}

/// The progress of one disk among several.
struct Part<'a> {
    progress: &'a dyn Progress,
    before: u64,
    total: u64,
}

impl Progress for Part<'_> {
    fn report(&self, done: Done) {
        self.progress.report(Done::new(self.before + done.bytes, Some(self.total)));
    }

    fn cancelled(&self) -> bool {
        self.progress.cancelled()
    }
}
