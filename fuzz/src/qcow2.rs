//! qcow2 images for fuzzing, and their folder.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::fs;
use std::mem::MaybeUninit;
use std::ops::Range;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use arbitrary::Arbitrary;
use rustix::fs::inotify::{self, CreateFlags, WatchFlags};
use rustix::io::Errno;

/// The unit of disk sizes in bytes.
pub const SECTOR: u64 = 512;

const OFFSET: u64 = 0x00ff_ffff_ffff_fe00;
const DIRTY: u64 = 1 << 0;

thread_local! {
    static FOLDER: RefCell<Option<Folder>> = const { RefCell::new(None) };
}

/// A folder in memory for this process, with an image, an allowed backing file, and a forbidden one.
pub struct Folder {
    path: PathBuf,
    image: PathBuf,
    watch: OwnedFd,
}

impl Folder {
    /// Calls `work` with this thread's folder.
    pub fn with<T>(work: impl FnOnce(&Self) -> T) -> T {
        FOLDER.with_borrow_mut(|folder| work(folder.get_or_insert_with(Self::new)))
    }

    fn new() -> Self {
        let shm = Path::new("/dev/shm");
        let parent = if shm.is_dir() { shm.to_owned() } else { std::env::temp_dir() };
        let path = parent.join(format!("xvirt-fuzz-qcow2-{}", std::process::id()));
        fs::create_dir_all(&path).expect("a folder can be made");
        let (base, canary) = (path.join("base"), path.join("canary"));
        fs::write(&base, [0xba; 128 << 10]).expect("there is memory");
        fs::write(&canary, [0xca; 128 << 10]).expect("there is memory");
        let watch = inotify::init(CreateFlags::NONBLOCK).expect("files can be watched");
        let changes = WatchFlags::MODIFY | WatchFlags::ATTRIB | WatchFlags::DELETE_SELF | WatchFlags::MOVE_SELF;
        inotify::add_watch(&watch, &base, changes).expect("files can be watched");
        let uses = changes | WatchFlags::OPEN | WatchFlags::ACCESS;
        inotify::add_watch(&watch, &canary, uses).expect("files can be watched");
        Self { image: path.join("image"), path, watch }
    }

    /// The path of the image.
    pub fn image(&self) -> &Path {
        &self.image
    }

    /// The header of an image with the forbidden backing file.
    pub fn header() -> Vec<u8> {
        let mut header = Image(vec![0; SECTOR as usize]);
        for (at, value) in [
            (0, 0x5146_49fb_0000_0003),
            (8, 112),
            (16, 6 << 32 | 9),
            (24, 64 << 10),
            (32, 2),
            (40, 3 * SECTOR),
            (48, SECTOR),
            (56, 1 << 32),
            (96, 4 << 32 | 104),
        ] {
            header.set(at, value);
        }
        header.0[112..118].copy_from_slice(b"canary");
        header.0
    }

    /// Checks that only the image was changed, and only what it may be based on was opened.
    pub fn is_as_before(&self) {
        let mut buffer = [MaybeUninit::uninit(); 512];
        match inotify::Reader::new(&self.watch, &mut buffer).next() {
            Err(Errno::AGAIN) => {}
            Err(error) => panic!("files cannot be watched: {error}"),
            Ok(event) => panic!("another file than the image was used: {:?}", event.events()),
        }
        let mut names = fs::read_dir(&self.path)
            .expect("the folder is there")
            .map(|entry| entry.expect("the folder can be read").file_name())
            .collect::<Vec<_>>();
        names.sort();
        assert_eq!(names, ["base", "canary", "image"]);
    }
}

/// The bytes of an image, valid or not.
pub struct Image(pub Vec<u8>);

impl Image {
    fn get(&self, at: u64) -> Option<u64> {
        let bytes = self.0.get(usize::try_from(at).ok()?..)?.first_chunk()?;
        Some(u64::from_be_bytes(*bytes))
    }

