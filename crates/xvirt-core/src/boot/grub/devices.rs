//! The commands `search` and `probe`, and the choice of Flatcar's `gptprio.next`.

use super::super::partition::{Gpt, Partition, Scheme};
use super::super::volume::DiskPath;
use super::device;
use super::interpreter::{FILE_STEPS, Interpreter};
use super::options::{self, Known, Parsed, Takes};

const SEARCH: [Known; 13] = [
    ('f', "file", Takes::Nothing),
    ('l', "label", Takes::Nothing),
    (' ', "fs-label", Takes::Nothing),
    ('u', "fs-uuid", Takes::Nothing),
    // Of Flatcar.
    ('L', "part-label", Takes::Nothing),
    ('U', "part-uuid", Takes::Nothing),
    (' ', "disk-uuid", Takes::Nothing),
    ('s', "set", Takes::MaybeValue),
    ('n', "no-floppy", Takes::Nothing),
    ('h', "hint", Takes::Value),
    (' ', "hint-bios", Takes::Value),
    (' ', "hint-efi", Takes::Value),
    (' ', "hint-baremetal", Takes::Value),
];

const PROBE: [Known; 7] = [
    ('s', "set", Takes::Value),
    ('d', "driver", Takes::Nothing),
    ('p', "partmap", Takes::Nothing),
    ('f', "fs", Takes::Nothing),
    ('u', "fs-uuid", Takes::Nothing),
    ('l', "label", Takes::Nothing),
    (' ', "part-uuid", Takes::Nothing),
];

/// The most searches whose results are remembered, and the longest of what they search for.
const MAX_SEARCHES: usize = 256;
const MAX_SEARCHED: usize = 256;

/// The type of the partitions that Flatcar chooses from.
const FLATCAR_USR: &str = "5dfbf5f4-2848-4bac-aa5e-0d9a20b745a6";

/// What identifies a partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum By {
    Uuid,
    Label,
    File,
    PartitionName,
    PartitionUuid,
}

impl Interpreter<'_, '_> {
    /// Searches for a partition and sets a variable (default `root`) to its name.
    pub(super) fn search(&mut self, arguments: Vec<String>) {
        let options = options::parse(arguments, &SEARCH);
        let by = match () {
            () if options.has("label") || options.has("fs-label") => By::Label,
            () if options.has("fs-uuid") => By::Uuid,
            () if options.has("file") => By::File,
            () if options.has("part-label") => By::PartitionName,
            () if options.has("part-uuid") => By::PartitionUuid,
            () if options.has("disk-uuid") => return self.search_disk(&options),
            () => return self.success = false,
        };
        let variable = options.has("set").then(|| options.value("set").unwrap_or("root"));
        let (wanted, variable) = match (options.plain.first(), options.value("set")) {
            (Some(wanted), _) => (wanted.as_str(), variable),
            // The only argument is what is searched for.
            (None, Some(wanted)) => (wanted, Some("root")),
            (None, None) => return self.success = false,
        };
        let hints = options.values("hint").chain(options.values("hint-bios")).chain(options.values("hint-baremetal"));
        let found = self.find_partition(by, wanted, hints);
        self.found(found, variable);
    }

    /// Searches for a disk by the UUID in its GPT.
    fn search_disk(&mut self, options: &Parsed) {
        let uuid = self.volumes.gpt_uuid().map(|uuid| uuid.to_string());
        let is_it = |wanted: &String| uuid.is_some_and(|uuid| uuid.eq_ignore_ascii_case(wanted));
        self.success = options.plain.first().is_some_and(is_it);
        if self.success && options.has("set") {
            self.assign(options.value("set").unwrap_or("root"), "hd0");
        }
    }

    /// The commands `search.fs_uuid` and the like: what is searched for, a variable, and hints.
    pub(super) fn short_search(&mut self, by: By, arguments: &[String]) {
        let mut words = arguments.iter().map(String::as_str);
        let Some(wanted) = words.next() else { return self.success = false };
        let variable = words.next();
        let found = self.find_partition(by, wanted, words);
        self.found(found, variable);
    }

    fn found(&mut self, found: Option<u32>, variable: Option<&str>) {
        self.success = found.is_some();
        if let (Some(partition), Some(variable)) = (found, variable) {
            self.assign(variable, device::name(self.volumes, partition));
        }
    }

