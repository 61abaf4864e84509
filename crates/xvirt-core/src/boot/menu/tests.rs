use super::super::test_support::*;
use super::*;

const ROOT: &str = "3f5ad593-4546-4a94-a374-bcfb68aa11f7";
const BOOT: &str = "1b2c3d4e-5555-4666-8777-888899990000";

/// In the shape that grub-mkconfig of these systems writes.
const DEBIAN: &str = include_str!("../samples/debian-12.cfg");
const UBUNTU: &str = include_str!("../samples/ubuntu-24.04.cfg");
const FEDORA: &str = include_str!("../samples/fedora.cfg");
const XEN: &str = include_str!("../samples/xen-dom0.cfg");

/// What GRUB's file on an EFI system partition looks like.
fn stub(uuid: &str, prefix: &str) -> String {
    format!("search.fs_uuid {uuid} root hd0,gpt2 \nset prefix=($root)'{prefix}'\nconfigfile $prefix/grub.cfg\n")
}

/// The titles, with the submenu's depth.
fn titles<'m>(menu: &'m BootMenu<'_>) -> Vec<(usize, &'m str)> {
    menu.entries().iter().map(|entry| (entry.submenu.len(), entry.title.as_str())).collect()
}

/// What the default entry loads: title, kernel, initrd, command line.
fn boot(disk: &MemoryDisk) -> (String, Vec<u8>, Option<Vec<u8>>, String) {
    let menu = BootMenu::read(disk).unwrap();
    let entry = menu.entry(&EntryChoice::Default).unwrap();
    let files = menu.load(entry).unwrap();
    (entry.title.clone(), files.kernel, files.initrd, files.command_line)
}

fn booted(title: &str, kernel: &[u8], initrd: Option<&[u8]>, line: &str) -> (String, Vec<u8>, Option<Vec<u8>>, String) {
    (title.to_owned(), kernel.to_vec(), initrd.map(<[u8]>::to_vec), line.to_owned())
}

#[test]
fn debian_boots_its_default_entry() {
    let (kernel, initrd) = (noise(1, 3 << 20), noise(2, 2 << 20));
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

/// What `grub-reboot` and `grub-set-default` leave in the environment block is what GRUB starts next.
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

/// An EFI system partition that points to a boot partition of its own.
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
    // On the root file system there is an old one, hidden where the boot partition is mounted.
    let root = ext4(ROOT, "cloudimg-rootfs", &[text("/boot/grub/grub.cfg", "menuentry old { linux /old }")]);
    let (Some(esp), Some(boot_partition), Some(root)) = (esp, boot_partition, root) else { return };
    let line = "BOOT_IMAGE=/vmlinuz-6.8.0-31-generic root=LABEL=cloudimg-rootfs ro console=tty1 console=ttyS0";
    let expected = booted("Ubuntu", b"kernel", Some(b"microcode!\0\0initrd"), &format!("{line} vt.handoff=7"));
    assert_eq!(boot(&gpt(&[&root, &boot_partition, &esp])), expected);
    assert_eq!(boot(&gpt(&[&esp, &boot_partition])), expected);
    assert_eq!(boot(&gpt(&[&root, &boot_partition])), expected);
    assert_eq!(BootMenu::read(&gpt(&[&root])).unwrap().default_entry().unwrap().title, "old");
}

const FEDORA_ENTRY: &str = "title Fedora Linux (6.5.6-300.fc39.x86_64) 39 (Cloud Edition)
version 6.5.6-300.fc39.x86_64
linux /vmlinuz-6.5.6-300.fc39.x86_64
initrd /initramfs-6.5.6-300.fc39.x86_64.img $tuned_initrd
options $kernelopts console=ttyS0 $tuned_params
grub_users $grub_users
grub_arg --unrestricted
grub_class fedora
";

