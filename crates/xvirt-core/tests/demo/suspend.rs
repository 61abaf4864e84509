//! Suspending VMs to files, and resuming them.

use std::fs::{self, OpenOptions};
use std::io::{Read, Write};
use std::os::fd::OwnedFd;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use xvirt_core::ErrorKind;
use xvirt_core::config::{Boot, Disk, DiskSource, Nic, Uuid, VmConfig};
use xvirt_core::demo::{self, CommandLine, Mode};
use xvirt_core::disk::{self, Access, ImageFormat};
use xvirt_core::host::Host;
use xvirt_core::vm::{ElapsedTime, Event, PowerState, SuspendedVm};

use crate::host;
use crate::support::{Guest, PATIENCE, config};

const DISK: u64 = 8 << 20;

/// A VM with two vCPUs and two disks whose guest checks its memory and its disks continuously.
fn busy(folder: &Path) -> VmConfig {
    let [raw, qcow2] = ["disk.raw", "disk.qcow2"].map(|name| folder.join(name));
    disk::create(&raw, ImageFormat::Raw, DISK).unwrap();
    disk::create(&qcow2, ImageFormat::Qcow2, DISK).unwrap();
    let line = CommandLine::new([Mode::Smp, Mode::Counter, Mode::BlkLoad]).pages(500).blocks(32).every(1);
    let kernel = folder.join("kernel");
    fs::write(&kernel, demo::kernel()).unwrap();
    config(&line)
        .boot(Boot::kernel(kernel).command_line(line.to_string()))
        .vcpus(2)
        .disk(Disk::raw(raw))
        .disk(Disk::open(qcow2).unwrap())
}

/// Waits until the guest has checked its memory and its disks once more.
fn goes_on(guest: &mut Guest) {
    for _ in 0..2 {
        guest.expect("blk 1: round");
        guest.expect("pass");
    }
}

#[test]
fn a_busy_vm_is_suspended_and_resumed() {
    let host = host!();
    let folder = tempfile::tempdir().unwrap();
    let mut guest = Guest::start(busy(folder.path()), &host).unwrap();
    for number in 0..5 {
        goes_on(&mut guest);
        if number == 3 {
            guest.vm.pause().unwrap();
        }
        let path = folder.path().join(format!("saved-{number}"));
        guest.vm.suspend(&path, &()).unwrap();
        assert_eq!(guest.vm.power_state(), PowerState::Suspended);
        assert_eq!(fs::metadata(&path).unwrap().mode() & 0o777, 0o600);
        // Its disks are no longer locked.
        drop(disk::open(folder.path().join("disk.raw"), Some(ImageFormat::Raw), Access::ReadWrite).unwrap());
        guest.vm.resume(&()).unwrap();
        assert_eq!(guest.vm.power_state(), PowerState::Running);
        assert!(!path.exists());
    }
    goes_on(&mut guest);
    guest.vm.hard_shutdown().unwrap();
}

#[test]
fn a_vm_is_suspended_to_an_open_file_and_resumed_from_it_once() {
    let host = host!();
    let line = CommandLine::new([Mode::Counter]).pages(50).every(1);
    let mut guest = Guest::start(config(&line), &host).unwrap();
    let built = guest.vm.config().unwrap();
    let file = tempfile::tempfile().unwrap();
    let descriptor = || OwnedFd::from(file.try_clone().unwrap());
    guest.expect("pass");
    guest.vm.suspend_to(descriptor(), &()).unwrap();
    guest.vm.resume(&()).unwrap();
    guest.expect("pass");
    // What is left of it is no saved state, and no empty file either.
    assert_eq!(SuspendedVm::from_descriptor(descriptor()).unwrap_err().kind(), ErrorKind::NotFound);
    assert_eq!(guest.vm.suspend_to(descriptor(), &()).unwrap_err().kind(), ErrorKind::InvalidConfig);
    guest.expect("pass");
    file.set_len(0).unwrap();
    guest.vm.suspend_to(descriptor(), &()).unwrap();
    drop(guest.vm);

    let build = || SuspendedVm::from_descriptor(descriptor()).unwrap().build_with(built.clone(), &host).unwrap();
    let (one, two) = (build(), build());
    one.resume(&()).unwrap();
    let mut console = one.console().reader_at_end();
    console.wait_for("pass", PATIENCE).unwrap();
    one.hard_shutdown().unwrap();
    let error = two.resume(&()).unwrap_err();
    assert_eq!((error.kind(), two.power_state()), (ErrorKind::NotFound, PowerState::Suspended), "{error}");
}

