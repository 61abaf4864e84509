//! XenAPI over the socket of a host service.

use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};
use xvirt_benches::Result;

/// A connection, which is kept between calls.
pub(crate) struct Api {
    path: PathBuf,
    stream: BufReader<UnixStream>,
}

impl Api {
    pub(crate) fn connect(path: &Path) -> Result<Self> {
        Ok(Self { path: path.to_owned(), stream: BufReader::new(UnixStream::connect(path)?) })
    }

    /// Calls a verb; the session of a caller on the socket is empty.
    pub(crate) fn call(&mut self, verb: &str, parameters: &[Value]) -> Result<Value> {
        let mut with_session = vec![json!("")];
        with_session.extend_from_slice(parameters);
        let body = json!({ "jsonrpc": "2.0", "id": 1, "method": verb, "params": with_session }).to_string();
        let head = format!(
            "POST /jsonrpc HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n",
            body.len()
        );
        self.stream.get_mut().write_all(format!("{head}{body}").as_bytes())?;
        let length = head_of_answer(&mut self.stream)?;
        let mut body = vec![0; length.ok_or("an answer without a length")?];
        self.stream.read_exact(&mut body)?;
        let mut answer: Value = serde_json::from_slice(&body)?;
        match answer.get("error") {
            None | Some(Value::Null) => Ok(answer["result"].take()),
            Some(error) => Err(format!("{verb} failed: {error}").into()),
        }
    }

    /// The console of a VM, from its first byte on.
    pub(crate) fn console(&self, vm: &Value) -> Result<BufReader<UnixStream>> {
        let mut stream = BufReader::new(UnixStream::connect(&self.path)?);
        let vm = vm.as_str().unwrap_or_default();
        write!(stream.get_mut(), "CONNECT /console?ref={vm} HTTP/1.1\r\nhost: localhost\r\n\r\n")?;
        head_of_answer(&mut stream)?;
        Ok(stream)
    }
}

/// Reads the head of an answer that says success, and returns the length of its body.
fn head_of_answer(stream: &mut BufReader<UnixStream>) -> Result<Option<usize>> {
    let mut line = String::new();
    stream.read_line(&mut line)?;
    if line.split(' ').nth(1) != Some("200") {
        return Err(format!("the service answered {:?}", line.trim()).into());
    }
    let mut length = None;
    loop {
        line.clear();
        stream.read_line(&mut line)?;
        match line.trim().split_once(':') {
            None => return Ok(length),
            Some((name, value)) if name.eq_ignore_ascii_case("content-length") => length = Some(value.trim().parse()?),
            Some(_) => {}
        }
    }
}
