//! The options of whatever reads an archive.

use clap::Args;
use xvirt_core::config::ByteSize;
use xvirt_core::xva::ReadOptions;

/// How an archive is read.
#[derive(Debug, Args)]
pub struct Reading {
    /// How much memory an archive compressed with zstd --long may take; 2GiB is the most there is
    #[arg(long, value_name = "SIZE", default_value = "128MiB")]
    max_window: ByteSize,
}

impl Reading {
    pub fn options(&self) -> ReadOptions {
        ReadOptions::default().max_window(self.max_window)
    }
}
