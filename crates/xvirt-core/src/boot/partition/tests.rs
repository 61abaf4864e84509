use super::super::testing::*;
use super::*;

fn read(disk: &MemoryDisk) -> Result<Vec<Partition>> {
    super::read(disk, &Reads::new())
}

fn places(disk: &MemoryDisk) -> Vec<(u32, u64, u64)> {
    read(disk).unwrap().iter().map(|p| (p.number, p.start, p.length)).collect()
}

/// Tables written by sfdisk are read the same way.
#[test]
fn tables_of_sfdisk_are_read() {
    let cases = [
        ("label: gpt\nsize=1MiB\nsize=2MiB, name=\"boot\"\n5: start=8MiB, size=3MiB\n", Scheme::Gpt),
        ("label: dos\nsize=1MiB, bootable\nsize=2MiB, type=82\n", Scheme::Mbr),
        (
            "label: dos\nsize=1MiB\nsize=20MiB, type=5\nsize=2MiB\n5: size=1MiB\n6: size=2MiB\n7: size=3MiB\n",
            Scheme::Mbr,
        ),
        ("label: dos\n4: size=30MiB, type=f\n5: size=4MiB\n6: size=5MiB\n", Scheme::Mbr),
    ];
    for (script, scheme) in cases {
        let folder = scratch();
        let (image, table) = (folder.path().join("image"), folder.path().join("table"));
        std::fs::File::create(&image).unwrap().set_len(64 << 20).unwrap();
        std::fs::write(&table, script).unwrap();
        let (image_name, table_name) = (image.to_str().unwrap(), table.to_str().unwrap());
        if tool("sfdisk", &["--version"]).is_none() {
            return;
        }
        tool("sh", &["-c", &format!("sfdisk -q {image_name} < {table_name}")]).unwrap();
        let dump = tool("sfdisk", &["-d", image_name]).unwrap();
        let number = |line: &str, key: &str| {
            let text = line.split(key).nth(1)?.trim_start_matches(['=', ' ']);
            text.split(',').next()?.trim().parse::<u64>().ok()
        };
        let mut expected = Vec::new();
        for line in dump.lines().filter(|line| line.starts_with(image_name)) {
            let name = line.split(':').next().unwrap().trim();
            let is_extended = line.contains("type=5") || line.contains("type=f");
            if !is_extended {
                let partition = name.strip_prefix(image_name).unwrap().parse().unwrap();
                expected.push((partition, number(line, "start").unwrap() * 512, number(line, "size").unwrap() * 512));
            }
        }
        expected.sort_unstable();
        let disk = MemoryDisk(std::fs::read(&image).unwrap());
        assert!(expected.len() > 1, "{dump}");
        assert_eq!(places(&disk), expected, "{dump}");
        assert!(read(&disk).unwrap().iter().all(|partition| partition.scheme == scheme));
    }
}

#[test]
fn either_copy_of_a_gpt_is_enough() {
    let whole = gpt(&[&[1; 4096], &[2; 8192]]);
    let expected = vec![(1, 1 << 20, 4096), (2, (1 << 20) + 4096, 8192)];
    let last = whole.0.len() - 512;
    let damages: [(&str, usize); 6] = [
        ("no primary signature", 512),
        ("primary header", 512 + 24),
        ("primary entries", 1024 + 32),
        ("no backup signature", last),
        ("backup header", last + 24),
        ("backup entries", last - 32 * 512 + 32),
    ];
    for (name, at) in damages {
        let mut disk = whole.clone();
        disk.0[at] ^= 0xff;
        assert_eq!(places(&disk), expected, "{name}");
    }
    // The backup of an enlarged disk is in the middle.
    let mut larger = whole.clone();
    larger.0.resize(larger.0.len() * 2, 0);
    assert_eq!(places(&larger), expected);

    let mut both = whole;
    both.0[1024 + 32] ^= 0xff;
    both.0[last + 24] ^= 0xff;
    let error = read(&both).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::CorruptImage);
    assert_eq!(
        error.to_string(),
        "the GPT partition table is damaged: the checksum of the entries is wrong; \
         repair it with sgdisk, or give the kernel explicitly with Boot::kernel"
    );
}

