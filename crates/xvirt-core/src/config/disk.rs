//! Disks of a VM.

use std::path::PathBuf;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::{IoEngine, RateLimit, invalid};
use crate::Result;
use crate::disk::{Access, BlockBackend, Image, ImageDescriptor, ImageFormat, Opening};

/// The sector size of virtio-blk, in bytes (virtio 1.2, section 5.2.4).
const SECTOR: u64 = 512;
/// The longest serial number of virtio-blk, in bytes (virtio 1.2, section 5.2.6).
const MAX_SERIAL: usize = 20;
/// The most queues; more gain nothing and cost interrupts.
const MAX_QUEUES: u16 = 16;

/// A disk of a VM.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Disk {
    /// The storage of the disk.
    pub source: DiskSource,
    /// Whether the disk is read-only for the guest.
    #[serde(default)]
    pub read_only: bool,
    /// The serial number the guest sees (`/dev/disk/by-id/virtio-SERIAL`), at most 20 bytes.
    #[serde(default)]
    pub serial: String,
    /// The number of request queues, 1 to 16; by default one per vCPU, up to four.
    #[serde(default)]
    pub queues: Option<u16>,
    /// The rate limit.
    #[serde(default)]
    pub limit: RateLimit,
    /// The I/O engine of the host.
    #[serde(default)]
    pub engine: IoEngine,
    /// Whether the disk's data bypasses the host's page cache (`O_DIRECT`).
    #[serde(default)]
    pub direct: bool,
}

/// The storage of a disk.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum DiskSource {
    /// An image file or block device, which is locked while the VM runs.
    Image {
        /// The path of the image.
        path: PathBuf,
        /// Its format.
        format: ImageFormat,
    },
    /// Open image files: the image, followed by its backing files from the nearest to the deepest. They are locked
    /// while the VM runs. No file is opened by its path.
    #[serde(skip)]
    Descriptors(Vec<ImageDescriptor>),
    /// A backend of the program.
    #[serde(skip)]
    Backend(Arc<dyn BlockBackend>),
}

impl Disk {
    /// The raw image at `path`.
    pub fn raw(path: impl Into<PathBuf>) -> Self {
        Self::image(path.into(), ImageFormat::Raw)
    }

    /// The qcow2 image at `path`.
    pub fn qcow2(path: impl Into<PathBuf>) -> Self {
        Self::image(path.into(), ImageFormat::Qcow2)
    }

    /// A disk on an open image file, for a process that cannot open files. [`based_on`](Self::based_on) adds the
    /// backing files of the image.
    ///
    /// ```
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let folder = tempfile::tempdir()?;
    /// # let (base, overlay) = (folder.path().join("base"), folder.path().join("overlay"));
    /// # use xvirt_core::disk;
    /// # disk::create(&base, ImageFormat::Raw, 1 << 20)?;
    /// # #[cfg(feature = "qcow2")] {
    /// # let kind = disk::overlay(&base, Some(ImageFormat::Raw), &overlay)?;
    /// use std::fs::File;
    /// use xvirt_core::config::Disk;
    /// use xvirt_core::disk::{ImageDescriptor, ImageFormat};
    ///
    /// # if kind == disk::OverlayKind::Qcow2 {
    /// let image = File::options().read(true).write(true).open(&overlay)?;
    /// let disk = Disk::descriptor(ImageDescriptor::new(image, ImageFormat::Qcow2))
    ///     .based_on(ImageDescriptor::new(File::open(&base)?, ImageFormat::Raw));
    /// # }
    /// # }
    /// # use xvirt_core::disk::ImageFormat;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// [`ImageDescriptor`] says what is required of a descriptor; a start checks it.
    pub fn descriptor(image: ImageDescriptor) -> Self {
        Self::new(DiskSource::Descriptors(vec![image]))
    }

    /// Adds the backing file of the image file that was added last. Has no effect on a disk that was not created by
    /// [`descriptor`](Self::descriptor).
    #[must_use]
    pub fn based_on(mut self, image: ImageDescriptor) -> Self {
        if let DiskSource::Descriptors(images) = &mut self.source {
            images.push(image);
        }
        self
    }

    /// A disk on a backend of the program.
    pub fn backend(backend: Arc<dyn BlockBackend>) -> Self {
        Self::new(DiskSource::Backend(backend))
    }

    /// Makes the disk read-only for the guest.
    #[must_use]
    pub fn read_only(mut self) -> Self {
        self.read_only = true;
        self
    }

    /// Sets the serial number the guest sees.
    #[must_use]
    pub fn serial(mut self, serial: impl Into<String>) -> Self {
        self.serial = serial.into();
        self
    }

