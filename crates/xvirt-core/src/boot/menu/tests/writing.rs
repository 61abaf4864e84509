//! What is written to the disk when an entry is started.

use super::*;

const CONFIG: &str = "load_env
if [ \"$next_entry\" ]; then set default=$next_entry; set next_entry=; save_env next_entry; fi
menuentry a --id a { linux /k a }
menuentry b --id b { linux /k b }
";

fn files(block: &str) -> [Entry<'_>; 3] {
    [text("/grub/grub.cfg", CONFIG), text("/grub/grubenv", block), text("/k", "kernel")]
}

fn block(variables: &str) -> String {
    format!("{:#<1024}", format!("# GRUB Environment Block\n{variables}"))
}

/// The titles of the entries that are started one after the other.
fn started(disk: &WritableDisk, times: usize) -> Vec<String> {
    let start = |_| {
        let menu = BootMenu::read(disk).unwrap();
        let entry = menu.entry(&EntryChoice::Default).unwrap();
        menu.record_start(entry).unwrap();
        entry.title.clone()
    };
    (0..times).map(start).collect()
}

/// The entry for the next start has its turn once, on every file system, and the file system stays in order.
#[test]
fn the_next_entry_is_started_once() {
    let block = block("next_entry=b\n");
    let files = files(&block);
    let xfs_files = files;
    let images = [
        ("ext4", ext4(ROOT, "", &files)),
        ("ext2", ext(&["-t", "ext2", "-b", "1024"], 8, &files)),
        ("FAT", fat(&["-F", "12"], 4 << 10, &files)),
        ("XFS", xfs(&[], 64, &xfs_files)),
    ];
    for (name, image) in images {
        let Some(image) = image else { continue };
        let disk = WritableDisk::new(gpt(&[&image]));
        // Listing the menu changes nothing.
        let before = disk.bytes().clone();
        for _ in 0..2 {
            assert_eq!(BootMenu::read(&disk).unwrap().default_entry().unwrap().title, "b", "{name}");
        }
        assert!(disk.bytes().0 == before.0);
        assert_eq!(started(&disk, 3), ["b", "a", "a"], "{name}");
        let changed = disk.bytes().0.iter().zip(&before.0).filter(|(new, old)| new != old).count();
        assert!((1..64).contains(&changed), "{name}: {changed} bytes");
    }
}

#[test]
fn a_disk_that_cannot_be_written_is_booted_as_it_is() {
    let block = block("next_entry=b\n");
    let Some(image) = ext4(ROOT, "", &files(&block)) else { return };
    let disk = mbr(&[&image]);
    let menu = BootMenu::read(&disk).unwrap();
    menu.record_start(menu.default_entry().unwrap()).unwrap();
    assert_eq!(menu.default_entry().unwrap().title, "b");
}

/// As GRUB, only a file with a place of its own is written.
#[test]
fn a_block_without_a_place_stays_as_it_is() {
    let block = block("next_entry=b\n");
    let Some(image) = ext(&["-t", "ext4", "-b", "1024"], 8, &files(&block)) else { return };
    let is_inode = |chunk: &[u8]| chunk[4..8] == 1024u32.to_le_bytes() && chunk[1] & 0xf0 == 0x80;
    let at = image.chunks(256).position(|chunk| chunk.len() == 256 && is_inode(chunk)).unwrap() * 256;
    // The flag of an immutable file, and an extent that is not written yet.
    for (place, value) in [(at + 0x20, 0x10), (at + 0x28 + 12 + 5, 0x80)] {
        let mut changed = image.clone();
        changed[place] |= value;
        let disk = WritableDisk::new(MemoryDisk(changed));
        let before = disk.bytes().clone();
        started(&disk, 1);
        assert!(disk.bytes().0 == before.0);
    }
    // A file with another length than a block of the device is written whole.
    let odd = format!("{:#<1500}", "# GRUB Environment Block\nnext_entry=b\n");
    let Some(image) = ext4(ROOT, "", &files(&odd)) else { return };
    assert_eq!(started(&WritableDisk::new(MemoryDisk(image)), 2), ["b", "a"]);
}
