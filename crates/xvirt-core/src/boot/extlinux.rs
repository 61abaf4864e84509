//! `extlinux.conf` and `syslinux.cfg`, as used by Alpine, Arch and many small systems.

use super::entry::{BootEntry, BootSource, Found, MAX_COMMAND_LINE, MAX_INITRDS, MAX_TITLE};
use super::volume::{DiskPath, Volumes};

const MAX_CONFIG: u64 = 1 << 20;
const MAX_ENTRIES: usize = 256;

/// The most files read through `INCLUDE`.
const MAX_INCLUDES: u32 = 16;

/// The paths of the configuration in its partition. Paths inside it are relative to its directory.
const PLACES: [&str; 11] = [
    "/extlinux/extlinux.conf",
    "/boot/extlinux/extlinux.conf",
    "/boot/extlinux.conf",
    "/extlinux.conf",
    "/syslinux/syslinux.cfg",
    "/boot/syslinux/syslinux.cfg",
    "/boot/syslinux/extlinux.conf",
    "/syslinux/extlinux.conf",
    "/EFI/syslinux/syslinux.cfg",
    "/EFI/BOOT/syslinux.cfg",
    "/syslinux.cfg",
];

/// Reads the menu of the first configuration with a bootable entry.
pub(super) fn read(volumes: &Volumes<'_>) -> Option<Found> {
    let mut first = None;
    for place in PLACES {
        for (partition, _) in volumes.readable() {
            let config = DiskPath::new(partition, place);
            let Some(text) = volumes.text(&config, MAX_CONFIG) else { continue };
            let directory = place.rsplit_once('/').map_or("", |(directory, _)| directory);
            let mut reader = Reader::new(volumes, partition, directory);
            reader.run(&text);
            let found = reader.finish();
            if found.is_bootable() {
                return Some(found);
            }
            first = first.or(Some(found).filter(|found| !found.entries.is_empty()));
        }
    }
    first
}

/// One `LABEL` section.
#[derive(Debug, Default)]
struct Label {
    name: String,
    title: Option<String>,
    submenu: Vec<String>,
    kernel: Option<String>,
    initrds: Vec<String>,
    append: Option<String>,
    is_default: bool,
    obstacle: Option<&'static str>,
}

struct Reader<'v, 'd> {
    volumes: &'v Volumes<'d>,
    partition: u32,
    directory: &'v str,
    labels: Vec<Label>,
    /// The value of `DEFAULT`: a label or a command line.
    default: String,
    /// The value of `ONTIMEOUT`: what is started when nobody chooses.
    on_timeout: Option<String>,
    /// Whether there is a `TIMEOUT`; without one, nothing runs out.
    has_timeout: bool,
    /// Whether the user is asked; otherwise the default is started at once.
    asks: bool,
    append: String,
    /// The menus around the current line; those without a title so far are empty.
    submenu: Vec<String>,
    includes_left: u32,
}

impl<'v, 'd> Reader<'v, 'd> {
    fn new(volumes: &'v Volumes<'d>, partition: u32, directory: &'v str) -> Self {
        Self {
            volumes,
            partition,
            directory,
            labels: Vec::new(),
            default: String::new(),
            on_timeout: None,
            has_timeout: false,
            asks: false,
            append: String::new(),
            submenu: Vec::new(),
            includes_left: MAX_INCLUDES,
        }
    }

    fn run(&mut self, text: &str) {
        for line in text.lines().map(str::trim).filter(|line| !line.starts_with('#')) {
            let (keyword, rest) = split(line);
            let is_full = self.labels.len() >= MAX_ENTRIES;
            match (keyword.to_ascii_uppercase().as_str(), self.labels.last_mut()) {
                ("LABEL", _) if !is_full => {
                    let submenu = self.submenu.clone();
                    self.labels.push(Label { name: clipped(rest, MAX_TITLE), submenu, ..Label::default() });
                }
                ("DEFAULT", _) => rest.clone_into(&mut self.default),
                ("ONTIMEOUT", _) => self.on_timeout = Some(rest.to_owned()),
                ("PROMPT", _) => self.asks |= rest != "0",
                ("UI", _) => self.asks = true,
                ("TIMEOUT" | "TOTALTIMEOUT", _) => self.has_timeout |= rest.parse::<u64>().is_ok_and(|time| time > 0),
                // One byte more than the limit, so that the excess is detected.
                ("APPEND", None) => self.append = clipped(rest, MAX_COMMAND_LINE + 1),
                ("APPEND", Some(label)) => label.append = Some(clipped(rest, MAX_COMMAND_LINE + 1)),
                ("LINUX", Some(label)) => label.kernel = Some(rest.to_owned()),
                ("KERNEL", Some(label)) => {
                    label.kernel = Some(rest.to_owned());
                    let other = [".c32", ".com", ".cbt", ".bin", ".bs", ".bss", ".0", ".img"];
                    if other.iter().any(|ending| rest.to_ascii_lowercase().ends_with(ending)) {
                        label.obstacle = Some("it starts a boot loader module");
                    }
                }
                ("INITRD", Some(label)) => label.initrds = list(rest),
                ("LOCALBOOT" | "COM32" | "COMBOOT" | "BOOT" | "BSS" | "PXE" | "FDIMAGE" | "CONFIG", Some(label)) => {
                    label.obstacle = Some("it does not start a Linux kernel");
                }
                ("INCLUDE", _) => self.include(rest),
                ("MENU", _) => self.menu(rest),
                _ => {}
            }
        }
    }

