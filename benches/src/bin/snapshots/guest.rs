//! The guest that is saved: the demo guest, with most of its memory in use.

use std::path::{Path, PathBuf};

use xvirt_benches::Result;
use xvirt_core::config::{Boot, ByteSize, VmConfig};
use xvirt_core::demo::{self, CommandLine, Mode};

/// What the guest has printed once its memory is in use.
pub(crate) const READY: &str = "pass 1\r";
/// Memory that the guest has for itself.
const FREE: u64 = 16 << 20;
const PAGE: u64 = 4096;

pub(crate) struct Guest {
    folder: PathBuf,
    pub(crate) kernel: PathBuf,
    pub(crate) command_line: String,
    memory: ByteSize,
}

impl Guest {
    pub(crate) fn new(memory: ByteSize, folder: &Path) -> Result<Self> {
        let kernel = folder.join("demo.elf");
        std::fs::write(&kernel, demo::kernel())?;
        let pages = memory.bytes().saturating_sub(FREE) / PAGE;
        let command_line = CommandLine::new([Mode::Counter]).pages(pages).every(1).to_string();
        Ok(Self { folder: folder.to_owned(), kernel, command_line, memory })
    }

    /// Where all files of a measurement are.
    pub(crate) fn folder(&self) -> &Path {
        &self.folder
    }

    pub(crate) fn mebibytes(&self) -> u64 {
        self.memory.bytes() >> 20
    }

    pub(crate) fn config(&self) -> VmConfig {
        let boot = Boot::kernel(self.kernel.clone()).command_line(&self.command_line);
        VmConfig::new("snapshots").memory(self.memory).boot(boot)
    }
}
