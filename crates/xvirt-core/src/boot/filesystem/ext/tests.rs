//! Fast commits: built by hand, and as this host's kernel writes and replays them.

use std::fs;
use std::path::Path;
use std::process::Command;

use super::super::tests::{contents, read};
use super::super::{Contents, Kind};
use super::fast_commit::checksum_of;
use crate::boot::testing::*;
use crate::boot::window::le32;

const BLOCK: usize = 1024;

/// The number of the transaction that the fast commits of the image would become.
const SEQUENCE: u32 = 77;

/// A file system that was not unmounted, and whose journal has no transaction.
struct Unclean {
    image: Vec<u8>,
    /// The first byte of the area for fast commits.
    area: usize,
    folder: tempfile::TempDir,
}

impl Unclean {
    fn new(entries: &[Entry<'_>]) -> Option<Self> {
        let image = ext(&["-t", "ext4", "-b", "1024", "-O", "fast_commit"], 16, entries)?;
        let folder = scratch();
        fs::write(folder.path().join("image"), &image).unwrap();
        let mut unclean = Self { image, area: 0, folder };
        let journal =
            unclean.debugfs("blocks <8>")?.split_whitespace().next().unwrap().parse::<usize>().unwrap() * BLOCK;
        let whole = u32::from_be_bytes(*unclean.image[journal + 16..].first_chunk().unwrap());
        let fast = u32::from_be_bytes(*unclean.image[journal + 0x54..].first_chunk().unwrap());
        assert!(fast > 4 && fast < whole, "{fast} of {whole}");
        // The blocks of so small a journal are in sequence, and the first one after the log is not used.
        unclean.area = journal + (whole - fast + 1) as usize * BLOCK;
        let mut put = |at: usize, value: u32| unclean.image[at..at + 4].copy_from_slice(&value.to_be_bytes());
        put(journal + 24, SEQUENCE);
        put(journal + 28, 1);
        put(journal + 40, 0x20);
        unclean.image[1024 + 0x60] |= 4;
        Some(unclean)
    }

    fn debugfs(&self, request: &str) -> Option<String> {
        tool("debugfs", &["-R", request, self.folder.path().join("image").to_str().unwrap()])
    }

    /// The number of an inode, and its first block.
    fn place(&self, path: &str) -> (u32, u32) {
        let stat = self.debugfs(&format!("stat {path}")).unwrap();
        let number = stat.split_whitespace().nth(1).unwrap().parse().unwrap();
        let blocks = self.debugfs(&format!("blocks {path}")).unwrap();
        (number, blocks.split_whitespace().next().map_or(0, |block| block.parse().unwrap()))
    }

    /// The first bytes of an inode.
    fn inode(&self, path: &str) -> Vec<u8> {
        let at = self.debugfs(&format!("imap {path}")).unwrap();
        let (block, offset) = at.rsplit_once("located at block ").unwrap().1.split_once(", offset ").unwrap();
        let offset = usize::from_str_radix(offset.trim().trim_start_matches("0x"), 16).unwrap();
        let at = block.parse::<usize>().unwrap() * BLOCK + offset;
        self.image[at..at + 160].to_vec()
    }

    /// The disk with these bytes in blocks of the area.
    fn with(&self, blocks: &[Vec<u8>]) -> MemoryDisk {
        let mut image = self.image.clone();
        for (block, at) in blocks.iter().zip((self.area..).step_by(BLOCK)) {
            assert!(block.len() <= BLOCK);
            image[at..at + block.len()].copy_from_slice(block);
        }
        MemoryDisk(image)
    }
}

fn record(kind: u16, contents: &[&[u8]]) -> Vec<u8> {
    let contents = contents.concat();
    [&kind.to_le_bytes(), &(contents.len() as u16).to_le_bytes(), contents.as_slice()].concat()
}

fn head(sequence: u32) -> Vec<u8> {
    record(9, &[&[0; 4], &sequence.to_le_bytes()])
}

/// A record about a name in a directory.
fn name(kind: u16, directory: u32, inode: u32, name: &str) -> Vec<u8> {
    record(kind, &[&directory.to_le_bytes(), &inode.to_le_bytes(), name.as_bytes()])
}

const CREATE: u16 = 3;
const LINK: u16 = 4;
const UNLINK: u16 = 5;
const ROOT: u32 = 2;

fn add_range(inode: u32, logical: u32, length: u16, physical: u32) -> Vec<u8> {
    let extent: [&[u8]; 4] = [&logical.to_le_bytes(), &length.to_le_bytes(), &[0; 2], &physical.to_le_bytes()];
    record(1, &[&inode.to_le_bytes(), &extent.concat()])
}

/// A block with these records, and a tail with their checksum that fills it.
fn commit(records: &[Vec<u8>], sequence: u32) -> Vec<u8> {
    let mut block = records.concat();
    let left = BLOCK - block.len() - 4;
    block.extend(record(8, &[&sequence.to_le_bytes()]));
    let at = block.len() - 6;
    block[at..at + 2].copy_from_slice(&(left as u16).to_le_bytes());
    let sum = checksum_of(0, &block);
    block.extend(sum.to_le_bytes());
    block.resize(BLOCK, 0);
    block
}

#[test]
fn fast_commits_are_replayed() {
    let (old, other) = (vec![b'o'; 3000], vec![b'n'; 3000]);
    let entries = [File("/config", &old), File("/other", &other), File("/gone", b"x"), File("/dir/inside", b"y")];
    let Some(unclean) = Unclean::new(&entries) else { return };
    let ((config, _), (other_number, other_block), (gone, _)) =
        (unclean.place("/config"), unclean.place("/other"), unclean.place("/gone"));
    let (directory, _) = unclean.place("/dir");
    let mut longer = unclean.inode("/config");
    longer[4..8].copy_from_slice(&5000u32.to_le_bytes());
    // What the block map would be is not in the record.
    longer[0x28..0x64].fill(0xff);
    let mut made = longer.clone();
    made[4..8].copy_from_slice(&1024u32.to_le_bytes());
    let mut made_directory = unclean.inode("/dir");
    made_directory[0x28..0x64].fill(0xff);
    let (new_file, new_directory) = (60u32, 61u32);
    let first = commit(
        &[
            head(SEQUENCE),
            record(6, &[&config.to_le_bytes(), &longer]),
            add_range(config, 1, 2, other_block),
            // Unwritten: it reads as zeroes.
            add_range(config, 4, 32768 + 1, other_block),
            name(UNLINK, ROOT, gone, "gone"),
            name(LINK, directory, other_number, "link"),
        ],
        SEQUENCE,
    );
    // A commit of two blocks.
    let mut padded = [record(6, &[&new_file.to_le_bytes(), &made]), add_range(new_file, 0, 1, other_block)].concat();
    let padding = BLOCK - padded.len() - 4;
    padded.extend(record(7, &[&vec![0; padding]]));
    let records = [
        name(CREATE, ROOT, new_file, "made"),
        record(6, &[&new_directory.to_le_bytes(), &made_directory]),
        // Its block was never written.
        add_range(new_directory, 0, 1, other_block),
        name(CREATE, ROOT, new_directory, "folder"),
        name(LINK, new_directory, new_file, "a"),
        name(LINK, new_directory, new_file, "b"),
        name(UNLINK, new_directory, new_file, "a"),
        record(2, &[&config.to_le_bytes(), &2u32.to_le_bytes(), &1u32.to_le_bytes()]),
    ];
    let second = {
        let left = BLOCK - records.concat().len() - 4;
        let mut block = records.concat();
        block.extend([8u16.to_le_bytes(), (left as u16).to_le_bytes()].concat());
        block.extend(SEQUENCE.to_le_bytes());
        let sum = checksum_of(checksum_of(0, &padded), &block);
        block.extend(sum.to_le_bytes());
        block.resize(BLOCK, 0);
        block
    };
    let mut torn = commit(&[name(UNLINK, ROOT, config, "config")], SEQUENCE);
    torn[20] ^= 1;

    let whole = unclean.with(&[first.clone(), padded.clone(), second.clone(), torn.clone()]);
    let Contents::Files(files) = contents(&whole) else { panic!("{:?}", contents(&whole)) };
    let files = files.as_ref();
    let mut expected = vec![b'o'; 1024];
    expected.extend([b'n'; 1024]);
    expected.resize(5000, 0);
    assert!(read(files, "/config") == expected);
    assert!(read(files, "/other") == other);
    assert!(read(files, "/dir/link") == other);
    assert_eq!(read(files, "/dir/inside"), b"y");
    assert!(read(files, "/made") == [b'n'; 1024]);
    assert!(read(files, "/folder/b") == [b'n'; 1024]);
    assert_eq!(files.list("/folder").unwrap(), ["b"]);
    assert_eq!(files.metadata("/folder").unwrap().kind, Kind::Directory);
    assert_eq!(files.metadata("/gone").unwrap_err().kind(), std::io::ErrorKind::NotFound);
    let mut names = files.list("/").unwrap();
    names.sort();
    assert_eq!(names, ["config", "dir", "folder", "lost+found", "made", "other"]);

    // The second commit is not whole: only the first one counts.
    let mut half = second.clone();
    half[4] ^= 1;
    for cut in [vec![first.clone()], vec![first.clone(), padded, half], vec![first.clone(), vec![0; BLOCK]]] {
        let disk = unclean.with(&cut);
        let Contents::Files(files) = contents(&disk) else { panic!("{:?}", contents(&disk)) };
        assert_eq!(files.metadata("/made").unwrap_err().kind(), std::io::ErrorKind::NotFound);
        assert_eq!(files.metadata("/gone").unwrap_err().kind(), std::io::ErrorKind::NotFound);
        assert!(read(files.as_ref(), "/config")[1024..3072] == [b'n'; 2048]);
    }

    // Left over from an earlier transaction, or torn from the start.
    let earlier = commit(&[head(SEQUENCE - 1), name(UNLINK, ROOT, gone, "gone")], SEQUENCE - 1);
    let mut broken = first.clone();
    broken[30] ^= 1;
    let headless = commit(&[name(UNLINK, ROOT, gone, "gone")], SEQUENCE);
    for nothing in [earlier, broken, headless, torn] {
        let disk = unclean.with(&[nothing]);
        let Contents::Files(files) = contents(&disk) else { panic!("{:?}", contents(&disk)) };
        assert!(read(files.as_ref(), "/config") == old);
        assert_eq!(read(files.as_ref(), "/gone"), b"x");
    }

    let future = commit(&[record(9, &[&1u32.to_le_bytes(), &SEQUENCE.to_le_bytes()])], SEQUENCE);
    let disk = unclean.with(&[future]);
    let Contents::Unreadable(why) = contents(&disk) else { panic!() };
    assert_eq!(why.to_string(), "the ext4 file system has fast commits with unsupported features");
}

#[test]
fn a_journal_on_another_device_is_named() {
    let Some(mut image) = ext(&["-t", "ext4", "-O", "^has_journal"], 8, &[File("/config", b"old")]) else { return };
    assert!(matches!(contents(&MemoryDisk(image.clone())), Contents::Files(_)));
    image[1024 + 0x60] |= 4;
    let disk = MemoryDisk(image);
    let Contents::Unreadable(why) = contents(&disk) else { panic!() };
    assert_eq!(
        why.to_string(),
        "the ext file system was not unmounted, and its journal, which is on another device, is not applied"
    );
}

/// Records of any kind, damaged in any way, cost no more than their number.
#[test]
fn damaged_fast_commits_do_no_harm() {
    let Some(unclean) = Unclean::new(&[File("/config", &[b'o'; 3000]), File("/dir/inside", b"y")]) else { return };
    let (config, block) = unclean.place("/config");
    let inode = unclean.inode("/config");
    let mut random = Random::new(8);
    for _ in 0..400 {
        let mut records = vec![head(SEQUENCE)];
        for _ in 0..random.below(8) {
            let number = [config, ROOT, 0, u32::MAX, 60][random.below(5)];
            let far = [0, 1, 7, u32::MAX][random.below(4)];
            records.push(match random.below(5) {
                0 => record(6, &[&number.to_le_bytes(), &inode]),
                1 => add_range(number, far, random.below(65536) as u16, [block, 0, u32::MAX][random.below(3)]),
                2 => record(2, &[&number.to_le_bytes(), &far.to_le_bytes(), &u32::MAX.to_le_bytes()]),
                kind => name(kind as u16, number, [config, ROOT, 0, u32::MAX][random.below(4)], "config"),
            });
        }
        let at = random.below(records.len());
        if let Some(byte) = records[at].get_mut(4 + random.below(8)) {
            *byte = random.byte();
        }
        let disk = unclean.with(&[commit(&records, SEQUENCE)]);
        let Contents::Files(files) = contents(&disk) else { continue };
        for path in ["/", "/config", "/config/config/config", "/dir/inside"] {
            let _ = files.list(path);
            let _ = files.metadata(path);
            let _ = files.read(path, 0, &mut [0; 5000]);
        }
    }
}

/// Changes files of a mounted file system as `$1/image`, copies the disk as after a hard stop, and what the kernel reads
/// there after its replay. Exits with 77 if it cannot mount.
const CHANGES: &str = r#"
cd "$1" && mkdir m r tree && truncate -s 64M image && mke2fs -q -F -t ext4 -O fast_commit image || exit 1
mount -o loop image m 2>/dev/null || exit 77
set -e
mkdir -p m/boot/grub m/old
echo old >m/boot/grub/grub.cfg; echo K1 >m/boot/k1; seq 20000 >m/long; seq 9000 >m/cut; echo x >m/old/moved
sync; umount m; mount -o loop image m
echo K2 >m/boot/k2; sync m/boot/k2
echo new >m/boot/grub/new; sync m/boot/grub/new; mv m/boot/grub/new m/boot/grub/grub.cfg; sync m/boot/grub/grub.cfg
seq 20000 40000 >>m/long; sync m/long
truncate -s 10000 m/cut; sync m/cut
ln m/boot/k1 m/boot/linked; sync m/boot/linked
rm m/boot/k1; echo y >m/boot/other; sync m/boot/other
mkdir m/boot/folder; echo z >m/boot/folder/file; sync m/boot/folder/file
mv m/old/moved m/boot/moved; sync m/boot/moved
dd if=/dev/zero of=m/holes bs=1 count=1 seek=300000 2>/dev/null; sync m/holes
cp --sparse=always image dirty; cp --sparse=always dirty replayed
mount -o loop replayed r
cp -a r/. tree
umount r; umount m
"#;

/// The paths of a folder's files and folders, in order.
fn walk(folder: &Path, below: &str, found: &mut Vec<String>) {
    for entry in fs::read_dir(folder.join(below)).unwrap() {
        let entry = entry.unwrap();
        let path = format!("{below}{}", entry.file_name().to_str().unwrap());
        if entry.file_type().unwrap().is_dir() {
            walk(folder, &format!("{path}/"), found);
        }
        found.push(path);
    }
    found.sort();
}

#[test]
fn fast_commits_of_the_kernel_are_replayed_as_it_does() {
    let folder = scratch();
    // In a mount namespace of its own, so that nothing stays mounted.
    let shell = ["--mount", "sh", "-c", CHANGES, "sh", folder.path().to_str().unwrap()];
    let output = match Command::new("unshare").args(shell).output() {
        Ok(output) if output.status.code() == Some(0) => output,
        Ok(output)
            if output.status.code() == Some(77) || String::from_utf8_lossy(&output.stderr).contains("unshare") =>
        {
            println!("SKIPPED fast_commits_of_the_kernel_are_replayed_as_it_does: cannot mount ext4 on a loop device");
            return;
        }
        output => panic!("{output:?}"),
    };
    assert!(output.stderr.is_empty(), "{}", String::from_utf8_lossy(&output.stderr));
    let disk = MemoryDisk(fs::read(folder.path().join("dirty")).unwrap());
    assert!(le32(&disk.0, 1024 + 0x60) & 4 != 0, "the file system needs no recovery");
    let Contents::Files(files) = contents(&disk) else { panic!("{:?}", contents(&disk)) };
    let tree = folder.path().join("tree");
    let mut paths = Vec::new();
    walk(&tree, "", &mut paths);
    assert!(paths.len() > 10, "{paths:?}");
    for path in &paths {
        let at = tree.join(path);
        if at.is_dir() {
            let mut expected: Vec<_> =
                fs::read_dir(&at).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
            let mut found = files.list(path).unwrap();
            expected.sort();
            found.sort();
            assert_eq!(found, expected, "{path}");
        } else {
            assert!(read(files.as_ref(), path) == fs::read(&at).unwrap(), "{path}");
        }
    }
    assert_eq!(read(files.as_ref(), "/boot/grub/grub.cfg"), b"new\n");
}
