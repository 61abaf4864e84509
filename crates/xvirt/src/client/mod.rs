//! Speaks XenAPI over the socket of a host service: JSON-RPC 2.0 by HTTP/1.1, and consoles by CONNECT.

mod http;

use std::path::PathBuf;

use hyper::StatusCode;
use hyper::upgrade::Upgraded;
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::sync::Mutex;
use xvirt_pool::operation;

use crate::failure::{Failure, Result};

/// The session of who connects to the socket: none is needed.
const NO_SESSION: &str = "OpaqueRef:NULL";

/// A client. Its calls follow each other on one connection.
#[derive(Debug)]
pub struct Client {
    socket: PathBuf,
    connection: Mutex<Option<http::Connection>>,
}

#[derive(Deserialize)]
struct Reply {
    result: Option<Value>,
    error: Option<ReplyError>,
}

#[derive(Deserialize)]
struct ReplyError {
    message: String,
    #[serde(default)]
    data: Vec<String>,
}

impl Client {
    /// A client of the service with this socket. It connects when it is first used.
    pub fn new(socket: PathBuf) -> Self {
        Self { socket, connection: Mutex::new(None) }
    }

    /// A client of the same service with a connection of its own, for a call that waits.
    pub fn another(&self) -> Self {
        Self::new(self.socket.clone())
    }

    /// Calls a verb with its parameters after the session.
    pub async fn call(&self, verb: &str, parameters: Vec<Value>) -> Result<Value> {
        let parameters: Vec<Value> = std::iter::once(json!(NO_SESSION)).chain(parameters).collect();
        let body = json!({ "jsonrpc": "2.0", "method": verb, "params": parameters, "id": 0 }).to_string();
        let mut kept = self.connection.lock().await;
        let mut connection = match kept.take() {
            Some(connection) => connection,
            None => http::Connection::open(&self.socket).await?,
        };
        let (status, body) = connection.post("/jsonrpc", body).await?;
        if connection.is_open() {
            *kept = Some(connection);
        }
        self.result(verb, status, &body)
    }

    fn result(&self, verb: &str, status: StatusCode, body: &[u8]) -> Result<Value> {
        let not_understood = |why: String| {
            let what = format!("cannot understand the answer of {}", self.socket.display());
            Failure::unreachable(what, format!("{why}; is this the socket of an xvirt of the same version?"))
        };
        let reply: Reply =
            serde_json::from_slice(body).map_err(|error| not_understood(format!("{status}, {error}")))?;
        match reply {
            Reply { error: Some(error), .. } => {
                let failure = operation::Failure { code: error.message, parameters: error.data };
                Err(Failure::of_verb(format!("{verb} failed"), failure))
            }
            Reply { result: Some(value), .. } => Ok(value),
            Reply { .. } => Err(not_understood("it has neither a result nor an error".to_owned())),
        }
    }

    /// Connects to the console of a VM.
    pub async fn console(&self, vm: &str) -> Result<Upgraded> {
        let connection = http::Connection::open(&self.socket).await?;
        match connection.connect(&format!("/console?ref={vm}")).await? {
            Ok(console) => Ok(console),
            Err((status, body)) => match self.result("the console", status, &body) {
                Err(failure) => Err(failure),
                Ok(_) => Err(Failure::new("cannot connect to the console", format!("the service answered {status}"))),
            },
        }
    }
}
