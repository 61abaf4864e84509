//! How many file descriptors VMs need, and what happens if there are too few.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::sync::PoisonError;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use xvirt_core::config::{Disk, IoEngine, Nic, UserNetwork, VmConfig, Vsock};
use xvirt_core::console::ConsoleReader;
use xvirt_core::demo::{self, CommandLine, Mode};
use xvirt_core::disk::{self, ImageFormat};
use xvirt_core::host::Host;
use xvirt_core::net::{FrameStream, Tap};
use xvirt_core::vm::{PowerState, Vm};
use xvirt_core::{Error, ErrorKind};
use xvirt_testing::process::another;
use xvirt_testing::stand_in::StandIn;

use crate::ALONE;
use crate::host;
use crate::support::{PATIENCE, config};

const ORDER: &str = "XVIRT_TEST_DESCRIPTORS";

fn open() -> BTreeSet<u64> {
    let paths: Vec<_> = fs::read_dir("/proc/self/fd").unwrap().map(|entry| entry.unwrap().path()).collect();
    // The descriptor that was open for reading the folder is closed by now, and its link gone.
    let there = paths.iter().filter(|path| path.read_link().is_ok());
    there.map(|path| path.file_name().unwrap().to_str().unwrap().parse().unwrap()).collect()
}

fn image(folder: &Path, name: &str, format: ImageFormat) -> Disk {
    let path = folder.join(name);
    disk::create(&path, format, 1 << 20).unwrap();
    Disk::open(path).unwrap()
}

/// Waits until the guest has used its devices.
fn works(console: &mut ConsoleReader, config: &VmConfig) {
    let ready = if config.vsock.is_some() { "vsock: cid=77 ready" } else { demo::ECHO_READY };
    let text = console.wait_for(ready, PATIENCE).unwrap();
    for disk in 0..config.disks.len() {
        assert!(text.contains(&format!("blk {disk}: ok")), "{text}");
    }
}

/// Runs a guest that uses its devices, reboots it, and compares its descriptors with those of the configuration.
fn measured(config: &VmConfig, host: &Host) {
    let before = open().len();
    let vm = config.clone().build(host).unwrap();
    assert_eq!(open().len() - before, 3, "halted");
    let mut console = vm.console().reader();
    vm.start().unwrap();
    assert_eq!(open().len() - before, config.file_descriptors(), "started: {config:?}");
    works(&mut console, config);
    assert_eq!(open().len() - before, config.file_descriptors(), "at work: {config:?}");
    vm.hard_reboot().unwrap();
    works(&mut console, config);
    assert_eq!(open().len() - before, config.file_descriptors(), "rebooted: {config:?}");
    vm.hard_shutdown().unwrap();
    assert_eq!(open().len() - before, 3, "halted again");
    drop((vm, console));
    assert_eq!(open().len(), before, "dropped");
}

#[test]
fn a_vm_takes_as_many_as_it_says() {
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    let host = host!();
    let folder = tempfile::tempdir().unwrap();
    let line = CommandLine::new([Mode::Rng, Mode::Blk, Mode::Echo]).blocks(4);
    let base = || config(&line);
    measured(&base().without_balloon(), &host);
    assert!(base().without_balloon().file_descriptors() <= 16);
    measured(&base().vcpus(3).shared_memory(), &host);
    let raw = image(folder.path(), "a.raw", ImageFormat::Raw);
    let qcow2 = image(folder.path(), "b.qcow2", ImageFormat::Qcow2).engine(IoEngine::Threads);
    measured(&base().vcpus(2).disk(raw.clone()).disk(qcow2.queues(3)), &host);
    measured(&base().disk(raw.direct()), &host);
    let line = CommandLine::new([Mode::Rng, Mode::Vsock, Mode::Echo]);
    measured(&config(&line).vsock(Vsock::new(77, folder.path().join("v.sock"))), &host);
    // The other end does not belong to the VM.
    let listener = UnixListener::bind(folder.path().join("network")).unwrap();
    measured(&base().nic(Nic::stream(folder.path().join("network"))), &host);
    drop(listener);
    let (near, _far) = UnixStream::pair().unwrap();
    measured(&base().nic(Nic::connection(FrameStream::new(near).unwrap())), &host);
    let passt = StandIn::new("exec cat <&3 >/dev/null");
    measured(&base().nic(Nic::user_network(UserNetwork::new().program(passt.program()))), &host);
    match Tap::create(None) {
        Ok(tap) => {
            drop(tap);
            measured(&base().nic(Nic::new_tap()), &host);
        }
        Err(error) => println!("without a tap: {error}"),
    }
}

