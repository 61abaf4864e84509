//! A server with made-up verbs, and a client that writes bytes.

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader, Read, Write};
use std::net::{IpAddr, SocketAddr, TcpStream};
use std::os::unix::net::UnixStream;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::{Value, json};
use tempfile::TempDir;
use uuid::Uuid;
use xvirt_pool::model::{Ref, RoleName};
use xvirt_pool::operation::{Caller, Failure, Identity, Login, Verbs, Who};
use xvirt_pool::xenapi::{Certificate, Limits, Listeners, Server};

/// Longer than anything here takes.
pub const LONG: Duration = Duration::from_secs(60);

/// The reference of the session that the right password makes.
pub const SESSION: &str = "OpaqueRef:session";

/// Verbs that are made up: they answer what the tests need.
pub struct Fake {
    /// Each call, with who made it.
    pub calls: Mutex<Vec<(Caller, String, Vec<Value>)>>,
    /// A message for each `VM.start` that has begun; the test lets it end by the sender in it.
    begun: Mutex<Sender<Sender<()>>>,
    consoles: Mutex<Sender<UnixStream>>,
    /// Each login, once it is decided.
    logins: Mutex<Sender<Login>>,
    /// What the user of the session may do.
    pub role: Mutex<RoleName>,
}

impl Verbs for Fake {
    fn log_in(&self, login: &Login) -> Result<String, Failure> {
        self.logins.lock().unwrap().send(login.clone()).unwrap();
        if login.local.is_some() || (login.user.as_str(), login.password.as_str()) == ("root", "correct horse") {
            return Ok(SESSION.to_owned());
        }
        Err(Failure::new("SESSION_AUTHENTICATION_FAILED", [&login.user, "wrong"]))
    }

    fn caller(&self, session: &str, from: Option<IpAddr>) -> Result<Caller, Failure> {
        if session != SESSION {
            return Err(Failure::new("SESSION_INVALID", [session]));
        }
        let who =
            Who::User { user: Ref::new(Uuid::from_u128(1)), name: "root".to_owned(), role: *self.role.lock().unwrap() };
        Ok(Caller::Session { session: Arc::new(Identity { session: Uuid::from_u128(2), who }), from })
    }

    fn call(&self, caller: &Caller, verb: &str, parameters: Vec<Value>) -> Result<Value, Failure> {
        self.calls.lock().unwrap().push((caller.clone(), verb.to_owned(), parameters.clone()));
        match verb {
            "VM.get_all" => Ok(json!(["OpaqueRef:1"])),
            // Larger than what the kernel keeps for a client that does not read.
            "VM.get_all_records" => Ok(json!("x".repeat(4 << 20))),
            "VM.set_tags" => Ok(Value::Null),
            "VM.start" => {
                let (release, released) = channel();
                self.begun.lock().unwrap().send(release).unwrap();
                let _ = released.recv();
                Ok(json!("started"))
            }
            "VM.crash" => panic!("made up"),
            _ => Err(Failure::new("MESSAGE_METHOD_UNKNOWN", [verb]).with_remedy("call another")),
        }
    }

    fn console(&self, _: &Caller, reference: &str) -> Result<UnixStream, Failure> {
        match reference {
            "OpaqueRef:runs" => {
                let (one, other) = UnixStream::pair().unwrap();
                self.consoles.lock().unwrap().send(one).unwrap();
                Ok(other)
            }
            "OpaqueRef:off" => Err(Failure::new("VM_BAD_POWER_STATE", [reference, "running", "halted"])),
            _ => Err(Failure::new("HANDLE_INVALID", ["console", reference])),
        }
    }
}

/// A server, until it is dropped.
pub struct Served {
    pub fake: Arc<Fake>,
    pub server: Option<Server>,
    pub folder: TempDir,
    pub begun: Receiver<Sender<()>>,
    pub consoles: Receiver<UnixStream>,
    pub logins: Receiver<Login>,
    pub http: SocketAddr,
    pub https: SocketAddr,
}

impl Served {
    pub fn new() -> Self {
        Self::with(|_| {})
    }

    /// With other limits than the default ones.
    pub fn with(change: impl FnOnce(&mut Limits)) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let ((begun, starts), (consoles, opened)) = (channel(), channel());
        let (logins, logged_in) = channel();
        let fake = Fake {
            calls: Mutex::default(),
            begun: Mutex::new(begun),
            consoles: Mutex::new(consoles),
            logins: Mutex::new(logins),
            role: Mutex::new(RoleName::PoolAdmin),
        };
        let fake = Arc::new(fake);
        let mut limits = Limits::default();
        change(&mut limits);
        let mut listeners = Listeners::socket(folder.path().join("socket"));
        let local = SocketAddr::from(([127, 0, 0, 1], 0));
        let certificate = Certificate::open(folder.path().join("certificate.pem"), &["localhost".to_owned()]).unwrap();
        let http = listeners.http(local).unwrap();
        let https = listeners.https(local, Arc::new(certificate)).unwrap();
        let server = Server::start(Arc::clone(&fake) as Arc<dyn Verbs>, listeners, limits).unwrap();
        Self { fake, server: Some(server), folder, begun: starts, consoles: opened, logins: logged_in, http, https }
    }

    pub fn client(&self) -> Client {
        Client::connect(self.server.as_ref().unwrap().path())
    }

    /// A client on the port without TLS.
    pub fn remote(&self) -> Client {
        Client::remote(self.http)
    }
}

