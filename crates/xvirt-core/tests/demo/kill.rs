//! The contents of disks after a process with a running VM is killed, whatever the guest was doing.

use std::collections::BTreeSet;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use xvirt_core::config::{Disk, IoEngine};
use xvirt_core::demo::{CommandLine, Mode};
use xvirt_core::disk::GuestSlice;
use xvirt_core::disk::{self, Access, BlockBackend, ImageFormat};
use xvirt_core::host::Host;
use xvirt_testing::process::another;

use crate::host;
use crate::support::config;

const ORDER: &str = "XVIRT_TEST_DEMO_KILL";
const SIZE: u64 = 64 << 20;
const BLOCKS: u64 = 32;
const BLOCK: u64 = 4096;
/// The pattern that the base of an overlay holds.
const BASE: u64 = 0x1234_5678_9abc_def0;
/// How often a VM is killed per type of disk, unless the environment overrides it.
const KILLS: u64 = 50;

/// Same as `mix` of the demo guest.
fn mix(x: u64) -> u64 {
    let x = (x ^ x >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let x = (x ^ x >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^ x >> 31
}

/// Same as `word_at` of the demo guest.
fn word_at(pattern: u64, sector: u64, word: u64) -> u64 {
    let (place, step) = (sector.wrapping_mul(0x9e37_79b9_7f4a_7c15), word.wrapping_mul(0xd134_2543_de82_ef95));
    pattern.wrapping_add(place).wrapping_add(step)
}

/// The offset of a block, in the layout of the demo guest.
fn sector_of(block: u64) -> u64 {
    if block + 1 == BLOCKS { (SIZE / BLOCK - 1) * 8 } else { block * (SIZE / BLOCK / BLOCKS) * 8 }
}

/// Writes every block with the pattern of a base.
fn fill(disk: &dyn BlockBackend) {
    for block in 0..BLOCKS {
        let words = (0..BLOCK / 8).flat_map(|word| word_at(BASE, sector_of(block), word).to_le_bytes());
        let mut bytes: Vec<_> = words.collect();
        disk.write(&[GuestSlice::from(bytes.as_mut_slice())], sector_of(block) * 512).unwrap();
    }
}

/// A process with a VM whose guest writes and flushes without end.
struct Victim {
    child: Child,
    lines: BufReader<std::process::ChildStdout>,
}

impl Victim {
    fn start(image: &Path, engine: IoEngine, seed: u64) -> Self {
        let mut child = another("kill::obeys")
            .env(ORDER, format!("{engine}:{seed}:{}", image.display()))
            .stdout(Stdio::piped())
            .stdin(Stdio::piped())
            .spawn()
            .unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap());
        Self { child, lines }
    }

    /// Waits for a first flush, kills the process after a while, and returns the last round whose flush was reported.
    fn kill(mut self, delay: Duration) -> u64 {
        let mut flushed = 0;
        let mut line = String::new();
        let mut next = |lines: &mut BufReader<_>, flushed: &mut u64| {
            line.clear();
            let count = lines.read_line(&mut line).unwrap();
            assert!(!line.contains("error") && !line.contains("FAILED"), "{line}");
            // An incomplete line does not count.
            if let Some((_, round)) = line.trim_end_matches('\r').split_once("blk 0: flushed ")
                && let Some(round) = round.strip_suffix('\n')
            {
                *flushed = round.trim_end().parse().unwrap();
            }
            count
        };
        while flushed == 0 {
            assert_ne!(next(&mut self.lines, &mut flushed), 0, "the VM ended by itself");
        }
        std::thread::sleep(delay);
        self.child.kill().unwrap();
        self.child.wait().unwrap();
        while next(&mut self.lines, &mut flushed) > 0 {}
        flushed
    }
}

/// The patterns that the sectors of a block may contain; 0 stands for zeroes.
type Patterns = BTreeSet<u64>;

/// Lets a guest write `image` until it is killed, and checks that all flushed data is there.
fn round(image: &Path, engine: IoEngine, seed: u64, held: &mut [Patterns]) {
    let delay = Duration::from_micros(mix(seed) % 60_000);
    let flushed = Victim::start(image, engine, seed).kill(delay);
    let mut allowed = held.to_vec();
    // With the pattern by index, as the guest computes it. The guest may have begun rounds that it has not reported.
    let mut pattern = mix(mix(seed));
    for round in 1..=flushed + 200 {
        pattern = mix(pattern);
        for (block, allowed) in (0..).zip(&mut allowed) {
            if mix(pattern.wrapping_add(block)) & 1 == 0 {
                continue;
            }
            if round <= flushed {
                allowed.clear();
            }
            allowed.insert(pattern);
        }
    }
    // Opening repairs incomplete updates, as the next start of the VM would.
    let disk = disk::open(image, Some(ImageFormat::Qcow2), Access::ReadWrite).unwrap();
    for ((block, allowed), held) in (0..).zip(&allowed).zip(held) {
        held.clear();
        let mut bytes = vec![0; BLOCK as usize];
        disk.read(&[GuestSlice::from(bytes.as_mut_slice())], sector_of(block) * 512).unwrap();
        let words: Vec<_> = bytes.chunks_exact(8).map(|word| u64::from_le_bytes(word.try_into().unwrap())).collect();
        for sector in 0..BLOCK / 512 {
            let first = sector * 64;
            let pattern = words[first as usize].wrapping_sub(word_at(0, sector_of(block), first));
            let zero = words[first as usize] == 0;
            let found = if zero { 0 } else { pattern };
            assert!(
                allowed.contains(&found),
                "seed {seed}: after {flushed} flushed rounds block {block} holds {found:#x} in sector {sector}"
            );
            held.insert(found);
            for word in first..first + 64 {
                let expected = if zero { 0 } else { word_at(pattern, sector_of(block), word) };
                assert_eq!(words[word as usize], expected, "seed {seed}: block {block} is torn inside sector {sector}");
            }
        }
    }
    drop(disk);
    let check = Command::new("qemu-img").args(["check", "-q", "-f", "qcow2"]).arg(image).status().unwrap();
    assert!(check.success(), "seed {seed}: qemu-img check says {check}");
}

fn storm(engine: IoEngine, overlay: bool) {
    host!();
    if Command::new("qemu-img").arg("--version").output().is_err() {
        println!("SKIPPED {}: qemu-img is not installed", std::thread::current().name().unwrap_or("?"));
        return;
    }
    let folder = tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).unwrap();
    let (base, image) = (folder.path().join("base.qcow2"), folder.path().join("top.qcow2"));
    let kills = std::env::var("XVIRT_TEST_KILLS").map_or(KILLS, |kills| kills.parse().unwrap());
    let mut held = Vec::new();
    for kill in 0..kills {
        // Occasionally on a new image, so that most writes have to allocate.
        if kill % 5 == 0 {
            let _ = (std::fs::remove_file(&base), std::fs::remove_file(&image));
            disk::create(if overlay { &base } else { &image }, ImageFormat::Qcow2, SIZE).unwrap();
            if overlay {
                fill(&*disk::open(&base, Some(ImageFormat::Qcow2), Access::ReadWrite).unwrap());
                disk::overlay(&base, Some(ImageFormat::Qcow2), &image).unwrap();
            }
            held = vec![Patterns::from([if overlay { BASE } else { 0 }]); BLOCKS as usize];
        }
        round(&image, engine, 1 + kill, &mut held);
    }
}