/// Limits this process to `free` descriptors beyond those that it has open.
fn leave(free: usize, open: &BTreeSet<u64>) {
    let mut limit = 0;
    let mut left = free;
    while left > 0 || open.range(limit..).next().is_some_and(|taken| *taken == limit) {
        left -= usize::from(!open.contains(&limit));
        limit += 1;
    }
    let maximum = getrlimit(Resource::Nofile).maximum;
    setrlimit(Resource::Nofile, Rlimit { current: Some(limit), maximum }).unwrap();
}

fn leave_all() {
    let maximum = getrlimit(Resource::Nofile).maximum;
    setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum }).unwrap();
}

/// Checks that `error` says how many were needed, and how many were left.
fn explains(error: &Error, needed: usize) {
    assert_eq!(error.kind(), ErrorKind::OutOfDescriptors, "{error}");
    let text = error.to_string();
    assert!(text.contains(&format!("takes {needed} file descriptors, and this process has ")), "{text}");
    assert!(text.contains("raise the limit of open files to ") && !text.contains("ulimit -n; "), "{text}");
}

/// In a separate process, which has its own limit.
#[test]
fn with_too_few_a_start_fails_and_else_the_guest_works() {
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    host!();
    let child = another("descriptors::obeys").env(ORDER, "").output().unwrap();
    let text = String::from_utf8_lossy(&child.stdout);
    assert!(child.status.success(), "{text}{}", String::from_utf8_lossy(&child.stderr));
    assert!(text.contains("all was tried"), "{text}");
}

#[test]
fn obeys() {
    if std::env::var(ORDER).is_err() {
        return;
    }
    let host = Host::probe().unwrap();
    let folder = tempfile::tempdir().unwrap();
    starts(folder.path(), &host);
    plugs(folder.path(), &host);
    println!("all was tried");
}

fn starts(folder: &Path, host: &Host) {
    let socket = folder.join("v.sock");
    let line = CommandLine::new([Mode::Rng, Mode::Blk, Mode::Vsock, Mode::Echo]).blocks(4);
    let config = config(&line)
        .disk(image(folder, "a.raw", ImageFormat::Raw))
        .disk(image(folder, "b.qcow2", ImageFormat::Qcow2))
        .vsock(Vsock::new(77, &socket));
    let vm = config.clone().build(host).unwrap();
    let before = open();
    let needed = config.file_descriptors() - 3;
    for free in 0..needed + 3 {
        let mut console = vm.console().reader_at_end();
        leave(free, &before);
        let started = vm.start();
        match started {
            Ok(()) => {
                assert!(free >= needed, "started with {free} descriptors");
                works(&mut console, &config);
                vm.hard_reboot().unwrap();
                works(&mut console, &config);
                vm.hard_shutdown().unwrap();
            }
            Err(error) => {
                assert!(free < needed, "with {free} descriptors: {error}");
                explains(&error, needed);
                assert_eq!(vm.power_state(), PowerState::Halted);
            }
        }
        leave_all();
        assert_eq!(open(), before, "after {free}");
        assert!(!socket.exists());
    }
}

fn plugs(folder: &Path, host: &Host) {
    let config = config(&CommandLine::new([Mode::HotPlug]));
    let disk = image(folder, "c.raw", ImageFormat::Raw);
    let needed = config.clone().disk(disk.clone()).file_descriptors() - config.file_descriptors();
    let vm: Vm = config.build(host).unwrap();
    let mut console = vm.console().reader();
    vm.start().unwrap();
    console.wait_for("hotplug: ready", PATIENCE).unwrap();
    let before = open();
    for free in 0..=needed {
        leave(free, &before);
        match vm.plug_disk(disk.clone()) {
            Ok(position) => {
                assert_eq!(free, needed);
                let text = console.wait_for("hotplug: slot 1 plugged", PATIENCE).unwrap();
                assert!(text.contains("blk 0: ok"), "{text}");
                vm.unplug_disk(position, PATIENCE).unwrap();
            }
            Err(error) => {
                assert!(free < needed, "with {free} descriptors: {error}");
                explains(&error, needed);
                assert_eq!(vm.power_state(), PowerState::Running);
            }
        }
        leave_all();
        assert_eq!(open(), before, "after {free}");
    }
}