    fn get_or_zero(&self, at: u64) -> u64 {
        self.get(at).unwrap_or_default()
    }

    /// An offset that is small enough for additions.
    fn pointer(&self, at: u64) -> u64 {
        self.get_or_zero(at) & OFFSET
    }

    fn get_u32(&self, at: u64) -> u64 {
        self.get_or_zero(at) >> 32
    }

    fn set(&mut self, at: u64, value: u64) {
        self.set_bytes(at, &value.to_be_bytes());
    }

    fn set_bytes(&mut self, at: u64, bytes: &[u8]) {
        let start = usize::try_from(at).unwrap_or(usize::MAX);
        if let Some(place) = self.0.get_mut(start..start.saturating_add(bytes.len())) {
            place.copy_from_slice(bytes);
        }
    }

    fn cluster_bits(&self) -> u32 {
        self.get_u32(20).clamp(9, 21) as u32
    }

    /// Whether its writer has not closed it.
    pub fn is_dirty(&self) -> bool {
        self.get_or_zero(72) & DIRTY != 0
    }

    /// Whether opening it for writing changes its header.
    pub fn has_autoclear_features(&self) -> bool {
        self.get_or_zero(88) != 0
    }

    /// Removes the name of the backing file unless it is `base`.
    pub fn forget_backing_file(&mut self) {
        let (at, length) = (self.get_or_zero(8), self.get_u32(16));
        let range = usize::try_from(at).ok().zip(at.checked_add(length).and_then(|end| usize::try_from(end).ok()));
        if range.and_then(|(from, to)| self.0.get(from..to)) != Some(b"base") {
            self.set(8, 0);
        }
    }

    /// The non-zero entries of a table.
    fn entries(&self, at: u64, count: u64) -> impl Iterator<Item = (u64, u64)> {
        let table = usize::try_from(at).ok().and_then(|at| self.0.get(at..)).unwrap_or_default();
        let entries = table.as_chunks().0.iter().map(|entry| u64::from_be_bytes(*entry));
        (0..count).zip(entries).filter(|(_, entry)| *entry != 0)
    }

    fn l1(&self) -> impl Iterator<Item = (u64, u64)> {
        self.entries(self.get_or_zero(40), self.get_u32(36))
    }

    /// All L2 entries, by the disk offsets that they map.
    fn mappings(&self) -> BTreeMap<u64, u64> {
        let bits = self.cluster_bits();
        let in_table = 1 << (bits - 3);
        let tables = self.l1().filter(|(_, entry)| entry & OFFSET != 0).flat_map(|(table, entry)| {
            let entries = self.entries(entry & OFFSET, in_table);
            entries.map(move |(index, entry)| ((table * in_table + index) << bits, entry))
        });
        tables.collect()
    }

    /// The ranges of tables that only snapshots use: the snapshot table, and the snapshots' L1 and L2 tables.
    fn tables_of_snapshots(&self) -> Vec<Range<u64>> {
        let (count, start) = (self.get_u32(60), self.get_or_zero(64));
        let mut tables = Vec::new();
        let mut at = start;
        for _ in 0..count {
            let (l1, entries) = (self.get_or_zero(at), self.get_u32(at + 8));
            tables.push(l1..l1 + entries * 8);
            let l2_tables = self.entries(l1, entries).map(|(_, entry)| entry & OFFSET).filter(|offset| *offset != 0);
            tables.extend(l2_tables.map(|offset| offset..offset + (1 << self.cluster_bits())));
            let strings = (self.get_or_zero(at + 8) >> 16 & 0xffff) + (self.get_or_zero(at + 8) & 0xffff);
            at = (at + 40 + strings + self.get_u32(at + 36)).next_multiple_of(8);
        }
        tables.push(start..at);
        tables
    }

