//! Error messages for disks that cannot be booted, and damaged disks.

use std::io::{Read, Seek};

use super::*;
use crate::boot::budget::Work;
use crate::boot::volume::DiskPath;
use crate::progress::interruptible;

/// The error message for reading the menu of a disk.
fn refusal(disk: &MemoryDisk) -> String {
    let error = BootMenu::read(disk).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotBootable, "{error}");
    error.to_string()
}

#[test]
fn a_disk_that_cannot_be_booted_says_what_is_on_it() {
    let nothing = vec![0; 1 << 20];
    let mut lvm = nothing.clone();
    lvm[536..544].copy_from_slice(b"LVM2 001");
    let mut luks = nothing.clone();
    luks[..6].copy_from_slice(b"LUKS\xba\xbe");
    let mut btrfs = nothing.clone();
    btrfs[0x1_0040..0x1_0048].copy_from_slice(b"_BHRfS_M");
    let mut ntfs = nothing.clone();
    ntfs[3..11].copy_from_slice(b"NTFS    ");
    let mut broken = nothing.clone();
    broken[1024 + 0x38..1024 + 0x3a].copy_from_slice(&[0x53, 0xef]);
    let explicit = "give the kernel explicitly with Boot::kernel";
    let cases = [
        (
            MemoryDisk(nothing.clone()),
            format!(
                "the disk has neither a partition table nor a readable file system; \
                 install an operating system on it, or {explicit}"
            ),
        ),
        (
            gpt(&[&nothing]),
            format!("no partition of the disk has a file system; install an operating system on it, or {explicit}"),
        ),
        (
            mbr(&[&luks, &lvm]),
            format!(
                "no readable file system was found; there is LUKS encryption on partition 1, LVM on partition 2; \
                 {explicit}, or use a separate ext4 /boot"
            ),
        ),
        (
            MemoryDisk(btrfs),
            format!(
                "no readable file system was found; there is btrfs on the whole disk; \
                 {explicit}, or use a separate ext4 /boot"
            ),
        ),
        (
            gpt(&[&broken]),
            format!(
                "no readable file system was found; there is an unreadable file system on partition 1 \
                 (the ext superblock has invalid sizes); {explicit}, or use a separate ext4 /boot"
            ),
        ),
    ];
    for (disk, expected) in cases {
        assert_eq!(refusal(&disk), expected);
    }
    let (Some(data), Some(esp)) = (ext4(ROOT, "", &[text("/data", "x")]), fat(&[], 4 << 10, &[])) else { return };
    assert_eq!(
        refusal(&gpt(&[&data])),
        format!(
            "no boot configuration (GRUB, systemd-boot, extlinux) and no kernel in /boot was found on the disk; \
             install a boot loader configuration in the guest, or {explicit}"
        )
    );
    assert_eq!(
        refusal(&gpt(&[&esp, &ntfs])),
        format!(
            "no boot configuration and no kernel was found in the readable file systems; \
             there is NTFS on partition 2; {explicit}, or use a separate ext4 /boot"
        )
    );
}

#[test]
fn an_entry_that_is_not_there_is_answered_with_those_that_are() {
    let config: String =
        (0..10).map(|n| format!("menuentry 'Linux {n}' --id l{n} {{ linux /vmlinuz-{n} }}\n")).collect();
    let Some(root) = ext4(ROOT, "", &[text("/boot/grub/grub.cfg", &config), File("/vmlinuz-2", &[1; 2000])]) else {
        return;
    };
    let disk = MemoryDisk(root);
    let menu = BootMenu::read(&disk).unwrap();
    let listing = (0..8).map(|n| format!("{n} \"Linux {n}\" (id \"l{n}\")")).collect::<Vec<_>>().join(", ");
    let cases = [
        (EntryChoice::Index(10), "number 10"),
        (EntryChoice::Title("Windows".into()), "the title \"Windows\""),
        (EntryChoice::Id("l10".into()), "the id \"l10\""),
    ];
    for (choice, wanted) in cases {
        let error = menu.entry(&choice).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::NotFound);
        assert_eq!(
            error.to_string(),
            format!("the disk's boot menu has no entry with {wanted}; choose one of its 10 entries: {listing}, …")
        );
    }

    let error = menu.load(menu.entry(&EntryChoice::Default).unwrap()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotFound);
    assert_eq!(
        error.to_string(),
        "cannot read the kernel /vmlinuz-0 of boot entry \"Linux 0\": no such file; \
         choose another boot entry, or repair the guest's boot configuration"
    );
    let error = menu.load_within(&menu.entries()[2], &Limits { kernel: 1999, initrd: 0 }).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidKernel);
    assert_eq!(
        error.to_string(),
        "cannot read the kernel /vmlinuz-2 of boot entry \"Linux 2\": it has 2000 bytes, more than the limit of 1999; \
         raise the limit, or choose another boot entry"
    );
    assert_eq!(menu.load(&menu.entries()[2]).unwrap().initrd, None);
}

