//! A busy Debian moves between two hosts that share its disk and are joined by a network.
//!
//! Both hosts run this test at the same time. `XVIRT_TWO_HOSTS` names an empty folder that they share, with its locks, and
//! the names of the hosts end in their numbers, 1 and 2. Host 1 starts the VM, and is outside of it what talks to its
//! guest, through a bridge that spans both hosts. The VM moves there over TCP, and back over TLS. `XVIRT_ROUND_TRIPS` says
//! how often.

use std::env;
use std::fs;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use xvirt_core::config::{Disk, Nic, Vsock};
use xvirt_core::host::Host;
use xvirt_core::migrate::{Channel, Migration, Reception, Tls, receive};
use xvirt_core::vm::Vm;
use xvirt_testing::certificates::Authority;

use crate::busy::{check_load, end_load, is_clean, run, start, start_load};
use crate::guest::PATIENCE;
use crate::saved::SavedDebian;
use crate::{GUEST, HOST, needs};

const PORT: u16 = 7400;
const ECHO_PORT: u16 = 7007;
const BRIDGE: &str = "br0";

#[test]
fn a_busy_debian_moves_there_and_back() {
    let needed = ["XVIRT_TWO_HOSTS", "XVIRT_DEBIAN_DISK", "XVIRT_DEBIAN_SAVED"];
    let Some((host, [folder, ..])) = needs(needed) else { return };
    let here = number();
    join(here);
    let listener = TcpListener::bind((address(here), PORT)).unwrap();
    let trips = env::var("XVIRT_ROUND_TRIPS").map_or(1, |text| text.parse().unwrap());
    if here == 1 {
        sign(&folder);
        first(&host, listener, &folder, trips);
    } else {
        for _ in 0..trips {
            let vm = take(&listener, &host);
            check_load(&vm);
            let tls = tls(&folder, here);
            send(&vm, &tls.connect_to(&address(1).to_string(), |limit| connect(1, limit)).unwrap());
        }
    }
}

fn first(host: &Host, listener: TcpListener, folder: &Path, trips: u32) {
    let debian = SavedDebian::copy_to(tempfile::tempdir_in(folder).unwrap()).unwrap();
    let mut config = debian.config(Nic::tap("vm0").bridge(BRIDGE));
    config.vsock = Some(Vsock::new(1234, "/tmp/vsock"));
    let mut vm = debian.build(config);
    vm.resume(&()).unwrap();
    start_load(&vm);
    let echo = format!(
        "import socket; c = socket.create_server((\"\", {ECHO_PORT})).accept()[0]\n\
         while d := c.recv(65536): c.sendall(d)"
    );
    run(&vm, &format!("printf '%s' '{echo}' >/run/echo.py"));
    start(&vm, "exec python3 /run/echo.py");
    let (session, ping) = (Session::open(), Ping::start());
    let channel = tls(folder, 1).accept(listener);
    for _ in 0..trips {
        send(&vm, &|limit| connect(2, limit));
        drop(vm);
        vm = take(&channel, host);
        check_load(&vm);
    }
    session.end();
    ping.end(2 * trips);
    end_load(&vm);
    drop(vm);
    is_clean(Disk::open(debian.path("root")).unwrap());
}

/// The number of this host.
fn number() -> u8 {
    let name = fs::read_to_string("/proc/sys/kernel/hostname").unwrap();
    name.trim().rsplit('-').next().unwrap().parse().unwrap()
}

fn address(host: u8) -> Ipv4Addr {
    Ipv4Addr::new(10, 78, 0, host)
}

/// Makes a bridge of this host's network interface, which spans both hosts.
fn join(host: u8) {
    let own = format!("address add {}/24 dev {BRIDGE}", address(host));
    // For what talks to the guest.
    let outside = format!("address add {HOST}/24 dev {BRIDGE}");
    let steps = [
        "link add br0 type bridge",
        "address flush dev eth0",
        "link set eth0 master br0",
        "link set br0 up",
        own.as_str(),
        outside.as_str(),
    ];
    let count = if host == 1 { steps.len() } else { steps.len() - 1 };
    for step in &steps[..count] {
        let done = Command::new("ip").args(step.split(' ')).output().unwrap();
        assert!(done.status.success(), "ip {step}: {}", String::from_utf8_lossy(&done.stderr));
    }
}

