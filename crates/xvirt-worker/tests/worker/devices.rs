//! Devices of a running VM.

use std::fs::File;
use std::io::Write;
use std::os::fd::AsFd;
use std::os::unix::net::{UnixListener, UnixStream};

use rustix::fs::{MemfdFlags, memfd_create};
use xvirt_core::config::{Disk, Nic, RateLimit, VmConfig, Vsock};
use xvirt_core::demo::{CommandLine, Mode};
use xvirt_core::disk::{self, Access, ImageFormat, OverlayKind};
use xvirt_core::vm::Event;
use xvirt_worker::protocol::{Answer, Json, Layer, NewDisk, NewNic, NicBackend, Request, Slot};
use xvirt_worker::{Cause, Exit, kind};

use crate::host;
use crate::support::{Parts, TIMEOUT, Worker, config, writable};

#[test]
fn disks_and_network_interfaces_come_and_go() {
    let host = host!();
    let folder = tempfile::tempdir().unwrap();
    let image = folder.path().join("disk");
    File::create(&image).unwrap().set_len(8 << 20).unwrap();
    let worker = Worker::start();
    worker.run(&Parts::new(&host, &config(&CommandLine::new([Mode::HotPlug]).blocks(8))));
    let mut console = worker.console();
    let mut events = worker.events(0);

    let layers = vec![Layer { file: Slot(0), format: "raw".into() }];
    let plug = Request::PlugDisk(NewDisk { config: Json::of(&Disk::raw(&image)).unwrap(), layers });
    let file = writable(&image);
    let position = match worker.connect().call(&plug, &[file.as_fd()]).unwrap() {
        Answer::Position(position) => position,
        other => panic!("{other:?}"),
    };
    drop(file);
    events.expect(&Event::DiskPlugged { disk: position as usize });
    console.expect("ok");
    // All that the disk's threads do is allowed.
    assert!(!worker.log().contains("refuses io_uring"), "{}", worker.log());
    assert_eq!(disk::open(&image, None, Access::ReadWrite).unwrap_err().kind(), xvirt_core::ErrorKind::Busy);

    let (near, _far) = UnixStream::pair().unwrap();
    let nic = Nic::stream("/run/switch");
    let plug = Request::PlugNic(NewNic { config: Json::of(&nic).unwrap(), backend: NicBackend::Stream(Slot(0)) });
    let Answer::Position(nic) = worker.connect().call(&plug, &[near.as_fd()]).unwrap() else { panic!() };
    events.expect(&Event::NicPlugged { nic: nic as usize });

    // A service that comes later reads all of it, by its names.
    let description = worker.connect().describe().unwrap();
    assert_eq!((description.disk_positions, description.nic_positions), (vec![position], vec![nic]));
    let text = description.config.unwrap();
    let config: VmConfig = text.read("the configuration").unwrap();
    assert_eq!((config.disks.len(), config.nics.len()), (1, 1));
    assert!(text.0.contains("/run/switch") && text.0.contains(image.to_str().unwrap()), "{}", text.0);

    let limit = Json::of(&RateLimit::none().operations_per_second(100_000)).unwrap();
    worker.ask(Request::SetDiskLimit { position, limit });
    worker.ask(Request::ResizeDisk { position, size: 16 << 20 });
    events.expect(&Event::DiskResized { disk: position as usize, size: 16 << 20 });
    assert_eq!(image.metadata().unwrap().len(), 16 << 20);
    worker.ask(Request::UnplugNic { position: nic, timeout: TIMEOUT });
    worker.ask(Request::UnplugDisk { position, timeout: TIMEOUT });
    events.expect(&Event::DiskUnplugged { disk: position as usize });
    disk::open(&image, None, Access::ReadWrite).unwrap();
}