#[test]
fn a_suspended_vm_is_resumed_by_somebody_else() {
    let host = host!();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("saved");
    let mut guest = Guest::start(busy(folder.path()), &host).unwrap();
    let uuid = guest.vm.uuid();
    goes_on(&mut guest);
    guest.vm.suspend(&path, &()).unwrap();
    drop(guest);

    let suspended = SuspendedVm::open(&path).unwrap();
    assert_eq!((suspended.uuid(), suspended.name()), (uuid, "demo"));
    assert_eq!(suspended.config().unwrap().disks.len(), 2);
    let vm = suspended.build(&host).unwrap();
    assert_eq!(vm.power_state(), PowerState::Suspended);
    vm.resume(&()).unwrap();
    let mut guest = Guest { console: vm.console().reader(), events: vm.events().unwrap(), vm };
    goes_on(&mut guest);
    assert_eq!(SuspendedVm::open(&path).unwrap_err().kind(), ErrorKind::NotFound);
}

#[test]
fn consoles_go_on_in_another_process() {
    let host = host!();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("saved");
    let line = CommandLine::new([Mode::Hello, Mode::Echo]);
    let mut guest = Guest::start(config(&line), &host).unwrap();
    let ready = guest.expect("echo: ready\r\n");
    guest.vm.virtio_console().reader().wait_for("echo: ready", PATIENCE).unwrap();
    guest.vm.pause().unwrap();
    for console in [guest.vm.console(), guest.vm.virtio_console()] {
        console.write_all(b"ping\n").unwrap();
    }
    guest.vm.suspend(&path, &()).unwrap();
    let config = guest.vm.config().unwrap();
    drop(guest);

    let vm = SuspendedVm::open(&path).unwrap().build_with(config, &host).unwrap();
    let consoles = [vm.console(), vm.virtio_console()];
    let mut readers = consoles.map(|console| console.reader());
    assert_eq!(readers[0].wait_for("echo: ready\r\n", Duration::ZERO).unwrap(), ready);
    readers[1].wait_for("echo: ready", Duration::ZERO).unwrap();
    for console in consoles {
        console.write_all(b"status\n").unwrap();
    }
    vm.resume(&()).unwrap();
    for reader in &mut readers {
        reader.wait_for("pong", PATIENCE).unwrap();
        reader.wait_for("status: ", PATIENCE).unwrap();
    }
}

/// A suspended VM with one disk, and its file.
fn suspended(folder: &Path, host: &Host) -> Guest {
    let raw = folder.join("disk.raw");
    disk::create(&raw, ImageFormat::Raw, DISK).unwrap();
    let line = CommandLine::new([Mode::Counter]).pages(50).every(1);
    let mut guest = Guest::start(config(&line).disk(Disk::raw(raw)), host).unwrap();
    guest.expect("pass");
    guest.vm.suspend(folder.join("saved"), &()).unwrap();
    guest
}

