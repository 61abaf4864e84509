//! The options of commands that read an archive.

use clap::Args;
use xvirt_core::config::ByteSize;
use xvirt_core::xva::ReadOptions;

/// The options for reading an archive.
#[derive(Debug, Args)]
pub struct Reading {
    /// The most memory for the window of an archive compressed with zstd --long; at most 2GiB
    #[arg(long, value_name = "SIZE", default_value = "128MiB")]
    max_window: ByteSize,
}

impl Reading {
    pub fn options(&self) -> ReadOptions {
        ReadOptions::default().max_window(self.max_window)
    }
}
