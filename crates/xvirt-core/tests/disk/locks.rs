//! Which accesses to an image are compatible, in one process and in several.

use std::process::Command;

use xvirt_core::disk::{self, Access, ImageFormat};
use xvirt_core::{Error, ErrorKind};

use crate::support::*;
use crate::{child, need};

fn refused(error: Error, words: &[&str]) {
    assert_eq!(error.kind(), ErrorKind::Busy, "{error}");
    let text = error.to_string();
    assert!(words.iter().all(|word| text.contains(word)), "{text}");
}

#[test]
fn a_second_opener_is_refused_within_a_process() {
    need!("qemu-img");
    let folder = tempfile::tempdir().unwrap();
    for (name, format) in [("a.raw", ImageFormat::Raw), ("a.qcow2", ImageFormat::Qcow2)] {
        let path = folder.path().join(name);
        disk::create(&path, format, MIB).unwrap();
        let writer = disk::open(&path, None, Access::ReadWrite).unwrap();
        for access in [Access::ReadWrite, Access::ReadOnly, Access::Shared] {
            refused(disk::open(&path, None, access).unwrap_err(), &[text(&path), "in use by this process", ";"]);
        }
        refused(disk::grow(&path, None, 2 * MIB).unwrap_err(), &[text(&path), "stop its user"]);
        drop(writer);
        let readers = [0, 1].map(|_| disk::open(&path, None, Access::ReadOnly).unwrap());
        refused(disk::open(&path, None, Access::ReadWrite).unwrap_err(), &["stop its user (a running VM"]);
        drop(readers);
        disk::grow(&path, None, 2 * MIB).unwrap();
    }
    let path = folder.path().join("a.raw");
    let sharers = [0, 1].map(|_| disk::open(&path, Some(ImageFormat::Raw), Access::Shared).unwrap());
    refused(disk::open(&path, None, Access::ReadOnly).unwrap_err(), &["stop its writer"]);
    drop(sharers);
}

#[test]
fn a_second_opener_is_refused_across_processes() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.raw");
    disk::create(&path, ImageFormat::Raw, MIB).unwrap();
    let writer = child::start("hold", &path);
    let holder = format!("in use by process {}", writer.id());
    refused(disk::open(&path, None, Access::ReadWrite).unwrap_err(), &[&holder]);
    refused(disk::open(&path, None, Access::ReadOnly).unwrap_err(), &[&holder]);
    child::kill(writer);
    let reader = child::start("read", &path);
    refused(disk::open(&path, None, Access::ReadWrite).unwrap_err(), &["in use by process"]);
    drop(disk::open(&path, None, Access::ReadOnly).unwrap());
    child::kill(reader);
    drop(disk::open(&path, None, Access::ReadWrite).unwrap());
}

#[test]
fn of_many_racing_openers_exactly_one_wins() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.raw");
    disk::create(&path, ImageFormat::Raw, MIB).unwrap();
    for _ in 0..50 {
        let barrier = std::sync::Barrier::new(4);
        let open = || {
            barrier.wait();
            disk::open(&path, Some(ImageFormat::Raw), Access::ReadWrite)
        };
        let opened = std::thread::scope(|scope| [0; 4].map(|_| scope.spawn(open)).map(|thread| thread.join().unwrap()));
        assert_eq!(opened.iter().filter(|opened| opened.is_ok()).count(), 1);
    }
}

#[test]
fn everything_below_an_image_is_locked_too() {
    need!("qemu-img");
    let folder = tempfile::tempdir().unwrap();
    let base = folder.path().join("base.raw");
    disk::create(&base, ImageFormat::Raw, MIB).unwrap();
    let top = qemu_create(folder.path(), "top.qcow2", &["-f", "qcow2", "-F", "raw", "-b", "base.raw"], "");
    let one = disk::open(&top, None, Access::ReadWrite).unwrap();
    refused(disk::open(&base, None, Access::ReadWrite).unwrap_err(), &["base.raw", "in use by this process"]);
    let other = qemu_create(folder.path(), "other.qcow2", &["-f", "qcow2", "-F", "raw", "-b", "base.raw"], "");
    drop(disk::open(&other, None, Access::ReadWrite).unwrap());
    drop(one);
    let writer = disk::open(&base, None, Access::ReadWrite).unwrap();
    refused(disk::open(&top, None, Access::ReadWrite).unwrap_err(), &["base.raw", "in use by this process"]);
    drop(writer);
    drop(disk::open(&top, None, Access::ReadWrite).unwrap());
}

#[test]
fn qemu_respects_our_locks_and_we_respect_its() {
    need!("qemu-img");
    need!("qemu-io");
    let folder = tempfile::tempdir().unwrap();
    for format in [ImageFormat::Raw, ImageFormat::Qcow2] {
        let path = folder.path().join(format.to_string());
        disk::create(&path, format, MIB).unwrap();
        let read = ["-r", "-f", &format.to_string(), "-c", "read 0 4k", text(&path)].map(str::to_owned);
        let write = ["-f", &format.to_string(), "-c", "write 0 4k", text(&path)].map(str::to_owned);
        let qemu = |arguments: &[String]| {
            let output = Command::new("qemu-io").args(arguments).output().unwrap();
            (output.status.success(), String::from_utf8_lossy(&output.stderr).into_owned())
        };
        let writer = disk::open(&path, None, Access::ReadWrite).unwrap();
        for arguments in [&read[..], &write[..]] {
            let (success, message) = qemu(arguments);
            assert!(!success && message.contains("lock"), "{format} {arguments:?}: {message}");
        }
        drop(writer);
        let reader = disk::open(&path, None, Access::ReadOnly).unwrap();
        assert!(qemu(&read).0);
        assert!(!qemu(&write).0);
        drop(reader);
        assert!(qemu(&write).0);

        // And the reverse: qemu-io keeps the image open while it waits for commands.
        let mut holder = Command::new("qemu-io")
            .args(["-f", &format.to_string(), text(&path)])
            .stdin(std::process::Stdio::piped())
            .stdout(std::process::Stdio::piped())
            .spawn()
            .unwrap();
        let busy = || disk::open(&path, None, Access::ReadOnly).err();
        let error = (0..200).find_map(|_| {
            std::thread::sleep(std::time::Duration::from_millis(10));
            busy()
        });
        refused(error.unwrap(), &["in use by process", "qemu-io"]);
        holder.kill().unwrap();
        holder.wait().unwrap();
        assert!(busy().is_none());
    }
}