/// Makes the certificates of both hosts.
fn sign(folder: &Path) {
    let authority = Authority::new("both hosts");
    fs::write(folder.join("authority.pem"), &authority.certificate).unwrap();
    for host in [1, 2] {
        let identity = authority.sign(&address(host).to_string(), |_| ());
        fs::write(folder.join(format!("{host}.pem")), identity.certificate).unwrap();
        fs::write(folder.join(format!("{host}.key")), identity.key).unwrap();
    }
}

/// The certificates that host 1 made before the VM came.
fn tls(folder: &Path, host: u8) -> Tls {
    let [chain, key, authority] = [format!("{host}.pem"), format!("{host}.key"), "authority.pem".to_owned()];
    Tls::from_files(folder.join(chain), folder.join(key), folder.join(authority)).unwrap()
}

/// Connects to the other host, which may still start.
fn connect(host: u8, limit: Duration) -> std::io::Result<TcpStream> {
    let (to, deadline) = (SocketAddr::from((address(host), PORT)), Instant::now() + limit);
    loop {
        match TcpStream::connect_timeout(&to, limit) {
            Err(_) if Instant::now() < deadline => thread::sleep(Duration::from_millis(200)),
            connected => return connected,
        }
    }
}

/// Moves the VM to the other host.
fn send(vm: &Vm, channel: &dyn Channel) {
    let settings = Migration::default().connections(2).silence_limit(PATIENCE);
    println!("{:?}", vm.migrate(channel, &settings, &(), &()).unwrap());
}

/// Takes the VM from the other host.
fn take(channel: &dyn Channel, host: &Host) -> Vm {
    let settings = Reception::default().silence_limit(PATIENCE);
    receive(channel, host, &settings, &(), &(), &mut |vm| Ok(vm.config().unwrap().clone())).unwrap()
}

/// A TCP session with the guest, in which it returns all that it gets.
struct Session {
    ended: Arc<AtomicBool>,
    thread: JoinHandle<(u64, Duration)>,
}

impl Session {
    fn open() -> Self {
        let deadline = Instant::now() + PATIENCE;
        let mut stream = loop {
            match TcpStream::connect((GUEST, ECHO_PORT)) {
                Err(_) if Instant::now() < deadline => thread::sleep(Duration::from_millis(200)),
                connected => break connected.unwrap(),
            }
        };
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        let ended = Arc::new(AtomicBool::new(false));
        let stop = Arc::clone(&ended);
        let thread = thread::spawn(move || {
            let (mut count, mut longest) = (0_u64, Duration::ZERO);
            while !stop.load(Ordering::Relaxed) {
                let (began, sent) = (Instant::now(), count.to_le_bytes().repeat(512));
                let mut returned = vec![0; sent.len()];
                stream.write_all(&sent).and_then(|()| stream.read_exact(&mut returned)).unwrap();
                assert!(sent == returned, "message {count} came back changed");
                (count, longest) = (count + 1, longest.max(began.elapsed()));
            }
            (count, longest)
        });
        Self { ended, thread }
    }

    fn end(self) {
        self.ended.store(true, Ordering::Relaxed);
        let (count, longest) = self.thread.join().unwrap();
        println!("the TCP session returned {count} messages, the slowest after {longest:.1?}");
        assert!(count > 100);
    }
}

/// A ping every second.
struct Ping(Child);

impl Ping {
    fn start() -> Self {
        Self(Command::new("ping").arg(GUEST.to_string()).stdout(Stdio::piped()).spawn().unwrap())
    }

    /// At most one ping may be lost each time that the VM moved.
    fn end(self, moves: u32) {
        kill_process(Pid::from_child(&self.0), Signal::INT).unwrap();
        let output = self.0.wait_with_output().unwrap();
        let text = String::from_utf8_lossy(&output.stdout);
        let answered: Vec<u32> =
            text.lines().filter_map(|line| line.split("seq=").nth(1)?.split(' ').next()?.parse().ok()).collect();
        let lost: Vec<_> = answered.windows(2).map(|pair| pair[1] - pair[0] - 1).filter(|lost| *lost > 0).collect();
        println!("{} pings were answered; lost, each time: {lost:?}", answered.len());
        assert!(lost.len() <= moves as usize && lost.iter().all(|count| *count == 1), "{text}");
        assert!(answered.len() > 10, "{text}");
    }
}
