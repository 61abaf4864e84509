//! Disks that boot with GRUB 2.

use super::*;

/// GRUB's file on an EFI system partition.
fn stub(uuid: &str, prefix: &str) -> String {
    format!("search.fs_uuid {uuid} root hd0,gpt2 \nset prefix=($root)'{prefix}'\nconfigfile $prefix/grub.cfg\n")
}

#[test]
fn debian_boots_its_default_entry() {
    let (kernel, initrd) = (pattern(1, 3 << 20), pattern(2, 2 << 20));
    let Some(root) = ext4(
        ROOT,
        "",
        &[
            text("/boot/grub/grub.cfg", DEBIAN),
            text("/boot/grub/grubenv", "# GRUB Environment Block\n######\n"),
            File("/boot/vmlinuz-6.1.0-18-amd64", &kernel),
            File("/boot/initrd.img-6.1.0-18-amd64", &initrd),
        ],
    ) else {
        return;
    };
    let line = format!("BOOT_IMAGE=/boot/vmlinuz-6.1.0-18-amd64 root=UUID={ROOT} ro quiet");
    for disk in [gpt(&[&root]), mbr(&[&root]), MemoryDisk(root.clone())] {
        assert!(boot(&disk) == booted("Debian GNU/Linux", &kernel, Some(&initrd), &line));
    }
    let disk = gpt(&[&root]);
    let menu = BootMenu::read(&disk).unwrap();
    // The debug output does not contain cached disk data.
    assert!(format!("{menu:?}").len() < 200);
    let version = "Debian GNU/Linux, with Linux 6.1.0-18-amd64";
    let recovery = "Debian GNU/Linux, with Linux 6.1.0-18-amd64 (recovery mode)";
    assert_eq!(titles(&menu), [(0, "Debian GNU/Linux"), (1, version), (1, recovery)]);
    let choices = [
        (EntryChoice::Default, 0),
        (EntryChoice::Index(2), 2),
        (EntryChoice::Title(version.into()), 1),
        (EntryChoice::Id(format!("gnulinux-6.1.0-18-amd64-recovery-{ROOT}")), 2),
    ];
    for (choice, index) in choices {
        assert_eq!(menu.entry(&choice).unwrap(), &menu.entries()[index], "{choice:?}");
    }
    assert_eq!(menu.entries()[2].submenu, ["Advanced options for Debian GNU/Linux"]);
    assert!(menu.entries()[2].command_line.ends_with("ro single"));
    assert_eq!(
        serde_json::to_value(&menu.entries()[0]).unwrap(),
        serde_json::json!({
            "id": format!("gnulinux-simple-{ROOT}"),
            "title": "Debian GNU/Linux",
            "submenu": [],
            "kernel": {"partition": 1, "path": "/boot/vmlinuz-6.1.0-18-amd64"},
            "initrds": [{"partition": 1, "path": "/boot/initrd.img-6.1.0-18-amd64"}],
            "command_line": line,
            "default": true,
            "source": "grub",
            "not_bootable": null,
        })
    );
}

/// GRUB uses the entry that `grub-reboot` or `grub-set-default` wrote to the environment block.
#[test]
fn the_environment_block_chooses() {
    let saved = DEBIAN.replace("set default=\"0\"", "set default=\"${saved_entry}\"");
    let version = "gnulinux-6.1.0-18-amd64-advanced-3f5ad593-4546-4a94-a374-bcfb68aa11f7";
    let cases = [
        (DEBIAN, "next_entry=1>1", 2),
        (DEBIAN, "saved_entry=1>1", 0),
        (&saved, "saved_entry=1>1", 2),
        (&saved, "saved_entry=1", 1),
        (
            &saved,
            "saved_entry=Advanced options for Debian GNU/Linux>Debian GNU/Linux, with Linux 6.1.0-18-amd64 (recovery mode)",
            2,
        ),
        (&saved, &format!("saved_entry=gnulinux-advanced-{ROOT}>{version}"), 1),
        (&saved, "saved_entry=gone", 0),
        (&saved, "saved_entry=7", 0),
        (&saved, "", 0),
        (&saved, "saved_entry=0\nnext_entry=1>0", 1),
        (&saved, "prev_saved_entry=1>1\nsaved_entry=0", 0),
    ];
    for (config, block, index) in cases {
        let block = format!("# GRUB Environment Block\n{block}\n####");
        let Some(root) = ext4(ROOT, "", &[text("/boot/grub/grub.cfg", config), text("/boot/grub/grubenv", &block)])
        else {
            return;
        };
        let disk = MemoryDisk(root);
        let menu = BootMenu::read(&disk).unwrap();
        let default = menu.entries().iter().position(|entry| entry.default);
        assert_eq!(default, Some(index), "{block}");
        assert_eq!(menu.default_entry(), Some(&menu.entries()[index]));
    }
}

