//! Answers the requests of a connection.

use std::convert::Infallible;
use std::sync::Arc;

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use hyper::body::{Body as _, Incoming};
use hyper::header::{ALLOW, CONNECTION, CONTENT_TYPE, HeaderValue};
use hyper::{Method as HttpMethod, Request, Response, StatusCode};
use serde_json::Value;
use tokio::time::timeout;

use super::admission::{Turn, overloaded};
use super::connection::Connection;
use super::json_rpc::{Malformed, Reply, parameters, request};
use super::method::method;
use super::{console, json_rpc};
use crate::operation::Failure;

pub(super) type Answer = Response<Full<Bytes>>;

/// Answers a request. Whatever goes wrong is told to the client.
pub(super) async fn answer(connection: Arc<Connection>, request: Request<Incoming>) -> Result<Answer, Infallible> {
    let path = request.uri().path();
    let path = path.strip_suffix('/').unwrap_or(path);
    let answer = match (request.method(), path) {
        (&HttpMethod::POST, "/jsonrpc") => call(&connection, request).await,
        (&HttpMethod::CONNECT, "/console") => console::connect(&connection, request).await,
        (_, "/jsonrpc") => only("POST", "/jsonrpc"),
        (_, "/console") => only("CONNECT", "/console"),
        _ => {
            let what = Failure::new("HANDLE_INVALID", ["path", path, "use POST /jsonrpc or CONNECT /console"]);
            failed(StatusCode::NOT_FOUND, &what)
        }
    };
    let (mut parts, body) = answer.into_parts();
    let (bytes, closing) = (body.bytes, body.closing);
    if closing {
        parts.headers.insert(CONNECTION, HeaderValue::from_static("close"));
    }
    Ok(Response::from_parts(parts, Full::new(counted(&connection, bytes, body.turns).await)))
}

/// The body of an answer before it is counted.
#[derive(Default)]
pub(super) struct Body {
    bytes: Vec<u8>,
    /// What is given back when there is memory for the answer.
    turns: Vec<Turn>,
    /// Whether the connection is of no more use.
    closing: bool,
}

/// An answer that is being sent.
struct Sending {
    bytes: Vec<u8>,
    connection: Arc<Connection>,
    number: u64,
    _memory: Option<Turn>,
}

