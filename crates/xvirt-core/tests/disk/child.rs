//! Tests that need another process: the test program runs itself again with a task in its environment.

use std::io::{BufRead, BufReader, Lines};
use std::path::Path;
use std::process::{Child, ChildStdout, Stdio};

use xvirt_core::disk::{self, Access, BlockBackend};
use xvirt_testing::process::another;

use crate::support::*;

/// The size of each write of a storm, in bytes.
pub const BLOCK: u64 = 4096;

const ORDER: &str = "XVIRT_TEST_DISK_CHILD";

/// Starts a child with a task for an image, and returns when it reports that it has done its part.
pub fn start(order: &str, image: &Path) -> Child {
    start_talking(order, image).0
}

/// Like [`start`], and returns the rest of its output.
pub fn start_talking(order: &str, image: &Path) -> (Child, Lines<BufReader<ChildStdout>>) {
    let mut child = another("child::obeys")
        .env(ORDER, format!("{order}:{}", text(image)))
        .stdout(Stdio::piped())
        .stdin(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    assert!(lines.any(|line| line.unwrap().contains("ready")), "the child failed");
    (child, lines)
}

/// Kills a child as the kernel does when memory runs out.
pub fn kill(mut child: Child) {
    child.kill().unwrap();
    child.wait().unwrap();
}

/// Writes, discards, zeroes and flushes without end. Every block only ever contains its own pattern, or zeroes.
fn storm(disk: &dyn BlockBackend, seed: u64) {
    let mut random = Random::new(seed * 77 + 1);
    let blocks = disk.capacity() / BLOCK;
    loop {
        let block = random.below_u64(blocks);
        let count = (random.below_u64(20) + 1).min(blocks - block);
        match random.below_u64(40) {
            0 => disk.flush().unwrap(),
            1..=4 => disk.discard(block * BLOCK, random.below_u64(MIB).min(disk.capacity() - block * BLOCK)).unwrap(),
            5 => disk.write_zeroes(block * BLOCK, count * BLOCK, true).unwrap(),
            6 => disk.write_zeroes(block * BLOCK, count * BLOCK, false).unwrap(),
            _ => {
                let bytes = (block..block + count).flat_map(|block| pattern(block + 1, BLOCK as usize));
                write(disk, block * BLOCK, &bytes.collect::<Vec<_>>()).unwrap();
            }
        }
    }
}

#[test]
fn obeys() {
    let Ok(order) = std::env::var(ORDER) else { return };
    let (order, image) = order.split_once(':').unwrap();
    if let Some(order) = order.strip_prefix("streaming") {
        return crate::streaming::storm(order, Path::new(image));
    }
    let access = if order == "read" { Access::ReadOnly } else { Access::ReadWrite };
    let disk = disk::open(image, None, access).unwrap();
    if let Some(step) = order.strip_prefix("write") {
        // Every 40 MiB, so that several tables are allocated, and reused.
        let step = step.parse::<u64>().unwrap();
        for round in 0..3 {
            for place in 0..50 {
                write(&*disk, place * 40 * MIB + round * step, &pattern(place, 200_704)).unwrap();
            }
            if round == 0 {
                disk.flush().unwrap();
            }
            disk.discard((round + 1) * 80 * MIB, 40 * MIB).unwrap();
        }
    }
    println!("ready");
    if let Some(seed) = order.strip_prefix("storm") {
        storm(&*disk, seed.parse().unwrap());
    }
    loop {
        std::thread::park();
    }
}