#[test]
fn fedora_boots_its_loader_entries() {
    let older = FEDORA_ENTRY.replace("6.5.6-300", "6.5.10-100").replace("6.5.10-100", "6.4.0-9");
    let rescue = FEDORA_ENTRY.replace("6.5.6-300.fc39.x86_64", "0-rescue");
    let env = "# GRUB Environment Block\nkernelopts=root=UUID=abc ro rootflags=subvol=root\nboot_success=1\n";
    let saved = format!("{env}saved_entry=0123456789abcdef-6.4.0-9.fc39.x86_64\n");
    // On an own partition; and inside the root, with paths from `/boot` or from `/`.
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
        let image = ext4(
            BOOT,
            "boot",
            &[
                text(&path("/grub2/grub.cfg"), FEDORA),
                text(&path("/grub2/grubenv"), env),
                text(&path("/loader/entries/0123456789abcdef-0-rescue.conf"), &entry(&rescue)),
                text(&path("/loader/entries/0123456789abcdef-6.4.0-9.fc39.x86_64.conf"), &entry(&older)),
                text(&path("/loader/entries/0123456789abcdef-6.5.6-300.fc39.x86_64.conf"), &entry(FEDORA_ENTRY)),
                text(&path(&format!("/vmlinuz-{version}.fc39.x86_64")), "kernel"),
                text(&path(&format!("/initramfs-{version}.fc39.x86_64.img")), "initrd"),
            ],
        );
        let (Some(image), Some(esp)) = (image, fat(&[], 4 << 10, &[])) else { return };
        let line = format!(
            "BOOT_IMAGE={place}/vmlinuz-{version}.fc39.x86_64 root=UUID=abc ro rootflags=subvol=root console=ttyS0 skew_tick=1"
        );
        let title = format!("Fedora Linux ({version}.fc39.x86_64) 39 (Cloud Edition)");
        let disk = gpt(&[&esp, &image]);
        assert_eq!(boot(&disk), booted(&title, b"kernel", Some(b"initrd"), &line));
        let menu = BootMenu::read(&disk).unwrap();
        let versions: Vec<_> = menu.entries().iter().map(|entry| &entry.id[17..22]).collect();
        assert_eq!(versions, ["6.5.6", "6.4.0", "0-res"]);
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
            Some("it starts the Xen hypervisor or another multiboot program, not Linux by itself"),
            Some("it starts another boot loader"),
            None,
            Some("it starts no Linux kernel"),
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

#[test]
fn alpine_boots_by_extlinux() {
    let config = "# Generated by update-extlinux 6.04_pre1
DEFAULT menu.c32
PROMPT 0
MENU TITLE Alpine/Linux Boot Menu
MENU HIDDEN
MENU AUTOBOOT Alpine will be booted automatically in # seconds.
TIMEOUT 10
LABEL virt
  MENU DEFAULT
  MENU LABEL Linux virt
  LINUX vmlinuz-virt
  INITRD initramfs-virt
  FDTDIR /
  APPEND root=UUID=b9f3 modules=sd-mod,usb-storage,ext4 quiet rootfstype=ext4

MENU SEPARATOR
LABEL reboot
  COM32 reboot.c32
";
    let files = |folder: &str| {
        let path = |name: &str| format!("{folder}{name}");
        ext4(
            ROOT,
            "",
            &[
                text(&path("/extlinux.conf"), config),
                text(&path("/vmlinuz-virt"), "kernel"),
                text(&path("/initramfs-virt"), "initrd"),
            ],
        )
    };
    for folder in ["/boot", ""] {
        let Some(image) = files(folder) else { return };
        let line = "BOOT_IMAGE=vmlinuz-virt root=UUID=b9f3 modules=sd-mod,usb-storage,ext4 quiet rootfstype=ext4";
        assert_eq!(boot(&mbr(&[&image])), booted("Linux virt", b"kernel", Some(b"initrd"), line));
    }
}

#[test]
fn arch_boots_by_syslinux() {
    let config = "DEFAULT arch
PROMPT 0
UI menu.c32
APPEND quiet
INCLUDE more.cfg
MENU BEGIN ^Other
  MENU TITLE Others
  LABEL archfallback
    MENU LABEL Arch ^Linux Fallback
    LINUX ../vmlinuz-linux
    APPEND -
  LABEL hdt
    KERNEL hdt.c32
MENU END
";
    let more = "label arch\n  menu label Arch Linux\n  linux ../vmlinuz-linux\n  append root=/dev/vda1 rw\n  initrd ../ucode.img,../initramfs-linux.img\n";
    let Some(image) = ext4(
        ROOT,
        "",
        &[
            text("/boot/syslinux/syslinux.cfg", config),
            text("/boot/syslinux/more.cfg", more),
            text("/boot/vmlinuz-linux", "kernel"),
            text("/boot/ucode.img", "ucod"),
            text("/boot/initramfs-linux.img", "initrd"),
        ],
    ) else {
        return;
    };
    let disk = mbr(&[&image]);
    let line = "BOOT_IMAGE=../vmlinuz-linux root=/dev/vda1 rw";
    assert_eq!(boot(&disk), booted("Arch Linux", b"kernel", Some(b"ucodinitrd"), line));
    let menu = BootMenu::read(&disk).unwrap();
    assert_eq!(titles(&menu), [(0, "Arch Linux"), (1, "Arch Linux Fallback"), (1, "hdt")]);
    assert_eq!(menu.entries()[1].command_line, "BOOT_IMAGE=../vmlinuz-linux");
    assert!(!menu.entries()[2].is_bootable());
}

/// `loader.conf`, files, titles in order, the default's title.
type LoaderCase<'a> = (&'a str, &'a [&'a [Entry<'a>]], &'a [&'a str], &'a str);

#[test]
fn loader_entries_are_read_as_systemd_boot_does() {
    let entry = |title: &str, kernel: &str, more: &str| {
        format!(
            "title  {title}\nlinux  /{kernel}\ninitrd /ucode.img\ninitrd /initrd.img\noptions root=/dev/vda2 rw\noptions quiet\n{more}"
        )
    };
    let (arch, lts) = (entry("Arch Linux", "vmlinuz-linux", ""), entry("Arch LTS", "vmlinuz-lts", ""));
    let debian = |version: &str| {
        entry(&format!("Debian {version}"), "vmlinuz-linux", &format!("sort-key debian\nversion {version}\n"))
    };
    let (old, new) = (debian("6.1.9"), debian("6.1.10"));
    let arm = entry("Arm", "vmlinuz-linux", "architecture aa64\n");
    let files = [
        text("/vmlinuz-linux", "kernel"),
        text("/vmlinuz-lts", "lts"),
        text("/ucode.img", "ucod"),
        text("/initrd.img", "initrd"),
    ];
    let arch_files = [text("/loader/entries/arch.conf", &arch), text("/loader/entries/arch-lts.conf", &lts)];
    let debian_files = [text("/loader/entries/d-1.conf", &old), text("/loader/entries/d-2.conf", &new)];
    let cases: [LoaderCase<'_>; 6] = [
        ("default arch.conf\ntimeout 3\n", &[&arch_files], &["Arch LTS", "Arch Linux"], "Arch Linux"),
        ("default arch-*\n", &[&arch_files], &["Arch LTS", "Arch Linux"], "Arch LTS"),
        ("default @saved\n", &[&arch_files], &["Arch LTS", "Arch Linux"], "Arch LTS"),
        (
            "",
            &[&arch_files, &debian_files],
            &["Debian 6.1.10", "Debian 6.1.9", "Arch LTS", "Arch Linux"],
            "Debian 6.1.10",
        ),
        (
            "",
            &[&[text("/loader/entries/a+0-3.conf", &arch), text("/loader/entries/b+1.conf", &lts)]],
            &["Arch LTS", "Arch Linux"],
            "Arch LTS",
        ),
        (
            "default arm*",
            &[&[text("/loader/entries/arm.conf", &arm), text("/loader/entries/x.conf", &lts)]],
            &["Arch LTS", "Arm"],
            "Arch LTS",
        ),
    ];
    for (config, sets, expected, default) in cases {
        let all = [&[text("/loader/loader.conf", config)], &files[..], &sets.concat()].concat();
        let Some(esp) = fat(&["-F", "16"], 20 << 10, &all) else { return };
        let disk = gpt(&[&esp]);
        let kernel: &[u8] = if default == "Arch LTS" { b"lts" } else { b"kernel" };
        assert_eq!(boot(&disk), booted(default, kernel, Some(b"ucodinitrd"), "root=/dev/vda2 rw quiet"), "{config}");
        let menu = BootMenu::read(&disk).unwrap();
        assert_eq!(menu.entries().iter().map(|entry| entry.title.as_str()).collect::<Vec<_>>(), expected, "{config}");
    }
}

#[test]
fn unified_kernels_are_taken_apart() {
    let image = super::super::unified::tests::image(&[
        (".osrel", b"NAME=Arch\nPRETTY_NAME=\"Arch Linux\"\n"),
        (".cmdline", b"root=/dev/vda2 rw\n\0"),
        (".ucode", b"micro"),
        (".initrd", b"initrd"),
        (".linux", b"kernel"),
    ]);
    let shell = super::super::unified::tests::image(&[(".text", b"code")]);
    let Some(esp) = fat(
        &["-F", "16"],
        20 << 10,
        &[
            File("/EFI/Linux/arch-6.9.efi", &image),
            File("/EFI/Linux/shell.efi", &shell),
            File("/EFI/Linux/text.efi", b"nothing"),
        ],
    ) else {
        return;
    };
    let disk = gpt(&[&esp]);
    assert_eq!(boot(&disk), booted("Arch Linux", b"kernel", Some(b"micro\0\0\0initrd"), "root=/dev/vda2 rw"));
    let menu = BootMenu::read(&disk).unwrap();
    assert_eq!(menu.entries().len(), 3);
    assert_eq!(menu.entries().iter().filter(|entry| entry.is_bootable()).count(), 1);
}

#[test]
fn old_guests_boot_by_grub_legacy() {
    let config = "# menu.lst
default         1
fallback=2
timeout 5
hiddenmenu
# kopt=root=UUID=1234 ro
title           XenServer tools
root            (hd0,1)
kernel          /xen.gz
module          /vmlinuz-dom0

title           CentOS (2.6.18-398.el5xen)
root            (hd0,1)
kernel          --no-mem-option /vmlinuz-2.6.18 ro root=/dev/VolGroup00/LogVol00 console=xvc0
initrd          /initrd-2.6.18.img
savedefault

title           Ubuntu
uuid            3f5ad593-4546-4a94-a374-bcfb68aa11f7
kernel          /boot/vmlinuz root=/dev/xvda1
title           Windows
chainloader     +1
";
    let boot_partition = ext(
        &["-t", "ext3", "-U", BOOT],
        8,
        &[text("/grub/menu.lst", config), text("/vmlinuz-2.6.18", "kernel"), text("/initrd-2.6.18.img", "initrd")],
    );
    let root = ext(&["-t", "ext2", "-U", ROOT], 4, &[text("/boot/vmlinuz", "other")]);
    let (Some(boot_partition), Some(root)) = (boot_partition, root) else { return };
    let disk = mbr(&[&root, &boot_partition]);
    let line = "ro root=/dev/VolGroup00/LogVol00 console=xvc0";
    assert_eq!(boot(&disk), booted("CentOS (2.6.18-398.el5xen)", b"kernel", Some(b"initrd"), line));
    let menu = BootMenu::read(&disk).unwrap();
    assert_eq!(menu.load(&menu.entries()[2]).unwrap().kernel, b"other");
    let bootable: Vec<_> = menu.entries().iter().map(BootEntry::is_bootable).collect();
    assert_eq!(bootable, [false, true, true, false]);
}

/// Files, kernel, initrd, command line.
type KernelCase<'a> = (&'a [Entry<'a>], &'a str, Option<&'a [u8]>, &'a str);

#[test]
fn kernels_are_found_without_any_configuration() {
    let system = [text("/etc/hostname", "x"), text("/usr/bin/x", "x")];
    let fstab = "# <device>\nLABEL=root / ext4 defaults 0 1\n";
    let by_uuid = format!("root=UUID={ROOT} ro");
    let cases: [KernelCase<'_>; 5] = [
        (
            &[
                text("/boot/vmlinuz-6.1.0-9-amd64", "old"),
                text("/boot/vmlinuz-6.1.0-18-amd64", "new"),
                text("/boot/initrd.img-6.1.0-18-amd64", "initrd"),
                Link("/vmlinuz", "/boot/vmlinuz-6.1.0-9-amd64"),
            ],
            "old",
            None,
            &by_uuid,
        ),
        (
            &[
                text("/boot/vmlinuz-6.1.0-9-amd64", "old"),
                text("/boot/vmlinuz-6.1.0-18-amd64", "new"),
                text("/boot/initrd.img-6.1.0-18-amd64", "initrd"),
                text("/etc/fstab", fstab),
                Link("/vmlinuz", "/boot/gone"),
            ],
            "new",
            Some(b"initrd"),
            "root=LABEL=root ro",
        ),
        (
            &[
                text("/boot/vmlinuz-6.1.0-18-amd64", "new"),
                Link("/vmlinuz", "boot/vmlinuz-6.1.0-18-amd64"),
                Link("/initrd.img", "boot/initrd"),
                text("/boot/initrd", "initrd"),
                text("/etc/kernel/cmdline", "root=/dev/vda1 console=ttyS0\n"),
            ],
            "new",
            Some(b"initrd"),
            "root=/dev/vda1 console=ttyS0",
        ),
        (
            &[text("/boot/vmlinuz-virt", "new"), text("/boot/initramfs-virt", "initrd")],
            "new",
            Some(b"initrd"),
            &by_uuid,
        ),
        (
            &[
                text("/boot/vmlinuz-0-rescue-1", "rescue"),
                text("/boot/vmlinuz-6.5", "new"),
                text("/boot/vmlinuz-6.6.old", "older"),
            ],
            "new",
            None,
            &by_uuid,
        ),
    ];
    for (entries, kernel, initrd, line) in cases {
        let Some(root) = ext4(ROOT, "", &[entries, &system].concat()) else { return };
        let disk = gpt(&[&root]);
        let (_, found, found_initrd, found_line) = boot(&disk);
        assert_eq!((found.as_slice(), found_initrd.as_deref(), found_line.as_str()), (kernel.as_bytes(), initrd, line));
        let menu = BootMenu::read(&disk).unwrap();
        assert_eq!(menu.default_entry().unwrap().source, BootSource::KernelFiles);
    }
}

/// The message of the error that reading the menu of a disk ends with.
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
    let mut xfs = nothing.clone();
    xfs[..4].copy_from_slice(b"XFSB");
    let mut broken = nothing.clone();
    broken[1024 + 0x38..1024 + 0x3a].copy_from_slice(&[0x53, 0xef]);
    let explicit = "give the kernel explicitly with Boot::kernel";
    let cases = [
        (
            MemoryDisk(nothing.clone()),
            format!(
                "the disk has neither a partition table nor a file system that can be read; \
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
                "no file system that can be read was found; there is LUKS encryption on partition 1, LVM on partition 2; \
                 {explicit}, or use a separate ext4 /boot"
            ),
        ),
        (
            MemoryDisk(btrfs),
            format!(
                "no file system that can be read was found; there is btrfs on the whole disk; \
                 {explicit}, or use a separate ext4 /boot"
            ),
        ),
        (
            gpt(&[&broken]),
            format!(
                "no file system that can be read was found; there is an unreadable file system on partition 1 \
                 (the ext superblock has impossible sizes); {explicit}, or use a separate ext4 /boot"
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
        refusal(&gpt(&[&esp, &xfs])),
        format!(
            "no boot configuration and no kernel was found in the file systems that can be read; \
             there is xfs on partition 2; {explicit}, or use a separate ext4 /boot"
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
        "cannot read the kernel /vmlinuz-0 of boot entry \"Linux 0\": there is no such file; \
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

/// Every kind of configuration, damaged in many ways: never a panic, and never long.
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
    let mut random = Random(5);
    let words =
        ["if ", " then ", "fi\n", "{", "}", "'", "\"", "$", "${", "\\", "\n", "(", ")", "[ ", " ]", ">", "function f "];
    for (path, config) in configs {
        // A place holder of the same length is replaced in the image, which saves a run of the tool each time.
        let holder = noise(6, config.len() + 64);
        let Some(root) = ext(&["-t", "ext4", "-b", "4096"], 4, &[File(path, &holder), text("/boot/vmlinuz", "x")])
        else {
            return;
        };
        let places: Vec<usize> = holder
            .chunks(4096)
            .map(|part| root.chunks(4096).position(|block| block.starts_with(part)).unwrap() * 4096)
            .collect();
        for round in 0..60 {
            let mut text = [config.as_bytes(), b"\n"].concat();
            for _ in 0..if round == 0 { 0 } else { random.below(12) } {
                let (at, word) = (random.below(text.len()), words[random.below(words.len())]);
                match random.below(3) {
                    0 => text[at] = random.next() as u8,
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
