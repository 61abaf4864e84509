//! A VM in a process that cannot open anything: it gets everything as descriptors.

use std::fs::File;
use std::io::{self, IoSlice, IoSliceMut, Read, Write};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::{UnixListener, UnixStream};
use std::process::Stdio;

use rustix::fs::{MemfdFlags, memfd_create};
use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer, SendAncillaryMessage, SendFlags,
    recvmsg, sendmsg,
};
use seccompiler::{BpfProgram, SeccompAction, SeccompFilter, apply_filter_all_threads};
use xvirt_core::ErrorKind;
use xvirt_core::config::{Boot, ByteSize, Disk, Nic, VmConfig, Vsock};
use xvirt_core::demo::{self, CommandLine, Mode};
use xvirt_core::disk::{self, Access, ImageDescriptor, ImageFormat, OverlayKind};
use xvirt_core::host::Host;
use xvirt_core::net::FrameStream;
use xvirt_core::vm::{HaltCause, Vm};
use xvirt_testing::process::another;

use crate::host;
use crate::support::{PATIENCE, config};

const ORDER: &str = "XVIRT_TEST_DEMO_SANDBOXED";
const SIZE: u64 = 8 << 20;
const MEMORY: ByteSize = ByteSize::mib(64);
/// The number of descriptors: `/dev/kvm`, kernel, overlay, base, memory, network, vsock.
const COUNT: usize = 7;
/// The maximum length of the report on the host.
const MAX_REPORT: usize = 64 << 10;

fn blk(mode: Mode) -> CommandLine {
    CommandLine::new([mode, Mode::PowerOff]).seed(7).blocks(16)
}

/// Sends descriptors, and data with them.
fn send(socket: &UnixStream, bytes: &[u8], descriptors: &[OwnedFd]) {
    let descriptors: Vec<_> = descriptors.iter().map(AsFd::as_fd).collect();
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(COUNT))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    assert!(control.push(SendAncillaryMessage::ScmRights(&descriptors)));
    let sent = sendmsg(socket, &[IoSlice::new(bytes)], &mut control, SendFlags::empty()).unwrap();
    assert_eq!(sent, bytes.len());
}

fn receive(socket: &UnixStream) -> (Vec<u8>, Vec<OwnedFd>) {
    let mut bytes = vec![0; MAX_REPORT];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(COUNT))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let received = recvmsg(socket, &mut [IoSliceMut::new(&mut bytes)], &mut control, RecvFlags::CMSG_CLOEXEC).unwrap();
    bytes.truncate(received.bytes);
    let rights = control.drain().filter_map(|message| match message {
        RecvAncillaryMessage::ScmRights(rights) => Some(rights),
        _ => None,
    });
    (bytes, rights.flatten().collect())
}

/// Denies the whole process all system calls that open, create or connect anything.
fn enter_sandbox() {
    let denied = [
        libc::SYS_open,
        libc::SYS_openat,
        libc::SYS_openat2,
        libc::SYS_creat,
        libc::SYS_socket,
        libc::SYS_connect,
        libc::SYS_bind,
        libc::SYS_execve,
    ];
    let rules = denied.into_iter().map(|call| (call, Vec::new())).collect();
    let refuse = SeccompAction::Errno(libc::EPERM as u32);
    let architecture = std::env::consts::ARCH.try_into().unwrap();
    let filter = SeccompFilter::new(rules, SeccompAction::Allow, refuse, architecture).unwrap();
    apply_filter_all_threads(&BpfProgram::try_from(filter).unwrap()).unwrap();
    for refused in [File::open("/dev/null").map(drop), UnixStream::connect("/").map(drop)] {
        assert_eq!(refused.unwrap_err().raw_os_error(), Some(libc::EPERM));
    }
}

