//! Menus of many systems, and what real GRUB boots from them, as `scripts/compare-grub` wrote it down.

use std::fs;
use std::path::Path;

use super::*;

/// A file of a case.
struct CaseFile {
    path: String,
    bytes: Vec<u8>,
    link: Option<String>,
}

/// A partition of a case.
#[derive(Default)]
struct CasePartition {
    kind: String,
    fields: Vec<(String, String)>,
    files: Vec<CaseFile>,
}

impl CasePartition {
    fn field(&self, name: &str) -> Option<&str> {
        self.fields.iter().find(|(found, _)| found == name).map(|(_, value)| value.as_str())
    }

    fn image(&self, number: usize) -> Option<Vec<u8>> {
        let entry = |file| match file {
            &CaseFile { ref path, link: Some(ref target), .. } => Link(path, target),
            CaseFile { path, bytes, .. } => File(path, bytes),
        };
        let entries: Vec<_> = self.files.iter().map(entry).collect();
        let label = self.field("label").unwrap_or_default();
        match self.kind.as_str() {
            "fat" => {
                let serial = self.field("uuid").unwrap_or("0000-0001").replace('-', "");
                let label = if label.is_empty() { "NONE" } else { label };
                fat(&["-i", &serial, "-n", label], 16 << 10, &entries)
            }
            _ => {
                let any = format!("00000000-0000-4000-9000-{number:012x}");
                ext4(self.field("uuid").unwrap_or(&any), label, &entries)
            }
        }
    }
}

/// A disk that is written down in a `.menu` file; `scripts/compare-grub --help` describes its parts.
#[derive(Default)]
struct Case {
    table: String,
    partitions: Vec<CasePartition>,
}

impl Case {
    fn parse(text: &str) -> Self {
        let mut case = Self::default();
        let mut sections = text.split("=== ");
        assert_eq!(sections.next(), Some(""));
        for section in sections {
            let (heading, body) = section.split_once('\n').unwrap();
            let (kind, rest) = heading.split_once(' ').unwrap();
            let number = case.partitions.len();
            let whole = case.table == "whole";
            let mut add = |path: &str, bytes: Vec<u8>, link: Option<&str>| {
                let file = CaseFile { path: path.to_owned(), bytes, link: link.map(str::to_owned) };
                case.partitions.last_mut().unwrap().files.push(file);
            };
            let name = |path: &str| format!("{}:{path}", if whole { 0 } else { number });
            match kind {
                "disk" => case.table = rest.to_owned(),
                "gptprio" => {}
                "partition" => {
                    let mut words = rest.split(' ');
                    let kind = words.next().unwrap().to_owned();
                    let field = |word: &str| word.split_once('=').map(|(name, value)| (name.into(), value.into()));
                    let fields = words.filter_map(field).collect();
                    case.partitions.push(CasePartition { kind, fields, files: Vec::new() });
                }
                "file" if rest.ends_with("/grubenv") => add(rest, block(body), None),
                "file" => add(rest, body.into(), None),
                "kernel" => add(rest, name(rest).into_bytes(), None),
                "initrd" => add(rest, format!("<{}>", name(rest)).into_bytes(), None),
                "link" => {
                    let (path, target) = rest.split_once(' ').unwrap();
                    add(path, Vec::new(), Some(target));
                }
                other => panic!("a case has a section {other}"),
            }
        }
        case
    }

    fn disk(&self) -> Option<MemoryDisk> {
        let images = self.partitions.iter().zip(1..).map(|(partition, number)| partition.image(number));
        let images = images.collect::<Option<Vec<_>>>()?;
        let parts: Vec<_> = images.iter().map(Vec::as_slice).collect();
        Some(match self.table.as_str() {
            "whole" => MemoryDisk(images.into_iter().next().unwrap()),
            "mbr" => {
                let mut disk = mbr(&parts);
                disk.0[440..444].copy_from_slice(&0x4d45_4e55u32.to_le_bytes());
                disk
            }
            _ => {
                let mut disk = gpt(&parts);
                for (partition, index) in self.partitions.iter().zip(0..) {
                    name_in_gpt(&mut disk.0, index, partition);
                }
                disk
            }
        })
    }

