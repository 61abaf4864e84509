//! Fuzzes chunks after a valid `ova.xml`, in any order and with any errors, against a model of their positions.
#![no_main]

use std::collections::BTreeMap;
use std::fmt::Write;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};

use arbitrary::Arbitrary;
use libfuzzer_sys::fuzz_target;
use sha1::{Digest, Sha1};
use xvirt_xva::fuzzing::read;
use xvirt_xva::{Appliance, Defect, DiskSink, Error, ExpectedDisk, ReadOptions, Result, Severity, verify};
use xxhash_rust::xxh64::xxh64;

const BLOCK: usize = 512;
const MIB: u64 = 1 << 20;
/// The limits of members, and of bytes in chunks.
const MAX_MEMBERS: usize = 40;
const MAX_DATA: u64 = 12 << 20;
const SIZES: [u64; 8] = [0, 1, 512, 1000, MIB - 1, MIB, 3 * MIB + 512, i64::MAX.cast_unsigned()];

fuzz_target!(|input: Input| {
    let disks: Vec<_> = input.disks.iter().take(4).map(|size| SIZES[usize::from(size % 8)]).collect();
    let members = input.plan(disks.len());
    let archive = input.archive(&disks, &members);
    let model = Model::new(&disks, &members);
    let outcome = read(&archive[..], &model);
    model.compare(&outcome.map(|reached| reached.into_iter().map(|(_, offset)| offset).collect()).ok());

    let report = verify(&archive[..], &ReadOptions::default(), &()).expect("it is an archive");
    let whole = model.is_whole();
    assert!(!report.good || whole, "a damaged archive is called good");
    assert!(report.good || !whole || !input.is_tidy(), "a good archive is called damaged: {:?}", report.problems);
});

#[derive(Arbitrary, Debug)]
struct Input {
    disks: Vec<u8>,
    members: Vec<Member>,
    /// The number of bytes to cut off.
    cut: Option<u16>,
    export_version: bool,
}

#[derive(Arbitrary, Debug)]
enum Member {
    Chunk {
        disk: u8,
        number: Number,
        size: Size,
        fill: u8,
        sum: Sum,
    },
    /// A run of valid chunks.
    Run {
        disk: u8,
        count: u8,
        size: Size,
        fill: u8,
        sum: Sum,
    },
    Other {
        name: Other,
        size: u8,
    },
}

#[derive(Arbitrary, Clone, Copy, Debug)]
enum Number {
    Next,
    Gap(u8),
    Same,
    Any(u64),
}

#[derive(Arbitrary, Clone, Copy, Debug)]
enum Size {
    Chunk,
    Sectors(u8),
    Bytes(u16),
    Large(u8),
}

#[derive(Arbitrary, Clone, Copy, Debug, PartialEq)]
enum Sum {
    Xxhash,
    Sha1,
    OtherCase,
    Wrong,
    OfAnother,
    Missing,
}

#[derive(Arbitrary, Clone, Copy, Debug)]
enum Other {
    Folder,
    File,
    StrayChecksum,
    Metadata,
    Table,
}

/// A chunk as it is in the archive.
#[derive(Debug)]
struct Chunk {
    disk: usize,
    number: u64,
    bytes: Vec<u8>,
    sum: Sum,
}

/// A member as it is in the archive.
#[derive(Debug)]
enum Planned {
    Chunk(Chunk),
    Other(Other, u8),
}

impl Input {
    /// Whether it contains only chunks.
    fn is_tidy(&self) -> bool {
        let chunk = |member: &Member| !matches!(member, Member::Other { .. });
        self.cut.is_none() && !self.export_version && self.members.iter().all(chunk)
    }

    fn plan(&self, disks: usize) -> Vec<Planned> {
        let mut plan = Plan { disks, next: BTreeMap::new(), data: 0, members: Vec::new() };
        for member in &self.members {
            match *member {
                Member::Chunk { disk, number, size, fill, sum } => plan.chunk(disk, number, size, fill, sum),
                Member::Run { disk, count, size, fill, sum } => {
                    (0..count % 8).for_each(|_| plan.chunk(disk, Number::Next, size, fill, sum));
                }
                Member::Other { name, size } => plan.members.push(Planned::Other(name, size)),
            }
        }
        plan.members
    }

    fn archive(&self, disks: &[u64], members: &[Planned]) -> Vec<u8> {
        let mut archive = member("ova.xml", ova(disks, self.export_version).as_bytes());
        for planned in members {
            match planned {
                Planned::Chunk(chunk) => archive.extend(chunk.members()),
                Planned::Other(other, size) => archive.extend(other.member(*size)),
            }
        }
        archive.extend([0; 2 * BLOCK]);
        archive.truncate(archive.len() - usize::from(self.cut.unwrap_or(0)).min(archive.len() - BLOCK));
        archive
    }
}

