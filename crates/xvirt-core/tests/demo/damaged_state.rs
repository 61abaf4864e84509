//! Damaged files of saved state: each is refused with a typed error, or resumed if what it says can be done.

use std::fs::{self, File};
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use xvirt_core::config::{Boot, ByteSize, Disk};
use xvirt_core::demo::{self, CommandLine, Mode};
use xvirt_core::disk::{self, ImageFormat};
use xvirt_core::host::Host;
use xvirt_core::vm::SuspendedVm;
use xvirt_core::{ErrorKind, Result};
use xvirt_testing::random::Random;

use crate::host;
use crate::support::{Guest, config};

/// How many mutated files are resumed, unless `XVIRT_DAMAGED_STATES` says otherwise.
const FILES: u64 = 60;
/// See docs/snapshot-format.md.
const HEADER: usize = 4096;
const TABLE: usize = 64;
const ENTRY: usize = 32;
const MEMORY: u32 = 5;
/// Longer than opening and resuming one takes, even on a busy machine.
const LONG: Duration = Duration::from_secs(20);

/// Saved state of a small VM, whole and in parts.
struct Saved {
    path: PathBuf,
    /// The whole file.
    bytes: Vec<u8>,
    /// Number in the table and place of each body but memory.
    bodies: Vec<(usize, Range<usize>)>,
    memory: Range<usize>,
}

fn number<const N: usize>(bytes: &[u8], at: usize) -> u64 {
    bytes[at..at + N].iter().rev().fold(0, |number, byte| number << 8 | u64::from(*byte))
}

fn saved(folder: &Path, host: &Host) -> Saved {
    let disk = folder.join("disk");
    disk::create(&disk, ImageFormat::Raw, 1 << 20).unwrap();
    let line = CommandLine::new([Mode::Smp, Mode::Counter]).start(0x60_0000).pages(20).every(1);
    let kernel = folder.join("kernel");
    fs::write(&kernel, demo::kernel()).unwrap();
    let config = config(&line).boot(Boot::kernel(kernel).command_line(line.to_string()));
    let config = config.memory(ByteSize::mib(8)).vcpus(2).disk(Disk::raw(disk).read_only());
    let mut guest = Guest::start(config, host).unwrap();
    guest.expect("pass");
    let path = folder.join("saved");
    guest.vm.suspend(&path, &()).unwrap();
    let bytes = fs::read(&path).unwrap();
    let (mut bodies, mut memory) = (Vec::new(), 0..0);
    for entry in 0..number::<2>(&bytes, 14) as usize {
        let at = TABLE + entry * ENTRY;
        let start = number::<8>(&bytes, at + 8) as usize;
        let place = start..start + number::<8>(&bytes, at + 16) as usize;
        match number::<4>(&bytes, at) as u32 {
            MEMORY => memory = place,
            _ => bodies.push((entry, place)),
        }
    }
    let path = folder.join("damaged");
    Saved { path, bytes, bodies, memory }
}

impl Saved {
    /// Opens and resumes a file with these bytes.
    fn resume(&self, bytes: &[u8], host: &Host) -> Result<()> {
        let file = File::create(&self.path).unwrap();
        file.set_len(bytes.len() as u64).unwrap();
        // Memory is mostly zeroes.
        for (at, chunk) in
            (0..).step_by(4096).zip(bytes.chunks(4096)).filter(|(_, chunk)| chunk.iter().any(|b| *b != 0))
        {
            file.write_all_at(chunk, at).unwrap();
        }
        let vm = SuspendedVm::open(&self.path)?.build(host)?;
        vm.resume(&())?;
        vm.hard_shutdown()
    }

    fn refused(&self, bytes: &[u8], host: &Host, what: &str) {
        let error = self.resume(bytes, host).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::CorruptState, "{what}: {error}");
    }
}

/// Corrects the checksums of a body and the header.
fn correct(bytes: &mut [u8], entry: usize, body: Range<usize>) {
    let checksum = crc32c::crc32c(&bytes[body]);
    bytes[TABLE + entry * ENTRY + 24..][..4].copy_from_slice(&checksum.to_le_bytes());
    let checksum = crc32c::crc32c(&bytes[..HEADER - 4]);
    bytes[HEADER - 4..HEADER].copy_from_slice(&checksum.to_le_bytes());
}

