//! A host service in a process of its own, which can be killed.

use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};
use xvirt_pool::Host;
use xvirt_pool::operation::{Failure, Verbs};
use xvirt_testing::process::another;

use crate::support::{me, options};

const FOLDER: &str = "XVIRT_TEST_SERVICE_FOLDER";

/// The other process; does nothing when run as an ordinary test.
#[test]
fn serves_until_it_is_killed() {
    let Some(folder) = std::env::var_os(FOLDER).map(PathBuf::from) else { return };
    let socket = folder.join("api");
    let host = Host::open(options(&folder).restart_brake(Duration::ZERO)).unwrap_or_else(|failure| {
        println!("failed {failure}");
        panic!("{failure}")
    });
    let _ = std::fs::remove_file(&socket);
    let listener = UnixListener::bind(&socket).unwrap();
    println!("\nready");
    let host = Arc::new(host);
    for client in listener.incoming().map_while(Result::ok) {
        let host = Arc::clone(&host);
        std::thread::spawn(move || serve(&host, &client));
    }
}

/// Answers calls, one a line.
fn serve(host: &Host, client: &UnixStream) {
    for line in BufReader::new(client).lines().map_while(Result::ok) {
        let call: Value = serde_json::from_str(&line).unwrap();
        let parameters = call["parameters"].as_array().unwrap().clone();
        let answer = match host.call(&me(), call["verb"].as_str().unwrap(), parameters) {
            Ok(value) => json!({ "value": value }),
            Err(failure) => json!({ "failure": failure }),
        };
        if (&*client).write_all(format!("{answer}\n").as_bytes()).is_err() {
            return;
        }
    }
}

/// A service in a process of its own.
pub struct ChildService {
    child: Child,
}

impl ChildService {
    /// Starts it, and waits until it has adopted its workers.
    pub fn start(folder: &Path) -> Self {
        let mut command = another("child::serves_until_it_is_killed");
        let mut child = command.env(FOLDER, folder).stdout(Stdio::piped()).spawn().unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines().map(Result::unwrap);
        let found = lines.find(|line| line == "ready" || line.starts_with("failed"));
        assert_eq!(found.as_deref(), Some("ready"), "the service did not start");
        // Whatever it still prints is not read; it prints nothing.
        Self { child }
    }

    /// The resident memory of the process, in bytes.
    pub fn resident(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
        line.trim().trim_end_matches(" kB").parse::<u64>().unwrap() * 1024
    }

    pub fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

impl Drop for ChildService {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A client of a service that may be killed at any moment.
pub struct Client {
    socket: PathBuf,
    connection: Option<BufReader<UnixStream>>,
}

/// The service ended before it answered.
#[derive(Debug)]
pub struct Interrupted;

impl Client {
    pub fn new(folder: &Path) -> Self {
        Self { socket: folder.join("api"), connection: None }
    }

    pub fn call(
        &mut self,
        verb: &str,
        parameters: impl Into<Vec<Value>>,
    ) -> Result<Result<Value, Failure>, Interrupted> {
        let line = format!("{}\n", json!({ "verb": verb, "parameters": parameters.into() }));
        let answer = self.exchange(&line).ok_or(Interrupted);
        if answer.is_err() {
            self.connection = None;
        }
        let answer: Value = serde_json::from_str(&answer?).unwrap();
        Ok(match answer.get("failure") {
            Some(failure) => Err(serde_json::from_value(failure.clone()).unwrap()),
            None => Ok(answer["value"].clone()),
        })
    }

    /// Calls again until it is answered.
    pub fn ask(&mut self, verb: &str, parameters: impl Into<Vec<Value>>) -> Result<Value, Failure> {
        let parameters = parameters.into();
        loop {
            match self.call(verb, parameters.clone()) {
                Ok(answer) => return answer,
                Err(Interrupted) => std::thread::yield_now(),
            }
        }
    }

    fn exchange(&mut self, line: &str) -> Option<String> {
        if self.connection.is_none() {
            self.connection = Some(BufReader::new(UnixStream::connect(&self.socket).ok()?));
        }
        let connection = self.connection.as_mut()?;
        connection.get_mut().write_all(line.as_bytes()).ok()?;
        let mut answer = String::new();
        let count = connection.read_line(&mut answer).ok()?;
        (count > 0 && answer.ends_with('\n')).then_some(answer)
    }
}
