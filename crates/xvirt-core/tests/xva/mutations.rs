//! Thousands of damaged archives: each gives the disks it was made of, or an error that says where the damage is.
//!
//! What the format itself cannot tell is no failure: an archive without a chunk in the middle of a disk, and without its
//! checksum, is one of a disk with zeroes there; and nothing protects `ova.xml`.

mod bases;
mod damage;
mod random;

use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;

use xvirt_core::config::DiskSource;
use xvirt_core::repository::Repository;
use xvirt_core::xva::{self, Extracted, Import};

use crate::support::*;
use bases::{Base, Disks, MEMORY};
use damage::Damaged;
use random::Random;

/// Reading an archive takes no more memory than this, in bytes, whatever is in it. Metadata made of nothing but values
/// takes the most: its 16 MiB, and the values.
const MOST_MEMORY: u64 = 64 << 20;

/// What an error must say: where the damage is, or that it is no appliance at all.
const PLACES: [&str; 7] = [
    "archive member ",
    "stream is damaged",
    "stream ends too early",
    "this is not a virtual appliance (XVA)",
    "this is an appliance of version 0.1",
    "the archive describes several VMs",
    // What a file system says of an image that is bigger than it can hold.
    "File too large",
];

#[test]
fn a_damaged_archive_never_gives_a_wrong_disk() {
    in_own_process("mutations::a_damaged_archive_never_gives_a_wrong_disk", || {
        let (mut right, mut refused, mut highest) = (0, 0, 0);
        let mut failures = Vec::new();
        let mut seeds = 0..;
        for base in bases::all() {
            for seed in seeds.by_ref().take(base.cases) {
                let damaged = damage::damage(&base, &mut Random::new(seed));
                let import = seed % 20 == 0;
                let judge = || peak_memory(|| judge(&base, &damaged, import));
                let judged = catch_unwind(AssertUnwindSafe(judge)).map_err(|_| "it panics".to_owned());
                let judged = judged.and_then(|(memory, judged)| match judged {
                    Ok(_) if memory > MOST_MEMORY => Err(format!("it takes {memory} bytes of memory")),
                    judged => judged.map(|good| (memory, good)),
                });
                match judged {
                    Ok((memory, good)) => {
                        highest = highest.max(memory);
                        *(if good { &mut right } else { &mut refused }) += 1;
                    }
                    Err(why) => failures.push(format!("{}, seed {seed}, {}: {why}", base.name, damaged.what)),
                }
            }
        }
        assert!(failures.is_empty(), "{} failures:\n{}", failures.len(), failures.join("\n"));
        println!("{right} gave the right disks, {refused} were refused; at most {} KiB of memory", highest >> 10);
        // Damage that does none, or that always shows at once, would test nothing.
        assert!(right > 100 && refused > 1000);
    });
}

/// Whether a damaged archive was read, and well; the error says what is wrong with how it was read or refused.
fn judge(base: &Base, damaged: &Damaged, import: bool) -> Result<bool, String> {
    let folder = tempfile::tempdir_in(scratch()).unwrap();
    let out = folder.path().join("out");
    let extracted = extract(&damaged.bytes, &out);
    if let Err(error) = &extracted {
        says_where(&error.to_string())?;
        if out.exists() {
            return Err(format!("{error}, and leaves files"));
        }
    }
    match verify(&damaged.bytes[..]) {
        Ok(report) => {
            report
                .problems
                .iter()
                .filter(|problem| problem.serious)
                .try_for_each(|problem| says_where(&problem.what))?;
            if report.good != extracted.is_ok() {
                return Err(format!("verify finds {:?}, and extract {extracted:?}", report.problems));
            }
        }
        Err(error) => {
            says_where(&error.to_string())?;
            if extracted.is_ok() {
                return Err(format!("it is extracted, and verify says: {error}"));
            }
        }
    }
    let good = extracted.is_ok();
    if let Ok(extracted) = extracted {
        let expected = damaged.disks.as_ref().unwrap_or(&base.disks);
        if damaged.metadata { are_as_described(&extracted, expected)? } else { are_exactly(&extracted, expected)? }
    }
    if import {
        imports_as_it_extracts(damaged, good, folder.path(), damaged.disks.as_ref().unwrap_or(&base.disks))?;
    }
    Ok(good)
}

fn says_where(error: &str) -> Result<(), String> {
    let says = PLACES.iter().any(|place| error.contains(place));
    if says { Ok(()) } else { Err(format!("the error does not say where: {error}")) }
}

/// The metadata is as it was: so must all disks be.
fn are_exactly(extracted: &Extracted, expected: &Disks) -> Result<(), String> {
    let memory = extracted.memory_image.iter().map(|path| (MEMORY, path));
    let disks = extracted.appliance.disks.iter().map(|disk| disk.id.as_str()).zip(&extracted.disks);
    let found: Vec<_> = disks.chain(memory).collect();
    if found.len() != expected.len() {
        return Err(format!("{} disks instead of {}", found.len(), expected.len()));
    }
    found.into_iter().try_for_each(|(id, path)| {
        let right = expected.get(id).is_some_and(|bytes| fs::read(path).unwrap() == *bytes);
        if right { Ok(()) } else { Err(format!("disk {id} is wrong")) }
    })
}

/// The metadata may say anything: to have fewer disks, in another order, or to end one earlier, where only zeroes of its
/// last chunk are lost.
fn are_as_described(extracted: &Extracted, expected: &Disks) -> Result<(), String> {
    for (disk, path) in extracted.appliance.disks.iter().zip(&extracted.disks) {
        let original = expected.get(&disk.id).ok_or_else(|| format!("there was no disk {}", disk.id))?;
        let bytes = fs::read(path).map_err(|error| format!("disk {}: {error}", disk.id))?;
        let (same, rest) = original.split_at(bytes.len().min(original.len()));
        let cut = rest.len() < 1 << 20 && rest.iter().all(|byte| *byte == 0);
        let size = disk.size.next_multiple_of(512).max(512);
        if bytes != same || !cut || bytes.len() as u64 != size {
            return Err(format!("disk {} of {size} bytes is wrong", disk.id));
        }
    }
    match (&extracted.memory_image, expected.get(MEMORY)) {
        (Some(path), Some(memory)) if fs::read(path).unwrap() != *memory => Err("the image of memory is wrong".into()),
        _ => Ok(()),
    }
}

/// An import fails where extracting does, and then leaves nothing; else it gives the same disks. It may want more of the
/// metadata than extracting does.
fn imports_as_it_extracts(damaged: &Damaged, good: bool, folder: &Path, expected: &Disks) -> Result<(), String> {
    let repository = Repository::open(folder.join("repository")).unwrap();
    let imported = match xva::import(&damaged.bytes[..], &repository, &Import::default(), &()) {
        Ok(imported) if good => imported,
        Ok(_) => return Err("it is imported, but not extracted".into()),
        Err(_) if !repository.vms().unwrap().is_empty() => return Err("a failed import leaves a VM".into()),
        Err(error) if good && !damaged.metadata => return Err(format!("it is extracted, but not imported: {error}")),
        Err(error) => return if good { Ok(()) } else { says_where(&error.to_string()) },
    };
    imported.vm.config().disks.iter().try_for_each(|disk| {
        let DiskSource::Image { path, .. } = &disk.source else { return Err("a disk is no image".to_owned()) };
        let bytes = fs::read(path).unwrap();
        let known = expected.values().any(|disk| disk.starts_with(&bytes));
        if known { Ok(()) } else { Err(format!("the imported disk {} is wrong", path.display())) }
    })
}
