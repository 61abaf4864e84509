use super::super::testing::*;
use super::super::volume::{DiskPath, Volumes};
use super::super::window::{Reads, Window, le16};
use super::*;

pub(super) fn contents(disk: &MemoryDisk) -> Contents<'_> {
    open(Window::new(disk, 0, disk.0.len() as u64, Reads::new()))
}

pub(super) fn read(files: &dyn FileSystem, path: &str) -> Vec<u8> {
    let mut bytes = vec![0xee; files.metadata(path).unwrap().length as usize];
    files.read(path, 0, &mut bytes).unwrap();
    bytes
}

/// Reads back file systems with every layout that `mke2fs` creates.
#[test]
fn ext_file_systems_are_read_back() {
    let layouts: [&[&str]; 10] = [
        &["-t", "ext2", "-b", "1024"],
        &["-t", "ext2", "-b", "4096", "-O", "^dir_index,^filetype"],
        &["-t", "ext3", "-b", "2048"],
        &["-t", "ext4", "-b", "1024"],
        &["-t", "ext4", "-b", "4096", "-O", "^64bit,^metadata_csum"],
        &["-t", "ext4", "-b", "1024", "-O", "meta_bg,^resize_inode", "-g", "1024"],
        &["-t", "ext4", "-b", "1024", "-O", "meta_bg,^resize_inode,^64bit", "-g", "512"],
        &["-t", "ext4", "-b", "4096", "-O", "bigalloc", "-C", "16384"],
        &["-t", "ext4", "-b", "65536"],
        &["-t", "ext4", "-I", "128", "-O", "large_dir,mmp,ea_inode,sparse_super2"],
    ];
    with_entries(|entries, large, sparse| {
        for options in layouts {
            let options = [options, &["-U", UUID, "-L", "a label"]].concat();
            let Some(image) = ext(&options, 48, entries) else { return };
            check_entries(&MemoryDisk(image), "a label", large, sparse, &options);
        }
    });
}

/// The same with `mkfs.xfs`.
#[test]
fn xfs_file_systems_are_read_back() {
    let layouts: [&[&str]; 6] = [
        &[],
        &["-b", "size=1024"],
        &["-m", "crc=0", "-b", "size=512", "-i", "size=256"],
        &["-m", "crc=0", "-n", "ftype=0"],
        &["-n", "size=65536", "-i", "size=2048"],
        &["-i", "nrext64=1", "-d", "agcount=4"],
    ];
    with_entries(|entries, large, sparse| {
        for options in layouts {
            let uuid = format!("uuid={UUID}");
            let options = [options, &["-m", &uuid, "-L", "label"]].concat();
            let Some(image) = xfs(&options, 64, entries) else { return };
            check_entries(&MemoryDisk(image), "label", large, sparse, &options);
        }
    });
}

/// A directory so large that it needs an extent tree.
#[test]
fn a_scattered_directory_of_xfs_is_read() {
    let names: Vec<String> =
        (0..2500).map(|n| format!("/many/{n}-a-name-that-takes-much-space-in-its-directory-as-it-is-long")).collect();
    let entries: Vec<_> = names.iter().map(|name| File(name, b"x")).collect();
    let layouts: [&[&str]; 2] = [&["-i", "size=512"], &["-m", "crc=0", "-i", "size=256"]];
    for options in layouts {
        let Some(image) = xfs(options, 64, &entries) else { return };
        let disk = MemoryDisk(image);
        let Contents::Files(files) = contents(&disk) else { panic!("{:?}", contents(&disk)) };
        let mut found = files.list("/many").unwrap();
        found.sort();
        let mut expected: Vec<_> = names.iter().map(|name| name.trim_start_matches("/many/").to_owned()).collect();
        expected.sort();
        assert_eq!(found, expected);
        assert_eq!(read(files.as_ref(), &names[2499]), b"x");
    }
}

const UUID: &str = "3f5ad593-4546-4a94-a374-bcfb68aa11f7";

