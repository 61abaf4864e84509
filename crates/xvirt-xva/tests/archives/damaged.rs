//! Thousands of damaged archives: each gives the disks it was made of, or an error that says where the damage is.
//!
//! What the format itself cannot tell is no failure: an archive without a chunk in the middle of a disk, and without
//! its checksum, is one of a disk with zeroes there; and nothing protects `ova.xml`.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Mutex;

use xvirt_testing::archives::Disks;
use xvirt_testing::damage::{Base, Damaged, bases, damage};
use xvirt_testing::process::{in_own_process, peak_memory};
use xvirt_testing::random::Random;
use xvirt_xva::{Appliance, DiskSink, Error, ExpectedDisk, ReadOptions, Result, read};

use crate::verify;

/// Reading an archive takes no more memory than this, in bytes, whatever is in it. Metadata made of nothing but values
/// takes the most: its 16 MiB, and the values.
const MAX_MEMORY: u64 = 64 << 20;

/// What an error must say: where the damage is, or that it is no appliance at all.
const PLACES: [&str; 6] = [
    "archive member ",
    "stream is damaged",
    "stream ends too early",
    "this is not a virtual appliance (XVA)",
    "this is an appliance of version 0.1",
    "the archive describes several VMs",
];

#[test]
fn a_damaged_archive_never_gives_a_wrong_disk() {
    in_own_process("damaged::a_damaged_archive_never_gives_a_wrong_disk", || {
        let (mut right, mut refused, mut highest) = (0, 0, 0);
        let mut failures = Vec::new();
        let mut seeds = 0..;
        for base in bases() {
            for seed in seeds.by_ref().take(base.cases) {
                let damaged = damage(&base, &mut Random::new(seed));
                let judge = || peak_memory(|| judge(&base, &damaged));
                let judged = catch_unwind(AssertUnwindSafe(judge)).map_err(|_| "it panics".to_owned());
                let judged = judged.and_then(|(memory, judged)| match judged {
                    Ok(_) if memory > MAX_MEMORY => Err(format!("it takes {memory} bytes of memory")),
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
fn judge(base: &Base, damaged: &Damaged) -> Result<bool, String> {
    let expected = damaged.disks.as_ref().unwrap_or(&base.disks);
    let compared = Compared { expected, disks: Mutex::default() };
    let outcome = read(&damaged.bytes[..], &ReadOptions::default(), &compared, &());
    if let Err(error) = &outcome {
        says_where(&error.to_string())?;
    }
    match verify(&damaged.bytes) {
        Ok(report) => {
            let serious = report.problems.iter().filter(|problem| problem.serious);
            serious.into_iter().try_for_each(|problem| says_where(&problem.what))?;
            if report.good != outcome.is_ok() {
                return Err(format!("verify finds {:?}, and reading {outcome:?}", report.problems));
            }
        }
        Err(error) => {
            says_where(&error.to_string())?;
            if outcome.is_ok() {
                return Err(format!("it is read, and verify says: {error}"));
            }
        }
    }
    if outcome.is_ok() {
        compared.check(damaged.metadata)?;
    }
    Ok(outcome.is_ok())
}

fn says_where(error: &str) -> Result<(), String> {
    let says = PLACES.iter().any(|place| error.contains(place));
    if says { Ok(()) } else { Err(format!("the error does not say where: {error}")) }
}

/// Compares what is read with what should be, and keeps only where it was.
struct Compared<'a> {
    expected: &'a Disks,
    disks: Mutex<Vec<Disk>>,
}

struct Disk {
    expected: ExpectedDisk,
    /// Where chunks came: their offsets and ends.
    ranges: Vec<(usize, usize)>,
    wrong: bool,
}

impl DiskSink for Compared<'_> {
    type Error = Error;

    fn begin(&self, _: &Appliance, disks: &[ExpectedDisk]) -> Result<()> {
        let disk = |expected: &ExpectedDisk| Disk { expected: expected.clone(), ranges: Vec::new(), wrong: false };
        *self.disks.lock().unwrap() = disks.iter().map(disk).collect();
        Ok(())
    }

    fn write(&self, disk: usize, offset: u64, pieces: &[&[u8]]) -> Result<()> {
        let (bytes, start) = (pieces.concat(), offset as usize);
        let mut disks = self.disks.lock().unwrap();
        let disk = &mut disks[disk];
        let original = self.expected.get(&disk.expected.id);
        disk.wrong |= original.and_then(|original| original.get(start..start + bytes.len())) != Some(&bytes);
        disk.ranges.push((start, start + bytes.len()));
        Ok(())
    }
}

impl Compared<'_> {
    /// Whether all disks came by, and as they should be. Metadata that was changed may say anything: to have fewer
    /// disks, or to end one earlier, where only zeroes of its last chunk are lost.
    fn check(&self, metadata: bool) -> Result<(), String> {
        let mut disks = self.disks.lock().unwrap();
        for disk in disks.iter_mut().filter(|disk| disk.expected.required || !disk.ranges.is_empty()) {
            let ExpectedDisk { id, size, .. } = &disk.expected;
            let original = self.expected.get(id).ok_or_else(|| format!("there was no disk {id}"))?;
            let cut = original.get(*size as usize..).filter(|cut| metadata && cut.len() < 1 << 20 || cut.is_empty());
            let cut = cut.ok_or_else(|| format!("disk {id} has {size} bytes"))?;
            disk.ranges.sort_unstable();
            let mut end = 0;
            // A range that ends where the disk does closes the last gap.
            for (start, next) in disk.ranges.iter().copied().chain([(*size as usize, *size as usize)]) {
                disk.wrong |= original.get(end..start).is_none_or(|gap| !is_zero(gap));
                end = next;
            }
            if disk.wrong || !is_zero(cut) {
                return Err(format!("disk {id} is wrong"));
            }
        }
        let found = disks.iter().filter(|disk| disk.expected.required).count();
        if !metadata && found != self.expected.len() {
            return Err(format!("{found} disks instead of {}", self.expected.len()));
        }
        Ok(())
    }
}

fn is_zero(bytes: &[u8]) -> bool {
    bytes.iter().all(|byte| *byte == 0)
}
