//! The guest that all contenders boot.

use std::path::PathBuf;
use std::str::FromStr;

use clap::Args;
use xvirt_core::config::ByteSize;
use xvirt_core::disk::ImageFormat;

pub(crate) const MEMORY: ByteSize = ByteSize::mib(512);
/// Quiet, because printing to a serial port takes longer than anything else.
pub(crate) const LINUX_COMMAND_LINE: &str = "root=/dev/vda1 ro console=ttyS0 quiet";

#[derive(Clone, Debug, Args)]
pub(crate) struct Guest {
    #[arg(long)]
    pub(crate) kernel: PathBuf,
    #[arg(long)]
    pub(crate) initrd: Option<PathBuf>,
    #[arg(long)]
    pub(crate) append: String,
    /// The root disk, if any, and the measured disks.
    #[arg(long = "disk")]
    pub(crate) disks: Vec<Image>,
    /// Past the page cache.
    #[arg(long)]
    pub(crate) direct: bool,
    /// The tap of its network interface.
    #[arg(long)]
    pub(crate) tap: Option<String>,
}

/// A disk image, written `FORMAT:PATH`.
#[derive(Clone, Debug)]
pub(crate) struct Image {
    pub(crate) format: ImageFormat,
    pub(crate) path: PathBuf,
}

impl Image {
    pub(crate) fn format_name(&self) -> &'static str {
        if self.format == ImageFormat::Raw { "raw" } else { "qcow2" }
    }

    pub(crate) fn argument(&self) -> String {
        format!("{}:{}", self.format_name(), self.path.display())
    }
}

impl FromStr for Image {
    type Err = String;

    fn from_str(text: &str) -> std::result::Result<Self, String> {
        match text.split_once(':') {
            Some(("raw", path)) => Ok(Self { format: ImageFormat::Raw, path: path.into() }),
            Some(("qcow2", path)) => Ok(Self { format: ImageFormat::Qcow2, path: path.into() }),
            _ => Err(format!("'{text}' is not raw:PATH or qcow2:PATH")),
        }
    }
}
