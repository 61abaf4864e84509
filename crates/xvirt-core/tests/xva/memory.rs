//! The memory for exporting and importing a large appliance: no more than for a small one.

use std::fs::File;
use std::os::unix::fs::FileExt;

use xvirt_core::config::{Disk, VmConfig};
use xvirt_core::repository::Repository;
use xvirt_core::xva::{self, Export, Import};

use crate::support::*;

const MIB: u64 = 1 << 20;
/// The maximum memory of an export and an import, in bytes.
const MAX: u64 = 64 * MIB;

/// Exports a disk of 20 GiB with data in 320 places, and imports it again.
fn out_and_in(options: &Export) -> u64 {
    let folder = tempfile::tempdir_in(scratch()).unwrap();
    let disk = File::create(folder.path().join("disk.raw")).unwrap();
    disk.set_len(20 << 30).unwrap();
    let contents = pattern(1, 200_000);
    for place in 0..320 {
        disk.write_all_at(&contents, place * 64 * MIB + 4096 * (place % 200)).unwrap();
    }
    drop((disk, contents));
    let config = VmConfig::new("big").disk(Disk::raw(folder.path().join("disk.raw")));
    let repository = Repository::open(folder.path().join("repository")).unwrap();
    let archive = folder.path().join("big.xva");
    let (memory, chunks) = peak_memory(|| {
        let exported = xva::export(&config, File::create(&archive).unwrap(), options, &()).unwrap();
        let imported = xva::import(File::open(&archive).unwrap(), &repository, &Import::default(), &()).unwrap();
        let report = verify(File::open(&archive).unwrap()).unwrap();
        assert!(report.good && exported.size == report.size && imported.vm.config().disks.len() == 1);
        report.decompressed / MIB
    });
    // The last chunk is empty.
    assert_eq!(chunks, 321);
    println!("{} took {} KiB", options.compression, memory >> 10);
    memory
}

#[test]
fn a_big_appliance_takes_no_more_memory_plain() {
    in_own_process("memory::a_big_appliance_takes_no_more_memory_plain", || {
        assert!(out_and_in(&Export::none()) < MAX);
    });
}

#[test]
fn a_big_appliance_takes_no_more_memory_with_gzip() {
    in_own_process("memory::a_big_appliance_takes_no_more_memory_with_gzip", || {
        assert!(out_and_in(&Export::gzip().level(1)) < MAX);
    });
}

#[test]
fn a_big_appliance_takes_no_more_memory_with_zstd() {
    in_own_process("memory::a_big_appliance_takes_no_more_memory_with_zstd", || {
        assert!(out_and_in(&Export::zstd()) < MAX);
    });
}

#[test]
fn memory_that_is_taken_is_seen() {
    in_own_process("memory::memory_that_is_taken_is_seen", || {
        let (memory, _) = peak_memory(|| drop(std::hint::black_box(vec![1_u8; 100 << 20])));
        // The kernel counts pages per CPU, and adds them up only occasionally.
        assert!(memory.abs_diff(100 * MIB) < MIB, "{memory}");
    });
}
