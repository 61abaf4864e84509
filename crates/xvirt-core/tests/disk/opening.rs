//! A path that is neither a file nor a block device is reported, and not opened: opening a FIFO unblocks its writer,
//! and a device may act on it.

use std::fs;
use std::mem::MaybeUninit;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixListener;
use std::path::Path;

use rustix::fs::inotify::{self, CreateFlags, ReadFlags, WatchFlags};
use rustix::io::Errno;
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use xvirt_core::disk::{self, Access, StreamingDisk};
use xvirt_core::xva::Archive;
use xvirt_core::{Error, ErrorKind};

use crate::need;
use crate::support::*;

/// Detects whether a file is opened.
struct Watch(OwnedFd);

impl Watch {
    fn on(path: &Path) -> Self {
        let watch = inotify::init(CreateFlags::NONBLOCK | CreateFlags::CLOEXEC).unwrap();
        inotify::add_watch(&watch, path, WatchFlags::OPEN).unwrap();
        Self(watch)
    }

    fn has_seen_an_open(&self) -> bool {
        let mut buffer = [MaybeUninit::uninit(); 512];
        match inotify::Reader::new(&self.0, &mut buffer).next() {
            Ok(event) => event.events().contains(ReadFlags::OPEN),
            Err(Errno::AGAIN) => false,
            Err(error) => panic!("{error}"),
        }
    }
}

/// Tries all functions that take a path, and checks that each names the type of the file, and opens nothing.
fn is_refused_unopened(folder: &Path, path: &Path, what: &str) {
    let watch = Watch::on(path);
    let refused = |error: Error, file: &str| {
        assert_eq!(error.kind(), ErrorKind::InvalidConfig, "{error}");
        assert!([what, text(path), file].iter().all(|part| error.to_string().contains(part)), "{error}");
        assert!(!watch.has_seen_an_open(), "{error}");
    };
    let image = "an image file or a block device";
    for access in [Access::ReadOnly, Access::ReadWrite, Access::Shared] {
        refused(disk::open(path, None, access).unwrap_err(), image);
    }
    refused(disk::inspect(path, None).unwrap_err(), image);
    refused(disk::overlay(path, None, folder.join("copy")).unwrap_err(), image);
    refused(disk::grow(path, None, MIB).unwrap_err(), image);
    let top = folder.join("top");
    if have("is_refused_unopened", "qemu-img") {
        for format in ["raw", "qcow2"] {
            run("qemu-img", &["create", "-q", "-u", "-f", "qcow2", "-F", format, "-b", text(path), text(&top), "1M"]);
            refused(disk::open(&top, None, Access::ReadOnly).unwrap_err(), image);
            refused(disk::open(&top, None, Access::ReadWrite).unwrap_err(), image);
            refused(disk::inspect(&top, None).unwrap_err(), image);
        }
    }
    refused(Archive::open(path).unwrap_err(), "a regular file");
    let raw = folder.join("raw");
    let _ = fs::remove_file(&raw);
    disk::create(&raw, disk::ImageFormat::Raw, MIB).unwrap();
    let source = open_as(&raw, disk::ImageFormat::Raw, Access::ReadOnly);
    refused(StreamingDisk::open(source.clone(), source, path).unwrap_err(), "a regular file");
    // The detection works.
    let _ = fs::OpenOptions::new().read(true).write(true).open(path);
    assert!(watch.has_seen_an_open() || what == "it is a socket");
}

#[test]
fn a_fifo_is_not_opened() {
    need!("mkfifo");
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("fifo");
    run("mkfifo", &[text(&path)]);
    is_refused_unopened(folder.path(), &path, "it is a FIFO");
}

#[test]
fn a_character_device_is_not_opened() {
    let folder = tempfile::tempdir().unwrap();
    let terminal = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).unwrap();
    grantpt(&terminal).unwrap();
    unlockpt(&terminal).unwrap();
    let name = ptsname(&terminal, Vec::new()).unwrap();
    is_refused_unopened(folder.path(), Path::new(name.to_str().unwrap()), "it is a character device");
}

#[test]
fn a_socket_is_not_opened() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("socket");
    let _listener = UnixListener::bind(&path).unwrap();
    is_refused_unopened(folder.path(), &path, "it is a socket");
}
