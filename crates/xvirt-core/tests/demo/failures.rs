//! Starts that fail: the error with its remedy, and that nothing is left behind.

use std::fs;
use std::path::Path;
use std::thread;

use xvirt_core::ErrorKind;
use xvirt_core::config::{Boot, ByteSize, Disk, EntryProtocol, Nic, VmConfig, Vsock};
use xvirt_core::demo::{self, CommandLine, Mode};
use xvirt_core::disk::{self, ImageFormat};
use xvirt_core::vm::{Event, HaltCause, PowerState, Vm};

use crate::host;
use crate::support::{Guest, PATIENCE, config};

fn hello() -> VmConfig {
    config(&CommandLine::new([Mode::Hello]))
}

fn raw_disk(folder: &Path, name: &str) -> Disk {
    let path = folder.join(name);
    disk::create(&path, ImageFormat::Raw, 1 << 20).unwrap();
    Disk::raw(path)
}

/// Starts `vm`, which must fail with this error, and checks that it is halted.
fn refused(vm: &Vm, kind: ErrorKind, message: &[&str]) {
    let error = vm.start().unwrap_err();
    assert_eq!(error.kind(), kind, "{error}");
    for part in message {
        assert!(error.to_string().contains(part), "'{part}' is not in '{error}'");
    }
    assert_eq!(vm.power_state(), PowerState::Halted);
}

/// Like [`refused`], for a configuration to which a valid disk is added, which must be unlocked afterwards.
fn refused_and_undone(config: VmConfig, kind: ErrorKind, message: &[&str]) {
    let host = host!();
    let folder = tempfile::tempdir().unwrap();
    let good = raw_disk(folder.path(), "good.raw");
    let vm = config.disk(good.clone()).build(&host).unwrap();
    refused(&vm, kind, message);
    let other = Guest::start(hello().disk(good), &host).unwrap();
    other.vm.hard_shutdown().unwrap();
}

#[test]
fn a_missing_kernel() {
    let config = hello().boot(Boot::kernel("/nowhere/vmlinuz"));
    let message = ["cannot read the kernel /nowhere/vmlinuz: No such file", "check the path and its permissions"];
    refused_and_undone(config, ErrorKind::NotFound, &message);
}

#[test]
fn a_missing_initrd() {
    let config = hello().boot(Boot::kernel(demo::kernel()).initrd("/nowhere/initrd"));
    refused_and_undone(config, ErrorKind::NotFound, &["cannot read the initrd /nowhere/initrd: No such file"]);
}

#[test]
fn a_file_that_is_no_kernel() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("vmlinuz");
    fs::write(&path, vec![0x55; 8192]).unwrap();
    let message = ["cannot boot ", "neither a bzImage nor an ELF image", "give a Linux kernel for x86-64"];
    refused_and_undone(hello().boot(Boot::kernel(path)), ErrorKind::InvalidKernel, &message);
}

#[test]
fn a_truncated_kernel() {
    let kernel = demo::kernel();
    let config = hello().boot(Boot::kernel(&kernel[..kernel.len() / 2]));
    refused_and_undone(config, ErrorKind::InvalidKernel, &["the kernel cannot be loaded", "check the kernel image"]);
}

#[test]
fn a_kernel_without_the_entry_asked_for() {
    let mut kernel = demo::kernel().to_vec();
    // Changes the owner of the note with the PVH entry.
    let note = kernel.windows(4).position(|bytes| bytes == b"Xen\0").unwrap();
    kernel[note] = b'Y';
    let config = hello().boot(Boot::kernel(kernel).protocol(EntryProtocol::Pvh));
    refused_and_undone(config, ErrorKind::InvalidKernel, &["has no PVH entry", "let xvirt choose the entry"]);
}

#[test]
fn a_kernel_that_does_not_fit() {
    let folder = tempfile::tempdir().unwrap();
    let initrd = folder.path().join("initrd");
    fs::File::create(&initrd).unwrap().set_len(64 << 20).unwrap();
    let config = hello().boot(Boot::kernel(demo::kernel()).initrd(initrd));
    let message = ["an initrd of 64 MiB does not fit the VM's memory", "give the VM more memory"];
    refused_and_undone(config, ErrorKind::InvalidConfig, &message);
}

#[test]
fn a_missing_disk() {
    let config = hello().disk(Disk::raw("/nowhere/a.raw"));
    refused_and_undone(config, ErrorKind::NotFound, &["/nowhere/a.raw", "No such file"]);
    let error = Disk::open("/nowhere/a.raw").unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotFound);
}

#[test]
fn a_disk_that_somebody_else_uses() {
    let host = host!();
    let folder = tempfile::tempdir().unwrap();
    let busy = raw_disk(folder.path(), "busy.raw");
    let holder = Guest::start(hello().disk(busy.clone()), &host).unwrap();
    refused_and_undone(hello().disk(busy.clone()), ErrorKind::Busy, &["busy.raw"]);
    // Nor twice in one VM.
    drop(holder);
    let error = hello().disk(busy.clone()).disk(busy).build(&host).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidConfig);
    assert!(error.to_string().contains("busy.raw is used twice by the VM"), "{error}");
}

#[test]
fn a_disk_with_nothing_to_boot() {
    let host = host!();
    let folder = tempfile::tempdir().unwrap();
    let vm = VmConfig::new("blank").disk(raw_disk(folder.path(), "blank.raw")).build(&host).unwrap();
    refused(&vm, ErrorKind::NotBootable, &["Boot::kernel"]);
}