/// An EFI system partition that refers to a separate boot partition.
#[test]
fn ubuntu_boots_from_a_separate_boot_partition() {
    let stub = stub(BOOT, "/grub");
    let esp =
        fat(&["-F", "16"], 20 << 10, &[text("/EFI/ubuntu/grub.cfg", &stub), text("/EFI/ubuntu/grubx64.efi", "x")]);
    let boot_partition = ext4(
        BOOT,
        "BOOT",
        &[
            text("/grub/grub.cfg", UBUNTU),
            text("/vmlinuz-6.8.0-31-generic", "kernel"),
            text("/microcode.cpio", "microcode!"),
            text("/initrd.img-6.8.0-31-generic", "initrd"),
        ],
    );
    // The root file system contains an old configuration that the boot partition's mount hides.
    let root = ext4(ROOT, "cloudimg-rootfs", &[text("/boot/grub/grub.cfg", "menuentry old { linux /old }")]);
    let (Some(esp), Some(boot_partition), Some(root)) = (esp, boot_partition, root) else { return };
    let line = "BOOT_IMAGE=/vmlinuz-6.8.0-31-generic root=LABEL=cloudimg-rootfs ro console=tty1 console=ttyS0";
    let expected = booted("Ubuntu", b"kernel", Some(b"microcode!\0\0initrd"), &format!("{line} vt.handoff=7"));
    assert_eq!(boot(&gpt(&[&root, &boot_partition, &esp])), expected);
    assert_eq!(boot(&gpt(&[&esp, &boot_partition])), expected);
    assert_eq!(boot(&gpt(&[&root, &boot_partition])), expected);
    assert_eq!(BootMenu::read(&gpt(&[&root])).unwrap().default_entry().unwrap().title, "old");
}

#[test]
fn fedora_boots_its_loader_entries() {
    let older = FEDORA_ENTRY.replace("6.5.6-300", "6.5.10-100").replace("6.5.10-100", "6.4.0-9");
    let rescue = FEDORA_ENTRY.replace("6.5.6-300.fc39.x86_64", "0-rescue");
    let env = "# GRUB Environment Block\nkernelopts=root=UUID=abc ro rootflags=subvol=root\nboot_success=1\n";
    let saved = format!("{env}saved_entry=0123456789abcdef-6.4.0-9.fc39.x86_64\n");
    // On a separate partition (XFS as in RHEL), and inside the root with paths from `/boot` or from `/`.
    let cases = [
        ("", "", env, "6.5.6-300", "(hd0,gpt2)"),
        ("", "", &saved, "6.4.0-9", "(hd0,gpt2)"),
        ("/boot", "", env, "6.5.6-300", "(hd0,gpt2)/boot"),
        ("/boot", "/boot", env, "6.5.6-300", "(hd0,gpt2)/boot"),
    ];
    for (folder, prefix, env, version, place) in cases {
        let path = |name: &str| format!("{folder}{name}");
        let entry = |entry: &str| {
            entry.replace(" /vmlinuz", &format!(" {prefix}/vmlinuz")).replace(" /init", &format!(" {prefix}/init"))
        };
        let uuid = format!("uuid={BOOT}");
        let make = |files: &[Entry<'_>]| Some([ext4(BOOT, "boot", files)?, xfs(&["-m", &uuid], 32, files)?]);
        let images = make(&[
            text(&path("/grub2/grub.cfg"), FEDORA),
            text(&path("/grub2/grubenv"), env),
            text(&path("/loader/entries/0123456789abcdef-0-rescue.conf"), &entry(&rescue)),
            text(&path("/loader/entries/0123456789abcdef-6.4.0-9.fc39.x86_64.conf"), &entry(&older)),
            text(&path("/loader/entries/0123456789abcdef-6.5.6-300.fc39.x86_64.conf"), &entry(FEDORA_ENTRY)),
            text(&path(&format!("/vmlinuz-{version}.fc39.x86_64")), "kernel"),
            text(&path(&format!("/initramfs-{version}.fc39.x86_64.img")), "initrd"),
        ]);
        let (Some(images), Some(esp)) = (images, fat(&[], 4 << 10, &[])) else { return };
        let line = format!(
            "BOOT_IMAGE={place}/vmlinuz-{version}.fc39.x86_64 root=UUID=abc ro rootflags=subvol=root console=ttyS0 skew_tick=1"
        );
        let title = format!("Fedora Linux ({version}.fc39.x86_64) 39 (Cloud Edition)");
        for image in images {
            let disk = gpt(&[&esp, &image]);
            assert_eq!(boot(&disk), booted(&title, b"kernel", Some(b"initrd"), &line));
            let menu = BootMenu::read(&disk).unwrap();
            let versions: Vec<_> = menu.entries().iter().map(|entry| &entry.id[17..22]).collect();
            assert_eq!(versions, ["6.5.6", "6.4.0", "0-res"]);
        }
    }
}

#[test]
fn xen_entries_are_listed_and_passed_over() {
    let Some(root) = ext4(
        ROOT,
        "",
        &[
            text("/boot/grub/grub.cfg", XEN),
            text("/boot/vmlinuz-6.1.0-18-amd64", "kernel"),
            text("/boot/initrd.img-6.1.0-18-amd64", "initrd"),
        ],
    ) else {
        return;
    };
    let disk = mbr(&[&root]);
    assert_eq!(boot(&disk).0, "Debian GNU/Linux");
    let menu = BootMenu::read(&disk).unwrap();
    let reasons: Vec<_> = menu.entries().iter().map(|entry| entry.not_bootable.as_deref()).collect();
    assert_eq!(
        reasons,
        [
            Some("it starts the Xen hypervisor or another multiboot program, not Linux"),
            Some("it starts another boot loader"),
            None,
            Some("it does not start a Linux kernel"),
        ]
    );
    let error = menu.load(&menu.entries()[1]).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotBootable);
    assert_eq!(
        error.to_string(),
        "boot entry \"Windows\" cannot be booted: it starts another boot loader; \
         choose another entry, or give the kernel explicitly with Boot::kernel"
    );
}
