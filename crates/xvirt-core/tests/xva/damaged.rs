//! Damaged archives: extracting and importing them yields the original disks, or an error and nothing else. The crate
//! xvirt-xva tests thousands more.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use xvirt_core::config::DiskSource;
use xvirt_core::repository::Repository;
use xvirt_core::xva::{self, Extracted, Import};
use xvirt_testing::archives::Disks;
use xvirt_testing::damage::{Base, Damaged, bases, damage};
use xvirt_testing::random::Random;

use crate::support::*;

/// Texts that an error must contain: where the damage is, or that the file is not an appliance.
const PLACES: [&str; 7] = [
    "archive member ",
    "stream is damaged",
    "stream ends too early",
    "this is not a virtual appliance (XVA)",
    "this is an appliance of version 0.1",
    "the archive describes several VMs",
    // A file system's error for an image that is larger than it supports.
    "File too large",
];

#[test]
fn a_damaged_archive_never_gives_a_wrong_disk() {
    let (mut right, mut refused) = (0, 0);
    let mut failures = Vec::new();
    let mut seeds = 0..;
    for base in bases() {
        for seed in seeds.by_ref().take(base.cases).step_by(15) {
            let damaged = damage(&base, &mut Random::new(seed));
            match judge(&base, &damaged) {
                Ok(good) => *(if good { &mut right } else { &mut refused }) += 1,
                Err(why) => failures.push(format!("{}, seed {seed}, {}: {why}", base.name, damaged.what)),
            }
        }
    }
    assert!(failures.is_empty(), "{} failures:\n{}", failures.len(), failures.join("\n"));
    println!("{right} gave the right disks, {refused} were refused");
    // Without both harmless and detected damage, this would test nothing.
    assert!(right > 10 && refused > 60);
}

/// Whether a damaged archive was read, correctly; the error says what is wrong with the result.
fn judge(base: &Base, damaged: &Damaged) -> Result<bool, String> {
    let folder = tempfile::tempdir_in(scratch()).unwrap();
    let out = folder.path().join("out");
    let expected = damaged.disks.as_ref().unwrap_or(&base.disks);
    let extracted = extract(&damaged.bytes, &out);
    let good = extracted.is_ok();
    match extracted {
        Ok(extracted) if damaged.metadata => are_as_described(&extracted, expected)?,
        Ok(extracted) => are_exactly(&extracted, expected)?,
        Err(error) if out.exists() => return Err(format!("{error}, and leaves files")),
        Err(error) => says_where(&error.to_string())?,
    }
    imports_as_it_extracts(damaged, good, folder.path(), expected)?;
    Ok(good)
}

fn says_where(error: &str) -> Result<(), String> {
    let says = PLACES.iter().any(|place| error.contains(place));
    if says { Ok(()) } else { Err(format!("the error does not say where: {error}")) }
}

/// If the metadata is unchanged, all disks must be as well.
fn are_exactly(extracted: &Extracted, expected: &Disks) -> Result<(), String> {
    let disks = extracted.appliance.disks.iter().map(|disk| disk.id.as_str()).zip(&extracted.disks);
    let memory = memory_id(extracted, expected).zip(extracted.memory_image.as_ref());
    let found: Vec<_> = disks.chain(memory).collect();
    if found.len() != expected.len() {
        return Err(format!("{} disks instead of {}", found.len(), expected.len()));
    }
    found.into_iter().try_for_each(|(id, path)| {
        let right = expected.get(id).is_some_and(|bytes| fs::read(path).unwrap() == *bytes);
        if right { Ok(()) } else { Err(format!("disk {id} is wrong")) }
    })
}

/// The id of the memory image: it is among the disks of an archive, but is no disk of the appliance.
fn memory_id<'a>(extracted: &Extracted, expected: &'a Disks) -> Option<&'a str> {
    let disks: BTreeSet<_> = extracted.appliance.disks.iter().map(|disk| disk.id.as_str()).collect();
    expected.keys().map(String::as_str).find(|id| !disks.contains(id))
}

/// The metadata may change in any way: fewer disks, another order, or a disk that ends one chunk earlier, if only
/// zeroes of the last chunk are lost.
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
    match &extracted.memory_image {
        Some(path) if !expected.values().any(|bytes| fs::read(path).unwrap() == *bytes) => {
            Err("the image of memory is wrong".into())
        }
        _ => Ok(()),
    }
}

/// If extracting fails, an import fails as well and leaves nothing behind; otherwise it yields the same disks. It may
/// need more of the metadata than extracting does.
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
