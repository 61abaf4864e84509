//! Test disks: real file systems created with the usual tools, and hand-written tables.

use std::fs;
use std::io;
use std::path::Path;
use std::process::Command;
use std::sync::{Mutex, PoisonError};
pub(super) use xvirt_testing::files::pattern;
pub(super) use xvirt_testing::random::Random;

use super::partition::crc32;
use crate::disk::BlockBackend;
use crate::memory::GuestSlice;

/// A disk in memory.
#[derive(Clone, Debug)]
pub(crate) struct MemoryDisk(pub(crate) Vec<u8>);

impl BlockBackend for MemoryDisk {
    fn capacity(&self) -> u64 {
        self.0.len() as u64
    }

    fn read_only(&self) -> bool {
        true
    }

    fn read(&self, buffers: &[GuestSlice<'_>], offset: u64) -> io::Result<()> {
        let mut at = usize::try_from(offset).unwrap();
        for buffer in buffers {
            let bytes = self.0.get(at..at + buffer.len()).ok_or(io::ErrorKind::UnexpectedEof)?;
            buffer.copy_from(bytes);
            at += buffer.len();
        }
        Ok(())
    }

    fn write(&self, _: &[GuestSlice<'_>], _: u64) -> io::Result<()> {
        Err(io::ErrorKind::ReadOnlyFilesystem.into())
    }

    fn flush(&self) -> io::Result<()> {
        Ok(())
    }

    fn discard(&self, _: u64, _: u64) -> io::Result<()> {
        Ok(())
    }

    fn write_zeroes(&self, _: u64, _: u64, _: bool) -> io::Result<()> {
        Err(io::ErrorKind::ReadOnlyFilesystem.into())
    }
}

/// A disk in memory that can be written.
#[derive(Debug)]
pub(crate) struct WritableDisk(Mutex<MemoryDisk>);

impl WritableDisk {
    pub(crate) fn new(disk: MemoryDisk) -> Self {
        Self(Mutex::new(disk))
    }

    pub(crate) fn bytes(&self) -> std::sync::MutexGuard<'_, MemoryDisk> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl BlockBackend for WritableDisk {
    fn capacity(&self) -> u64 {
        self.bytes().capacity()
    }

    fn read_only(&self) -> bool {
        false
    }

    fn read(&self, buffers: &[GuestSlice<'_>], offset: u64) -> io::Result<()> {
        self.bytes().read(buffers, offset)
    }

    fn write(&self, buffers: &[GuestSlice<'_>], offset: u64) -> io::Result<()> {
        let mut at = usize::try_from(offset).unwrap();
        for buffer in buffers {
            buffer.copy_to(&mut self.bytes().0[at..at + buffer.len()]);
            at += buffer.len();
        }
        Ok(())
    }

    fn flush(&self) -> io::Result<()> {
        Ok(())
    }

    fn discard(&self, _: u64, _: u64) -> io::Result<()> {
        Ok(())
    }

    fn write_zeroes(&self, _: u64, _: u64, _: bool) -> io::Result<()> {
        Err(io::ErrorKind::Unsupported.into())
    }
}

/// An entry of a test file system.
#[derive(Clone, Copy)]
pub(crate) enum Entry<'a> {
    File(&'a str, &'a [u8]),
    Link(&'a str, &'a str),
}

pub(crate) use Entry::{File, Link};

/// A text file.
pub(crate) fn text<'a>(path: &'a str, contents: &'a str) -> Entry<'a> {
    File(path, contents.as_bytes())
}

/// A temporary folder, in memory if possible, because the tools wait for the disk otherwise.
pub(crate) fn scratch() -> tempfile::TempDir {
    tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).unwrap()
}

fn fill(root: &Path, entries: &[Entry<'_>]) {
    for entry in entries {
        let (File(path, _) | Link(path, _)) = entry;
        let at = root.join(path.trim_start_matches('/'));
        fs::create_dir_all(at.parent().unwrap()).unwrap();
        match entry {
            File(_, contents) => fs::write(at, contents).unwrap(),
            Link(_, target) => std::os::unix::fs::symlink(target, at).unwrap(),
        }
    }
}

/// The output of a tool; `None`, with a message, if it is not installed.
pub(crate) fn tool(name: &str, arguments: &[&str]) -> Option<String> {
    // These exist even if the user's PATH does not contain them.
    let path = format!("{}:/usr/sbin:/sbin", std::env::var("PATH").unwrap_or_default());
    // mkfs.xfs creates such small file systems only for its own tests, which it recognizes by these variables.
    let settings = [
        ("PATH", path.as_str()),
        ("MTOOLS_SKIP_CHECK", "1"),
        ("TEST_DIR", "1"),
        ("TEST_DEV", "1"),
        ("QA_CHECK_FS", "1"),
    ];
    let output = match Command::new(name).args(arguments).envs(settings).output() {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let thread = std::thread::current();
            println!("SKIPPED {}: {name} is not installed", thread.name().unwrap_or_default());
            return None;
        }
        output => output.unwrap(),
    };
    assert!(output.status.success(), "{name} {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    Some(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// An ext file system of `mib` MiB, created by `mke2fs` with `options`.
pub(crate) fn ext(options: &[&str], mib: u64, entries: &[Entry<'_>]) -> Option<Vec<u8>> {
    let folder = scratch();
    let (root, image) = (folder.path().join("root"), folder.path().join("image"));
    fs::create_dir(&root).unwrap();
    fill(&root, entries);
    fs::File::create(&image).unwrap().set_len(mib << 20).unwrap();
    let mut arguments = vec!["-q", "-F", "-d", root.to_str().unwrap()];
    arguments.extend(options);
    arguments.push(image.to_str().unwrap());
    tool("mke2fs", &arguments)?;
    Some(fs::read(image).unwrap())
}

/// An ext4 file system with a UUID and a label.
pub(super) fn ext4(uuid: &str, label: &str, entries: &[Entry<'_>]) -> Option<Vec<u8>> {
    ext(&["-t", "ext4", "-U", uuid, "-L", label], 8, entries)
}

/// A FAT file system of `kib` KiB, created by `mkfs.vfat` with `options`.
pub(super) fn fat(options: &[&str], kib: u64, entries: &[Entry<'_>]) -> Option<Vec<u8>> {
    let folder = scratch();
    let (root, image) = (folder.path().join("root"), folder.path().join("image"));
    fs::create_dir(&root).unwrap();
    fill(&root, entries);
    fs::File::create(&image).unwrap().set_len(kib << 10).unwrap();
    let image_name = image.to_str().unwrap();
    tool("mkfs.vfat", &[options, &[image_name]].concat())?;
    for entry in fs::read_dir(&root).unwrap() {
        tool("mcopy", &["-Q", "-s", "-i", image_name, entry.unwrap().path().to_str().unwrap(), "::"])?;
    }
    Some(fs::read(image).unwrap())
}

/// An XFS of `mib` MiB, created by `mkfs.xfs` with `options`. Names must not contain spaces.
pub(super) fn xfs(options: &[&str], mib: u64, entries: &[Entry<'_>]) -> Option<Vec<u8>> {
    let folder = scratch();
    let (root, image) = (folder.path().join("root"), folder.path().join("image"));
    fs::create_dir(&root).unwrap();
    fill(&root, entries);
    let mut prototype = "/\n0 0\nd--755 0 0\n".to_owned();
    describe(&root, &mut prototype);
    let description = folder.path().join("prototype");
    fs::write(&description, prototype).unwrap();
    fs::File::create(&image).unwrap().set_len(mib << 20).unwrap();
    let mut arguments = vec!["-q", "-f", "-p", description.to_str().unwrap()];
    arguments.extend(options);
    arguments.push(image.to_str().unwrap());
    tool("mkfs.xfs", &arguments)?;
    Some(fs::read(image).unwrap())
}

/// Writes a `mkfs.xfs` prototype of a directory.
fn describe(directory: &Path, out: &mut String) {
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_str().unwrap();
        if let Ok(target) = fs::read_link(&path) {
            out.push_str(&format!("{name} l--777 0 0 {}\n", target.display()));
        } else if path.is_dir() {
            out.push_str(&format!("{name} d--755 0 0\n"));
            describe(&path, out);
        } else {
            out.push_str(&format!("{name} ---644 0 0 {}\n", path.display()));
        }
    }
    out.push_str("$\n");
}

/// A GPT disk with these partitions in order.
pub(super) fn gpt(partitions: &[&[u8]]) -> MemoryDisk {
    gpt_in_sectors(512, partitions)
}

/// A GPT disk with sectors of `size` bytes.
pub(super) fn gpt_in_sectors(size: usize, partitions: &[&[u8]]) -> MemoryDisk {
    let sectors = |bytes: usize| bytes.div_ceil(size);
    let first = (1 << 20) / size;
    let table_sectors = sectors(128 * 128);
    let total = first + partitions.iter().map(|p| sectors(p.len())).sum::<usize>() + table_sectors + 2;
    let mut disk = vec![0; total * size];
    let mut table = vec![0; 128 * 128];
    let mut at = first;
    for (entry, contents) in table.chunks_exact_mut(128).zip(partitions) {
        entry[..16].fill(0xaf);
        entry[32..40].copy_from_slice(&(at as u64).to_le_bytes());
        entry[40..48].copy_from_slice(&((at + sectors(contents.len()) - 1) as u64).to_le_bytes());
        disk[at * size..at * size + contents.len()].copy_from_slice(contents);
        at += sectors(contents.len());
    }
    for (header_at, table_at) in [(1, 2), (total - 1, total - 1 - table_sectors)] {
        let mut header = [0; 92];
        header[..8].copy_from_slice(b"EFI PART");
        header[8..12].copy_from_slice(&[0, 0, 1, 0]);
        header[12..16].copy_from_slice(&92u32.to_le_bytes());
        header[24..32].copy_from_slice(&(header_at as u64).to_le_bytes());
        header[32..40].copy_from_slice(&((total - header_at) as u64).to_le_bytes());
        header[72..80].copy_from_slice(&(table_at as u64).to_le_bytes());
        header[80..84].copy_from_slice(&128u32.to_le_bytes());
        header[84..88].copy_from_slice(&128u32.to_le_bytes());
        header[88..92].copy_from_slice(&crc32(&table).to_le_bytes());
        let crc = crc32(&header);
        header[16..20].copy_from_slice(&crc.to_le_bytes());
        disk[header_at * size..header_at * size + 92].copy_from_slice(&header);
        disk[table_at * size..table_at * size + table.len()].copy_from_slice(&table);
    }
    disk[446 + 4] = 0xee;
    disk[510..512].copy_from_slice(&[0x55, 0xaa]);
    MemoryDisk(disk)
}

/// Makes the checksums of the first table of a GPT disk right again.
pub(super) fn renew_gpt(disk: &mut [u8]) {
    let table = crc32(&disk[1024..1024 + 128 * 128]);
    disk[512 + 88..512 + 92].copy_from_slice(&table.to_le_bytes());
    disk[512 + 16..512 + 20].fill(0);
    let header = crc32(&disk[512..512 + 92]);
    disk[512 + 16..512 + 20].copy_from_slice(&header.to_le_bytes());
}

/// An MBR disk with these partitions in order.
pub(super) fn mbr(partitions: &[&[u8]]) -> MemoryDisk {
    let mut disk = vec![0; 1 << 20];
    for (slot, contents) in partitions.iter().enumerate() {
        let (first, sectors) = (disk.len() / 512, contents.len().div_ceil(512));
        let slot = 446 + slot * 16;
        disk[slot + 4] = 0x83;
        disk[slot + 8..slot + 12].copy_from_slice(&(first as u32).to_le_bytes());
        disk[slot + 12..slot + 16].copy_from_slice(&(sectors as u32).to_le_bytes());
        disk.extend_from_slice(contents);
        disk.resize((first + sectors) * 512, 0);
    }
    disk[510..512].copy_from_slice(&[0x55, 0xaa]);
    MemoryDisk(disk)
}