#[test]
fn a_file_that_is_cut_off_or_has_another_header_is_refused() {
    let host = host!();
    let folder = tempfile::tempdir_in("/dev/shm").unwrap();
    let saved = saved(folder.path(), &host);
    let ends = saved.bodies.iter().flat_map(|(_, body)| [body.start, body.end]);
    let ends = ends.chain([saved.memory.start, saved.memory.end, HEADER, saved.bytes.len()]);
    for end in ends.flat_map(|end| [end - 1, end, end + 1]).filter(|end| *end < saved.bytes.len()) {
        saved.refused(&saved.bytes[..end], &host, &format!("cut off at {end}"));
    }
    let mut bytes = saved.bytes.clone();
    for at in 0..HEADER {
        bytes[at] = !bytes[at];
        fs::write(&saved.path, &bytes[..HEADER + 1]).unwrap();
        let error = SuspendedVm::open(&saved.path).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::CorruptState, "byte {at} of the header: {error}");
        bytes[at] = !bytes[at];
    }
    saved.resume(&bytes, &host).unwrap();
}

#[test]
fn state_that_kvm_refuses_is_not_for_this_host() {
    let host = host!();
    let folder = tempfile::tempdir_in("/dev/shm").unwrap();
    let saved = saved(folder.path(), &host);
    let mut bytes = saved.bytes.clone();
    let key = b"\xa5xsave\xc5";
    let at = bytes.windows(key.len()).position(|part| part == key).unwrap();
    // Reserved bytes of the header of the XSAVE area (Intel SDM volume 1, section 13.4.2), behind the length.
    bytes[at + key.len() + 2 + 512 + 16..][..48].fill(0xff);
    let (entry, body) = saved.bodies.iter().find(|(_, body)| body.contains(&at)).unwrap();
    correct(&mut bytes, *entry, body.clone());
    let error = saved.resume(&bytes, &host).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::HostUnsupported, "{error}");
    assert!(error.to_string().contains("refuses the saved state") && error.remedy().is_some(), "{error}");
}

#[test]
fn mutated_files_are_refused_or_resumed() {
    let host = host!();
    let folder = tempfile::tempdir_in("/dev/shm").unwrap();
    let saved = saved(folder.path(), &host);
    let files = std::env::var("XVIRT_DAMAGED_STATES").map_or(FILES, |text| text.parse().unwrap());
    let (mut random, mut resumed) = (Random::new(files), 0);
    let expected = [
        ErrorKind::CorruptState,
        ErrorKind::UnsupportedState,
        ErrorKind::InvalidConfig,
        // When the disk was changed last is in it too.
        ErrorKind::InvalidState,
        ErrorKind::HostUnsupported,
        ErrorKind::NotFound,
        // A queue that a guest cannot have set up.
        ErrorKind::GuestFault,
    ];
    for number in 0..files {
        let mut bytes = saved.bytes.clone();
        let (entry, body) = random.pick(&saved.bodies).clone();
        for _ in 0..=random.below(3) {
            let at = body.start + random.below(body.len());
            // Also lengths that are too large.
            match random.below(3) {
                0 => bytes[at..(at + 5).min(body.end)].fill(0xff),
                1 => bytes[at] = *random.pick(&[0, 1, 0x7f, 0x80, 0xc1, 0xc6, 0xdb, 0xdd, 0xdf, 0xff]),
                _ => bytes[at] = random.byte(),
            }
        }
        correct(&mut bytes, entry, body.clone());
        let began = Instant::now();
        match saved.resume(&bytes, &host) {
            Ok(()) => resumed += 1,
            Err(error) => assert!(expected.contains(&error.kind()), "file {number}: {:?}: {error}", error.kind()),
        }
        assert!(began.elapsed() < LONG, "file {number}, in {body:?}");
    }
    println!("{resumed} of {files} resumed");
    assert!(0 < resumed && resumed < files, "{resumed}");
    // Whatever the mutated ones did, nothing else is in the way of the whole one.
    saved.resume(&saved.bytes, &host).unwrap();
}
