//! Disks of a VM.

use std::path::PathBuf;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::{IoEngine, RateLimit, invalid};
use crate::Result;
use crate::disk::{BlockBackend, ImageFormat};

/// The longest serial number virtio-blk can carry, in bytes (virtio 1.2, section 5.2.6).
const MAX_SERIAL: usize = 20;
/// More queues than this gain nothing and cost interrupts.
const MAX_QUEUES: u16 = 16;

/// A disk of a VM: where its bytes are and how the guest sees it.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Disk {
    /// Where the bytes are.
    pub source: DiskSource,
    /// Whether the guest may only read.
    #[serde(default)]
    pub read_only: bool,
    /// The serial number the guest sees (`/dev/disk/by-id/virtio-SERIAL`), at most 20 bytes.
    #[serde(default)]
    pub serial: String,
    /// How many request queues the guest gets, 1 to 16; `None` is one for each vCPU, up to four.
    #[serde(default)]
    pub queues: Option<u16>,
    /// How fast it may be.
    #[serde(default)]
    pub limit: RateLimit,
    /// How the host does its input and output.
    #[serde(default)]
    pub engine: IoEngine,
    /// Whether the guest's data goes past the host's page cache (`O_DIRECT`).
    #[serde(default)]
    pub direct: bool,
}

/// Where a disk's bytes are.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum DiskSource {
    /// In an image file or block device, locked while the VM runs.
    Image {
        /// The path of the image.
        path: PathBuf,
        /// Its format.
        format: ImageFormat,
    },
    /// In something of the embedder's.
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

    /// A disk whose bytes the embedder keeps.
    pub fn backend(backend: Arc<dyn BlockBackend>) -> Self {
        Self::new(DiskSource::Backend(backend))
    }

    /// Lets the guest only read.
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

    /// Sets how many request queues the guest gets.
    #[must_use]
    pub fn queues(mut self, count: u16) -> Self {
        self.queues = Some(count);
        self
    }

    /// Limits how fast it may be.
    #[must_use]
    pub fn limit(mut self, limit: RateLimit) -> Self {
        self.limit = limit;
        self
    }

    /// Chooses how the host does its input and output.
    #[must_use]
    pub fn engine(mut self, engine: IoEngine) -> Self {
        self.engine = engine;
        self
    }

    /// Lets the guest's data go past the host's page cache (`O_DIRECT`), which leaves that memory to others and makes
    /// the time of a request that of the device. What a guest gives that is not aligned as the host needs it is copied.
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

    /// How messages call the disk.
    pub(crate) fn name(&self) -> String {
        match &self.source {
            DiskSource::Image { path, .. } => path.display().to_string(),
            DiskSource::Backend(_) => "a disk of the embedder's".to_owned(),
        }
    }

    /// Fails if both are of one image, which only readers can share.
    ///
    /// Only the paths are compared: what another path leads to is found out by the lock on the image.
    pub(crate) fn check_beside(&self, other: &Self) -> Result<()> {
        let (DiskSource::Image { path: one, .. }, DiskSource::Image { path: two, .. }) = (&self.source, &other.source)
        else {
            return Ok(());
        };
        if one != two || self.read_only && other.read_only {
            return Ok(());
        }
        Err(invalid(
            format!("disk image {} is in the VM twice", one.display()),
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
            return Err(invalid(format!("disk {} has a bad number of queues", self.name()), "use 1 to 16 queues"));
        }
        if self.direct && matches!(self.source, DiskSource::Backend(_)) {
            return Err(invalid(
                format!("{} cannot be told to be direct", self.name()),
                "leave direct off, and let the backend go past the page cache itself",
            ));
        }
        self.limit.check(&format!("disk {}", self.name()))
    }
}