    /// The environment blocks: partition, path and contents.
    fn blocks(&self) -> impl Iterator<Item = (u32, &CaseFile)> {
        let whole = self.table == "whole";
        self.partitions.iter().zip(1..).flat_map(move |(partition, number)| {
            let blocks = partition.files.iter().filter(|file| file.path.ends_with("/grubenv"));
            blocks.map(move |file| (if whole { 0 } else { number }, file))
        })
    }
}

fn block(variables: &str) -> Vec<u8> {
    let mut bytes = format!("# GRUB Environment Block\n{variables}").into_bytes();
    bytes.resize(1024, b'#');
    bytes
}

/// Writes the type, the identity and the attributes of a partition into the first table of a GPT.
fn name_in_gpt(disk: &mut [u8], index: usize, partition: &CasePartition) {
    let entry = 1024 + 128 * index;
    let uuid = |text: &str| uuid::Uuid::parse_str(text).unwrap().to_bytes_le();
    if let Some(kind) = partition.field("type") {
        disk[entry..entry + 16].copy_from_slice(&uuid(kind));
    }
    if let Some(id) = partition.field("id") {
        disk[entry + 16..entry + 32].copy_from_slice(&uuid(id));
    }
    if let Some(attributes) = partition.field("attributes") {
        let attributes = u64::from_str_radix(attributes.trim_start_matches("0x"), 16).unwrap();
        disk[entry + 48..entry + 56].copy_from_slice(&attributes.to_le_bytes());
    }
    renew_gpt(disk);
}

/// What is booted from a disk, in the words of a `.boots` file.
fn boots(case: &Case, disk: &WritableDisk) -> String {
    let mut answer = String::new();
    {
        let menu = BootMenu::read(disk).unwrap();
        let chosen = menu.entry(&EntryChoice::Default).ok();
        match chosen.and_then(|entry| Some((entry, menu.load(entry).ok()?))) {
            None => answer.push_str("nothing is booted\n"),
            Some((entry, files)) => {
                let kernel = String::from_utf8(files.kernel).unwrap();
                answer.push_str(&format!("entry {}\nkernel {kernel}\nline {}\n", entry.title, files.command_line));
                let initrd = String::from_utf8(files.initrd.unwrap_or_default()).unwrap();
                for file in initrd.split('<').skip(1) {
                    answer.push_str(&format!("initrd {}\n", file.split('>').next().unwrap()));
                }
                menu.record_start(entry).unwrap();
            }
        }
    }
    let volumes = Volumes::open(disk).unwrap();
    for (partition, file) in case.blocks() {
        let now = volumes.bytes(&crate::boot::DiskPath::new(partition, &file.path), 4096).unwrap();
        assert_eq!(now.len(), 1024);
        if now != file.bytes {
            answer.push_str(&format!("written {partition}:{}\n", file.path));
            let now = String::from_utf8(now).unwrap();
            for line in now.trim_end_matches('#').lines().skip(1) {
                answer.push_str(&format!("  {line}\n"));
            }
        }
    }
    answer
}

#[test]
fn menus_boot_what_real_grub_boots() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/boot/samples/menus");
    let mut names: Vec<_> = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    names.retain(|path| path.extension().is_some_and(|extension| extension == "menu"));
    names.sort();
    assert!(names.len() >= 40, "{} menus", names.len());
    let mut wrong = Vec::new();
    for path in names {
        let case = Case::parse(&fs::read_to_string(&path).unwrap());
        let Some(disk) = case.disk() else { return };
        let expected = fs::read_to_string(path.with_extension("boots")).unwrap();
        let found = boots(&case, &WritableDisk::new(disk.clone()));
        if found != expected {
            wrong.push(format!("{}:\n{found}instead of:\n{expected}", path.display()));
        }
        // A disk that cannot be written boots as well.
        let menu = BootMenu::read(&disk).unwrap();
        if let Some(entry) = menu.default_entry() {
            menu.record_start(entry).unwrap();
        }
    }
    assert!(wrong.is_empty(), "{} menus:\n{}", wrong.len(), wrong.join("\n"));
}
