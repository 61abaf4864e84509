//! Disks whose data is still elsewhere.

mod crash;
mod fetching;
mod maps;
mod source;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use xvirt_core::disk::{self, BlockBackend, ImageFormat, StreamingDisk};

use crate::support::*;
pub use crash::storm;
use source::Source;

const BLOCK: u64 = 64 << 10;

/// A source, an empty target, and the path of the map.
struct Parts {
    source: Arc<Source>,
    target: Arc<dyn BlockBackend>,
    map: PathBuf,
}

impl Parts {
    fn new(folder: &Path, bytes: Vec<u8>) -> Self {
        let target = folder.join("target");
        disk::create(&target, ImageFormat::Raw, bytes.len() as u64).unwrap();
        Self { source: Source::new(bytes), target: open(&target), map: folder.join("map") }
    }

    fn create(&self) -> StreamingDisk {
        StreamingDisk::create(Arc::clone(&self.source) as _, Arc::clone(&self.target), &self.map, BLOCK).unwrap()
    }

    fn reopen(&self) -> xvirt_core::Result<StreamingDisk> {
        StreamingDisk::open(Arc::clone(&self.source) as _, Arc::clone(&self.target), &self.map)
    }
}

/// Blocks filled with their number, counted from 1; the ones listed contain only zeroes.
fn numbered(blocks: u8, holes: &[u8]) -> Vec<u8> {
    let fill = |block| if holes.contains(&block) { 0 } else { block + 1 };
    (0..blocks).flat_map(|block| vec![fill(block); BLOCK as usize]).collect()
}