/// What a connection is to a client.
trait Stream: Read + Write + Send {}

impl<T: Read + Write + Send> Stream for T {}

/// One connection.
pub struct Client(BufReader<Box<dyn Stream>>);

/// An answer.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub headers: BTreeMap<String, String>,
    pub body: Vec<u8>,
}

impl Answer {
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap()
    }

    /// The code of the failure.
    pub fn code(&self) -> String {
        self.json()["error"]["message"].as_str().unwrap().to_owned()
    }
}

impl Client {
    pub fn connect(path: &std::path::Path) -> Self {
        let stream = UnixStream::connect(path).unwrap();
        stream.set_read_timeout(Some(LONG)).unwrap();
        stream.set_write_timeout(Some(LONG)).unwrap();
        Self(BufReader::new(Box::new(stream)))
    }

    pub fn remote(address: SocketAddr) -> Self {
        let stream = TcpStream::connect(address).unwrap();
        stream.set_read_timeout(Some(LONG)).unwrap();
        stream.set_write_timeout(Some(LONG)).unwrap();
        Self(BufReader::new(Box::new(stream)))
    }

    pub fn write(&mut self, bytes: impl AsRef<[u8]>) {
        self.0.get_mut().write_all(bytes.as_ref()).unwrap();
    }

    pub fn try_write(&mut self, bytes: impl AsRef<[u8]>) -> std::io::Result<()> {
        self.0.get_mut().write_all(bytes.as_ref())
    }

    /// Reads an answer, whose body has a length.
    pub fn read(&mut self) -> Answer {
        self.try_read().expect("an answer")
    }

    /// Reads an answer; `None` if the connection ends instead.
    pub fn try_read(&mut self) -> Option<Answer> {
        let mut line = String::new();
        self.0.read_line(&mut line).ok().filter(|length| *length > 0)?;
        let status = line.split(' ').nth(1).unwrap().parse().unwrap();
        let mut headers = BTreeMap::new();
        loop {
            line.clear();
            self.0.read_line(&mut line).unwrap();
            let Some((name, value)) = line.trim_end().split_once(": ") else { break };
            headers.insert(name.to_lowercase(), value.to_owned());
        }
        let length = headers.get("content-length").map_or(0, |length| length.parse().unwrap());
        let mut body = vec![0; length];
        self.0.read_exact(&mut body).unwrap();
        Some(Answer { status, headers, body })
    }

    pub fn bytes(&mut self, count: usize) -> Vec<u8> {
        let mut bytes = vec![0; count];
        self.0.read_exact(&mut bytes).unwrap();
        bytes
    }

    /// What comes until the connection ends.
    pub fn rest(&mut self) -> Vec<u8> {
        let mut rest = Vec::new();
        // A connection that is cut has an error at its end.
        let _ = self.0.read_to_end(&mut rest);
        rest
    }

    /// Whether the server has closed the connection.
    pub fn is_closed(&mut self) -> bool {
        !matches!(self.0.fill_buf(), Ok([_, ..]))
    }

    /// Calls a verb of JSON-RPC 2.0, with a session.
    pub fn call(&mut self, verb: &str, parameters: &[Value]) -> Answer {
        self.write(call(verb, parameters));
        self.read()
    }
}

/// The request for a verb.
pub fn call(verb: &str, parameters: &[Value]) -> Vec<u8> {
    let parameters: Vec<_> = [json!("OpaqueRef:NULL")].into_iter().chain(parameters.iter().cloned()).collect();
    post(&json!({ "jsonrpc": "2.0", "method": verb, "params": parameters, "id": 1 }).to_string(), "")
}

/// A request without the session that [`call`] adds.
pub fn plain(verb: &str, parameters: &[&str]) -> Vec<u8> {
    post(&json!({ "jsonrpc": "2.0", "method": verb, "params": parameters, "id": 1 }).to_string(), "")
}

/// A request with a body and more headers.
pub fn post(body: &str, headers: &str) -> Vec<u8> {
    let length = body.len();
    format!("POST /jsonrpc HTTP/1.1\r\nHost: x\r\nContent-Length: {length}\r\n{headers}\r\n{body}").into_bytes()
}
