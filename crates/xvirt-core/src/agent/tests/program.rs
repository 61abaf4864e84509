//! A program that acts as the guest agent.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use vmm_sys_util::eventfd::EventFd;

use super::super::{Channel, GuestAgent};
use crate::port::{GUEST_AGENT, PortBackend, PortStream};
use crate::sync::lock;

/// The program's reaction to a request.
pub enum Said {
    /// Answers with this result.
    Return(Value),
    /// Answers with an error of this class and text.
    Error(&'static str, String),
    /// Writes exactly these bytes.
    Bytes(Vec<u8>),
    /// Sends no answer.
    Nothing,
    /// Closes the port.
    Close,
}

/// The program, which runs until this is dropped.
pub struct Fake {
    pub port: PortStream,
    channel: Arc<Channel>,
    event: Arc<EventFd>,
    /// The commands it received, except those for synchronization.
    asked: Arc<Mutex<Vec<String>>>,
    thread: Option<JoinHandle<()>>,
}

impl Fake {
    pub fn start(said: impl FnMut(&str, &Value) -> Said + Send + 'static) -> Self {
        Self::start_as(Program { said, synchronizes: true, asked: Arc::default() })
    }

    /// A program that reacts to all requests, also those for synchronization, as `said` says.
    pub fn hostile(said: impl FnMut(&str, &Value) -> Said + Send + 'static) -> Self {
        Self::start_as(Program { said, synchronizes: false, asked: Arc::default() })
    }

    fn start_as<F: FnMut(&str, &Value) -> Said + Send + 'static>(mut program: Program<F>) -> Self {
        // Blocking, so that the program waits for it.
        let event = Arc::new(EventFd::new(0).unwrap());
        let port = PortStream::new(GUEST_AGENT, Arc::clone(&event));
        port.power_on();
        let channel = Arc::new(Channel::new("web-1".into(), port.clone()));
        let (backend, asked) = (port.backend(), Arc::clone(&program.asked));
        backend.set_open(true);
        let wake = Arc::clone(&event);
        let thread = Some(thread::spawn(move || program.serve(&*backend, &wake)));
        Self { port, channel, event, asked, thread }
    }

    pub fn agent(&self) -> GuestAgent {
        GuestAgent::new(Arc::clone(&self.channel))
    }

    pub fn asked(&self) -> Vec<String> {
        lock(&self.asked).clone()
    }

    /// Ends the VM.
    pub fn end(&self) {
        self.port.close();
        self.channel.end();
        self.event.write(END).unwrap();
    }
}

/// The value of the event when the program should end.
const END: u64 = 1 << 32;

impl Drop for Fake {
    fn drop(&mut self) {
        self.end();
        let outcome = self.thread.take().unwrap().join();
        if !thread::panicking() {
            outcome.unwrap();
        }
    }
}

struct Program<F> {
    said: F,
    synchronizes: bool,
    asked: Arc<Mutex<Vec<String>>>,
}

impl<F: FnMut(&str, &Value) -> Said> Program<F> {
    fn serve(&mut self, port: &dyn PortBackend, wake: &EventFd) {
        let (mut input, mut chunk) = (Vec::new(), [0; 4096]);
        loop {
            let count = port.read_input(&mut chunk);
            input.extend(&chunk[..count]);
            while let Some(at) = input.iter().position(|byte| *byte == b'\n') {
                let line: Vec<_> = input.drain(..=at).collect();
                if !self.answer(&line, port, wake) {
                    return;
                }
            }
            if count == 0 && wake.read().unwrap() >= END {
                return;
            }
        }
    }

    /// Returns whether to continue.
    fn answer(&mut self, line: &[u8], port: &dyn PortBackend, wake: &EventFd) -> bool {
        // Like the real agent, it reports an error for the sentinel byte, and continues after it.
        let (complaint, line) = match line.strip_prefix(b"\xff") {
            Some(line) => (&b"{\"error\": {\"class\": \"GenericError\", \"desc\": \"JSON parse error\"}}\n"[..], line),
            None => (&b""[..], line),
        };
        let request: Value = serde_json::from_slice(line).unwrap();
        let (command, arguments) = (request["execute"].as_str().unwrap(), &request["arguments"]);
        let bytes = if command == "guest-sync-delimited" && self.synchronizes {
            let answer = json!({ "return": arguments["id"] });
            [complaint, &b"\xff"[..], answer.to_string().as_bytes(), b"\n"].concat()
        } else {
            if command != "guest-sync-delimited" {
                lock(&self.asked).push(command.to_owned());
            }
            match (self.said)(command, arguments) {
                Said::Return(value) => format!("{}\n", json!({ "return": value })).into_bytes(),
                Said::Error(class, text) => {
                    format!("{}\n", json!({ "error": { "class": class, "desc": text } })).into_bytes()
                }
                Said::Bytes(bytes) => bytes,
                Said::Nothing => Vec::new(),
                Said::Close => {
                    port.set_open(false);
                    return false;
                }
            }
        };
        let mut sent = 0;
        while sent < bytes.len() {
            let count = port.output(&bytes[sent..]);
            sent += count;
            if count == 0 && wake.read().unwrap() >= END {
                return false;
            }
        }
        true
    }
}

/// The files of a program by path, and the handles to them.
#[derive(Default)]
pub struct Files {
    pub contents: HashMap<String, Vec<u8>>,
    pub open: HashMap<i64, (String, usize)>,
    next: i64,
}

impl Files {
    pub fn said(&mut self, command: &str, arguments: &Value) -> Said {
        let handle = arguments["handle"].as_i64().unwrap_or_default();
        match command {
            "guest-file-open" => {
                let path = arguments["path"].as_str().unwrap().to_owned();
                if arguments["mode"] == "w" {
                    self.contents.insert(path.clone(), Vec::new());
                } else if !self.contents.contains_key(&path) {
                    return Said::Error(
                        "GenericError",
                        format!("failed to open file '{path}': No such file or directory"),
                    );
                }
                self.next += 1;
                self.open.insert(1000 + self.next, (path, 0));
                Said::Return(json!(1000 + self.next))
            }
            "guest-file-read" => {
                let (path, at) = self.open.get_mut(&handle).unwrap();
                let rest = &self.contents[path.as_str()][*at..];
                let asked = arguments["count"].as_u64().unwrap() as usize;
                let piece = &rest[..rest.len().min(asked)];
                *at += piece.len();
                let mut answer = json!({ "count": piece.len(), "eof": piece.len() < asked, "more": "unknown" });
                if !piece.is_empty() {
                    answer["buf-b64"] = json!(STANDARD.encode(piece));
                }
                Said::Return(answer)
            }
            "guest-file-write" => {
                let bytes = STANDARD.decode(arguments["buf-b64"].as_str().unwrap()).unwrap();
                // Only a part, like a short write.
                let count = bytes.len().min(400_000);
                self.contents.get_mut(&self.open[&handle].0).unwrap().extend(&bytes[..count]);
                Said::Return(json!({ "count": count, "eof": false }))
            }
            "guest-file-close" => {
                self.open.remove(&handle).unwrap();
                Said::Return(json!({}))
            }
            _ => Said::Error("CommandNotFound", format!("The command {command} has not been found")),
        }
    }
}