struct Plan {
    disks: usize,
    next: BTreeMap<usize, u64>,
    data: u64,
    members: Vec<Planned>,
}

impl Plan {
    fn chunk(&mut self, disk: u8, number: Number, size: Size, fill: u8, sum: Sum) {
        let size = match size {
            Size::Chunk => MIB,
            Size::Sectors(count) => 512 * u64::from(count),
            Size::Bytes(count) => count.into(),
            // From allowed sizes to slightly larger ones.
            Size::Large(count) => u64::from(count % 10) * MIB,
        };
        if self.members.len() >= MAX_MEMBERS || self.data + size > MAX_DATA {
            return;
        }
        self.data += size;
        // One more than there are.
        let disk = usize::from(disk) % (self.disks + 1);
        let next = self.next.entry(disk).or_default();
        let number = match number {
            Number::Next => *next,
            Number::Gap(gap) => next.saturating_add(gap.into()),
            Number::Same => next.saturating_sub(1),
            Number::Any(number) => number,
        };
        *next = number.saturating_add(1);
        // Each chunk starts with a tag that identifies it.
        let mut bytes = vec![fill; size as usize];
        let tag = (self.members.len() as u32 + 1).to_le_bytes();
        bytes.iter_mut().zip(tag).for_each(|(byte, tag)| *byte = tag);
        self.members.push(Planned::Chunk(Chunk { disk, number, bytes, sum }));
    }
}

impl Chunk {
    fn members(&self) -> Vec<u8> {
        let name = format!("Ref:{}/{:08}", self.disk, self.number);
        let xxhash = format!("{:016X}", xxh64(&self.bytes, 0));
        let (extension, text) = match self.sum {
            Sum::Missing => return member(&name, &self.bytes),
            Sum::Xxhash => ("xxhash", xxhash),
            Sum::OtherCase => ("xxhash", xxhash.to_lowercase() + "\n"),
            Sum::Sha1 => ("checksum", Sha1::digest(&self.bytes).iter().map(|byte| format!("{byte:02x}")).collect()),
            Sum::Wrong => ("xxhash", format!("{:016X}", xxh64(&self.bytes, 0) ^ 1)),
            Sum::OfAnother => return [member(&name, &self.bytes), member("Ref:9/00000000.xxhash", b"0")].concat(),
        };
        [member(&name, &self.bytes), member(&format!("{name}.{extension}"), text.as_bytes())].concat()
    }

    /// Whether its bytes may be passed on.
    fn may_pass(&self) -> bool {
        self.sum != Sum::Wrong
    }
}

impl Other {
    fn member(self, size: u8) -> Vec<u8> {
        let name = match self {
            Self::Folder => "Ref:0/",
            Self::File => "README",
            Self::StrayChecksum => "Ref:9/00000000.xxhash",
            Self::Metadata => "ova.xml",
            Self::Table => "checksum.xml",
        };
        member(name, &vec![b'x'; size.into()])
    }
}

/// The expected result, computed without the library.
struct Model<'a> {
    disks: Vec<u64>,
    /// The chunks by tag with their positions, up to the first invalid one.
    chunks: BTreeMap<u32, (&'a Chunk, u64)>,
    ends: Vec<u64>,
    /// Whether all chunks have a valid position.
    possible: bool,
    seen: Mutex<BTreeMap<u32, usize>>,
    serious: AtomicBool,
}

impl<'a> Model<'a> {
    fn new(disks: &[u64], members: &'a [Planned]) -> Self {
        let mut chunks = BTreeMap::new();
        let mut ends = vec![0_u128; disks.len()];
        let mut next = vec![0_u128; disks.len()];
        let mut unit = None;
        let mut possible = true;
        for (tag, planned) in (1..).zip(members) {
            let Planned::Chunk(chunk) = planned else { continue };
            let length = chunk.bytes.len() as u128;
            let Some(size) = disks.get(chunk.disk).map(|size| u128::from(*size)) else {
                possible = false;
                break;
            };
            let (number, end) = (u128::from(chunk.number), ends[chunk.disk]);
            let gap = number.checked_sub(next[chunk.disk]);
            let offset = gap.map(|gap| end + gap * unit.unwrap_or(length.max(MIB.into())));
            let fits = |offset: &u128| *offset < size || *offset == size && length == 0;
            let Some(offset) = offset.filter(fits).filter(|_| length <= 8 * u128::from(MIB)) else {
                possible = false;
                break;
            };
            if length > 0 {
                // The last chunk of a disk may be smaller.
                let told = if offset + length < size { length } else { length.max(MIB.into()) };
                unit.get_or_insert(told);
            }
            chunks.insert(tag, (chunk, offset as u64));
            next[chunk.disk] = number + 1;
            ends[chunk.disk] = size.min(offset + length);
        }
        let ends = ends.into_iter().map(|end| end as u64).collect();
        let (seen, serious) = (Mutex::default(), AtomicBool::new(false));
        Self { disks: disks.to_vec(), chunks, ends, possible, seen, serious }
    }