#[test]
fn a_vm_has_every_kind_of_descriptor() {
    let host = host!();
    // In memory, where no file system shares blocks, so that the overlay is a qcow2 image.
    let folder = tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).unwrap();
    let (base, overlay) = (folder.path().join("base"), folder.path().join("overlay"));
    disk::create(&base, ImageFormat::Raw, 8 << 20).unwrap();
    if disk::overlay(&base, Some(ImageFormat::Raw), &overlay).unwrap() != OverlayKind::Qcow2 {
        return println!("SKIPPED a_vm_has_every_kind_of_descriptor: the file system has reflinks");
    }
    let line = CommandLine::new([Mode::Hello, Mode::Blk, Mode::Net, Mode::PowerOff]).seed(7).blocks(16).frames(1);
    let described =
        config(&line).disk(Disk::qcow2(&overlay)).nic(Nic::stream("/run/switch")).vsock(Vsock::new(3, "/run/vsock"));
    let mut parts = Parts::new(&host, &described);
    let layers = [(writable(&overlay), "qcow2"), (File::open(&base).unwrap(), "raw")];
    let layers = layers.map(|(file, format)| Layer { file: parts.add(file), format: format.into() });
    parts.build.disks.push(layers.into());
    let (near, mut far) = UnixStream::pair().unwrap();
    let nic = parts.add(near);
    parts.build.nics.push(NicBackend::Stream(nic));
    let memory = memfd_create("memory", MemfdFlags::CLOEXEC).unwrap();
    rustix::fs::ftruncate(&memory, described.memory.bytes()).unwrap();
    parts.build.memory = Some(parts.add(memory));
    let programs = UnixListener::bind(folder.path().join("vsock")).unwrap();
    parts.build.vsock = Some(parts.add(programs));

    let worker = Worker::start();
    worker.run(&parts);
    drop(parts);
    let mut console = worker.console();
    console.expect("blk 0: ok");
    console.expect("net 0: mac");
    for image in [&overlay, &base] {
        let opened = disk::open(image, None, Access::ReadWrite);
        assert_eq!(opened.unwrap_err().kind(), xvirt_core::ErrorKind::Busy, "{}", image.display());
    }
    let description = worker.connect().describe().unwrap();
    assert_eq!(description.config.unwrap().0, Json::of(&with_mac(&worker, described)).unwrap().0);
    let frame = [&60_u32.to_be_bytes()[..], &[0xff; 6], &[2, 0, 0, 0, 0, 9], &[7; 48]].concat();
    far.write_all(&frame).unwrap();
    let Exit::Recorded(record) = worker.wait() else { panic!() };
    assert_eq!(record.cause, Cause::GuestShutdown);
}

/// The configuration with the address that was chosen when the VM was built.
fn with_mac(worker: &Worker, mut config: VmConfig) -> VmConfig {
    let described = worker.connect().describe().unwrap().config.unwrap();
    config.nics[0].mac = described.read::<VmConfig>("the configuration").unwrap().nics[0].mac;
    config
}

#[test]
fn descriptors_that_do_not_fit_are_refused_with_the_reason() {
    let host = host!();
    let folder = tempfile::tempdir().unwrap();
    let image = folder.path().join("disk");
    File::create(&image).unwrap().write_all(&[0; 4096]).unwrap();
    let with_disk = config(&CommandLine::new([Mode::Hello])).disk(Disk::raw(&image));
    type Spoil = fn(&mut Parts);
    let cases: [(Spoil, &str); 7] = [
        (|parts| parts.build.kvm = None, "there is no descriptor of /dev/kvm"),
        (|parts| parts.build.kernel = None, "there is no descriptor for the kernel"),
        (|parts| parts.build.kernel = Some(Slot(0)), "descriptor 0, for the kernel, was not sent, or is used twice"),
        (|parts| parts.build.kernel = Some(Slot(99)), "descriptor 99, for the kernel"),
        (|parts| parts.build.disks.clear(), "the configuration has 1 disks, and 0 were given"),
        (|parts| parts.build.disks[0][0].format = "vmdk".into(), "\"vmdk\" is not a format of images"),
        (|parts| parts.build.disks[0].clear(), "a disk has no image"),
    ];
    for (spoil, text) in cases {
        let worker = Worker::start();
        let mut parts = Parts::new(&host, &with_disk).disk(&image);
        spoil(&mut parts);
        let error = parts.send(&mut worker.connect()).unwrap_err();
        assert_eq!(error.kind(), kind::INVALID_CONFIG);
        assert!(error.message().contains(text), "{error}");
        worker.wait();
    }
}
