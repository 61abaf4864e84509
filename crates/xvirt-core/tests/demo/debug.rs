//! The `{:?}` output of public types, which ends up in logs.

use std::fmt::Debug;
use std::sync::Arc;

use xvirt_core::config::{Disk, Vsock};
use xvirt_core::demo::{CommandLine, Mode};
use xvirt_core::disk::{self, Access, BlockBackend, ImageFormat, StreamingDisk};

use crate::host;
use crate::support::{Guest, PATIENCE, config};

/// One screenful.
const MAX: usize = 4 << 10;

#[track_caller]
fn is_short(thing: &impl Debug) {
    for text in [format!("{thing:?}"), format!("{thing:#?}")] {
        assert!(text.len() <= MAX, "{} bytes: {}...", text.len(), &text[..200]);
    }
}

#[test]
fn a_vm_and_what_belongs_to_it_are_short() {
    let host = host!();
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    disk::create(path("a.raw"), ImageFormat::Raw, 64 << 30).unwrap();
    disk::create(path("b.qcow2"), ImageFormat::Qcow2, 1 << 20).unwrap();
    let line = CommandLine::new([Mode::Blk, Mode::Echo]).blocks(4);
    let config = config(&line)
        .vcpus(4)
        .disk(Disk::raw(path("a.raw")))
        .disk(Disk::qcow2(path("b.qcow2")))
        .vsock(Vsock::new(77, path("v.sock")));
    is_short(&config);
    let Guest { vm, mut console, events } = Guest::start(config, &host).unwrap();
    console.wait_for("echo: ready", PATIENCE).unwrap();
    for _ in 0..600 {
        vm.pause().unwrap();
        vm.unpause().unwrap();
    }
    is_short(&vm);
    is_short(&vm.console());
    is_short(&console);
    is_short(&events);
    is_short(&events.try_next());
    is_short(&vm.vsock_listen(9000).unwrap());
    is_short(&vm.console().attach_pty().unwrap());
    is_short(&vm.console().attach_unix_socket(path("console")).unwrap());
    is_short(&vm.disks());
    is_short(&vm.statistics().disks);
    is_short(&vm.statistics().vcpus);
    is_short(&vm.snapshot_views(folder.path()).unwrap());
    is_short(&vm.set_link(3, true).unwrap_err());
    vm.hard_shutdown().unwrap();
    is_short(&vm);
}

#[test]
fn large_disks_are_short() {
    let folder = tempfile::tempdir().unwrap();
    let open = |name: &str, access| -> Arc<dyn BlockBackend> {
        let path = folder.path().join(name);
        if !path.exists() {
            disk::create(&path, ImageFormat::Raw, 64 << 30).unwrap();
        }
        disk::open(&path, Some(ImageFormat::Raw), access).unwrap()
    };
    let (source, target) = (open("source", Access::ReadOnly), open("target", Access::ReadWrite));
    is_short(&source);
    is_short(&target);
    let streaming = StreamingDisk::create(source, target, folder.path().join("map"), 64 << 10).unwrap();
    is_short(&streaming);
    is_short(&Disk::backend(Arc::new(streaming)));
}
