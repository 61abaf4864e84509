//! A child of fork(2) has copies of all memory, and no thread but the one that forked.

use std::io::{self, Read};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::sync::mpsc::{self, Receiver, Sender};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use xvirt_core::config::{ByteSize, CpuLimit, Disk, Nic, NicLimit, RateLimit, VmConfig, Vsock};
use xvirt_core::demo::{CommandLine, Mode};
use xvirt_core::disk::GuestSlice;
use xvirt_core::disk::{self, Access, BlockBackend, ImageFormat};
use xvirt_core::repository::Repository;
use xvirt_core::vm::{PowerState, Vm};
use xvirt_core::{ErrorKind, Result};

use crate::echo::{pattern, round_trip};
use crate::host;
use crate::support::{Guest, PATIENCE, config};

/// A disk whose capacity query blocks until it is released.
#[derive(Debug)]
struct Slow {
    asked: Sender<()>,
    go_on: Mutex<Receiver<()>>,
}

impl BlockBackend for Slow {
    fn capacity(&self) -> u64 {
        // Fails once the test has received enough, or releases everything.
        let _ = (self.asked.send(()), self.go_on.lock().unwrap().recv());
        1 << 20
    }
    fn read_only(&self) -> bool {
        false
    }
    fn read(&self, _: &[GuestSlice<'_>], _: u64) -> io::Result<()> {
        Ok(())
    }
    fn write(&self, _: &[GuestSlice<'_>], _: u64) -> io::Result<()> {
        Ok(())
    }
    fn flush(&self) -> io::Result<()> {
        Ok(())
    }
    fn discard(&self, _: u64, _: u64) -> io::Result<()> {
        Ok(())
    }
    fn write_zeroes(&self, _: u64, _: u64, _: bool) -> io::Result<()> {
        Ok(())
    }
}

/// Waits for a child, which must end by itself, and returns its result.
fn answer_of(child: libc::pid_t) -> i32 {
    // SAFETY: the child was not waited for yet, so its process ID is valid.
    let descriptor = unsafe { libc::syscall(libc::SYS_pidfd_open, child, 0) };
    assert!(descriptor >= 0, "{}", io::Error::last_os_error());
    // SAFETY: the descriptor was just created, and has no other owner.
    let descriptor = unsafe { OwnedFd::from_raw_fd(descriptor as i32) };
    let mut poll = libc::pollfd { fd: descriptor.as_raw_fd(), events: libc::POLLIN, revents: 0 };
    // SAFETY: one valid structure.
    let ended = unsafe { libc::poll(&raw mut poll, 1, PATIENCE.as_millis() as i32) } == 1;
    // SAFETY: as above; signalling a child that has ended has no effect.
    unsafe { libc::kill(child, libc::SIGKILL) };
    let mut status = 0;
    // SAFETY: waits for a child of this process, with the status in a local variable.
    assert_eq!(unsafe { libc::waitpid(child, &raw mut status, 0) }, child);
    assert!(ended, "the child hangs");
    assert!(libc::WIFEXITED(status), "the child ended with {status:#x}");
    libc::WEXITSTATUS(status)
}

fn refused<T>(result: Result<T>) -> bool {
    result.is_err_and(|error| error.kind() == ErrorKind::InvalidState && error.to_string().contains("forked from"))
}

/// The number of the first verb that is not refused.
fn works_in_child(vm: &Vm) -> Option<usize> {
    let now = Duration::ZERO;
    let verbs = [
        refused(vm.start()),
        refused(vm.pause()),
        refused(vm.unpause()),
        refused(vm.clean_shutdown(PATIENCE)),
        refused(vm.hard_shutdown()),
        refused(vm.clean_reboot(PATIENCE)),
        refused(vm.hard_reboot()),
        refused(vm.wait_halted(PATIENCE)),
        refused(vm.set_link(0, false)),
        refused(vm.plug_disk(Disk::raw("/nowhere"))),
        refused(vm.plug_nic(Nic::new_tap())),
        refused(vm.unplug_disk(0, PATIENCE)),
        refused(vm.unplug_nic(0, PATIENCE)),
        refused(vm.resize_disk(0, 2 << 20)),
        refused(vm.set_disk_limit(0, RateLimit::none())),
        refused(vm.disk_limit(0)),
        refused(vm.set_nic_limit(0, NicLimit::none())),
        refused(vm.set_cpu_limit(CpuLimit::none())),
        refused(vm.cpu_limit()),
        refused(vm.set_memory_target(ByteSize::mib(32))),
        refused(vm.wait_memory_target(PATIENCE)),
        refused(vm.memory_statistics()),
        refused(vm.refresh_memory_statistics(PATIENCE)),
        refused(vm.snapshot_views("/tmp")),
        refused(vm.events()),
        refused(vm.vsock_connect(1000, now)),
        refused(vm.vsock_listen(9001)),
        refused(vm.console().write_all(b"x")),
        refused(vm.console().try_write(b"x")),
        refused(vm.console().attach_pty()),
        vm.console().reader_at_end().read(&mut [0]).is_ok_and(|count| count == 0),
        vm.virtio_console().reader().try_read(&mut [0]) == Some(0),
        vm.power_state() == PowerState::Halted,
        vm.disks().is_empty() && vm.nics().is_empty() && vm.disk_positions().is_empty(),
        vm.statistics().vcpus.is_empty(),
    ];
    verbs.iter().position(|refused| !refused)
}

#[test]
fn a_child_leaves_the_vm_of_its_parent_alone() {
    let host = host!();
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    disk::create(path("a.qcow2"), ImageFormat::Qcow2, 1 << 20).unwrap();
    let line = CommandLine::new([Mode::Vsock, Mode::Echo]);
    let config = config(&line).disk(Disk::qcow2(path("a.qcow2"))).vsock(Vsock::new(77, path("v.sock")));
    let mut guest = Guest::start(config, &host).unwrap();
    guest.expect("vsock: cid=77 ready");
    let Guest { vm, console, events } = guest;
    let listener = vm.vsock_listen(9000).unwrap();
    let socket = vm.console().attach_unix_socket(path("console")).unwrap();
    let (asked, hears) = mpsc::channel();
    let (tells, go_on) = mpsc::channel();
    let slow = Disk::backend(Arc::new(Slow { asked, go_on: Mutex::new(go_on) }));
    thread::scope(|scope| {
        // Holds the VM's lock, which the child then inherits locked forever.
        let plugging = scope.spawn(|| vm.plug_disk(slow));
        hears.recv_timeout(PATIENCE).unwrap();
        // SAFETY: if the test passes, the child calls nothing that waits for another thread, and exits itself.
        let child = unsafe { libc::fork() };
        if child == 0 {
            let mut failed = works_in_child(&vm);
            if !refused(events.try_next()) || !refused(events.next_timeout(PATIENCE)) {
                failed = Some(98);
            }
            // SAFETY: these are the child's copies, which it no longer uses.
            drop(unsafe { (std::ptr::read(&raw const vm), std::ptr::read(&raw const listener)) });
            // SAFETY: as above.
            drop(unsafe { (std::ptr::read(&raw const socket), std::ptr::read(&raw const events)) });
            // SAFETY: ends the child without the parent's exit handlers.
            unsafe { libc::_exit(failed.map_or(99, |number| number as i32)) };
        }
        assert_eq!(answer_of(child), 99, "that verb does something in the child");
        drop(tells);
        plugging.join().unwrap().unwrap();
    });
    for name in ["v.sock", "v.sock_9000", "console"] {
        assert!(path(name).exists(), "{name} is gone");
    }
    let locked = disk::open(path("a.qcow2"), Some(ImageFormat::Qcow2), Access::ReadOnly).unwrap_err();
    assert_eq!(locked.kind(), ErrorKind::Busy);
    round_trip(vm.vsock_connect(1000, PATIENCE).unwrap(), &pattern(100_000, 1));
    drop((console, socket));
    vm.hard_shutdown().unwrap();
    assert!(!path("v.sock").exists() && !path("console").exists());
}

#[test]
fn a_child_leaves_disks_and_stages_of_its_parent_alone() {
    let folder = tempfile::tempdir().unwrap();
    let image = folder.path().join("a.qcow2");
    disk::create(&image, ImageFormat::Qcow2, 1 << 20).unwrap();
    let open = || disk::open(&image, Some(ImageFormat::Qcow2), Access::ReadWrite);
    let written = open().unwrap();
    let mut bytes = [7; 512];
    written.write(&[GuestSlice::from(&mut bytes[..])], 0).unwrap();
    let repository = Repository::open(folder.path().join("repository")).unwrap();
    let mut stage = repository.stage().unwrap();
    disk::create(stage.disk_path(0, ImageFormat::Raw), ImageFormat::Raw, 1 << 20).unwrap();
    let unwritten = std::fs::read(&image).unwrap();
    // SAFETY: if the test passes, the child calls nothing that waits for another thread, and exits itself.
    let child = unsafe { libc::fork() };
    if child == 0 {
        let made = stage.commit(VmConfig::new("b").disk(Disk::raw(stage.disk_path(0, ImageFormat::Raw))));
        let refused = refused(made) && refused(stage.attach("note", b"text"));
        drop((written, stage));
        // SAFETY: ends the child without the parent's exit handlers.
        unsafe { libc::_exit(i32::from(!refused)) };
    }
    assert_eq!(answer_of(child), 0);
    assert!(std::fs::read(&image).unwrap() == unwritten, "the child has written to the image");
    assert_eq!(open().unwrap_err().kind(), ErrorKind::Busy);
    // The staged VM is still there, and not taken for that of a dead process.
    Repository::open(folder.path().join("repository")).unwrap();
    assert!(stage.disk_path(0, ImageFormat::Raw).exists());
    drop(written);
    open().unwrap();
}
