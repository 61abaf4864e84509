//! `menu.lst` and `grub.conf` of GRUB 0.97, which many old XenServer guests use.

use super::entry::{BootEntry, BootSource, Found, MAX_INITRDS};
use super::volume::{DiskPath, Volumes};

const MAX_CONFIG: u64 = 1 << 20;
const MAX_ENTRIES: usize = 256;

const PLACES: [&str; 4] = ["/grub/menu.lst", "/grub/grub.conf", "/boot/grub/menu.lst", "/boot/grub/grub.conf"];

/// Reads the menu of the first configuration with a bootable entry.
pub(super) fn read(volumes: &Volumes<'_>) -> Option<Found> {
    let mut first = None;
    for place in PLACES {
        for (partition, _) in volumes.readable() {
            let Some(text) = volumes.text(&DiskPath::new(partition, place), MAX_CONFIG) else { continue };
            let found = parse(volumes, partition, &text);
            if found.is_bootable() {
                return Some(found);
            }
            first = first.or(Some(found).filter(|found| !found.entries.is_empty()));
        }
    }
    first
}

fn parse(volumes: &Volumes<'_>, partition: u32, text: &str) -> Found {
    let mut entries: Vec<BootEntry> = Vec::new();
    let (mut default, mut fallback) = (0, None);
    let mut root = partition;
    let mut xen = false;
    for line in text.lines().map(str::trim).filter(|line| !line.starts_with('#')) {
        let (command, rest) = line.split_once([' ', '\t', '=']).unwrap_or((line, ""));
        let rest = rest.trim_start_matches([' ', '\t', '=']);
        let Some(entry) = entries.last_mut().filter(|_| command != "title") else {
            match command {
                "title" if entries.len() < MAX_ENTRIES => {
                    (root, xen) = (partition, false);
                    entries.push(BootEntry::new(BootSource::GrubLegacy, rest, rest));
                }
                // `default saved` refers to GRUB's own blocks, which are not read; the first entry is used.
                "default" => default = rest.parse().unwrap_or(0),
                "fallback" => fallback = rest.split_whitespace().next().and_then(|number| number.parse().ok()),
                _ => {}
            }
            continue;
        };
        match command {
            "root" | "rootnoverify" => root = device(volumes, rest).unwrap_or(partition),
            "uuid" => {
                let is_wanted = |files: &str| files.eq_ignore_ascii_case(rest);
                root = volumes
                    .readable()
                    .find(|(_, files)| is_wanted(files.uuid()))
                    .map_or(partition, |(number, _)| number);
            }
            "kernel" => {
                let rest = rest.split_whitespace().skip_while(|word| word.starts_with("--"));
                let words: Vec<&str> = rest.collect();
                if let Some((path, arguments)) = words.split_first() {
                    xen = path.rsplit('/').next().is_some_and(|name| name.starts_with("xen"));
                    entry.kernel = Some(resolve(volumes, path, root));
                    entry.set_command_line(arguments.join(" "));
                }
            }
            "initrd" => {
                let words = rest.split_whitespace().take(MAX_INITRDS);
                entry.initrds = words.map(|path| resolve(volumes, path, root)).collect();
            }
            "chainloader" => entry.not_bootable = Some("it starts another boot loader".into()),
            _ => {}
        }
        if xen {
            entry.not_bootable = Some("it starts the Xen hypervisor, not Linux".into());
        }
    }
    for entry in &mut entries {
        if entry.kernel.is_none() {
            entry.not_bootable.get_or_insert_with(|| "it does not start a Linux kernel".into());
        }
    }
    let bootable = |index: &usize| entries.get(*index).is_some_and(BootEntry::is_bootable);
    let default = Some(default).filter(bootable).or(fallback.filter(bootable));
    Found { entries, default, ..Found::default() }
}

/// The partition in `(hd0,0)`, which counts from 0. An unpartitioned disk has only itself.
fn device(volumes: &Volumes<'_>, name: &str) -> Option<u32> {
    let inside = name.trim().strip_prefix("(hd")?.split(')').next()?;
    let number = match inside.split_once(',') {
        Some((_, partition)) => partition.trim().parse::<u32>().ok()?.checked_add(1)?,
        None => 0,
    };
    [number, 0].into_iter().find(|number| volumes.files(*number).is_some())
}

fn resolve(volumes: &Volumes<'_>, path: &str, root: u32) -> DiskPath {
    match path.find(')').map(|end| path.split_at(end + 1)) {
        Some((name, path)) if name.starts_with('(') => DiskPath::new(device(volumes, name).unwrap_or(root), path),
        _ => DiskPath::new(root, path),
    }
}
