//! The HTTP that Firecracker and Cloud Hypervisor speak over a unix socket.

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::Result;

/// How long a program may take to create its socket.
const APPEARS_WITHIN: Duration = Duration::from_secs(10);

/// Sends a request, and waits until it is done.
///
/// # Errors
/// The request is refused, or the program ends.
pub fn request(socket: &Path, method: &str, path: &str, body: &Value) -> Result<()> {
    let mut stream = connect(socket)?;
    let body = if body.is_null() { String::new() } else { body.to_string() };
    write!(
        stream,
        "{method} {path} HTTP/1.1\r\nHost: localhost\r\nAccept: */*\r\nContent-Type: application/json\r\n\
         Content-Length: {}\r\n\r\n{body}",
        body.len()
    )?;
    let (mut answer, mut buffer) = (String::new(), [0; 4096]);
    while !answer.contains("\r\n\r\n") {
        let count = stream.read(&mut buffer)?;
        if count == 0 {
            break;
        }
        answer.push_str(&String::from_utf8_lossy(&buffer[..count]));
    }
    let status = answer.split_ascii_whitespace().nth(1).unwrap_or_default();
    if status.starts_with('2') { Ok(()) } else { Err(format!("{method} {path} was answered: {answer}").into()) }
}

fn connect(socket: &Path) -> Result<UnixStream> {
    let began = Instant::now();
    loop {
        match UnixStream::connect(socket) {
            Ok(stream) => return Ok(stream),
            Err(error) if began.elapsed() > APPEARS_WITHIN => {
                return Err(format!("cannot connect to {}: {error}", socket.display()).into());
            }
            Err(_) => thread::sleep(Duration::from_millis(5)),
        }
    }
}
