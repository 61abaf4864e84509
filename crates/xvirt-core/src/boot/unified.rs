//! Unified kernel images: EFI programs with kernel, initrd and command line as sections.

use std::ops::Range;

use super::entry::{BootEntry, BootSource};
use super::volume::{DiskPath, Volumes};
use super::window::{le16, le32};

const MAX_IMAGES: usize = 64;

/// The size limit of the headers at the start of the file.
const MAX_HEADERS: u64 = 64 << 10;

/// The size limit of the command line and the OS description.
const MAX_TEXT: u32 = 64 << 10;

/// The location of a section in the file.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Section {
    pub(super) offset: u64,
    pub(super) length: u64,
}

impl Section {
    pub(super) fn range(self) -> Range<u64> {
        self.offset..self.offset + self.length
    }
}

/// The relevant sections.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Sections {
    pub(super) linux: Option<Section>,
    pub(super) initrd: Option<Section>,
    /// Processor microcode, which is loaded before the initrd.
    pub(super) microcode: Option<Section>,
    command_line: Option<Section>,
    system: Option<Section>,
}

/// Where firmware looks for the one program that it starts without being told of it.
const REMOVABLE: &str = "/EFI/BOOT/BOOTX64.EFI";

/// The unified kernel images of a partition, ordered by name. The last is the one at the path of removable media, which
/// is a boot loader on most disks.
pub(super) fn read(volumes: &Volumes<'_>, partition: u32) -> Vec<BootEntry> {
    let names = volumes.list(&DiskPath::new(partition, "/EFI/Linux")).into_iter();
    let images = names.filter(|name| name.to_lowercase().ends_with(".efi")).take(MAX_IMAGES);
    let mut found: Vec<_> =
        images.map(|name| entry(volumes, DiskPath::new(partition, format!("/EFI/Linux/{name}")), &name)).collect();
    let removable = DiskPath::new(partition, REMOVABLE);
    if sections(volumes, &removable).is_some_and(|sections| sections.linux.is_some()) {
        found.push(entry(volumes, removable, "BOOTX64.EFI"));
    }
    found
}

fn entry(volumes: &Volumes<'_>, file: DiskPath, name: &str) -> BootEntry {
    let mut entry = BootEntry::new(BootSource::UnifiedKernel, name, name);
    let sections = sections(volumes, &file);
    let text = |section: Option<Section>| {
        let section = section?;
        let mut bytes = Vec::new();
        volumes.read_range(&file, section.range(), MAX_TEXT.into(), &mut bytes).ok()?;
        Some(String::from_utf8_lossy(&bytes).trim_end_matches(['\0', '\n', ' ']).to_owned())
    };
    match sections {
        Some(sections) if sections.linux.is_some() => {
            entry.command_line = text(sections.command_line).unwrap_or_default();
            if let Some(title) = text(sections.system).as_deref().and_then(pretty_name) {
                entry.title = title;
            }
        }
        _ => entry.not_bootable = Some("it is an EFI program without a Linux kernel inside".into()),
    }
    entry.kernel = Some(file);
    entry
}

/// Locates the sections of an EFI program; `None` if the file is not one.
pub(super) fn sections(volumes: &Volumes<'_>, file: &DiskPath) -> Option<Sections> {
    let length = volumes.file_length(file)?;
    let mut headers = Vec::new();
    volumes.read_range(file, 0..length.min(MAX_HEADERS), MAX_HEADERS, &mut headers).ok()?;
    parse(&headers, length)
}

/// Reads the section table of a PE file; `headers` is its start.
fn parse(headers: &[u8], file_length: u64) -> Option<Sections> {
    let pe = headers.get(le32(headers, 0x3c) as usize..).filter(|_| headers.starts_with(b"MZ"))?;
    if !pe.starts_with(b"PE\0\0") {
        return None;
    }
    let table = pe.get(24 + usize::from(le16(pe, 20))..)?;
    let mut sections = Sections::default();
    for header in table.chunks_exact(40).take(le16(pe, 6).into()) {
        // The virtual size is exact; the size in the file is rounded up.
        let (in_memory, in_file) = (le32(header, 8), le32(header, 16));
        let length = if in_memory == 0 { in_file } else { in_memory.min(in_file) };
        let section = Section { offset: le32(header, 20).into(), length: length.into() };
        if section.offset + section.length > file_length {
            return None;
        }
        let place = match header.get(..8)? {
            b".linux\0\0" => &mut sections.linux,
            b".initrd\0" => &mut sections.initrd,
            b".ucode\0\0" => &mut sections.microcode,
            b".cmdline" => &mut sections.command_line,
            b".osrel\0\0" => &mut sections.system,
            _ => continue,
        };
        place.get_or_insert(section);
    }
    Some(sections)
}

/// The `PRETTY_NAME` of an `os-release` file.
fn pretty_name(text: &str) -> Option<String> {
    let name = text.lines().find_map(|line| line.strip_prefix("PRETTY_NAME="))?;
    Some(name.trim_matches(['"', '\'']).to_owned()).filter(|name| !name.is_empty())
}

#[cfg(test)]
pub(super) mod tests;