/// Every kind of configuration, damaged in many ways: no panic and no long delay.
#[test]
fn damaged_configurations_do_no_harm() {
    let configs = [
        ("/boot/grub/grub.cfg", DEBIAN),
        ("/boot/grub/grub.cfg", UBUNTU),
        ("/boot/grub/grub.cfg", FEDORA),
        ("/boot/grub/grub.cfg", "set a=x\nwhile true; do set a=$a$a; menuentry $a { linux $a }; done"),
        ("/boot/grub/grub.cfg", "function f { f; f; }\nf\nfor i in 1 2 3; do source /boot/grub/grub.cfg; done"),
        ("/loader/entries/x.conf", FEDORA_ENTRY),
        (
            "/extlinux/extlinux.conf",
            "DEFAULT x\nINCLUDE extlinux.conf\nLABEL x\nLINUX /vmlinuz\nINITRD a,b\nAPPEND x\n",
        ),
        ("/boot/grub/menu.lst", "default 0\ntitle x\nroot (hd0,0)\nkernel /vmlinuz x\ninitrd /x\n"),
    ];
    let mut random = Random::new(5);
    let words =
        ["if ", " then ", "fi\n", "{", "}", "'", "\"", "$", "${", "\\", "\n", "(", ")", "[ ", " ]", ">", "function f "];
    for (path, config) in configs {
        // Replaces a placeholder of the same length in the image, which saves a run of the tool for each variant.
        let holder = pattern(6, config.len() + 64);
        let Some(root) = ext(&["-t", "ext4", "-b", "4096"], 4, &[File(path, &holder), text("/boot/vmlinuz", "x")])
        else {
            return;
        };
        let places: Vec<usize> = holder
            .chunks(4096)
            .map(|part| root.chunks(4096).position(|block| block.starts_with(part)).unwrap() * 4096)
            .collect();
        for round in 0..40 {
            let mut text = [config.as_bytes(), b"\n"].concat();
            for _ in 0..if round == 0 { 0 } else { random.below(12) } {
                let (at, word) = (random.below(text.len()), words[random.below(words.len())]);
                match random.below(3) {
                    0 => text[at] = random.byte(),
                    1 => text.splice(at..at, word.bytes()).for_each(drop),
                    _ => text.drain(at..(at + random.below(40)).min(text.len() - 1)).for_each(drop),
                }
            }
            text.resize(holder.len(), b'\n');
            let mut disk = MemoryDisk(root.clone());
            for (part, at) in text.chunks(4096).zip(&places) {
                disk.0[*at..at + part.len()].copy_from_slice(part);
            }
            let started = std::time::Instant::now();
            if let Ok(menu) = BootMenu::read(&disk) {
                for entry in menu.entries() {
                    let _ = menu.load(entry);
                }
            }
            assert!(started.elapsed().as_secs() < 20, "{path}: {}", String::from_utf8_lossy(&text));
        }
    }
}

/// A hole costs no disk access, but a configuration can have it read any number of times.
#[test]
fn reading_a_hole_again_and_again_ends() {
    const HOLE: usize = 1 << 20;
    let kernel = vec![0; HOLE];
    let disks = [
        ext(&["-t", "ext4"], 8, &[File("/vmlinuz", &kernel)]),
        ext(&["-t", "ext2"], 8, &[File("/vmlinuz", &kernel)]),
        xfs(&[], 64, &[File("/vmlinuz", &[0; 777])]).map(|image| lengthen(image, 777, HOLE)),
    ];
    for disk in disks.into_iter().flatten().map(MemoryDisk) {
        let menu = BootMenu::read(&disk).unwrap();
        let mut image = menu.open(menu.default_entry().unwrap(), &Limits { kernel: 2 << 20, initrd: 0 }).unwrap();
        let mut bytes = vec![1; HOLE];
        let mut read = || image.kernel.rewind().and_then(|()| image.kernel.read_exact(&mut bytes));
        // The limits, and the budget for configurations.
        let most = 2048 + 2;
        let ended = (0..=most).find_map(|_| read().err());
        assert_eq!(ended.map(|error| error.kind()), Some(std::io::ErrorKind::QuotaExceeded));
        assert!(bytes.iter().all(|byte| *byte == 0));
        let error = image.take_failure().unwrap();
        assert_eq!(
            error.to_string(),
            "cannot read the kernel /vmlinuz of boot entry \"Linux /vmlinuz\": it takes more than 2147483648 bytes, the \
             limit for all its file systems and configurations; check the file system in the guest, or choose another \
             boot entry"
        );
    }
}