    /// Finds a partition in GRUB's order: where it was found before, by the hints, and then from the last to the first.
    fn find_partition<'a>(&mut self, by: By, wanted: &str, hints: impl Iterator<Item = &'a str>) -> Option<u32> {
        let gpt = |partition: u32| self.volumes.partition(partition)?.gpt.as_ref();
        let is_it = |partition: u32| {
            self.volumes.files(partition).is_some_and(|files| match by {
                By::PartitionName => gpt(partition).is_some_and(|gpt| gpt.name == wanted),
                By::PartitionUuid => gpt(partition).is_some_and(|gpt| gpt.id.to_string().eq_ignore_ascii_case(wanted)),
                By::Uuid => files.uuid().eq_ignore_ascii_case(wanted),
                By::Label => files.label() == wanted,
                By::File => self.spend(FILE_STEPS) && self.volumes.exists(&DiskPath::new(partition, wanted)),
            })
        };
        let all: Vec<u32> = self.volumes.readable().map(|(partition, _)| partition).collect();
        let before = self.searches.iter().find(|(found_by, name, _)| *found_by == by && name == wanted);
        let before = before.map(|(.., partition)| *partition);
        let hinted = hints.flat_map(|hint| match hint.strip_suffix(',') {
            // A comma at the end stands for all partitions of the disk.
            Some(disk) if device::partition(disk) == Some(0) => all.clone(),
            _ => device::partition(hint).into_iter().collect(),
        });
        let mut order = before.into_iter().chain(hinted).chain(all.iter().rev().copied());
        let found = order.find(|partition| is_it(*partition))?;
        if before.is_none() && self.searches.len() < MAX_SEARCHES && wanted.len() <= MAX_SEARCHED {
            self.searches.push((by, wanted.to_owned(), found));
        }
        Some(found)
    }

    /// Queries a device: `probe --set=variable --fs-uuid device`.
    pub(super) fn probe(&mut self, arguments: Vec<String>) {
        let options = options::parse(arguments, &PROBE);
        let Some(name) = options.plain.first() else { return self.success = false };
        let number = device::partition(name.trim_matches(['(', ')']));
        let partition = number.and_then(|number| self.volumes.partition(number));
        // The disk itself exists as well.
        if number.is_none() || (partition.is_none() && number != Some(0)) {
            return self.success = false;
        }
        let files = number.and_then(|number| self.volumes.files(number));
        let scheme = partition.map(|partition| partition.scheme);
        let value = match () {
            () if options.has("driver") => Some("biosdisk".into()),
            () if options.has("partmap") => Some(match scheme {
                Some(Scheme::Gpt) => "gpt".into(),
                Some(Scheme::Mbr) => "msdos".into(),
                Some(Scheme::Whole) | None => "none".into(),
            }),
            () if options.has("part-uuid") => Some(match partition {
                Some(Partition { gpt: Some(Gpt { id, .. }), .. }) => id.to_string(),
                Some(Partition { scheme: Scheme::Mbr, number, .. }) => {
                    format!("{:08x}-{number:02x}", self.volumes.mbr_signature())
                }
                _ => "none".into(),
            }),
            () if options.has("fs") => files.map(|files| files.grub_name().to_owned()),
            () if options.has("fs-uuid") => files.map(|files| files.uuid().to_owned()),
            () if options.has("label") => files.map(|files| files.label().to_owned()),
            () => None,
        };
        self.success = value.is_some();
        if let (Some(value), Some(variable)) = (value, options.value("set")) {
            self.assign(variable, value);
        }
    }

    /// Flatcar's `gptprio.next -d VARIABLE -u VARIABLE`: the partition of the highest priority that has booted before.
    /// `false` if GRUB would take one that has not, because it counts down that partition's tries in the table.
    pub(super) fn flatcar_next(&mut self, arguments: Vec<String>) -> bool {
        const KNOWN: [Known; 2] = [('d', "set-device", Takes::Value), ('u', "set-uuid", Takes::Value)];
        let options = options::parse(arguments, &KNOWN);
        let priority = |gpt: &Gpt| gpt.attributes >> 48 & 0xf;
        let tries = |gpt: &Gpt| gpt.attributes >> 52 & 0xf;
        let has_booted = |gpt: &Gpt| gpt.attributes >> 56 & 1 == 1;
        let mut best: Option<(u32, &Gpt)> = None;
        for Partition { number, gpt, .. } in self.volumes.partitions() {
            let Some(gpt) = gpt.as_ref().filter(|gpt| gpt.kind.to_string() == FLATCAR_USR) else { continue };
            let can_boot = has_booted(gpt) || tries(gpt) > 0;
            if can_boot && best.is_none_or(|(_, best)| priority(gpt) > priority(best)) {
                best = Some((*number, gpt));
            }
        }
        self.success = best.is_some();
        let Some((number, gpt)) = best else { return true };
        let uuid = gpt.id.to_string();
        if tries(gpt) > 0 {
            return false;
        }
        if let Some(variable) = options.value("set-device") {
            self.assign(variable, device::name(self.volumes, number));
        }
        if let Some(variable) = options.value("set-uuid") {
            self.assign(variable, uuid);
        }
        true
    }
}
