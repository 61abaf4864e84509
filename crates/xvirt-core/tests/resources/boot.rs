//! How much memory a guest's disk can make this process use while its boot menu is read, and while the VM boots from
//! it.

use std::fs::{self, File};
use std::io::{Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::PoisonError;

use xvirt_core::boot::BootMenu;
use xvirt_core::config::{Boot, ByteSize, Disk, VmConfig};
use xvirt_core::disk::{self, Access, ImageFormat};
use xvirt_core::{ErrorKind, demo};

use crate::{ALONE, host, peak_memory};

const MIB: u64 = 1 << 20;
/// More than any of this needs, and far less than a disk could demand.
const MAX: u64 = 48 * MIB;
const SECTOR: u64 = 512;
/// Paths and contents.
type Files = Vec<(String, Vec<u8>)>;

/// Where the file system begins, in sectors.
const START: u64 = 2048;
/// The number of partitions besides the first: the maximum that is read.
const PARTITIONS: u64 = 128;

/// A disk with the folder `root` in an ext4 file system. All `PARTITIONS` partitions of its table refer to it.
fn disk_of(folder: &Path) -> Option<PathBuf> {
    let (root, image) = (folder.join("root"), folder.join("disk"));
    let mut file = File::create(&image).unwrap();
    file.set_len(START * SECTOR + 64 * MIB).unwrap();
    let offset = format!("offset={}", START * SECTOR);
    let arguments = ["-q", "-F", "-t", "ext4", "-N", "1024", "-O", "^has_journal", "-E", &offset, "-d"];
    let paths = [root.to_str().unwrap(), image.to_str().unwrap(), "64M"];
    // A user's PATH may lack /sbin, where the tools are.
    let path = format!("{}:/usr/sbin:/sbin", std::env::var("PATH").unwrap_or_default());
    let Ok(made) = Command::new("mke2fs").args(arguments).args(paths).env("PATH", path).output() else {
        println!("SKIPPED {}: mke2fs is not installed", std::thread::current().name().unwrap_or("?"));
        return None;
    };
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    let slot = |kind: u8, first: u64, sectors: u64| {
        let mut slot = [0; 16];
        slot[4] = kind;
        slot[8..12].copy_from_slice(&(first as u32).to_le_bytes());
        slot[12..].copy_from_slice(&(sectors as u32).to_le_bytes());
        slot
    };
    let sectors = 64 * MIB / SECTOR;
    let mut table = |at: u64, slots: [[u8; 16]; 2]| {
        file.seek(SeekFrom::Start(at * SECTOR + 446)).unwrap();
        file.write_all(&[slots.concat(), vec![0; 32], vec![0x55, 0xaa]].concat()).unwrap();
    };
    table(0, [slot(0x83, START, sectors), slot(0x0f, 1, START - 1)]);
    for number in 1..=PARTITIONS {
        let next = if number == PARTITIONS { [0; 16] } else { slot(0x05, number, 1) };
        table(number, [slot(0x83, START - number, sectors), next]);
    }
    Some(image)
}

/// A disk with these files.
fn disk_with(folder: &Path, files: &Files) -> Option<PathBuf> {
    for (path, contents) in files {
        let path = folder.join("root").join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, contents).unwrap();
    }
    disk_of(folder)
}

/// A folder in memory, if the system has one.
fn scratch() -> tempfile::TempDir {
    tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).unwrap()
}

fn long(length: usize) -> String {
    "x".repeat(length)
}

/// Inputs that would expand a thousandfold, or take minutes, if they were trusted.
fn configurations() -> Vec<(&'static str, Files)> {
    let one = |path: &str, text: String| vec![(path.to_owned(), text.into_bytes())];
    let kernels = (0..64).map(|number| (format!("boot/vmlinuz-{number}"), b"x".to_vec()));
    let command_line = ("etc/kernel/cmdline".to_owned(), long(65_000).into_bytes());
    let entry = |number: u32| {
        let text = format!("title {number}\nlinux /vmlinuz\noptions {}\n", long(65_000));
        (format!("loader/entries/{number}.conf"), text.into_bytes())
    };
    let many_files = |number: u32| {
        let text = format!("linux /vmlinuz\ninitrd {}\n", "/ ".repeat(30_000));
        (format!("loader/entries/{number}.conf"), text.into_bytes())
    };
    let labels: String = (0..256).map(|number| format!("LABEL {number}\nLINUX /vmlinuz\n")).collect();
    let commands = "a;".repeat(500_000);
    let entries = format!(
        "x={}\nfunction f {{ menuentry $x {{ linux /k $x$x$x$x; initrd /$x /$x /$x /$x; }}; }}\n{}",
        long(4000),
        "f;".repeat(512)
    );
    vec![
        ("kernels by their names", kernels.chain([command_line]).collect()),
        ("loader entries", (0..256).map(entry).collect()),
        ("loader entries of many files", (0..256).map(many_files).collect()),
        ("arguments for all labels", one("extlinux.conf", format!("APPEND {}\n{labels}", long(1_000_000)))),
        ("a submenu of all labels", one("extlinux.conf", format!("MENU BEGIN {}\n{labels}", long(1_000_000)))),
        ("a long list", one("grub/menu.lst", format!("title a\nkernel /k\ninitrd {}", "/ ".repeat(500_000)))),
        ("many commands", one("grub/grub.cfg", commands.clone())),
        ("a script that includes itself", one("grub/grub.cfg", format!("source /grub/grub.cfg\n{commands}"))),
        ("menu entries with long lines", one("grub/grub.cfg", entries)),
    ]
}

#[test]
fn a_boot_menu_takes_little_memory_whatever_the_disk_says() {
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    for (what, files) in configurations() {
        let folder = scratch();
        let Some(image) = disk_with(folder.path(), &files) else { return };
        let disk = disk::open(image, Some(ImageFormat::Raw), Access::ReadOnly).unwrap();
        let (peak, _) = peak_memory(|| drop(BootMenu::read(&*disk)));
        assert!(peak < MAX, "{what}: {} MiB", peak >> 20);
    }
}

#[test]
fn an_initrd_on_a_disk_is_bounded_by_the_memory_of_the_vm() {
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    let host = host!();
    let folder = scratch();
    let root = folder.path().join("root");
    fs::create_dir(&root).unwrap();
    fs::write(root.join("vmlinuz"), demo::kernel()).unwrap();
    File::create(root.join("initrd.img")).unwrap().set_len(1 << 30).unwrap();
    let Some(image) = disk_of(folder.path()) else { return };
    let config = VmConfig::new("a").memory(ByteSize::mib(32)).boot(Boot::from_disk()).disk(Disk::raw(image));
    let vm = config.build(&host).unwrap();
    let (peak, started) = peak_memory(|| vm.start());
    let error = started.unwrap_err();
    let message = "an initrd of 1024 MiB does not fit the VM's memory; give the VM more memory";
    assert_eq!((error.kind(), error.to_string().as_str()), (ErrorKind::InvalidConfig, message));
    assert!(peak < MAX, "{} MiB", peak >> 20);
}
