//! One connection of HTTP.

use std::io;
use std::path::Path;

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use hyper::client::conn::http1::{self, SendRequest};
use hyper::header::{CONTENT_TYPE, HOST};
use hyper::upgrade::Upgraded;
use hyper::{Method, Request, StatusCode};
use hyper_util::rt::TokioIo;
use tokio::net::UnixStream;

use crate::failure::{Failure, Result};

/// A connection, for one request after another.
#[derive(Debug)]
pub struct Connection(SendRequest<Full<Bytes>>);

impl Connection {
    /// Connects to the socket of a service.
    pub async fn open(socket: &Path) -> Result<Self> {
        let what = || format!("cannot reach the host service at {}", socket.display());
        let stream = UnixStream::connect(socket).await.map_err(|error| {
            let remedy = match error.kind() {
                io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused => {
                    "start it with `systemctl start xvirt` or `xvirt host run`, or name its socket with --socket"
                }
                io::ErrorKind::PermissionDenied => "become root, or a member of the socket's group",
                _ => "see its log",
            };
            Failure::unreachable(what(), format!("{error}; {remedy}"))
        })?;
        let (sender, connection) = http1::handshake(TokioIo::new(stream))
            .await
            .map_err(|error| Failure::unreachable(what(), format!("{error}; see the log of the service")))?;
        // Errors come out of the requests too.
        tokio::spawn(async move {
            let _ = connection.with_upgrades().await;
        });
        Ok(Self(sender))
    }

    /// Whether it can take another request.
    pub fn is_open(&self) -> bool {
        !self.0.is_closed()
    }

    /// Posts JSON, and returns the answer.
    pub async fn post(&mut self, path: &str, body: String) -> Result<(StatusCode, Bytes)> {
        let request = Request::builder().method(Method::POST).uri(path).header(HOST, "localhost");
        let request = request.header(CONTENT_TYPE, "application/json").body(Full::new(Bytes::from(body)));
        let request = request.map_err(|error| Failure::new("cannot make a request", error))?;
        let answer = self.0.send_request(request).await.map_err(ended)?;
        let status = answer.status();
        let body = answer.into_body().collect().await.map_err(ended)?;
        Ok((status, body.to_bytes()))
    }

    /// Asks to be connected to something: the connection, or the status and the text of the refusal.
    pub async fn connect(mut self, path: &str) -> Result<std::result::Result<Upgraded, (StatusCode, Bytes)>> {
        let request = Request::builder().method(Method::CONNECT).uri(path).header(HOST, "localhost");
        let request =
            request.body(Full::new(Bytes::new())).map_err(|error| Failure::new("cannot make a request", error))?;
        let answer = self.0.send_request(request).await.map_err(ended)?;
        let status = answer.status();
        if status == StatusCode::OK {
            return hyper::upgrade::on(answer).await.map(Ok).map_err(ended);
        }
        let body = answer.into_body().collect().await.map_err(ended)?;
        Ok(Err((status, body.to_bytes())))
    }
}

fn ended(error: hyper::Error) -> Failure {
    let why = format!("{error}; what was asked may have been done: look, and try again");
    Failure::unreachable("the host service has ended the connection", why)
}
