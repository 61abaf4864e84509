//! Boot Loader Specification entries: the files in `/loader/entries`, which systemd-boot and Fedora's GRUB read, and
//! the unified kernel images beside them.

use std::cmp::Ordering;

use super::entry::{BootEntry, BootSource, Found, MAX_COMMAND_LINE, MAX_INITRDS};
use super::unified;
use super::version;
use super::volume::{DiskPath, Volumes};
use super::{environment_block, glob};

/// The length limit of an entry file.
const MAX_FILE: u64 = 64 << 10;

/// The most entries.
const MAX_ENTRIES: usize = 256;

/// One entry file, with unprocessed values.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct LoaderEntry {
    /// The file's name without `.conf` and without the boot counter.
    pub(super) id: String,
    pub(super) title: String,
    pub(super) version: String,
    sort_key: String,
    machine_id: String,
    pub(super) linux: String,
    pub(super) initrds: Vec<String>,
    pub(super) options: Vec<String>,
    architecture: String,
    efi: String,
    /// All boot attempts of it have failed.
    is_bad: bool,
}

impl LoaderEntry {
    fn parse(name: &str, text: &str) -> Self {
        let stem = name.strip_suffix(".conf").unwrap_or(name);
        let (id, is_bad) = without_attempts(stem);
        let mut entry = Self { id: id.to_owned(), is_bad, ..Self::default() };
        for line in text.lines().map(str::trim).filter(|line| !line.starts_with('#')) {
            let (key, value) = line.split_once([' ', '\t']).unwrap_or((line, ""));
            let value = value.trim().to_owned();
            match key {
                "title" => entry.title = value,
                "version" => entry.version = value,
                "sort-key" => entry.sort_key = value,
                "machine-id" => entry.machine_id = value,
                "linux" => entry.linux = value,
                "initrd" if entry.initrds.len() < MAX_ENTRIES => entry.initrds.push(value),
                "options" if entry.options.len() < MAX_ENTRIES => entry.options.push(value),
                "architecture" => entry.architecture = value,
                "efi" | "uki" => entry.efi = value,
                _ => {}
            }
        }
        if entry.title.is_empty() {
            entry.title.clone_from(&entry.id);
        }
        entry
    }
}

/// The entry files in a directory, in the order of GRUB's `blscfg`: newest first, by file name.
pub(super) fn read_directory(volumes: &Volumes<'_>, directory: &DiskPath) -> Vec<LoaderEntry> {
    let mut entries = Vec::new();
    for name in volumes.list(directory).into_iter().filter(|name| name.ends_with(".conf")).take(MAX_ENTRIES) {
        let file = DiskPath::new(directory.partition, format!("{}/{name}", directory.path));
        if let Some(text) = volumes.text(&file, MAX_FILE) {
            entries.push(LoaderEntry::parse(&name, &text));
        }
    }
    entries.sort_by(|left, right| version::compare(&right.id, &left.id));
    entries
}

/// Reads the menu of systemd-boot.
pub(super) fn read(volumes: &Volumes<'_>) -> Option<Found> {
    let mut found: Vec<(LoaderEntry, BootEntry)> = Vec::new();
    let mut default = String::new();
    for (partition, _) in volumes.readable() {
        let mut directories = Vec::new();
        for loader in ["/loader", "/boot/loader"] {
            let config = volumes.text(&DiskPath::new(partition, format!("{loader}/loader.conf")), MAX_FILE);
            default = config.as_deref().and_then(default_pattern).unwrap_or(default);
            directories.push(DiskPath::new(partition, format!("{loader}/entries")));
        }
        for directory in volumes.without_links(directories) {
            let variables = Variables::read(volumes, partition);
            let left = MAX_ENTRIES - found.len();
            for entry in read_directory(volumes, &directory).into_iter().take(left) {
                let boot_entry = boot_entry(volumes, &directory, &entry, &variables);
                // The options are in the command line now, and may be long.
                found.push((LoaderEntry { options: Vec::new(), ..entry }, boot_entry));
            }
        }
        let left = MAX_ENTRIES - found.len();
        for entry in unified::read(volumes, partition).into_iter().take(left) {
            let (id, is_bad) = without_attempts(entry.id.strip_suffix(".efi").unwrap_or(&entry.id));
            // They are sorted by name, among the entries without a sort key.
            found.push((LoaderEntry { id: id.to_owned(), is_bad, ..LoaderEntry::default() }, entry));
        }
    }
    found.sort_by(|(left, _), (right, _)| order(left, right));
    let entries: Vec<BootEntry> = found.into_iter().map(|(_, entry)| entry).collect();
    let matches = |entry: &BootEntry| {
        let names = [entry.id.clone(), format!("{}.conf", entry.id)];
        names.iter().any(|name| glob(default.as_bytes(), name.as_bytes()))
    };
    let default = entries.iter().position(|entry| entry.is_bootable() && matches(entry));
    (!entries.is_empty()).then_some(Found { entries, default, ..Found::default() })
}

/// systemd-boot's order: bad entries last, entries with a sort key first, newest first.
fn order(left: &LoaderEntry, right: &LoaderEntry) -> Ordering {
    let has_key = |entry: &LoaderEntry| !entry.sort_key.is_empty();
    let by_key = || {
        let keys = left.sort_key.cmp(&right.sort_key).then_with(|| left.machine_id.cmp(&right.machine_id));
        keys.then_with(|| version::compare(&right.version, &left.version))
    };
    left.is_bad
        .cmp(&right.is_bad)
        .then_with(|| has_key(right).cmp(&has_key(left)))
        .then_with(|| if has_key(left) { by_key() } else { Ordering::Equal })
        .then_with(|| version::compare(&right.id, &left.id))
}