#[test]
fn an_old_gpt_under_a_new_mbr_does_not_count() {
    let mut disk = gpt(&[&[1; 4096], &[2; 8192]]);
    disk.0[..512].copy_from_slice(&mbr(&[&[3; 1024]]).0[..512]);
    assert_eq!(places(&disk), [(1, 1 << 20, 1024)]);
}

#[test]
fn sectors_may_have_4096_bytes() {
    let whole = gpt_in_sectors(4096, &[&[1; 4096], &[2; 8192]]);
    let expected = [(1, 1 << 20, 4096), (2, (1 << 20) + 4096, 8192)];
    assert_eq!(places(&whole), expected);
    let mut damaged = whole;
    damaged.0[4096 + 24] ^= 0xff;
    assert_eq!(places(&damaged), expected);
}

/// Writes a table of an MBR: partition type, first sector and number of sectors of its entries.
fn write_mbr(disk: &mut [u8], at: usize, slots: &[(u8, u32, u32)]) {
    for (slot, (kind, first, sectors)) in slots.iter().enumerate() {
        let slot = at + 446 + slot * 16;
        disk[slot + 4] = *kind;
        disk[slot + 8..slot + 12].copy_from_slice(&first.to_le_bytes());
        disk[slot + 12..slot + 16].copy_from_slice(&sectors.to_le_bytes());
    }
    disk[at + 510..at + 512].copy_from_slice(&[0x55, 0xaa]);
}

/// An MBR does not say how large its sectors are; what is where the partitions begin does.
#[test]
fn an_mbr_counts_in_the_sectors_of_its_disk() {
    const SECTOR: usize = 4096;
    let ext = |disk: &mut [u8], at: usize| disk[at + 0x438..at + 0x43a].copy_from_slice(&[0x53, 0xef]);
    let mut disk = MemoryDisk(vec![0; 16 << 20]);
    write_mbr(&mut disk.0, 0, &[(0x83, 256, 512), (5, 1024, 2048), (0x82, 768, 256)]);
    write_mbr(&mut disk.0, 1024 * SECTOR, &[(0x83, 256, 256), (5, 512, 512)]);
    write_mbr(&mut disk.0, 1536 * SECTOR, &[(0x83, 1, 128)]);
    let sectors = |number, first: u64, count: u64| (number, first * SECTOR as u64, count * SECTOR as u64);
    ext(&mut disk.0, 256 * SECTOR);
    let expected = [sectors(1, 256, 512), sectors(3, 768, 256), sectors(5, 1280, 256), sectors(6, 1537, 128)];
    assert_eq!(places(&disk), expected);

    // The same table on a disk of small sectors: all of its partitions are in the first part of it.
    disk.0[256 * SECTOR..256 * SECTOR + 2048].fill(0);
    assert_eq!(places(&disk)[..2], [(1, 256 * 512, 512 * 512), (3, 768 * 512, 256 * 512)]);
    ext(&mut disk.0, 256 * 512);
    assert_eq!(places(&disk)[0], (1, 256 * 512, 512 * 512));
    ext(&mut disk.0, 256 * SECTOR);
    assert_eq!(places(&disk)[0], (1, 256 * 512, 512 * 512), "512 bytes are usual");
}

