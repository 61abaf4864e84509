//! Refusals that name their cause: file systems that are not read, and files that are no kernels.

use super::*;

/// A partition of 1 MiB with these bytes in it.
fn with(parts: &[(usize, &[u8])]) -> Vec<u8> {
    let mut bytes = vec![0; 1 << 20];
    for (at, part) in parts {
        bytes[*at..*at + part.len()].copy_from_slice(part);
    }
    bytes
}

#[test]
fn file_systems_that_are_not_read_are_named() {
    let cases = [
        ("squashfs", with(&[(0, b"hsqs")])),
        ("erofs", with(&[(1024, b"\xe2\xe1\xf5\xe0")])),
        ("JFS", with(&[(0x8000, b"JFS1")])),
        ("reiserfs", with(&[(0x1_0034, b"ReIsEr2Fs")])),
        ("nilfs2", with(&[(1024, b"\x02\0\0\0\0\0\x34\x34")])),
        ("ZFS", with(&[(0x2_1000, &0x00ba_b10cu64.to_le_bytes())])),
        ("bcachefs", with(&[(4096 + 24, b"\xc6\x85\x73\xf6\x66\xce\x90\xa9")])),
        ("f2fs", with(&[(1024, b"\x10\x20\xf5\xf2")])),
    ];
    for (name, partition) in cases {
        let error = BootMenu::read(&gpt(&[&partition])).unwrap_err();
        assert_eq!(
            error.to_string(),
            format!(
                "no readable file system was found; there is {name} on partition 1; \
                 give the kernel explicitly with Boot::kernel, or use a separate ext4 /boot"
            )
        );
    }
}

/// What the tools make is recognized as well, where they are installed.
#[test]
fn file_systems_of_their_tools_are_named() {
    let folder = scratch();
    let image = folder.path().join("image");
    let path = image.to_str().unwrap();
    let cases: [(&str, &str, &[&str]); 3] = [
        ("JFS", "mkfs.jfs", &["-q", path]),
        ("reiserfs", "mkfs.reiserfs", &["-q", "-ff", path]),
        ("nilfs2", "mkfs.nilfs2", &["-q", path]),
    ];
    for (name, program, arguments) in cases {
        std::fs::File::create(&image).unwrap().set_len(160 << 20).unwrap();
        if tool(program, arguments).is_none() {
            continue;
        }
        let disk = MemoryDisk(std::fs::read(&image).unwrap());
        let error = BootMenu::read(&disk).unwrap_err().to_string();
        assert!(
            error.starts_with(&format!("no readable file system was found; there is {name} on the whole disk;")),
            "{error}"
        );
    }
}

/// The features of ext4 that are not read are named; others make no difference.
#[test]
fn features_of_ext4_are_named() {
    let files = [text("/boot/grub/grub.cfg", "menuentry x { linux /boot/k }"), text("/boot/k", "kernel")];
    for features in
        ["meta_bg,^resize_inode", "bigalloc", "bigalloc,meta_bg,^resize_inode", "^extent,^64bit", "inline_data"]
    {
        let Some(image) = ext(&["-t", "ext4", "-b", "1024", "-O", features], 16, &files) else { return };
        let found = BootMenu::read(&MemoryDisk(image)).map(|menu| menu.entries().len());
        if features == "inline_data" {
            assert_eq!(
                found.unwrap_err().to_string(),
                "no boot configuration and no kernel was found in the readable file systems; there is a file system on \
                 the whole disk with small files and directories in its inodes (inline_data), which is not read; \
                 give the kernel explicitly with Boot::kernel, or use a separate ext4 /boot"
            );
        } else {
            assert_eq!(found.ok(), Some(1), "{features}");
        }
    }
    let Some(image) = ext(&["-t", "ext4"], 8, &files) else { return };
    for (feature, name) in [
        (0x1, "compressed files (compression)"),
        (0x8, "no files, but the journal of another file system (journal_dev)"),
        (0x1000, "data in directory entries (dirdata)"),
        (0x8000_0000, "features that are not known here (0x80000000)"),
    ] {
        let mut image = image.clone();
        let old = u32::from_le_bytes(*image[1024 + 0x60..].first_chunk().unwrap());
        image[1024 + 0x60..1024 + 0x64].copy_from_slice(&(old | feature).to_le_bytes());
        let error = BootMenu::read(&MemoryDisk(image)).unwrap_err().to_string();
        let expected =
            format!("there is an unreadable file system on the whole disk (the ext file system has {name});");
        assert!(error.contains(&expected), "{error}");
    }
}