/// The sandboxed process; does nothing when run as an ordinary test.
#[test]
fn obeys() {
    if std::env::var_os(ORDER).is_none() {
        return;
    }
    let socket = UnixStream::from(io::stdin().as_fd().try_clone_to_owned().unwrap());
    let (report, descriptors) = receive(&socket);
    enter_sandbox();
    let [kvm, kernel, overlay, base, memory, network, programs] = descriptors.try_into().unwrap();
    let host = serde_json::from_slice::<Host>(&report).unwrap().with_kvm(kvm).unwrap();
    let line = CommandLine::new([Mode::Hello, Mode::Blk, Mode::Net, Mode::PowerOff]).seed(7).blocks(16).frames(2);
    let disk = Disk::descriptor(ImageDescriptor::new(overlay, ImageFormat::Qcow2))
        .based_on(ImageDescriptor::new(base, ImageFormat::Raw));
    let config = VmConfig::new("sandboxed")
        .boot(Boot::kernel(kernel).command_line(line.to_string()))
        .memory(MEMORY)
        .memory_file(memory)
        .disk(disk)
        .nic(Nic::connection(FrameStream::new(network.into()).unwrap()))
        .vsock(Vsock::new(3, "/nowhere").listener(programs));
    let vm = config.build(&host).unwrap();
    let mut console = vm.console().reader();
    vm.start().unwrap();
    println!("{}", console.wait_for("net 0: mac", PATIENCE).unwrap());
    // Everything is loaded again, from the same descriptors.
    vm.hard_reboot().unwrap();
    println!("{}", console.wait_for("net 0: mac", PATIENCE).unwrap());
    (&socket).write_all(b"!").unwrap();
    vm.wait_halted(PATIENCE).unwrap();
    let mut rest = String::new();
    drop(vm);
    console.read_to_string(&mut rest).unwrap();
    println!("{rest}");
}

#[test]
fn a_vm_runs_in_a_process_that_can_open_nothing() {
    let host = host!();
    // In memory, where no file system shares blocks, so that the overlay is a qcow2 image.
    let folder = tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).unwrap();
    let path = |name: &str| folder.path().join(name);
    let (base, overlay, kernel) = (path("base"), path("overlay"), path("kernel"));
    disk::create(&base, ImageFormat::Raw, SIZE).unwrap();
    if disk::overlay(&base, Some(ImageFormat::Raw), &overlay).unwrap() != OverlayKind::Qcow2 {
        println!("SKIPPED a_vm_runs_in_a_process_that_can_open_nothing: the file system has reflinks");
        return;
    }
    std::fs::write(&kernel, demo::kernel()).unwrap();
    let writable = |path: &std::path::Path| File::options().read(true).write(true).open(path).unwrap();
    let memory = memfd_create("memory", MemfdFlags::CLOEXEC).unwrap();
    rustix::fs::ftruncate(&memory, MEMORY.bytes()).unwrap();
    let (near, mut far) = UnixStream::pair().unwrap();
    far.set_read_timeout(Some(PATIENCE)).unwrap();
    let programs = UnixListener::bind(path("vsock")).unwrap();
    let descriptors: [OwnedFd; COUNT] = [
        writable("/dev/kvm".as_ref()).into(),
        File::open(&kernel).unwrap().into(),
        writable(&overlay).into(),
        File::open(&base).unwrap().into(),
        memory,
        near.into(),
        programs.into(),
    ];
    let (here, there) = UnixStream::pair().unwrap();
    here.set_read_timeout(Some(PATIENCE)).unwrap();
    let child = another("sandboxed::obeys")
        .env(ORDER, "")
        .stdin(Stdio::from(OwnedFd::from(there)))
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    send(&here, &serde_json::to_vec(&host).unwrap(), &descriptors);
    drop(descriptors);

    // An error means that the child has ended, and is reported below.
    let mut ready = [0];
    if (&here).read_exact(&mut ready).is_ok() {
        let mut frame = [&60_u32.to_be_bytes()[..], &[0xff; 6], &[2, 0, 0, 0, 0, 9], &[7; 48]].concat();
        far.write_all(&frame).unwrap();
        far.read_exact(&mut frame).unwrap();
        // The guest waits for another frame, and the disk is locked through its descriptors.
        for image in [&overlay, &base] {
            let opened = disk::open(image, None, Access::ReadWrite);
            assert_eq!(opened.unwrap_err().kind(), ErrorKind::Busy, "{}", image.display());
        }
        far.write_all(&frame).unwrap();
    }
    let output = child.wait_with_output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{text}\n{errors}");
    assert!(text.contains("hello") && text.matches("blk 0: ok").count() == 2, "{text}\n{errors}");

    // The guest's data is in the overlay, as another VM sees it through the path.
    let vm: Vm = config(&blk(Mode::BlkVerify)).disk(Disk::qcow2(&overlay)).build(&host).unwrap();
    let mut console = vm.console().reader();
    vm.start().unwrap();
    vm.wait_halted(PATIENCE).unwrap();
    assert_eq!(vm.halted().map(|halted| halted.cause), Some(HaltCause::GuestShutdown));
    drop(vm);
    let mut text = String::new();
    console.read_to_string(&mut text).unwrap();
    assert!(text.contains("blk 0: ok"), "{text}");
}