impl AsRef<[u8]> for Sending {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

impl Drop for Sending {
    fn drop(&mut self) {
        self.connection.sent(self.number);
    }
}

/// Waits for the memory of an answer, and begins to send it.
async fn counted(connection: &Arc<Connection>, bytes: Vec<u8>, turns: Vec<Turn>) -> Bytes {
    if bytes.is_empty() {
        return Bytes::new();
    }
    let memory = connection.shared.admission.answer(bytes.capacity()).await;
    drop(turns);
    let number = connection.sending();
    Bytes::from_owner(Sending { bytes, connection: Arc::clone(connection), number, _memory: memory })
}

/// Calls a verb by JSON-RPC.
async fn call(connection: &Arc<Connection>, http: Request<Incoming>) -> Response<Body> {
    let (body, memory) = match receive(connection, http.into_body()).await {
        Ok(received) => received,
        Err((status, failure)) => return closing(failed(status, &failure)),
    };
    let kind = match request(&body) {
        Ok(request) => method(&request.method).kind,
        Err(malformed) => return refused(&malformed),
    };
    let turn = match connection.shared.admission.verb(kind).await {
        Ok(turn) => turn,
        Err(failure) => {
            let reply = request(&body).map_or_else(|_| Reply::unknown(), |request| request.reply);
            return json(StatusCode::OK, reply.write(&Err(failure)), Vec::new());
        }
    };
    let for_verb = Arc::clone(connection);
    // The turn goes along: if the client leaves, the verb does not end.
    let done = tokio::task::spawn_blocking(move || (verb(&for_verb, &body), vec![turn, memory]));
    match done.await {
        Ok((Ok(bytes), turns)) => json(StatusCode::OK, bytes, turns),
        Ok((Err(malformed), _)) => refused(&malformed),
        Err(error) => {
            tracing::error!(%error, "a verb of XenAPI ended by a panic, which is a bug of xvirt");
            failed(StatusCode::OK, &internal())
        }
    }
}

/// The failure of a request whose thread panicked.
pub(super) fn internal() -> Failure {
    Failure::new("INTERNAL_ERROR", ["the service has a bug; its log says more"])
}

/// What runs on a thread for verbs: from the body to the answer.
fn verb(connection: &Connection, body: &[u8]) -> Result<Vec<u8>, Malformed> {
    let json_rpc::Request { method: name, parameters: given, reply } = request(body)?;
    let method = method(&name);
    let outcome = parameters(&method.verb, given, method.session)
        // Who connects to the socket needs no session: the kernel says who it is.
        .and_then(|(_session, values)| connection.shared.verbs.call(&connection.caller, &method.verb, values));
    Ok(reply.write(&outcome))
}

/// Receives a body, with the memory that it takes.
async fn receive(connection: &Connection, mut body: Incoming) -> Result<(Vec<u8>, Turn), (StatusCode, Failure)> {
    let admission = &connection.shared.admission;
    let limit = admission.limits().body;
    let too_large = || {
        let what = format!("the request is larger than {limit} bytes; make several of it");
        (StatusCode::PAYLOAD_TOO_LARGE, Failure::new("INTERNAL_ERROR", [what]))
    };
    let busy = || (StatusCode::SERVICE_UNAVAILABLE, overloaded());
    if body.size_hint().lower() > u64::try_from(limit).unwrap_or(u64::MAX) {
        return Err(too_large());
    }
    let mut memory = admission.body(0).await.ok_or_else(busy)?;
    let mut received = Vec::new();
    let all = async {
        while let Some(frame) = body.frame().await {
            let frame = frame.map_err(|error| broken(&error))?;
            let Ok(data) = frame.into_data() else { continue };
            if data.len() > limit.saturating_sub(received.len()) {
                return Err(too_large());
            }
            memory.merge(admission.body(data.len()).await.ok_or_else(busy)?);
            received.extend_from_slice(&data);
        }
        Ok(())
    };
    match timeout(admission.limits().receive, all).await {
        Ok(done) => done?,
        Err(_) => {
            let what = "the request did not arrive in time; send it faster";
            return Err((StatusCode::REQUEST_TIMEOUT, Failure::new("INTERNAL_ERROR", [what])));
        }
    }
    Ok((received, memory))
}

fn broken(error: &hyper::Error) -> (StatusCode, Failure) {
    let what = format!("the body of the request is damaged: {error}; send it again");
    (StatusCode::BAD_REQUEST, Failure::new("INTERNAL_ERROR", [what]))
}

fn refused(malformed: &Malformed) -> Response<Body> {
    json(StatusCode::BAD_REQUEST, malformed.write(), Vec::new())
}

/// The answer that a request failed before a verb was called, or that a handler failed.
pub(super) fn failed(status: StatusCode, failure: &Failure) -> Response<Body> {
    json(status, Reply::unknown().write(&Err(failure.clone())), Vec::new())
}

fn only(method: &'static str, path: &str) -> Response<Body> {
    let what = format!("{path} takes {method} only");
    let mut answer = failed(StatusCode::METHOD_NOT_ALLOWED, &Failure::new("INTERNAL_ERROR", [what]));
    answer.headers_mut().insert(ALLOW, HeaderValue::from_static(method));
    answer
}

fn closing(mut answer: Response<Body>) -> Response<Body> {
    answer.body_mut().closing = true;
    answer
}

fn json(status: StatusCode, bytes: Vec<u8>, turns: Vec<Turn>) -> Response<Body> {
    let mut answer = Response::new(Body { bytes, turns, closing: false });
    *answer.status_mut() = status;
    // Clients compare the whole header.
    answer.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    answer
}

/// The result of a value that is not sent as JSON-RPC: nothing.
pub(super) fn empty() -> Response<Body> {
    Response::new(Body::default())
}

/// The text of a canned answer to a connection for which there is no room.
pub(super) fn no_room() -> Vec<u8> {
    let body = Reply::unknown().write(&Err::<Value, _>(overloaded()));
    let head = format!(
        "HTTP/1.1 503 Service Unavailable\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\
         Connection: close\r\n\r\n",
        body.len()
    );
    [head.into_bytes(), body].concat()
}
