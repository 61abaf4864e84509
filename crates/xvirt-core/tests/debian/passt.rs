//! Debian on a user network: behind a `passt` that its VM starts, and behind its successor after that was killed.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::process::Command;
use std::time::{Duration, Instant};
use std::{fs, thread};

use rustix::process::{Pid, Signal, kill_process};
use sha2::{Digest, Sha256};
use xvirt_core::config::{Nic, PortForward, UserNetwork};
use xvirt_core::vm::Event;

use crate::guest::{Guest, PATIENCE};
use crate::saved::SavedDebian;
use crate::{GUEST, HOST, tap};

const PAGE: usize = 256 << 10;

/// The `passt` that this process has started; no other test here starts one.
fn passt() -> Pid {
    let mut found = fs::read_dir("/proc").unwrap().filter_map(|entry| {
        let number: i32 = entry.ok()?.file_name().to_str()?.parse().ok()?;
        // Name, state and parent (proc(5)); the name may depend on the CPU's features.
        let stat = fs::read_to_string(format!("/proc/{number}/stat")).ok()?;
        let (name, rest) = stat.rsplit_once(')')?;
        let parent = rest.split_ascii_whitespace().nth(1)?;
        (name.contains("(passt") && parent == std::process::id().to_string()).then_some(number)
    });
    Pid::from_raw(found.next().unwrap()).unwrap()
}

/// The response of a web server at a port of this host for `path`, once it answers.
fn fetch(port: u16, path: &str) -> String {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let mut answer = String::new();
        // passt accepts a connection before the guest does, and closes it if the guest does not.
        if let Ok(mut stream) = TcpStream::connect((Ipv4Addr::LOCALHOST, port))
            && stream.set_read_timeout(Some(PATIENCE)).is_ok()
            && write!(stream, "GET {path} HTTP/1.0\r\n\r\n").is_ok()
            && stream.read_to_string(&mut answer).is_ok()
            && let Some((_, body)) = answer.split_once("\r\n\r\n")
        {
            return body.to_owned();
        }
        assert!(Instant::now() < deadline, "no answer at port {port}: {answer}");
        thread::sleep(Duration::from_millis(100));
    }
}

/// Serves `page` to all clients, at a port of the loopback interface.
fn serve(page: Vec<u8>) -> u16 {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let port = listener.local_addr().unwrap().port();
    thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let asked = BufReader::new(&stream).lines().map_while(Result::ok).take_while(|line| !line.is_empty());
            println!("a guest asks: {:?}", asked.collect::<Vec<_>>());
            let head = format!("HTTP/1.0 200 OK\r\nContent-Length: {}\r\n\r\n", page.len());
            // If the guest has disconnected, the guest's side reports it.
            let _ = stream.write_all(&[head.as_bytes(), &page].concat());
        }
    });
    port
}

#[test]
fn host_and_guest_reach_each_other_through_passt_also_after_it_was_killed() {
    let Some(debian) = SavedDebian::copy() else { return };
    if Command::new("passt").arg("--version").output().is_err() {
        println!(
            "SKIPPED host_and_guest_reach_each_other_through_passt_also_after_it_was_killed: passt is not installed"
        );
        return;
    }
    let page: Vec<u8> = (0..PAGE).map(|i| (i * i / 128) as u8).collect();
    let digest: String = Sha256::digest(&page).iter().map(|byte| format!("{byte:02x}")).collect();
    let port = serve(page);
    // The interface that passt takes for its uplink must be up.
    let world = tap(Ipv4Addr::new(10, 79, 0, 1));

    let free = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap().local_addr().unwrap().port();
    // The guest reaches the host's loopback interface through the address of its gateway.
    let network = UserNetwork::new()
        .address(format!("{GUEST}/24").parse().unwrap())
        .gateway(HOST)
        .interface(world.name())
        .host_loopback(true)
        .forward(PortForward::tcp(free, 8080).host_address(Ipv4Addr::LOCALHOST));
    let vm = debian.vm();
    let events = vm.events().unwrap();
    let mut guest = Guest::resume(vm);
    guest.vm.unplug_nic(0, PATIENCE).unwrap();
    guest.run("printf '[Match]\\nName=e*\\n[Network]\\nDHCP=ipv4\\n' >/etc/systemd/network/05-dhcp.network");
    guest.run("systemctl restart systemd-networkd");
    assert_eq!(guest.vm.plug_nic(Nic::user_network(network)).unwrap(), 0);
    let fetch_page = format!(
        "python3 -c 'import hashlib, urllib.request as r; \
         print(hashlib.sha256(r.urlopen(\"http://{HOST}:{port}/page\", timeout=60).read()).hexdigest())'"
    );
    let has_address = format!("until ip route get {HOST} 2>&1 | grep -q 'src {GUEST}'; do sleep 0.2; done");
    guest.run(&has_address);
    assert_eq!(guest.run(&fetch_page), digest);
    guest.run("(python3 -m http.server 8080 --directory /etc >/dev/null 2>&1 &)");
    let name = guest.run("cat /etc/hostname");
    assert_eq!(fetch(free, "/hostname").trim(), name);

    let wait_for = |expected: &Event| {
        while let Ok(record) = events.next_timeout(PATIENCE) {
            if record.event == *expected {
                return;
            }
        }
        panic!("{expected:?} did not happen");
    };
    kill_process(passt(), Signal::KILL).unwrap();
    wait_for(&Event::NicDisconnected { nic: 0 });
    wait_for(&Event::NicConnected { nic: 0 });
    guest.run(&has_address);
    assert_eq!(guest.run(&fetch_page), digest);
    assert_eq!(fetch(free, "/hostname").trim(), name);
}