fn boot_entry(volumes: &Volumes<'_>, directory: &DiskPath, entry: &LoaderEntry, variables: &Variables) -> BootEntry {
    let mut boot = BootEntry::new(BootSource::LoaderEntries, &entry.id, &entry.title);
    let resolve = |path: &String| resolve(volumes, directory, path);
    if entry.linux.is_empty() {
        boot.not_bootable = Some(match entry.efi.as_str() {
            "" => "it does not name a kernel".into(),
            efi => format!("it starts the EFI program {efi}"),
        });
        return boot;
    }
    if !matches!(entry.architecture.as_str(), "" | "x64" | "X64") {
        boot.not_bootable = Some(format!("it is for the architecture {}", entry.architecture));
    }
    boot.kernel = Some(resolve(&entry.linux));
    // A line may name several files.
    let lines: Vec<_> = entry.initrds.iter().map(|line| variables.expand(line)).collect();
    let words = lines.iter().flat_map(|line| line.split_whitespace());
    boot.initrds = words.take(MAX_INITRDS).map(|path| resolve(&path.into())).collect();
    boot.set_command_line(variables.expand(&entry.options.join(" ")));
    boot
}

/// GRUB's variables, which the entries of Fedora name. GRUB's own menu is read first; these are for a disk without one.
struct Variables(Vec<(String, String)>);

impl Variables {
    fn read(volumes: &Volumes<'_>, partition: u32) -> Self {
        let places = ["/grub2/grubenv", "/boot/grub2/grubenv"].map(|path| DiskPath::new(partition, path));
        Self(places.iter().find_map(|place| environment_block::variables(volumes, place)).unwrap_or_default())
    }

    /// Replaces `$name` and `${name}` by the variable's value, as GRUB does: by nothing if it is not set.
    fn expand(&self, text: &str) -> String {
        let mut out = String::new();
        let mut rest = text;
        while let Some((before, after)) = rest.split_once('$') {
            out.push_str(before);
            let is_name = |c: char| c.is_ascii_alphanumeric() || c == '_';
            let (name, after) = match after.strip_prefix('{').and_then(|inside| inside.split_once('}')) {
                Some((name, after)) if name.chars().all(is_name) => (name, after),
                _ => after.split_at(after.find(|c| !is_name(c)).unwrap_or(after.len())),
            };
            if name.is_empty() {
                out.push('$');
            }
            out.extend(self.0.iter().find(|(found, _)| found == name).map(|(_, value)| value.as_str()));
            rest = after;
            if out.len() > MAX_COMMAND_LINE {
                break;
            }
        }
        out.push_str(rest);
        out.split_whitespace().collect::<Vec<_>>().join(" ")
    }
}

/// The file at a path in an entry. If `/boot` is not a separate partition, some entries give the path relative to it.
pub(super) fn resolve(volumes: &Volumes<'_>, directory: &DiskPath, path: &str) -> DiskPath {
    let absolute = format!("/{}", path.trim_start_matches('/'));
    let as_written = DiskPath::new(directory.partition, absolute.clone());
    if directory.path.starts_with("/boot/") && volumes.file_length(&as_written).is_none() {
        let in_boot = DiskPath::new(directory.partition, format!("/boot{absolute}"));
        if volumes.file_length(&in_boot).is_some() {
            return in_boot;
        }
    }
    as_written
}

/// The pattern of `default` in `loader.conf`.
fn default_pattern(config: &str) -> Option<String> {
    let mut lines = config.lines().filter_map(|line| line.trim().split_once([' ', '\t']));
    let pattern = lines.rfind(|(key, _)| *key == "default")?.1.trim();
    // `@` values refer to firmware variables, which are not on the disk.
    (!pattern.starts_with('@')).then(|| pattern.to_owned())
}

/// The name without `+LEFT` or `+LEFT-DONE`, and whether no attempt is left.
fn without_attempts(stem: &str) -> (&str, bool) {
    let Some((name, counts)) = stem.rsplit_once('+') else { return (stem, false) };
    let (left, done) = counts.split_once('-').unwrap_or((counts, "0"));
    match (left.parse::<u32>(), done.parse::<u32>()) {
        (Ok(left), Ok(_)) => (name, left == 0),
        _ => (stem, false),
    }
}

/// Whether a name matches a pattern, without regard to case.
fn glob(pattern: &[u8], name: &[u8]) -> bool {
    glob::matches(pattern, name, |_| true, |left, right| left.eq_ignore_ascii_case(&right))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_match_as_systemd_boot_has_them() {
        let cases = [
            ("arch.conf", "arch.conf", true),
            ("arch-*", "arch-lts.conf", true),
            ("*lts*", "arch-lts.conf", true),
            ("a?ch", "arch", true),
            ("ARCH", "arch", true),
            ("", "arch", false),
            ("*", "", true),
            ("*a*a*a*b", "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa", false),
        ];
        for (pattern, name, expected) in cases {
            assert_eq!(glob(pattern.as_bytes(), name.as_bytes()), expected, "{pattern} {name}");
        }
    }

    #[test]
    fn counted_attempts_are_no_part_of_the_name() {
        let cases = [
            ("fedora-6.1", "fedora-6.1", false),
            ("fedora-6.1+3", "fedora-6.1", false),
            ("fedora-6.1+0-3", "fedora-6.1", true),
            ("gtk+x", "gtk+x", false),
        ];
        for (stem, name, is_bad) in cases {
            assert_eq!(without_attempts(stem), (name, is_bad), "{stem}");
        }
    }
}
