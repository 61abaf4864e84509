//! The state of a streaming disk after a process that writes to it and fetches it is killed.

use std::collections::BTreeMap;

use xvirt_core::disk::Access;

use super::*;
use crate::child;

const SIZE: u64 = 4 * MIB;
const SECTOR: u64 = 512;
/// A child flushes after this many changes, and reports it.
const FLUSH_EVERY: u64 = 8;

/// The changes of a child in order: the offset, and the bytes, which are equal within a sector.
fn changes(seed: u64) -> impl Iterator<Item = (u64, Vec<u8>)> {
    let mut random = Random::new(seed * 77 + 1);
    (1u64..).map(move |number| {
        let sectors = SIZE / SECTOR;
        // Parts of blocks, and several blocks.
        let (start, most) = (random.below_u64(sectors), if random.below_u64(3) == 0 { 400 } else { 20 });
        let count = (random.below_u64(most) + 1).min(sectors - start);
        let word = if random.below_u64(6) == 0 { 0 } else { seed << 32 | number };
        (start * SECTOR, word.to_le_bytes().repeat((count * SECTOR / 8) as usize))
    })
}

fn disk(folder: &Path, format: ImageFormat) -> StreamingDisk {
    let source = open_as(&folder.join("source"), ImageFormat::Raw, Access::ReadOnly);
    StreamingDisk::open(source, open_as(&folder.join("target"), format, Access::ReadWrite), folder.join("map")).unwrap()
}

/// The child's part: `order` is the seed and the format.
pub fn storm(order: &str, folder: &Path) {
    let (seed, format) = order.split_once('-').unwrap();
    let (seed, format) = (seed.parse().unwrap(), if format == "raw" { ImageFormat::Raw } else { ImageFormat::Qcow2 });
    let disk = disk(folder, format);
    println!("ready");
    std::thread::scope(|scope| {
        // Not always, so that some disks stay incomplete for long.
        if seed % 3 == 0 {
            scope.spawn(|| disk.complete(&()).unwrap());
        }
        let mut random = Random::new(seed + 1);
        for (number, (offset, bytes)) in (1..).zip(changes(seed)) {
            if bytes[0] == 0 && bytes[1] == 0 {
                disk.write_zeroes(offset, bytes.len() as u64, number % 2 == 0).unwrap();
            } else {
                write(&disk, offset, &bytes).unwrap();
            }
            read(&disk, random.below_u64(SIZE / SECTOR) * SECTOR, SECTOR as usize).unwrap();
            if number % FLUSH_EVERY == 0 {
                disk.flush().unwrap();
                println!("flushed {number}");
            }
        }
    });
}

/// The allowed contents of every sector after a kill: that of the last known flush, or a later one.
fn possible(before: &[u8], seed: u64, flushed: u64) -> BTreeMap<u64, Vec<Vec<u8>>> {
    let mut later: BTreeMap<u64, Vec<Vec<u8>>> = BTreeMap::new();
    let known = |sector: u64| before[(sector * SECTOR) as usize..][..SECTOR as usize].to_vec();
    // The child cannot be further than the next flush before it reports that.
    for (number, (offset, bytes)) in (1..).zip(changes(seed)).take((flushed + FLUSH_EVERY) as usize) {
        for (sector, bytes) in (offset / SECTOR..).zip(bytes.chunks(SECTOR as usize)) {
            let values = later.entry(sector).or_insert_with(|| vec![known(sector)]);
            if number <= flushed {
                values.clear();
            }
            values.push(bytes.to_vec());
        }
    }
    later
}

/// Whether every byte is one of the allowed ones. A kill can interrupt a write anywhere, even within a sector, because
/// the kernel may be waiting for a page of the buffer.
fn either(found: &[u8], values: &[Vec<u8>]) -> bool {
    found.iter().enumerate().all(|(at, byte)| values.iter().any(|value| value[at] == *byte))
}

/// Ten kills of one disk, each followed by a check of every sector. Returns the number of flushes.
fn kills(folder: &Path, seed: u64, format: ImageFormat) -> u64 {
    let mut state = pattern(seed, (SIZE / 2) as usize);
    state.extend(vec![0; (SIZE / 4) as usize]);
    state.extend(pattern(seed + 1, (SIZE / 4) as usize));
    std::fs::write(folder.join("source"), &state).unwrap();
    disk::create(folder.join("target"), format, SIZE).unwrap();
    let source = open_as(&folder.join("source"), ImageFormat::Raw, Access::ReadOnly);
    let target = open_as(&folder.join("target"), format, Access::ReadWrite);
    drop(StreamingDisk::create(source, target, folder.join("map"), BLOCK).unwrap());
    let mut flushes = 0;
    for seed in seed * 10..seed * 10 + 10 {
        let (writer, lines) = child::start_talking(&format!("streaming{seed}-{format}"), folder);
        std::thread::sleep(std::time::Duration::from_micros(Random::new(seed + 1).below_u64(1000) * 40));
        child::kill(writer);
        let told = lines.map_while(Result::ok).filter_map(|line| line.strip_prefix("flushed ")?.parse::<u64>().ok());
        let flushed = told.last().unwrap_or(0);
        flushes += flushed / FLUSH_EVERY;
        let found = all(&disk(folder, format));
        let possible = possible(&state, seed, flushed);
        for sector in 0..SIZE / SECTOR {
            let range = (sector * SECTOR) as usize..((sector + 1) * SECTOR) as usize;
            let right = match possible.get(&sector) {
                Some(values) => either(&found[range], values),
                None => found[range.clone()] == state[range],
            };
            assert!(right, "{format}, seed {seed}, sector {sector}, {flushed} changes flushed");
        }
        state = found;
    }
    flushes
}

#[test]
fn what_was_flushed_survives_a_kill_at_any_moment() {
    let mut flushes = 0;
    for (seed, format) in (1..=12).zip([ImageFormat::Raw, ImageFormat::Qcow2].into_iter().cycle()) {
        let folder = tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).unwrap();
        flushes += kills(folder.path(), seed, format);
    }
    assert!(flushes > 100, "the children were killed too early to mean anything: {flushes} flushes");
}