/// What stands in the way of the kernel of an entry.
#[test]
fn kernels_that_cannot_be_had_are_named() {
    let config = "menuentry a { linux (hd0,gpt2)/bzImage }
menuentry b { linux (hd0,gpt3)/bzImage }
menuentry c { linux (hd0,gpt9)/bzImage }
menuentry d { linux /boot/xen/pvboot-x86_64.elf }
menuentry e { linux /boot/mini-os }
";
    let grub = crate::boot::xen::tests::image("GRUB", true);
    let mini = crate::boot::xen::tests::image("Mini-OS", false);
    let files =
        [text("/boot/grub/grub.cfg", config), File("/boot/xen/pvboot-x86_64.elf", &grub), File("/boot/mini-os", &mini)];
    let Some(root) = ext4(ROOT, "", &files) else { return };
    let disk = gpt(&[&root, &with(&[(0, b"hsqs")]), &with(&[])]);
    let menu = BootMenu::read(&disk).unwrap();
    let refusals = [
        (ErrorKind::UnsupportedImage, ": there is squashfs on partition 2, which is not supported;"),
        (ErrorKind::NotFound, ": partition 3 has no file system;"),
        (ErrorKind::NotFound, ": the disk has no partition 9;"),
        (
            ErrorKind::NotBootable,
            "boot entry \"d\" cannot be booted: /boot/xen/pvboot-x86_64.elf on partition 1 is GRUB for paravirtual \
             machines of Xen, not Linux; choose another entry,",
        ),
        (ErrorKind::NotBootable, "/boot/mini-os on partition 1 is Mini-OS for paravirtual machines of Xen, not Linux;"),
    ];
    for (entry, (kind, why)) in menu.entries().iter().zip(refusals) {
        let error = menu.load(entry).unwrap_err();
        assert!(error.to_string().contains(why), "{error}");
        assert_eq!(error.kind(), kind);
    }
}

/// GRUB's default may depend on a command that only some builds have.
#[test]
fn a_default_that_is_not_known_is_not_made_up() {
    let config = "pick.slot -d slot\nset default=$slot\nmenuentry a { linux /a }\nmenuentry b { linux /b }\n";
    let Some(root) = ext4(ROOT, "", &[text("/grub/grub.cfg", config), text("/a", "a"), text("/b", "b")]) else {
        return;
    };
    let disk = mbr(&[&root]);
    let menu = BootMenu::read(&disk).unwrap();
    assert_eq!(menu.default_entry(), None);
    let error = menu.entry(&EntryChoice::Default).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotBootable);
    assert_eq!(
        error.to_string(),
        "the disk's boot menu does not tell its default: that depends on GRUB's command pick.slot, which xvirt does not \
         know; choose one of its 2 entries: 0 \"a\" (id \"a\"), 1 \"b\" (id \"b\")"
    );
    assert_eq!(menu.load(menu.entry(&EntryChoice::Index(1)).unwrap()).unwrap().kernel, b"b");
}

/// Flatcar's GRUB counts down the tries of a system that has not booted yet; that is not done here.
#[test]
fn a_slot_of_flatcar_on_trial_is_not_started() {
    let config = "search --no-floppy --set oem --part-label OEM --hint $root
search --set this --part-uuid 00000000-0000-0000-0000-000000000000
search --set new --disk-uuid 00000000-0000-0000-0000-000000000001
menuentry a { gptprio.next -d usr -u uuid; linux /k $oem $this [$new] usr=$uuid }
menuentry b { linux /k }
";
    let Some(root) = ext4(ROOT, "", &[text("/flatcar/grub/grub.cfg", config), text("/k", "k")]) else { return };
    let usr = uuid::uuid!("5dfbf5f4-2848-4bac-aa5e-0d9a20b745a6");
    let with_attributes = |attributes: u64| {
        let mut disk = gpt(&[&root, &with(&[])]);
        for (unit, at) in "OEM".encode_utf16().zip((1024 + 56..).step_by(2)) {
            disk.0[at..at + 2].copy_from_slice(&unit.to_le_bytes());
        }
        disk.0[1024 + 128..1024 + 144].copy_from_slice(&usr.to_bytes_le());
        disk.0[1024 + 128 + 48..1024 + 128 + 56].copy_from_slice(&attributes.to_le_bytes());
        renew_gpt(&mut disk.0);
        disk
    };
    let booted = with_attributes(1 << 56 | 1 << 48);
    assert_eq!(
        BootMenu::read(&booted).unwrap().default_entry().unwrap().command_line,
        "BOOT_IMAGE=/k hd0,gpt1 hd0,gpt1 [] usr=00000000-0000-0000-0000-000000000000"
    );
    let on_trial = with_attributes(1 << 52 | 2 << 48);
    let menu = BootMenu::read(&on_trial).unwrap();
    let error = menu.entry(&EntryChoice::Default).unwrap_err().to_string();
    assert!(error.contains("depends on GRUB's command gptprio.next"), "{error}");
    assert!(menu.entries()[1].is_bootable());
}