    /// Sets the number of request queues.
    #[must_use]
    pub fn queues(mut self, count: u16) -> Self {
        self.queues = Some(count);
        self
    }

    /// Sets the rate limit.
    #[must_use]
    pub fn limit(mut self, limit: RateLimit) -> Self {
        self.limit = limit;
        self
    }

    /// Sets the I/O engine of the host.
    #[must_use]
    pub fn engine(mut self, engine: IoEngine) -> Self {
        self.engine = engine;
        self
    }

    /// Makes the disk's data bypass the host's page cache (`O_DIRECT`). That saves host memory, and the latency of a
    /// request becomes that of the device. Guest buffers without the alignment that the host requires are copied.
    #[must_use]
    pub fn direct(mut self) -> Self {
        self.direct = true;
        self
    }

    pub(crate) fn image(path: PathBuf, format: ImageFormat) -> Self {
        Self::new(DiskSource::Image { path, format })
    }

    fn new(source: DiskSource) -> Self {
        Self {
            source,
            read_only: false,
            serial: String::new(),
            queues: None,
            limit: RateLimit::none(),
            engine: IoEngine::Auto,
            direct: false,
        }
    }

    /// The name of the disk for messages.
    pub(crate) fn name(&self) -> String {
        match &self.source {
            DiskSource::Image { path, .. } => path.display().to_string(),
            DiskSource::Descriptors(images) => images.first().map(ImageDescriptor::name).unwrap_or_default(),
            DiskSource::Backend(_) => "a disk of the embedder".to_owned(),
        }
    }

    /// Opens the disk and locks it until the backend is dropped. A backend of the program is returned as it is.
    ///
    /// # Errors
    /// As [`open`](crate::disk::open) and [`open_descriptors`](crate::disk::open_descriptors).
    pub(crate) fn open_backend(&self, access: Access) -> Result<Arc<dyn BlockBackend>> {
        let image = match &self.source {
            DiskSource::Image { path, format } => Image::Path(path, Some(*format)),
            DiskSource::Descriptors(images) => Image::Descriptors(images),
            DiskSource::Backend(backend) => return whole(backend),
        };
        Opening { image, access, direct: self.direct }.open()
    }

    /// The access of its guest.
    pub(crate) fn access(&self) -> Access {
        if self.read_only { Access::ReadOnly } else { Access::ReadWrite }
    }

    /// Fails if both disks use the same image, unless both are read-only.
    ///
    /// Only paths and descriptors are compared; the lock on the image catches other paths to the same file.
    pub(crate) fn check_beside(&self, other: &Self) -> Result<()> {
        let same = match (&self.source, &other.source) {
            (DiskSource::Image { path: one, .. }, DiskSource::Image { path: two, .. }) => one == two,
            (DiskSource::Descriptors(one), DiskSource::Descriptors(two)) => {
                let image = |images: &[ImageDescriptor]| images.first().map(|image| image.descriptor().clone());
                image(one) == image(two)
            }
            _ => false,
        };
        if !same || self.read_only && other.read_only {
            return Ok(());
        }
        Err(invalid(
            format!("disk image {} is used twice by the VM", self.name()),
            "leave one of them out, make both read-only, or give each an image of its own: disk::overlay",
        ))
    }

    pub(crate) fn check(&self) -> Result<()> {
        if self.serial.len() > MAX_SERIAL {
            return Err(invalid(
                format!("the serial number of disk {} has {} bytes", self.name(), self.serial.len()),
                "use at most 20 bytes",
            ));
        }
        if self.queues.is_some_and(|n| n == 0 || n > MAX_QUEUES) {
            return Err(invalid(format!("disk {} has an invalid number of queues", self.name()), "use 1 to 16 queues"));
        }
        let remedy = match &self.source {
            DiskSource::Image { .. } => None,
            DiskSource::Descriptors(_) => {
                Some("turn direct off, or give the path of the image, which must be opened a second time")
            }
            DiskSource::Backend(_) => {
                Some("turn direct off; the backend itself decides whether it bypasses the page cache")
            }
        };
        if let Some(remedy) = remedy.filter(|_| self.direct) {
            return Err(invalid(format!("{} cannot use direct I/O", self.name()), remedy));
        }
        self.limit.check(&format!("disk {}", self.name()))
    }
}

/// A backend of the program, if the guest can use all of it.
fn whole(backend: &Arc<dyn BlockBackend>) -> Result<Arc<dyn BlockBackend>> {
    let capacity = backend.capacity();
    if capacity > 0 && capacity.is_multiple_of(SECTOR) {
        return Ok(Arc::clone(backend));
    }
    Err(invalid(
        format!("the backend of a disk says that it has {capacity} bytes"),
        "give it a capacity that is a multiple of 512 bytes, and not zero",
    ))
}