    /// Checks that the metadata has changed only where the addressed ranges of the disk require it.
    pub fn compare_with(&self, after: &Self, addressed: &[Range<u64>]) {
        let same = |what: &str, range: Range<u64>| {
            let range = range.start as usize..(range.end as usize).min(self.0.len());
            assert!(self.0.get(range.clone()) == after.0.get(range.clone()), "{what} at {range:x?} has changed");
        };
        same("the header", 0..8);
        same("the header", 20..24);
        same("the header", 32..36);
        same("the header", 60..72);
        same("the header", 80..88);
        same("the header", 96..100);
        assert_eq!(after.get(72), Some(0), "the image is not closed");
        assert_eq!(after.get(88), Some(0), "an automatic feature is still there");
        if !self.has_autoclear_features() {
            same("the header", 8..20);
            same("the header", 100..1 << self.cluster_bits());
        }
        for table in self.tables_of_snapshots() {
            same("a table of a snapshot", table);
        }
        let (before, after) = (self.mappings(), after.mappings());
        let size = 1 << self.cluster_bits();
        for offset in before.keys().chain(after.keys()) {
            let cluster = *offset..*offset + size;
            let is_addressed = addressed.iter().any(|range| range.start < cluster.end && cluster.start < range.end);
            let same = before.get(offset) == after.get(offset);
            assert!(is_addressed || same, "the mapping of {offset:#x} has changed");
        }
    }
}

/// A change of an image in a significant place.
#[derive(Arbitrary, Debug)]
pub enum Mutation {
    Header { field: u8, value: u8 },
    Refcount { cluster: u8, value: u8 },
    RefcountTable { index: u8, entry: Entry },
    L1 { index: u8, entry: Entry },
    L2 { table: u8, index: u8, entry: Entry },
    Snapshot { at: u8, value: u8 },
    SnapshotL1 { index: u8, entry: Entry },
}

/// An entry of a table.
#[derive(Arbitrary, Debug)]
pub struct Entry {
    cluster: u8,
    flags: u8,
}

impl Entry {
    fn value(&self, bits: u32) -> u64 {
        let flags = [1, 1 << 63, 1 << 62, 1 << 61, 1 << (70 - bits), 0x200, 2, 1 << 40];
        let chosen = (0..8).filter(|bit| self.flags >> bit & 1 != 0).filter_map(|bit| flags.get(bit));
        chosen.fold(u64::from(self.cluster) << bits, |entry, flag| entry | flag)
    }
}

impl Mutation {
    /// Applies the change to an image.
    pub fn apply(&self, image: &mut Image) {
        let bits = image.cluster_bits();
        let refcount_table = image.pointer(48);
        match self {
            Self::Header { field, value } => image.set_bytes(u64::from(*field % 112), &[*value]),
            Self::Refcount { cluster, value } => {
                let order = image.get_u32(96).min(6);
                let at = image.pointer(refcount_table) + (u64::from(*cluster) << order) / 8;
                // Its lowest byte.
                image.set_bytes(at + ((1 << order) / 8_u64).saturating_sub(1), &[*value]);
            }
            Self::RefcountTable { index, entry } => {
                image.set(refcount_table + u64::from(*index % 4) * 8, entry.value(bits));
            }
            Self::L1 { index, entry } => {
                image.set(image.pointer(40) + u64::from(*index % 8) * 8, entry.value(bits));
            }
            Self::L2 { table, index, entry } => {
                let table = image.l1().nth(usize::from(*table % 4)).map_or(0, |(_, entry)| entry & OFFSET);
                image.set(table + u64::from(*index) * 8 % (1 << bits), entry.value(bits));
            }
            Self::Snapshot { at, value } => {
                image.set_bytes(image.pointer(64) + u64::from(*at % 64), &[*value]);
            }
            Self::SnapshotL1 { index, entry } => {
                let l1 = image.pointer(image.pointer(64));
                image.set(l1 + u64::from(*index % 8) * 8, entry.value(bits));
            }
        }
    }
}