#[test]
fn a_qcow2_disk_keeps_what_was_flushed_with_io_uring() {
    storm(IoEngine::IoUring, false);
}

#[test]
fn a_qcow2_disk_keeps_what_was_flushed_with_threads() {
    storm(IoEngine::Threads, false);
}

#[test]
fn an_overlay_keeps_what_was_flushed_with_io_uring() {
    storm(IoEngine::IoUring, true);
}

#[test]
fn an_overlay_keeps_what_was_flushed_with_threads() {
    storm(IoEngine::Threads, true);
}

/// The process that is killed.
#[test]
fn obeys() {
    let Ok(order) = std::env::var(ORDER) else { return };
    let mut parts = order.splitn(3, ':');
    let engine = match parts.next() {
        Some("io_uring") => IoEngine::Auto,
        _ => IoEngine::Threads,
    };
    let (seed, image) = (parts.next().unwrap().parse().unwrap(), parts.next().unwrap());
    let line = CommandLine::new([Mode::BlkLoad]).blocks(BLOCKS).seed(seed).pattern_by_index().flushing();
    let vm = config(&line).disk(Disk::qcow2(image).engine(engine)).build(&Host::probe().unwrap()).unwrap();
    vm.start().unwrap();
    let mut output = vm.console().reader();
    loop {
        let text = output.wait_for("\n", crate::support::PATIENCE).unwrap();
        std::io::stdout().write_all(text.as_bytes()).unwrap();
        std::io::stdout().flush().unwrap();
    }
}