    fn menu(&mut self, line: &str) {
        let (keyword, rest) = split(line);
        match (keyword.to_ascii_uppercase().as_str(), self.labels.last_mut()) {
            // A caret marks the hotkey of the entry.
            ("LABEL", Some(label)) => label.title = Some(clipped(rest, MAX_TITLE).replacen('^', "", 1)),
            ("DEFAULT", Some(label)) => label.is_default = true,
            ("BEGIN", _) if self.submenu.len() < 16 => self.submenu.push(clipped(rest, MAX_TITLE)),
            ("END", _) => drop(self.submenu.pop()),
            ("TITLE", _) => {
                if let Some(menu) = self.submenu.last_mut() {
                    *menu = clipped(rest, MAX_TITLE);
                }
            }
            ("INCLUDE", _) => self.include(split(rest).0),
            _ => {}
        }
    }

    fn include(&mut self, path: &str) {
        if let Some(left) = self.includes_left.checked_sub(1) {
            self.includes_left = left;
            if let Some(text) = self.volumes.text(&self.resolve(path), MAX_CONFIG) {
                self.run(&text);
            }
        }
    }

    fn resolve(&self, path: &str) -> DiskPath {
        match path.starts_with('/') {
            true => DiskPath::new(self.partition, path),
            false => DiskPath::new(self.partition, format!("{}/{path}", self.directory)),
        }
    }

    fn finish(self) -> Found {
        let labels = &self.labels;
        let named = |wanted: &str| {
            // Arguments for the kernel may follow the label.
            labels.iter().position(|label| [wanted, split(wanted).0].contains(&label.name.as_str()))
        };
        let asks = self.asks || split(&self.default).0.to_ascii_lowercase().ends_with(".c32");
        let on_timeout = self.on_timeout.as_deref().filter(|_| asks && self.has_timeout).and_then(named);
        let marked = labels.iter().position(|label| label.is_default);
        let default = on_timeout.or(marked).or_else(|| named(&self.default));
        Found { entries: labels.iter().map(|label| self.entry(label)).collect(), default, ..Found::default() }
    }

    fn entry(&self, label: &Label) -> BootEntry {
        let title = label.title.as_ref().unwrap_or(&label.name);
        let mut entry = BootEntry::new(BootSource::Extlinux, &label.name, title);
        entry.submenu.clone_from(&label.submenu);
        if let Some(obstacle) = label.obstacle {
            entry.not_bootable = Some(obstacle.into());
            return entry;
        }
        // Without `KERNEL`, the label is the kernel; arguments may follow its name.
        let (kernel, arguments) = split(label.kernel.as_ref().unwrap_or(&label.name));
        let append = match label.append.as_deref() {
            Some("-") => "",
            Some(append) => append,
            None => &self.append,
        };
        let mut initrds = label.initrds.clone();
        if initrds.is_empty() {
            // The old syntax; the last one counts.
            let mut words = append.split_whitespace().filter_map(|word| word.strip_prefix("initrd="));
            initrds = words.next_back().map_or_else(Vec::new, list);
        }
        entry.kernel = Some(self.resolve(kernel));
        entry.initrds = initrds.iter().map(|path| self.resolve(path.trim())).collect();
        let words = [&format!("BOOT_IMAGE={kernel}"), arguments, append];
        entry.set_command_line(words.into_iter().filter(|word| !word.is_empty()).collect::<Vec<_>>().join(" "));
        entry
    }
}

/// The files in a comma-separated list.
fn list(text: &str) -> Vec<String> {
    text.split(',').take(MAX_INITRDS).map(str::to_owned).collect()
}

/// At most `most` bytes of a text, for text that is kept for each label.
fn clipped(text: &str, most: usize) -> String {
    text.get(..text.floor_char_boundary(most)).unwrap_or(text).to_owned()
}

/// The first word, and the rest.
fn split(line: &str) -> (&str, &str) {
    let (word, rest) = line.trim().split_once([' ', '\t']).unwrap_or((line.trim(), ""));
    (word, rest.trim())
}