    /// Whether all disks are complete, valid and protected.
    fn is_whole(&self) -> bool {
        let right = |(chunk, offset): &(&Chunk, u64)| {
            let beyond = (self.disks[chunk.disk] - offset).min(chunk.bytes.len() as u64) as usize;
            let rest = chunk.bytes[beyond..].iter().all(|byte| *byte == 0);
            rest && matches!(chunk.sum, Sum::Xxhash | Sum::Sha1 | Sum::OtherCase)
        };
        self.possible && self.ends == self.disks && self.chunks.values().all(right)
    }

    fn compare(&self, reached: &Option<Vec<u64>>) {
        let Some(reached) = reached else { return };
        // Without a failure, the archive was read to its end.
        assert!(self.possible, "an impossible place was accepted");
        assert_eq!(*reached, self.ends);
        let seen = self.seen.lock().expect("nobody panicked");
        for (tag, (chunk, offset)) in &self.chunks {
            let on_disk = (self.disks[chunk.disk] - offset).min(chunk.bytes.len() as u64);
            let wanted = chunk.may_pass() && chunk.bytes.len() >= 4 && on_disk >= 4;
            assert_eq!(seen.contains_key(tag), wanted, "chunk {tag}");
        }
        assert!(self.is_whole() || self.serious.load(Ordering::Relaxed), "damage was not told");
    }
}

impl DiskSink for Model<'_> {
    type Error = Error;

    fn begin(&self, _: &Appliance, _: &[ExpectedDisk]) -> Result<()> {
        Ok(())
    }

    fn write(&self, disk: usize, offset: u64, pieces: &[&[u8]]) -> Result<()> {
        let bytes = pieces.concat();
        assert!(offset + bytes.len() as u64 <= self.disks[disk], "beyond the end of the disk");
        // Too small for a tag.
        let Some(tag) = bytes.first_chunk().map(|tag| u32::from_le_bytes(*tag)) else { return Ok(()) };
        let (chunk, place) = self.chunks.get(&tag).expect("a chunk without a place was handed on");
        assert!(chunk.may_pass(), "its checksum is wrong");
        assert_eq!((disk, offset), (chunk.disk, *place));
        assert!(chunk.bytes.starts_with(&bytes), "its bytes are others");
        let before = self.seen.lock().expect("nobody panicked").insert(tag, disk);
        assert_eq!(before, None, "it was handed on twice");
        Ok(())
    }

    fn defect(&self, defect: Defect) -> Result<()> {
        self.serious.fetch_or(defect.severity != Severity::Harmless, Ordering::Relaxed);
        Ok(())
    }
}

/// An `ova.xml` with disks of these sizes.
fn ova(disks: &[u64], old: bool) -> String {
    let mut objects = object("VM", "Ref:vm", &[("name_label", "vm")]);
    for (index, size) in disks.iter().enumerate() {
        let (vdi, size) = (format!("Ref:{index}"), size.to_string());
        objects += &object("VBD", &format!("Ref:vbd{index}"), &[("VM", "Ref:vm"), ("VDI", &vdi), ("type", "Disk")]);
        objects += &object("VDI", &vdi, &[("virtual_size", &size)]);
    }
    let version = structure(&[("export_vsn", if old { "1" } else { "2" })]);
    format!(
        "<value><struct><member><name>version</name>{version}</member>\
         <member><name>objects</name><value><array><data>{objects}</data></array></value></member></struct></value>"
    )
}

fn object(class: &str, id: &str, fields: &[(&str, &str)]) -> String {
    let fields = structure(fields);
    format!(
        "<value><struct><member><name>class</name><value>{class}</value></member>\
         <member><name>id</name><value>{id}</value></member>\
         <member><name>snapshot</name>{fields}</member></struct></value>"
    )
}

fn structure(fields: &[(&str, &str)]) -> String {
    let mut members = String::new();
    for (name, value) in fields {
        write!(members, "<member><name>{name}</name><value>{value}</value></member>").expect("there is memory");
    }
    format!("<value><struct>{members}</struct></value>")
}

/// A member of a tar archive.
fn member(name: &str, data: &[u8]) -> Vec<u8> {
    let mut header = [0; BLOCK];
    header[..name.len()].copy_from_slice(name.as_bytes());
    header[124..135].copy_from_slice(format!("{:011o}", data.len()).as_bytes());
    header[148..156].fill(b' ');
    let sum: u32 = header.iter().map(|byte| u32::from(*byte)).sum();
    header[148..155].copy_from_slice(format!("{sum:06o}\0").as_bytes());
    let mut bytes = [&header, data].concat();
    bytes.resize(bytes.len().next_multiple_of(BLOCK), 0);
    bytes
}