#[test]
fn a_gpt_may_have_more_than_128_entries() {
    let mut disk = vec![0; 4 << 20];
    let mut table = vec![0; 300 * 128];
    for (entry, number) in table.chunks_exact_mut(128).zip(0u64..) {
        entry[..16].fill(0xaf);
        entry[32..40].copy_from_slice(&(2048 + number).to_le_bytes());
        entry[40..48].copy_from_slice(&(2048 + number).to_le_bytes());
    }
    let mut header = [0; 92];
    header[..16].copy_from_slice(b"EFI PART\0\0\x01\0\x5c\0\0\0");
    header[72..80].copy_from_slice(&2u64.to_le_bytes());
    header[80..84].copy_from_slice(&300u32.to_le_bytes());
    header[84..88].copy_from_slice(&128u32.to_le_bytes());
    header[88..92].copy_from_slice(&crc32(&table).to_le_bytes());
    let sum = crc32(&header);
    header[16..20].copy_from_slice(&sum.to_le_bytes());
    disk[512..604].copy_from_slice(&header);
    disk[1024..1024 + table.len()].copy_from_slice(&table);
    write_mbr(&mut disk, 0, &[(0xee, 1, 8191)]);
    let found = places(&MemoryDisk(disk));
    // Linux lists 255 partitions of a disk.
    assert_eq!(found.len(), 255);
    assert_eq!(found[254], (255, (2048 + 254) * 512, 512));
}

#[test]
fn a_disk_without_a_table_is_one_partition() {
    let mut fat = vec![0; 1 << 20];
    fat[510..512].copy_from_slice(&[0x55, 0xaa]);
    fat[54..59].copy_from_slice(b"FAT16");
    fat[450] = 0x83;
    for bytes in [vec![0; 1 << 20], fat] {
        assert_eq!(places(&MemoryDisk(bytes)), [(0, 0, 1 << 20)]);
    }
}

#[test]
fn an_empty_disk_is_an_error() {
    let error = read(&MemoryDisk(Vec::new())).unwrap_err();
    assert_eq!(
        error.to_string(),
        "the disk is empty: it has 0 bytes; \
         install an operating system on it, or give the kernel explicitly with Boot::kernel"
    );
}

/// A looping chain of logical partitions ends.
#[test]
fn a_chain_of_logical_partitions_may_loop() {
    let mut disk = MemoryDisk(vec![0; 4 << 20]);
    let mut table = |at: usize, slots: &[(u8, u32, u32)]| write_mbr(&mut disk.0, at, slots);
    table(0, &[(5, 1000, 4000)]);
    table(1000 * 512, &[(0x83, 1, 100), (5, 1000, 100)]);
    table(2000 * 512, &[(0x83, 1, 100), (5, 1000, 100)]);
    let found = places(&disk);
    assert_eq!(&found[..2], [(5, 1001 * 512, 51200), (6, 2001 * 512, 51200)]);
    assert!(found.len() <= 128);
}

#[test]
fn damaged_tables_do_no_harm() {
    let mut random = Random::new(4);
    let mut mbr = vec![0; 1 << 20];
    mbr[510..512].copy_from_slice(&[0x55, 0xaa]);
    for whole in [gpt(&[&[1; 4096], &[2; 8192]]), MemoryDisk(mbr)] {
        for round in 0..400 {
            let mut disk = whole.clone();
            for _ in 0..=random.below(6) {
                let at = [446 + random.below(66), 512 + random.below(92), 1024 + random.below(512)][random.below(3)];
                disk.0[at] = random.byte();
            }
            if round % 2 == 0 {
                // With valid checksums, so that the values are used.
                let table_size = 128 * 128;
                let table = crc32(&disk.0[1024..1024 + table_size]);
                disk.0[512 + 88..512 + 92].copy_from_slice(&table.to_le_bytes());
                disk.0[512 + 16..512 + 20].fill(0);
                let header = crc32(&disk.0[512..512 + 92]);
                disk.0[512 + 16..512 + 20].copy_from_slice(&header.to_le_bytes());
            }
            if let Ok(partitions) = read(&disk) {
                assert!(
                    partitions.len() <= 255 && partitions.iter().all(|partition| partition.start < disk.capacity())
                );
            }
        }
    }
}