/// A disk with a directory `/d` that contains itself as `x` and claims to have `length` bytes.
fn looped(length: u64, entries: &[Entry<'_>]) -> Option<MemoryDisk> {
    let folder = scratch();
    let image = folder.path().join("image");
    std::fs::write(&image, ext(&["-t", "ext4"], 8, entries)?).unwrap();
    for request in ["mkdir d".to_owned(), "ln d d/x".to_owned(), format!("sif d size {length}")] {
        tool("debugfs", &["-w", "-R", &request, image.to_str().unwrap()])?;
    }
    Some(MemoryDisk(std::fs::read(image).unwrap()))
}

/// Every size on this disk is small, and all of it together would take minutes.
#[test]
fn a_menu_that_walks_in_circles_is_refused_by_the_work_it_takes() {
    let path = format!("/d{}", "/x".repeat(199));
    let lines = |start: &str, end: &str| format!("{start} {path}{end}\n").repeat(2000);
    let cases = [
        (1024, lines("source", ""), "262144 path components"),
        (1024, lines("if [ -e", " ]; then true; fi"), "262144 path components"),
        (1 << 20, lines("source", ""), "2147483648 bytes"),
        // What the loop keeps from being set could be the default.
        (1024, "menuentry x { linux /boot/vmlinuz }\nwhile true; do true; done".to_owned(), "200000 steps of scripts"),
    ];
    for (length, config, limit) in cases {
        let entries = [text("/boot/grub/grub.cfg", &config), text("/boot/vmlinuz", "x")];
        let Some(disk) = looped(length, &entries) else { return };
        let error = BootMenu::read(&disk).unwrap_err();
        assert_eq!(
            (error.kind(), error.to_string()),
            (
                ErrorKind::LimitExceeded,
                format!(
                    "cannot read the boot menu of the disk: it takes more than {limit}, the limit for all its file \
                     systems and configurations; look for directories, links and menus on the disk that lead in circles, \
                     or give the kernel explicitly with Boot::kernel"
                )
            )
        );
    }
}

#[test]
fn the_work_of_all_reads_is_counted_together() {
    let Some(disk) = looped(1 << 20, &[]) else { return };
    let volumes = Volumes::open(&disk).unwrap();
    let path = DiskPath::new(0, format!("/d{}", "/x".repeat(199)));
    let spent = |work| volumes.budget().spent(work);
    let before = spent(Work::PathComponents);
    assert_eq!(volumes.file_length(&path), None);
    assert_eq!(spent(Work::PathComponents) - before, 200);
    assert!(spent(Work::DirectoryEntries) >= 200);
    // A directory is read piece by piece, holes are counted, and nothing is read behind what was looked for.
    let bytes = spent(Work::Bytes);
    assert!(((200 * 64) << 10..(200 * 80) << 10).contains(&bytes), "{bytes}");

    let walks = (0..2000).take_while(|_| volumes.budget().check().is_ok() && volumes.file_length(&path).is_none());
    let walks = walks.count() as u64;
    assert!((100..200).contains(&walks), "{walks}");
    let left = spent(Work::PathComponents);
    assert_eq!(volumes.length(&path).unwrap_err().kind(), std::io::ErrorKind::QuotaExceeded);
    assert_eq!(volumes.text(&path, 1), None);
    assert_eq!(spent(Work::PathComponents), left, "nothing is done once the budget is used up");
    assert_eq!(volumes.budget().check().unwrap_err().kind(), ErrorKind::LimitExceeded);
}

#[test]
fn reading_a_menu_can_be_cancelled() {
    let config = "menuentry x { linux /vmlinuz }";
    let Some(root) = ext4(ROOT, "", &[text("/boot/grub/grub.cfg", config), text("/vmlinuz", "x")]) else { return };
    let disk = MemoryDisk(root);
    let error = interruptible(|| true, || BootMenu::read(&disk).map(drop)).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Cancelled);
    assert_eq!(error.to_string(), "reading the boot menu of the disk was cancelled");
    let menu = BootMenu::read(&disk).unwrap();
    let error = interruptible(|| true, || menu.load(menu.default_entry().unwrap())).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Cancelled, "{error}");
    // Later calls are whole again.
    assert_eq!(menu.load(menu.default_entry().unwrap()).unwrap().kernel, b"x");
}

/// Changes the length of the only file with length `from` in an XFS, without adding blocks.
fn lengthen(mut image: Vec<u8>, from: usize, to: usize) -> Vec<u8> {
    let is_file = |inode: &[u8]| inode.starts_with(b"IN") && inode[56..64] == (from as u64).to_be_bytes();
    let inodes: Vec<_> = image.chunks_exact_mut(256).filter(|inode| is_file(inode)).collect();
    assert_eq!(inodes.len(), 1);
    inodes.into_iter().for_each(|inode| inode[56..64].copy_from_slice(&(to as u64).to_be_bytes()));
    image
}
