//! Compresses pieces of an archive independently, so that each can be decompressed alone.

use std::io::Write;

use bytes::Bytes;
use flate2::write::GzEncoder;
use zstd::bulk::Compressor;

use crate::chunk::MEMBER;
use crate::codec::Compression;
use crate::options::WriteOptions;
use crate::pool::Pool;
use crate::{Error, Result};

/// A compressed piece of an archive.
pub(super) struct Encoded {
    pub(super) bytes: Bytes,
    /// Its uncompressed size.
    pub(super) plain: usize,
}

/// The compressor of one thread.
pub(super) enum Encoder {
    None,
    Gzip(flate2::Compression),
    Zstd { compressor: std::io::Result<Compressor<'static>>, pool: Pool },
}

impl Encoder {
    pub(super) fn new(options: &WriteOptions) -> Self {
        match options.compression {
            Compression::None => Self::None,
            Compression::Gzip => Self::Gzip(flate2::Compression::new(options.level.cast_unsigned())),
            Compression::Zstd => Self::Zstd {
                compressor: compressor(options.level),
                pool: Pool::new(zstd::zstd_safe::compress_bound(MEMBER)),
            },
        }
    }

    pub(super) fn encode(&mut self, bytes: Bytes) -> Result<Encoded> {
        let plain = bytes.len();
        let bytes = match self {
            Self::None => bytes,
            Self::Gzip(level) => {
                let mut member = GzEncoder::new(Vec::with_capacity(plain / 2), *level);
                member.write_all(&bytes).and_then(|()| member.finish()).map_err(failed)?.into()
            }
            Self::Zstd { compressor: Ok(compressor), .. } if plain > MEMBER => {
                compressor.compress(&bytes).map_err(failed)?.into()
            }
            Self::Zstd { compressor: Ok(compressor), pool } => {
                let mut buffer = pool.take();
                let length = compressor.compress_to_buffer(&bytes, &mut buffer[..]).map_err(failed)?;
                pool.share(buffer, length)
            }
            Self::Zstd { compressor: Err(error), .. } => return Err(failed(std::io::Error::from(error.kind()))),
        };
        Ok(Encoded { bytes, plain })
    }
}

/// Frames get checksums, so that `zstd -t` can verify them.
fn compressor(level: i32) -> std::io::Result<Compressor<'static>> {
    let mut compressor = Compressor::new(level)?;
    compressor.include_checksum(true)?;
    Ok(compressor)
}

fn failed(error: std::io::Error) -> Error {
    Error::io("cannot compress the archive", error)
}
