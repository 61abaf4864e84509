//! The demo guest with a part of its memory in use, for xvirt and its peers.

use std::path::{Path, PathBuf};

use xvirt_core::config::{Boot, ByteSize, VmConfig};
use xvirt_core::demo::{self, CommandLine};

use crate::Result;

/// What a guest has printed once its pages are in use.
pub const IN_USE: &str = "pass 1\r";
/// The guest's own memory, which is not in use.
pub const OWN: u64 = 16 << 20;
const PAGE: u64 = 4096;

/// A guest with one vCPU and without devices, that all VMMs can boot.
#[derive(Debug)]
pub struct Guest {
    folder: PathBuf,
    /// The kernel.
    pub kernel: PathBuf,
    /// Its command line.
    pub command_line: String,
    /// The size of its memory.
    pub memory: ByteSize,
    /// How much of it is in use.
    pub used: ByteSize,
    /// Whether this program has to fill it once the guest runs, because that takes the guest a minute for 4 GiB where KVM
    /// emulates it.
    pub filled: bool,
}

impl Guest {
    /// A guest that uses `pages` pages of its memory, and has its files in `folder`. `line` has `Mode::Counter`.
    ///
    /// # Errors
    /// The kernel cannot be written there.
    pub fn new(memory: ByteSize, pages: u64, line: CommandLine, folder: &Path) -> Result<Self> {
        let kernel = folder.join("demo.elf");
        std::fs::write(&kernel, demo::kernel())?;
        let command_line = line.pages(pages).every(1).to_string();
        let used = ByteSize::new(pages * PAGE);
        Ok(Self { folder: folder.to_owned(), kernel, command_line, memory, used, filled: false })
    }

    /// Lets this program fill its memory.
    pub fn fill(&mut self) {
        self.filled = true;
        self.used = ByteSize::new(Self::pages(self.memory) * PAGE);
    }

    /// The pages that `Mode::Counter` can use of `memory`.
    pub fn pages(memory: ByteSize) -> u64 {
        memory.bytes().saturating_sub(OWN) / PAGE
    }

    /// Where all files of a measurement are.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// The size of its memory in MiB.
    pub fn mebibytes(&self) -> u64 {
        self.memory.bytes() >> 20
    }

    /// The VM for xvirt.
    pub fn config(&self, name: &str) -> VmConfig {
        let boot = Boot::kernel(self.kernel.clone()).command_line(&self.command_line);
        VmConfig::new(name).memory(self.memory).boot(boot)
    }
}
