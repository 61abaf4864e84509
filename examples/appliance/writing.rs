//! The options of commands that write an archive.

use clap::{Args, ValueEnum};
use xvirt_core::xva::{Checksum, Compression, Export};

/// The options for writing an archive.
#[derive(Debug, Args)]
pub struct Writing {
    /// The compression
    #[arg(long, value_enum, default_value_t = Compress::Zstd)]
    compress: Compress,
    /// The compression level: 1 to 9 for gzip, 1 to 19 for zstd
    #[arg(long, value_name = "N")]
    level: Option<i32>,
    /// The checksums; hosts before version 8.1 need sha1
    #[arg(long, value_enum, default_value_t = Sum::Xxhash)]
    checksum: Sum,
    /// Replace an existing archive
    #[arg(long)]
    pub force: bool,
}

impl Writing {
    pub fn export(&self) -> Export {
        let export = Export::with(match self.compress {
            Compress::None => Compression::None,
            Compress::Gzip => Compression::Gzip,
            Compress::Zstd => Compression::Zstd,
        });
        let export = export.checksum(match self.checksum {
            Sum::Xxhash => Checksum::Xxhash,
            Sum::Sha1 => Checksum::Sha1,
        });
        self.level.map_or(export, |level| export.level(level))
    }
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Compress {
    None,
    Gzip,
    Zstd,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Sum {
    Xxhash,
    Sha1,
}