#[test]
fn what_cannot_be_resumed_stays_suspended() {
    let host = host!();
    let folder = tempfile::tempdir().unwrap();
    let mut guest = suspended(folder.path(), &host);
    let (path, away, raw) = (folder.path().join("saved"), folder.path().join("away"), folder.path().join("disk.raw"));
    let refused = |kind: ErrorKind| {
        let error = guest.vm.resume(&()).unwrap_err();
        assert_eq!(error.kind(), kind, "{error}");
        assert_eq!(guest.vm.power_state(), PowerState::Suspended);
        error.to_string()
    };

    let modified = fs::metadata(&raw).unwrap().modified().unwrap();
    disk::grow(&raw, Some(ImageFormat::Raw), 2 * DISK).unwrap();
    let error = refused(ErrorKind::InvalidState);
    assert!(error.contains("was changed after the VM was suspended"), "{error}");
    let mut another = guest.vm.config().unwrap();
    another.uuid = Uuid::new_v4();
    let error = SuspendedVm::open(&path).unwrap().build_with(another, &host).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidConfig, "{error}");
    // Another image is the responsibility of whoever gives it, but its size must fit.
    let other = folder.path().join("other.raw");
    fs::rename(&raw, &other).unwrap();
    let mut elsewhere = guest.vm.config().unwrap();
    elsewhere.disks = vec![Disk::raw(&other)];
    let error = SuspendedVm::open(&path).unwrap().build_with(elsewhere, &host).unwrap().resume(&()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidConfig);
    let what = format!("disk 0 had {DISK} bytes when the VM was saved, and has {} now", 2 * DISK);
    assert!(error.to_string().starts_with(&what), "{error}");
    fs::rename(&other, &raw).unwrap();
    let file = OpenOptions::new().write(true).open(&raw).unwrap();
    file.set_len(DISK).unwrap();
    file.set_modified(modified).unwrap();
    drop(file);

    fs::rename(&raw, &away).unwrap();
    refused(ErrorKind::NotFound);
    fs::rename(&away, &raw).unwrap();

    fs::rename(&path, &away).unwrap();
    refused(ErrorKind::NotFound);
    fs::rename(&away, &path).unwrap();

    let file = OpenOptions::new().read(true).write(true).open(&path).unwrap();
    let mut byte = [0];
    file.read_exact_at(&mut byte, 100).unwrap();
    file.write_all_at(&[!byte[0]], 100).unwrap();
    refused(ErrorKind::CorruptState);
    file.write_all_at(&byte, 100).unwrap();

    let held = disk::open(&raw, Some(ImageFormat::Raw), Access::ReadWrite).unwrap();
    refused(ErrorKind::Busy);
    drop(held);

    guest.vm.resume(&()).unwrap();
    guest.expect("pass");
}

#[test]
fn a_saved_file_that_is_found_by_a_link_is_resumed_once() {
    let host = host!();
    let folder = tempfile::tempdir().unwrap();
    let guest = suspended(folder.path(), &host);
    let config = guest.vm.config().unwrap();
    drop(guest);
    let (path, link) = (folder.path().join("saved"), folder.path().join("link"));
    std::os::unix::fs::symlink("saved", &link).unwrap();
    let vm = SuspendedVm::open(&link).unwrap().build_with(config, &host).unwrap();
    vm.resume(&()).unwrap();
    for path in [path, link] {
        assert_eq!(SuspendedVm::open(path).unwrap_err().kind(), ErrorKind::NotFound);
    }
}

#[test]
fn relative_paths_are_absolute_in_a_saved_file() {
    let host = host!();
    let folder = tempfile::tempdir().unwrap();
    let (kernel, raw) = (folder.path().join("kernel"), folder.path().join("disk.raw"));
    fs::write(&kernel, demo::kernel()).unwrap();
    disk::create(&raw, ImageFormat::Raw, DISK).unwrap();
    let up = std::env::current_dir().unwrap().components().skip(1).map(|_| "../").collect::<String>();
    let relative = PathBuf::from(up).join(raw.strip_prefix("/").unwrap());
    let line = CommandLine::new([Mode::Counter]).pages(50).every(1);
    let config = config(&line).boot(Boot::kernel(kernel).command_line(line.to_string()));
    let mut guest = Guest::start(config.disk(Disk::raw(relative)), &host).unwrap();
    guest.expect("pass");
    guest.vm.suspend(folder.path().join("saved"), &()).unwrap();
    drop(guest);
    let suspended = SuspendedVm::open(folder.path().join("saved")).unwrap();
    let DiskSource::Image { path, .. } = &suspended.config().unwrap().disks[0].source else { panic!("no image") };
    assert!(path.is_absolute(), "{}", path.display());
    assert_eq!(fs::canonicalize(path).unwrap(), fs::canonicalize(&raw).unwrap());
    suspended.build(&host).unwrap().resume(&()).unwrap();
}