#[test]
fn a_tap_that_cannot_be_made() {
    let message = ["name", "15"];
    refused_and_undone(hello().nic(Nic::tap("a-name-that-is-too-long")), ErrorKind::InvalidConfig, &message);
}

#[test]
fn a_bridge_that_does_not_exist() {
    if !std::path::Path::new("/dev/net/tun").exists() || is_not_root() {
        println!("SKIPPED a_bridge_that_does_not_exist: needs root and /dev/net/tun");
        return;
    }
    refused_and_undone(hello().nic(Nic::new_tap().bridge("xvnobridge")), ErrorKind::NotFound, &["xvnobridge"]);
}

fn is_not_root() -> bool {
    !fs::metadata("/proc/self").is_ok_and(|own| std::os::unix::fs::MetadataExt::uid(&own) == 0)
}

#[test]
fn more_memory_than_there_is_address_space() {
    let config = hello().memory(ByteSize::gib(1 << 20));
    refused_and_undone(config, ErrorKind::OutOfMemory, &["cannot allocate 1 PiB of guest memory", "less memory"]);
}

#[test]
fn huge_pages_that_were_not_reserved() {
    let free = fs::read_to_string("/sys/kernel/mm/hugepages/hugepages-2048kB/free_hugepages").unwrap_or_default();
    if free.trim() != "0" {
        println!("SKIPPED huge_pages_that_were_not_reserved: this host has huge pages, or none at all");
        return;
    }
    let message = ["64 MiB of guest memory in huge pages", "reserve 32 of them (sysctl vm.nr_hugepages)"];
    refused_and_undone(hello().huge_pages(), ErrorKind::OutOfMemory, &message);
}

#[test]
fn verbs_in_the_wrong_state() {
    let host = host!();
    let folder = tempfile::tempdir().unwrap();
    let vm = hello().vsock(Vsock::new(3, folder.path().join("vsock"))).build(&host).unwrap();
    for (result, what) in [
        (vm.pause(), "cannot pause VM 'demo' while it is halted; it must be running"),
        (vm.unpause(), "cannot unpause VM 'demo' while it is halted; it must be paused"),
        (
            vm.hard_shutdown(),
            "cannot hard shut down VM 'demo' while it is halted; it must be running or paused or suspended",
        ),
        (vm.clean_shutdown(PATIENCE), "cannot cleanly shut down VM 'demo' while it is halted; it must be running"),
    ] {
        assert_eq!(result.unwrap_err().to_string(), what);
    }
    let vsock = || vm.vsock_connect(1, PATIENCE).map(drop);
    for (result, what) in [
        (vm.set_link(0, false), "cannot change the link of a NIC of VM 'demo'"),
        (vm.set_memory_target(ByteSize::mib(64)), "cannot set the memory target of VM 'demo'"),
        (vm.wait_memory_target(PATIENCE), "cannot wait for the memory target of VM 'demo'"),
        (vm.memory_statistics().map(drop), "cannot read the memory statistics of VM 'demo'"),
        (vm.refresh_memory_statistics(PATIENCE).map(drop), "cannot read the memory statistics of VM 'demo'"),
        (vsock(), "cannot connect to a vsock port of VM 'demo'"),
    ] {
        let error = result.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidState);
        assert_eq!(error.to_string(), format!("{what} while it is halted; it must be running or paused"));
    }
    for console in [vm.console(), vm.virtio_console()] {
        for result in [console.write_all(b"x"), console.try_write(b"x").map(drop)] {
            let error = result.unwrap_err();
            assert_eq!(error.kind(), ErrorKind::InvalidState);
            assert_eq!(error.to_string(), "cannot write to the console: its VM is halted; start the VM first");
        }
    }
    let error = vm.wait_halted(PATIENCE).and_then(|()| vm.start()).and_then(|()| vm.start()).unwrap_err();
    assert_eq!(error.to_string(), "cannot start VM 'demo' while it is running; it must be halted");
    assert_eq!(vm.set_link(0, false).unwrap_err().kind(), ErrorKind::NotFound);
    // It waits for a guest without a driver, until there is no guest.
    vm.set_memory_target(ByteSize::mib(32)).unwrap();
    let error = thread::scope(|scope| {
        let waiting = scope.spawn(|| vm.wait_memory_target(PATIENCE));
        vm.hard_shutdown().unwrap();
        waiting.join().unwrap().unwrap_err()
    });
    assert_eq!(error.kind(), ErrorKind::InvalidState, "{error}");
}

#[test]
fn a_kernel_that_vanished_before_a_reboot_halts_the_vm() {
    let host = host!();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("kernel");
    fs::write(&path, demo::kernel()).unwrap();
    let line = CommandLine::new([Mode::Hello]).to_string();
    let guest = Guest::start(hello().boot(Boot::kernel(path.as_path()).command_line(line)), &host).unwrap();
    guest.expect_event(&Event::Started);
    fs::remove_file(&path).unwrap();
    let error = guest.vm.hard_reboot().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotFound);
    assert_eq!(guest.vm.power_state(), PowerState::Halted);
    let event = guest.events.next_timeout(PATIENCE).unwrap().event;
    let Event::Crashed(reason) = event else { panic!("{event:?} is no crash") };
    assert_eq!(guest.vm.halted().unwrap().cause, HaltCause::Crashed(reason.clone()));
    assert_eq!(guest.vm.last_crash().unwrap().reason, reason);
}