/// The entries of a test file system.
fn with_entries(test: impl Fn(&[Entry<'_>], &[u8], &[u8])) {
    let large = pattern(1, 3_000_001);
    let long = "boot/../".repeat(60) + "boot/large";
    let mut sparse = vec![0; 1_500_000];
    sparse[700_000..700_100].fill(7);
    let names: Vec<String> = (0..300).map(|n| format!("/many/a-rather-long-file-name-number-{n}")).collect();
    let mut entries = vec![
        File("/boot/large", &large),
        File("/boot/sparse", &sparse),
        File("/boot/empty", &[]),
        Link("/absolute", "/boot/large"),
        Link("/relative", "boot/../boot/./large"),
        Link("/boot/up", "../../../../boot/large"),
        Link("/boot/chain", "up"),
        Link("/folder", "boot"),
        Link("/long", &long),
        Link("/loop", "loop"),
        Link("/dangling", "boot/nothing"),
    ];
    entries.extend(names.iter().map(|name| File(name, b"x")));
    test(&entries, &large, &sparse);
}

fn check_entries(disk: &MemoryDisk, label: &str, large: &[u8], sparse: &[u8], options: &[&str]) {
    let Contents::Files(files) = contents(disk) else {
        panic!("{options:?}: {:?}", contents(disk));
    };
    let files = files.as_ref();
    assert_eq!(files.uuid(), UUID);
    assert_eq!(files.label(), label);
    for path in ["/boot/large", "/absolute", "relative", "/boot/up", "/boot/chain", "/folder/large", "/long"] {
        assert!(read(files, path) == large, "{path} {options:?}");
    }
    assert!(read(files, "/boot/sparse") == sparse, "{options:?}");
    assert_eq!(read(files, "/boot/empty"), b"");
    let mut middle = [0; 100_000];
    files.read("/boot/large", 1_234_567, &mut middle).unwrap();
    assert!(middle == large[1_234_567..1_334_567], "{options:?}");
    assert_eq!(files.list("/many").unwrap().len(), 300);
    assert_eq!(files.metadata("/many/a-rather-long-file-name-number-299").unwrap().length, 1);
    assert_eq!(files.metadata("/boot").unwrap().kind, Kind::Directory);
    let errors = [
        ("/loop", io::ErrorKind::InvalidData),
        ("/dangling", io::ErrorKind::NotFound),
        ("/boot/nothing", io::ErrorKind::NotFound),
        ("/boot/large/x", io::ErrorKind::NotADirectory),
    ];
    for (path, kind) in errors {
        assert_eq!(files.metadata(path).unwrap_err().kind(), kind, "{path}");
    }
    assert_eq!(files.read("/boot", 0, &mut [0]).unwrap_err().kind(), io::ErrorKind::IsADirectory);
}

#[test]
fn fat_file_systems_are_read_back() {
    let layouts: [(&[&str], u64); 5] = [
        (&["-F", "12"], 2 << 10),
        (&["-F", "16"], 20 << 10),
        (&["-F", "32"], 40 << 10),
        (&["-F", "32", "-s", "1"], 40 << 10),
        (&["-F", "16", "-S", "4096", "-s", "1"], 40 << 10),
    ];
    let large = pattern(2, 1_000_003);
    let names: Vec<String> = (0..300).map(|n| format!("/many/a rather long name {n}.conf")).collect();
    let mut entries = vec![
        File("/EFI/BOOT/BOOTX64.EFI", b"boot"),
        File("/loader/entries/Ünïcode-name-that-is-long.conf", b"title"),
        File("/vmlinuz", &large),
        File("/empty", &[]),
    ];
    entries.extend(names.iter().map(|name| File(name, b"x")));
    for (options, kib) in layouts {
        let options = [options, &["-i", "1a2b3c4d", "-n", "BOOTFS"]].concat();
        let Some(image) = fat(&options, kib, &entries) else { return };
        let disk = MemoryDisk(image);
        let Contents::Files(files) = contents(&disk) else {
            panic!("{options:?}: {:?}", contents(&disk));
        };
        let files = files.as_ref();
        assert_eq!((files.uuid(), files.label()), ("1A2B-3C4D", "BOOTFS"));
        assert!(read(files, "/vmlinuz") == large, "{options:?}");
        assert!(read(files, "/efi/../efi/boot/../../VMLINUZ") == large);
        assert_eq!(read(files, "/efi/boot/bootx64.efi"), b"boot");
        assert_eq!(read(files, "/empty"), b"");
        assert_eq!(files.list("/many").unwrap().len(), 300);
        assert_eq!(read(files, "/many/A rather long name 299.CONF"), b"x");
        assert_eq!(files.list("/loader/entries").unwrap(), ["Ünïcode-name-that-is-long.conf"]);
        let mut middle = [0; 70_000];
        files.read("/vmlinuz", 123_457, &mut middle).unwrap();
        assert!(middle == large[123_457..193_457]);
        assert_eq!(files.metadata("/nothing").unwrap_err().kind(), io::ErrorKind::NotFound);
        assert_eq!(files.metadata("/vmlinuz/x").unwrap_err().kind(), io::ErrorKind::NotADirectory);
    }
}

/// A directory of more than 4 MiB, such as a store of NixOS. Its last name leads to the root directory.
#[test]
fn names_are_found_in_large_directories() {
    const BLOCK: usize = 4096;
    let mut directory = Vec::new();
    while directory.len() < 5 << 20 {
        let number = directory.len() / BLOCK;
        let mut block = Vec::new();
        for index in 0..8 {
            let name = format!("{:a<240}-{number}-{index}", "");
            let length = if index == 7 { BLOCK - block.len() } else { (8 + name.len()).next_multiple_of(4) };
            let start = block.len();
            block.extend(2u32.to_le_bytes());
            block.extend((length as u16).to_le_bytes());
            block.extend([name.len() as u8, 2]);
            block.extend(name.as_bytes());
            block.resize(start + length, 0);
        }
        directory.extend(block);
    }
    let last = format!("{:a<240}-{}-7", "", directory.len() / BLOCK - 1);
    let files = [File("/store", &directory), text("/kernel", "kernel")];
    let Some(mut image) = ext(&["-t", "ext4", "-b", "4096"], 16, &files) else { return };
    let length = (directory.len() as u32).to_le_bytes();
    let is_store = |inode: &&mut [u8]| inode[4..8] == length && inode[1] & 0xf0 == 0x80;
    let inode = image.chunks_exact_mut(256).find(is_store).unwrap();
    inode[1] = inode[1] & 0x0f | 0x40;
    let disk = MemoryDisk(image);
    let Contents::Files(files) = contents(&disk) else { panic!("{:?}", contents(&disk)) };
    assert!(read(files.as_ref(), &format!("/store/{last}/kernel")) == b"kernel");
    assert_eq!(files.metadata("/store/none").unwrap_err().kind(), io::ErrorKind::NotFound);
}

/// Reads back what our own writer writes, with a file of several clusters among small ones.
#[test]
fn a_seed_is_read_back() {
    let text = "#!/bin/sh\n".repeat(100_000);
    let mac = crate::net::MacAddress::new([2, 0, 0, 0, 0, 1]);
    let seed = crate::seed::Seed::new("web-1").user_data(&text).nic(crate::seed::SeedNic::dhcp(mac));
    let disk = MemoryDisk(seed.image().unwrap());
    let Contents::Files(files) = contents(&disk) else { panic!("{:?}", contents(&disk)) };
    assert_eq!((files.uuid(), files.label()), ("5EED-0001", "CIDATA"));
    assert_eq!(files.list("/").unwrap(), ["meta-data", "user-data", "network-config"]);
    assert!(read(files.as_ref(), "/user-data") == text.as_bytes());
    let network: serde_json::Value = serde_json::from_slice(&read(files.as_ref(), "/network-config")).unwrap();
    assert_eq!(network["ethernets"]["eth0"]["match"]["macaddress"], "02:00:00:00:00:01");
}

/// The journal counts even if it was not replayed, as when the guest mounts the file system.
#[test]
fn a_journal_is_replayed() {
    let old = vec![b'o'; 4096];
    let cases: [(&[&str], &str); 4] = [
        (&["-t", "ext3", "-b", "1024"], "jo"),
        (&["-t", "ext4", "-b", "1024", "-O", "^64bit,^metadata_csum"], "jo"),
        (&["-t", "ext4", "-b", "1024"], "jo -c"),
        (&["-t", "ext4", "-b", "4096", "-O", "64bit,^metadata_csum"], "jo"),
    ];
    for (options, open_journal) in cases {
        let Some(image) = ext(options, 16, &[File("/config", &old), File("/other", &old)]) else { return };
        let folder = scratch();
        let path = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
        std::fs::write(path("image"), &image).unwrap();
        // The second file starts like a journal block, so the journal must escape it.
        std::fs::write(path("new"), [b"\xc0\x3b\x39\x98".as_slice(), &[b'n'; 4092]].concat()).unwrap();
        std::fs::write(path("newer"), [b'm'; 4096]).unwrap();
        let blocks = |name| {
            let block_size = if options.contains(&"4096") { 4096 } else { 1024 };
            let at = image.windows(4096).step_by(block_size).position(|bytes| bytes == old);
            let at = at.unwrap() as u64;
            let at = if name == "config" { at } else { at + 4096 / block_size as u64 };
            (0..4096 / block_size as u64).map(|n| (at + n).to_string()).collect::<Vec<_>>().join(",")
        };
        let commands = [
            open_journal.to_owned(),
            format!("jw -b {} {}", blocks("config"), path("newer")),
            format!("jw -b {} {}", blocks("other"), path("newer")),
            format!("jw -r {}", blocks("other")),
            format!("jw -b {} {}", blocks("config"), path("new")),
            "jc".to_owned(),
        ];
        std::fs::write(path("commands"), commands.join("\n")).unwrap();
        if tool("debugfs", &["-w", "-f", &path("commands"), &path("image")]).is_none() {
            return;
        }
        let disk = MemoryDisk(std::fs::read(path("image")).unwrap());
        let Contents::Files(files) = contents(&disk) else {
            panic!("{options:?}: {:?}", contents(&disk));
        };
        let new = std::fs::read(path("new")).unwrap();
        assert!(
            disk.0.windows(4096).step_by(1024).any(|bytes| bytes == old),
            "the journal is not replayed on disk yet"
        );
        assert!(read(files.as_ref(), "/config") == new, "{options:?}");
        assert!(read(files.as_ref(), "/other") == old, "a revoked block must not come back {options:?}");
    }
}

#[test]
fn other_formats_are_named() {
    let cases: [(&str, usize, &[u8]); 5] = [
        ("LUKS encryption", 0, b"LUKS\xba\xbe"),
        ("LVM", 512, b"LABELONE................LVM2 001"),
        ("btrfs", 0x1_0040, b"_BHRfS_M"),
        ("swap space", 4086, b"SWAPSPACE2"),
        ("NTFS", 0, b"\xebR\x90NTFS    "),
    ];
    for (name, at, signature) in cases {
        let mut disk = MemoryDisk(vec![0; 1 << 20]);
        disk.0[at..at + signature.len()].copy_from_slice(signature);
        let Contents::Foreign(found) = contents(&disk) else { panic!("{name}: {:?}", contents(&disk)) };
        assert_eq!(found, name);
    }
    for empty in [0, 512, 4096, 1 << 20] {
        assert!(matches!(contents(&MemoryDisk(vec![0; empty])), Contents::Nothing), "{empty}");
    }
}

#[test]
fn a_file_larger_than_the_limit_is_refused() {
    let Some(image) = ext4("3f5ad593-4546-4a94-a374-bcfb68aa11f7", "", &[File("/file", &[0; 1001])]) else { return };
    let disk = MemoryDisk(image);
    let volumes = Volumes::open(&disk).unwrap();
    let file = DiskPath::new(0, "/file");
    let mut out = Vec::new();
    assert_eq!(volumes.read(&file, 1000, &mut out).unwrap_err().kind(), io::ErrorKind::FileTooLarge);
    assert_eq!(out.capacity(), 0);
    volumes.read(&file, 1001, &mut out).unwrap();
    assert_eq!(out.len(), 1001);
}

/// The offset of the inode of the only file with this length in the image.
fn inode_of_length(image: &[u8], length: u32) -> usize {
    let places: Vec<_> = (0..image.len() - 128)
        .step_by(128)
        .filter(|at| image[at + 4..at + 8] == length.to_le_bytes() && image[at + 26] != 0)
        .collect();
    assert_eq!(places.len(), 1);
    places[0]
}

/// Sizes claimed by a hostile inode are rejected before they cost anything.
#[test]
fn claims_of_an_inode_are_not_believed() {
    let target = "x/".repeat(70) + "y";
    let Some(image) = ext(&["-t", "ext4"], 8, &[Link("/link", &target), text("/file", &"z".repeat(777))]) else {
        return;
    };
    let mut disk = MemoryDisk(image);
    let link = inode_of_length(&disk.0, target.len() as u32);
    let file = inode_of_length(&disk.0, 777);
    disk.0[link + 4..link + 8].fill(0xff);
    disk.0[file + 4..file + 8].fill(0xff);
    disk.0[file + 0x6c..file + 0x70].fill(0xff);
    let Contents::Files(files) = contents(&disk) else { panic!() };
    assert_eq!(files.metadata("/link").unwrap_err().to_string(), "a directory or symbolic link is too large");
    assert_eq!(files.metadata("/file").unwrap().length, u64::MAX);
    let mut start = [0; 4096];
    files.read("/file", 0, &mut start).unwrap();
    assert!(start.starts_with(b"zzz"));
    for offset in [1 << 20, u64::MAX - 5000] {
        files.read("/file", offset, &mut start).unwrap();
    }
    let volumes = Volumes::open(&disk).unwrap();
    let error = volumes.read(&DiskPath::new(0, "/file"), 1 << 30, &mut Vec::new()).unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::FileTooLarge);
}

/// A looping directory chain ends.
#[test]
fn a_looped_directory_ends() {
    let names: Vec<String> = (0..100).map(|n| format!("/many/a long name that takes space {n}")).collect();
    let entries: Vec<_> = names.iter().map(|name| File(name, b"")).collect();
    let Some(mut image) = fat(&["-F", "16", "-s", "1"], 20 << 10, &entries) else { return };
    let reserved = usize::from(le16(&image, 14)) * 512;
    // The second cluster of the directory is followed by the first.
    image[reserved + 6..reserved + 8].copy_from_slice(&2u16.to_le_bytes());
    let disk = MemoryDisk(image);
    let Contents::Files(files) = contents(&disk) else { panic!() };
    let started = std::time::Instant::now();
    let _ = files.list("/many");
    let _ = files.metadata("/many/gone");
    assert!(started.elapsed().as_secs() < 10);
}

/// Damaged metadata yields errors or wrong data, never a panic or a long delay.
#[test]
fn damaged_file_systems_do_no_harm() {
    let entries = [File("/boot/file", &[1; 300_000]), Link("/link", "/boot/file"), File("/a/b/c", b"x")];
    let images = [
        ext(&["-t", "ext2", "-b", "1024"], 4, &entries),
        ext(&["-t", "ext4", "-b", "1024"], 4, &entries),
        xfs(&["-b", "size=1024"], 32, &entries),
        fat(&["-F", "12"], 1 << 10, &entries[2..]),
        fat(&["-F", "32", "-s", "1"], 34 << 10, &entries[2..]),
    ];
    let mut random = Random::new(3);
    for image in images.into_iter().flatten() {
        // Non-zero bytes are metadata; the contents of the files do not matter.
        let places: Vec<usize> = (0..image.len()).filter(|at| !matches!(image[*at], 0 | 1)).collect();
        let mut disk = MemoryDisk(image.clone());
        for _ in 0..300 {
            let damage: Vec<usize> = (0..=random.below(8)).map(|_| places[random.below(places.len())]).collect();
            for at in &damage {
                disk.0[*at] = [0, 1, 0x7f, 0xff, random.byte()][random.below(5)];
            }
            walk_everything(&disk);
            for at in damage {
                disk.0[at] = image[at];
            }
        }
    }
}

fn walk_everything(disk: &MemoryDisk) {
    let Contents::Files(files) = contents(disk) else { return };
    for path in ["/", "/boot/file", "/link", "/a/b/c"] {
        let _ = files.list(path);
        if let Ok(metadata) = files.metadata(path) {
            let mut buffer = vec![0; metadata.length.min(1 << 20) as usize];
            let _ = files.read(path, 0, &mut buffer);
        }
    }
}