#[test]
fn a_vm_whose_image_has_lost_its_name_is_not_suspended() {
    let host = host!();
    let folder = tempfile::tempdir().unwrap();
    let mut guest = suspended(folder.path(), &host);
    guest.vm.resume(&()).unwrap();
    let (path, raw, away) = (folder.path().join("saved"), folder.path().join("disk.raw"), folder.path().join("away"));
    fs::rename(&raw, &away).unwrap();
    let error = guest.vm.suspend(&path, &()).unwrap_err();
    assert_eq!((error.kind(), guest.vm.power_state()), (ErrorKind::NotFound, PowerState::Running), "{error}");
    guest.expect("pass");
    fs::rename(&away, &raw).unwrap();
    guest.vm.suspend(&path, &()).unwrap();
}

#[test]
fn a_vm_that_cannot_be_suspended_runs_on() {
    let host = host!();
    let folder = tempfile::tempdir().unwrap();
    let mut guest = Guest::start(config(&CommandLine::new([Mode::Counter]).pages(50).every(1)), &host).unwrap();
    for (path, kind) in [
        (folder.path().to_owned(), ErrorKind::AlreadyExists),
        (folder.path().join("missing/saved"), ErrorKind::NotFound),
        ("/proc/saved".into(), ErrorKind::NotFound),
    ] {
        let error = guest.vm.suspend(&path, &()).unwrap_err();
        assert_eq!((error.kind(), guest.vm.power_state()), (kind, PowerState::Running), "{error}");
        guest.expect("pass");
    }
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
    guest.vm.hard_shutdown().unwrap();
    let halted = guest.vm.suspend(folder.path().join("saved"), &()).unwrap_err();
    assert_eq!(halted.kind(), ErrorKind::InvalidState);
}

#[test]
fn a_suspended_vm_can_be_shut_down_and_started_anew() {
    let host = host!();
    let folder = tempfile::tempdir().unwrap();
    let mut guest = suspended(folder.path(), &host);
    assert_eq!(guest.vm.start().unwrap_err().kind(), ErrorKind::InvalidState);
    guest.vm.hard_shutdown().unwrap();
    assert_eq!((guest.vm.power_state(), folder.path().join("saved").exists()), (PowerState::Halted, false));
    assert_eq!(guest.vm.resume(&()).unwrap_err().kind(), ErrorKind::InvalidState);
    guest.vm.start().unwrap();
    guest.expect("pass 1\r");
    let events: Vec<_> = std::iter::from_fn(|| guest.events.next_timeout(std::time::Duration::ZERO).ok()).collect();
    let events: Vec<_> = events.into_iter().map(|record| record.event).collect();
    assert_eq!(events, [Event::Started, Event::Suspended, Event::HardShutdown, Event::Started]);
}

#[test]
fn waiting_for_the_end_outlasts_a_suspend() {
    let host = host!();
    let folder = tempfile::tempdir().unwrap();
    let guest = suspended(folder.path(), &host);
    let vm = &guest.vm;
    thread::scope(|scope| {
        let waiting = scope.spawn(|| vm.wait_halted(PATIENCE));
        vm.resume(&()).unwrap();
        vm.suspend(folder.path().join("again"), &()).unwrap();
        vm.resume(&()).unwrap();
        assert!(!waiting.is_finished());
        vm.hard_shutdown().unwrap();
        waiting.join().unwrap().unwrap();
    });
}

