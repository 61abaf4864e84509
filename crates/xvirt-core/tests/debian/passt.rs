//! Debian on a network that took no privileges: behind Debian's `passt`, and behind its next one.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, TcpListener};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Instant;
use std::{fs, thread};

use sha2::{Digest, Sha256};
use xvirt_core::config::{ByteSize, Disk, Nic, VmConfig};
use xvirt_core::disk::{self, ImageFormat};
use xvirt_core::vm::Event;

use crate::guest::{Guest, PATIENCE};
use crate::{GUEST, HOST, needs, tap, without_mitigations};

const PAGE: usize = 256 << 10;

/// `passt`, until dropped.
struct Passt(Child);

impl Passt {
    /// Listens at `socket` for a guest, which it gives the address of all these tests. The guest reaches the host by the
    /// address of its gateway. `interface` is where it would find the rest of the world.
    fn start(socket: &Path, interface: &str) -> Self {
        let child = Command::new("passt")
            .args(["--foreground", "--stderr", "--ipv4-only", "--netmask", "24", "--interface", interface])
            .args(["--address", &GUEST.to_string(), "--gateway", &HOST.to_string(), "--socket"])
            .arg(socket)
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut passt = Self(child);
        let deadline = Instant::now() + PATIENCE;
        while !socket.exists() {
            if passt.0.try_wait().unwrap().is_some() || Instant::now() > deadline {
                passt.0.kill().unwrap();
                let mut said = String::new();
                passt.0.stderr.as_mut().unwrap().read_to_string(&mut said).unwrap();
                panic!("passt does not listen: {said}");
            }
            thread::yield_now();
        }
        passt
    }
}

impl Drop for Passt {
    fn drop(&mut self) {
        // Fails when it has ended already.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Serves `page` to everybody, at a port of the loopback interface.
fn serve(page: Vec<u8>) -> u16 {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let port = listener.local_addr().unwrap().port();
    thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let asked = BufReader::new(&stream).lines().map_while(Result::ok).take_while(|line| !line.is_empty());
            println!("a guest asks: {:?}", asked.collect::<Vec<_>>());
            let head = format!("HTTP/1.0 200 OK\r\nContent-Length: {}\r\n\r\n", page.len());
            // Where the guest went away, it is the one to notice.
            let _ = stream.write_all(&[head.as_bytes(), &page].concat());
        }
    });
    port
}

#[test]
fn a_page_of_the_host_is_fetched_through_passt() {
    let Some((host, [root])) = needs(["XVIRT_DEBIAN_CLOUD_DISK"]) else { return };
    if Command::new("passt").arg("--version").output().is_err() {
        println!("SKIPPED a_page_of_the_host_is_fetched_through_passt: passt is not installed");
        return;
    }
    let page: Vec<u8> = (0..PAGE).map(|i| (i * i / 128) as u8).collect();
    let digest: String = Sha256::digest(&page).iter().map(|byte| format!("{byte:02x}")).collect();
    let port = serve(page);
    // What passt takes for the way into the world has to be up.
    let world = tap(Ipv4Addr::new(10, 79, 0, 1));

    let folder = tempfile::tempdir().unwrap();
    // For passt, which becomes nobody before it makes its socket.
    fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o777)).unwrap();
    let path = |name| folder.path().join(name);
    disk::overlay(&root, Some(ImageFormat::Raw), path("root")).unwrap();
    let passt = Passt::start(&path("socket"), world.name());
    let config = VmConfig::new("debian")
        .memory(ByteSize::mib(512))
        .boot(without_mitigations())
        .disk(Disk::open(path("root")).unwrap())
        .nic(Nic::stream(path("socket")));
    let vm = config.build(&host).unwrap();
    let events = vm.events().unwrap();
    let mut guest = Guest::start(vm);
    guest.log_in();
    let fetch = format!(
        "python3 -c 'import hashlib, urllib.request as r; \
         print(hashlib.sha256(r.urlopen(\"http://{HOST}:{port}/page\", timeout=60).read()).hexdigest())'"
    );
    let has_address = format!("until ip route get {HOST} 2>&1 | grep -q 'src {GUEST}'; do sleep 0.2; done");
    guest.run(&has_address);
    assert_eq!(guest.run(&fetch), digest);

    let wait_for = |expected: &Event| {
        while let Ok(record) = events.next_timeout(PATIENCE) {
            if record.event == *expected {
                return;
            }
        }
        panic!("{expected:?} did not happen");
    };
    drop(passt);
    wait_for(&Event::NicDisconnected { nic: 0 });
    guest.run("until grep -q 0 /sys/class/net/e*/carrier; do sleep 0.2; done");
    fs::remove_file(path("socket")).unwrap();
    let _passt = Passt::start(&path("socket"), world.name());
    wait_for(&Event::NicConnected { nic: 0 });
    guest.run(&has_address);
    assert_eq!(guest.run(&fetch), digest);
    guest.vm.clean_shutdown(PATIENCE).unwrap();
}
