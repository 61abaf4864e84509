//! Disks of a VM.

use std::path::PathBuf;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::{IoEngine, RateLimit, invalid};
use crate::Result;
use crate::disk::{BlockBackend, ImageFormat};

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
    /// The number of request queues, 1 to 16; `None` means one per vCPU, up to four.
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
    /// A backend of the embedder.
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

    /// A disk on a backend of the embedder.
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
            DiskSource::Backend(_) => "a disk of the embedder".to_owned(),
        }
    }

    /// Fails if both disks use the same image, unless both are read-only.
    ///
    /// Only the paths are compared; the lock on the image catches other paths to the same file.
    pub(crate) fn check_beside(&self, other: &Self) -> Result<()> {
        let (DiskSource::Image { path: one, .. }, DiskSource::Image { path: two, .. }) = (&self.source, &other.source)
        else {
            return Ok(());
        };
        if one != two || self.read_only && other.read_only {
            return Ok(());
        }
        Err(invalid(
            format!("disk image {} is used twice by the VM", one.display()),
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
        if self.direct && matches!(self.source, DiskSource::Backend(_)) {
            return Err(invalid(
                format!("{} cannot use direct I/O", self.name()),
                "turn direct off; the backend itself decides whether it bypasses the page cache",
            ));
        }
        self.limit.check(&format!("disk {}", self.name()))
    }
}
