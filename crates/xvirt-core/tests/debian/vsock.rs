//! Sockets between Debian and programs on its host, and their statistics.

use std::io::{ErrorKind as IoKind, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::thread;
use std::time::Instant;

use sha2::{Digest, Sha256};
use xvirt_core::config::Disk;
use xvirt_core::disk::{self, ImageFormat};
use xvirt_core::vm::Vm;

use crate::echo::{pattern, round_trip};
use crate::guest::{Guest, PATIENCE};
use crate::saved::SavedDebian;

const PROGRAM: &str = include_str!("vsock.py");
const MEGABYTES: usize = 20;

/// A disk that contains only a Python program, which Python can read directly.
fn program_disk(path: &Path) -> Disk {
    let length = PROGRAM.len().next_multiple_of(4096);
    std::fs::write(path, format!("{PROGRAM:\n<length$}")).unwrap();
    Disk::raw(path).read_only()
}

fn connect(vm: &Vm, port: u32) -> UnixStream {
    let stream = vm.vsock_connect(port, PATIENCE).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream.set_write_timeout(Some(PATIENCE)).unwrap();
    stream
}

fn start_listening(guest: &mut Guest) {
    let command = "python3 /dev/vdb listen 1 7000 4294967294 > /run/listening & \
                   for i in $(seq 600); do grep -q listening /run/listening && break; sleep 0.2; done; \
                   cat /run/listening";
    assert!(guest.run(command).ends_with("listening"));
}

#[test]
fn debian_and_its_host_talk_through_sockets() {
    let Some(debian) = SavedDebian::copy() else { return };
    disk::create(debian.path("data"), ImageFormat::Raw, 64 << 20).unwrap();
    let vm = debian.vm();
    let listener = vm.vsock_listen(9000).unwrap();
    let mut guest = Guest::resume(vm);
    for (position, disk) in [(1, program_disk(&debian.path("program"))), (2, Disk::raw(debian.path("data")))] {
        assert_eq!(guest.vm.plug_disk(disk).unwrap(), position);
    }
    guest.run("until [ -b /dev/vdb -a -b /dev/vdc ]; do sleep 0.1; done");
    // Before any program asked for it.
    assert_eq!(guest.run("lsmod | grep -c ^vmw_vsock_virtio_transport"), "2");
    start_listening(&mut guest);

    let began = Instant::now();
    round_trip(connect(&guest.vm, 1), &pattern(MEGABYTES << 20, 1));
    println!("{MEGABYTES} MB there and back in {:.1?}", began.elapsed());
    thread::scope(|scope| {
        for (seed, port) in [1, 7000, u32::MAX - 1, 7000].into_iter().enumerate() {
            let stream = connect(&guest.vm, port);
            scope.spawn(move || round_trip(stream, &pattern(1 << 20, seed)));
        }
    });
    assert!(guest.vm.vsock_connect(7001, PATIENCE).unwrap_err().to_string().contains("nothing in VM 'debian' listens"));

    let began = Instant::now();
    let answering = thread::spawn(move || {
        let mut stream = listener.accept().unwrap();
        let mut data = Vec::new();
        stream.read_to_end(&mut data).unwrap();
        let digest: String = Sha256::digest(&data).iter().map(|byte| format!("{byte:02x}")).collect();
        stream.write_all(digest.as_bytes()).unwrap();
    });
    assert_eq!(guest.run(&format!("python3 /dev/vdb ask 9000 {MEGABYTES}")), "same");
    println!("{MEGABYTES} MB from the guest in {:.1?}", began.elapsed());
    answering.join().unwrap();
    guest.run("python3 /dev/vdb ask 9001 1 2>&1 | grep -q 'Connection reset'");

    let before = guest.vm.statistics();
    guest.run("dd if=/dev/zero of=/dev/vdc bs=1M count=16 oflag=direct conv=fsync");
    guest.run("dd if=/dev/vdc of=/dev/null bs=1M count=8 iflag=direct");
    let after = guest.vm.statistics();
    println!("{:.1?} of uptime, {:?}", after.uptime, after.vcpus);
    let (old, new) = (&before.disks[&2], &after.disks[&2]);
    assert_eq!((new.writes.bytes - old.writes.bytes, new.writes.errors), (16 << 20, 0));
    assert!((8 << 20..16 << 20).contains(&(new.reads.bytes - old.reads.bytes)), "{:?}", new.reads.bytes);
    assert!(new.flushes.operations > old.flushes.operations && new.cpu_time > old.cpu_time);
    assert_eq!(new.writes.latency.total(), new.writes.operations);
    assert!(after.vcpus.iter().zip(&before.vcpus).all(|(new, old)| new.cpu_time > old.cpu_time));

    let mut kept = connect(&guest.vm, 7000);
    kept.write_all(b"x").unwrap();
    kept.read_exact(&mut [0]).unwrap();
    guest.vm.suspend(debian.path("suspended"), &()).unwrap();
    guest.vm.resume(&()).unwrap();
    match kept.read(&mut [0]) {
        Ok(0) => {}
        Err(error) if error.kind() == IoKind::ConnectionReset => {}
        other => panic!("{other:?} after the guest was resumed"),
    }
    // Its driver has learnt that connections are gone, and listens as before.
    round_trip(connect(&guest.vm, 7000), &pattern(1 << 20, 5));
}
