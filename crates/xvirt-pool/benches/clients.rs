//! Measures what clients of a host wait for: 500 VMs listed, and events, by one client and by 100 that wait at once.
//!
//! `cargo bench -p xvirt-pool --features host,xenapi --bench clients`

use std::error::Error;
use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use xvirt_pool::operation::{Caller, Verbs};
use xvirt_pool::xenapi::{Limits, Listeners, Server};
use xvirt_pool::{Host, HostOptions};

type Result<T> = std::result::Result<T, Box<dyn Error + Send + Sync>>;

const VMS: usize = 500;
const CLIENTS: usize = 100;
const LISTS: usize = 20;
const EVENTS: usize = 200;

fn main() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let options = HostOptions::new(folder.path().join("state"), folder.path().join("run"));
    let host = Arc::new(Host::open(options)?);
    let me = Caller::Local { uid: 0 };
    let mut vms = Vec::new();
    for number in 0..VMS {
        vms.push(host.call(&me, "VM.create", vec![json!({ "name_label": format!("vm {number}") })])?);
    }
    let vm = vms.first().cloned().ok_or("there is no VM")?;
    let server = Server::start(
        Arc::clone(&host) as Arc<dyn Verbs>,
        Listeners::socket(folder.path().join("socket")),
        Limits::default(),
    )?;

    let mut client = Client::new(server.path())?;
    let mut listed = Vec::new();
    let mut bytes = 0;
    for _ in 0..LISTS {
        let begun = Instant::now();
        bytes = client.call("VM.get_all_records", &json!([]))?.len();
        listed.push(begun.elapsed());
    }
    tell(&format!("{VMS} VMs with their records over the socket ({bytes} bytes)"), &mut listed);

    let mut called = Vec::new();
    for _ in 0..LISTS {
        let begun = Instant::now();
        drop(host.call(&me, "VM.get_all_records", Vec::new())?);
        called.push(begun.elapsed());
    }
    tell("the same by the library, as values", &mut called);

    let alone = Waiting::begin(server.path(), 1)?;
    let (mut since_call, mut since_commit) = alone.measure(&host, &me, &vm)?;
    tell("an event at the one client that waits, since the change was asked for", &mut since_call);
    tell("the same, since it was committed", &mut since_commit);
    drop(alone);

    let before = resident()?;
    let many = Waiting::begin(server.path(), CLIENTS)?;
    let more = resident()?.saturating_sub(before);
    println!("memory of {CLIENTS} clients that wait for events: {more} KiB");
    let (mut since_call, mut since_commit) = many.measure(&host, &me, &vm)?;
    tell(&format!("an event at each of {CLIENTS} clients that wait, since the change was asked for"), &mut since_call);
    tell("the same, since it was committed", &mut since_commit);
    println!("memory afterwards: {} KiB", resident()?.saturating_sub(before));
    host.end_waits();
    server.stop(Duration::from_secs(5));
    Ok(())
}

/// Prints the median, the 99th percentile and the greatest of some times.
fn tell(what: &str, times: &mut [Duration]) {
    times.sort_unstable();
    let at = |percent: usize| times.get((times.len() * percent / 100).min(times.len().saturating_sub(1))).copied();
    let text = |time: Option<Duration>| format!("{:.2} ms", time.unwrap_or_default().as_secs_f64() * 1000.0);
    println!("{what}: median {}, p99 {}, most {}", text(at(50)), text(at(99)), text(times.last().copied()));
}

/// Resident memory of this process that is its own, in KiB.
fn resident() -> Result<u64> {
    let status = fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find_map(|line| line.strip_prefix("RssAnon:")).ok_or("there is no RssAnon")?;
    Ok(line.trim().trim_end_matches(" kB").trim().parse()?)
}

/// Clients that wait for events of VMs, each on a thread.
struct Waiting {
    /// When each has got an event.
    told: Receiver<Instant>,
    ready: Receiver<()>,
    clients: usize,
}

impl Waiting {
    fn begin(socket: &Path, clients: usize) -> Result<Self> {
        let ((tell, told), (begin, ready)) = (channel(), channel());
        for _ in 0..clients {
            let (client, tell, begin) = (Client::new(socket)?, tell.clone(), begin.clone());
            // Its end is that of the service.
            thread::Builder::new().stack_size(64 << 10).spawn(move || drop(wait(client, &tell, &begin)))?;
        }
        let waiting = Self { told, ready, clients };
        waiting.until_ready()?;
        Ok(waiting)
    }

    fn until_ready(&self) -> Result<()> {
        for _ in 0..self.clients {
            self.ready.recv()?;
        }
        // So that their calls have begun to wait.
        thread::sleep(Duration::from_millis(200));
        Ok(())
    }

    /// Changes a VM again and again, and measures until a client has it: from before the call, and from its return.
    fn measure(&self, host: &Host, me: &Caller, vm: &Value) -> Result<(Vec<Duration>, Vec<Duration>)> {
        let (mut since_call, mut since_commit) = (Vec::new(), Vec::new());
        for number in 0..EVENTS / self.clients.min(10) {
            let begun = Instant::now();
            host.call(me, "VM.set_name_label", vec![vm.clone(), json!(format!("name {number}"))])?;
            let committed = Instant::now();
            for _ in 0..self.clients {
                let told = self.told.recv()?;
                since_call.push(told.duration_since(begun));
                since_commit.push(told.saturating_duration_since(committed));
            }
            self.until_ready()?;
        }
        Ok((since_call, since_commit))
    }
}

fn wait(mut client: Client, told: &Sender<Instant>, ready: &Sender<()>) -> Result<()> {
    let mut token = String::new();
    loop {
        // Only what has changed; the first answer would be all VMs.
        let (classes, timeout) = if token.is_empty() { ("pool", 0.0) } else { ("vm", 300.0) };
        if !token.is_empty() {
            ready.send(())?;
        }
        let answer = client.call("event.from", &json!([[classes], token, timeout]))?;
        let now = Instant::now();
        let answer: Value = serde_json::from_slice(&answer)?;
        let result = answer.get("result").ok_or("the service has ended")?;
        if !token.is_empty() && result["events"].as_array().is_some_and(|events| !events.is_empty()) {
            told.send(now)?;
        }
        token = result["token"].as_str().unwrap_or_default().to_owned();
    }
}

/// A client on a socket.
struct Client(BufReader<UnixStream>);

impl Client {
    fn new(socket: &Path) -> Result<Self> {
        Ok(Self(BufReader::with_capacity(4096, UnixStream::connect(socket)?)))
    }

    fn call(&mut self, verb: &str, parameters: &Value) -> Result<Vec<u8>> {
        let mut given = vec![json!("OpaqueRef:NULL")];
        given.extend(parameters.as_array().into_iter().flatten().cloned());
        let body = json!({ "jsonrpc": "2.0", "method": verb, "params": given, "id": 0 }).to_string();
        let head = format!("POST /jsonrpc HTTP/1.1\r\nHost: x\r\nContent-Length: {}\r\n\r\n", body.len());
        self.0.get_mut().write_all(format!("{head}{body}").as_bytes())?;
        let mut length = 0;
        loop {
            let mut line = String::new();
            if self.0.read_line(&mut line)? == 0 {
                return Err("the service has ended".into());
            }
            let line = line.trim().to_lowercase();
            if let Some(text) = line.strip_prefix("content-length:") {
                length = text.trim().parse()?;
            }
            if line.is_empty() {
                break;
            }
        }
        let mut body = vec![0; length];
        self.0.read_exact(&mut body)?;
        Ok(body)
    }
}