#[test]
fn a_guest_announces_its_network_cards_after_a_resume() {
    let host = host!();
    let folder = tempfile::tempdir().unwrap();
    let (switch, path) = (folder.path().join("switch"), folder.path().join("saved"));
    let listener = UnixListener::bind(&switch).unwrap();
    let line = CommandLine::new([Mode::Net, Mode::Echo]);
    let mut guest = Guest::start(config(&line).nic(Nic::stream(&switch)), &host).unwrap();
    let _first = listener.accept().unwrap();
    guest.expect("echo: ready");
    for _ in 0..2 {
        guest.vm.suspend(&path, &()).unwrap();
        guest.vm.resume(&()).unwrap();
        let (mut cable, _) = listener.accept().unwrap();
        cable.set_read_timeout(Some(PATIENCE)).unwrap();
        guest.expect("net 0: announced");
        // The length, the Ethernet header and data of the first frame: it is the guest's, not a reverse ARP request.
        let mut frame = [0; 4 + 60];
        cable.read_exact(&mut frame).unwrap();
        assert_eq!(
            (&frame[..4], &frame[4..10], &frame[16..18]),
            (&[0, 0, 0, 60][..], &[0xff; 6][..], &[0x88, 0xb5][..])
        );
    }
}

#[test]
fn a_guest_with_an_agent_gets_the_time_if_time_has_passed() {
    let host = host!();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("saved");
    let mut guest = Guest::start(config(&CommandLine::new([Mode::Agent, Mode::Echo])), &host).unwrap();
    guest.expect("agent: open");
    let agent = guest.vm.agent().with_timeout(PATIENCE);
    agent.ping().unwrap();
    let mut before = SystemTime::now();
    for time in [ElapsedTime::Ignored, ElapsedTime::Counted] {
        guest.vm.suspend(&path, &()).unwrap();
        // How long the guest is stopped, not a wait for something to happen.
        thread::sleep(Duration::from_millis(1100));
        before = SystemTime::now();
        guest.vm.resume_with(time, &()).unwrap();
        agent.ping().unwrap();
    }
    guest.expect("agent: time=");
    let set: u64 = guest.expect("\r").trim_end().parse().unwrap();
    let set = UNIX_EPOCH + Duration::from_nanos(set);
    assert!(set >= before && set <= SystemTime::now(), "set at the resume without elapsed time, or to a wrong time");
}

/// All of the ring is taken by frames that the network does not accept when the guest is asked to announce its card.
#[test]
fn a_guest_with_a_full_transmit_ring_announces_its_card() {
    const RING: u64 = 64;
    let host = host!();
    let folder = tempfile::tempdir().unwrap();
    let (socket, saved) = (folder.path().join("socket"), folder.path().join("saved"));
    let listener = UnixListener::bind(&socket).unwrap();
    let mut guest = Guest::start(config(&CommandLine::new([Mode::Net])).nic(Nic::stream(&socket)), &host).unwrap();
    guest.expect("net 0: mac=");
    let (mut cable, _) = listener.accept().unwrap();
    cable.set_nonblocking(true).unwrap();
    let frame = [&[0xff; 6][..], &[2, 0, 0, 0, 0, 1], &[0x88, 0xb6], &[0; 1400]].concat();
    let packet = [&(frame.len() as u32).to_be_bytes()[..], &frame].concat();
    // Nobody reads what the guest sends back.
    let began = Instant::now();
    let received = loop {
        let full = cable.write(&packet).is_err();
        let nic = &guest.vm.statistics().nics[&0];
        if full && nic.received.frames >= nic.sent.frames + RING {
            break nic.received.frames;
        }
        assert!(began.elapsed() < PATIENCE, "{nic:?}");
    };
    guest.expect(&format!("frames={received} "));
    guest.vm.suspend(&saved, &()).unwrap();
    guest.vm.resume(&()).unwrap();
    guest.expect("net 0: announced");
}
