//! Answers the requests of a connection.

use std::convert::Infallible;
use std::sync::Arc;

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use hyper::body::{Body as _, Incoming};
use hyper::header::{
    ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS, ACCESS_CONTROL_ALLOW_ORIGIN, ALLOW, CONNECTION,
    CONTENT_TYPE, HeaderValue,
};
use hyper::{Method as HttpMethod, Request, Response, StatusCode};
use tokio::time::timeout;

use super::admission::{Turn, overloaded};
use super::connection::Connection;
use super::method::{Method, is_login, method};
use super::rpc::{Head, LIST_METHODS, Notation, methods};
use super::{console, login};
use crate::operation::Failure;

/// The path of JSON-RPC.
const JSON: &str = "/jsonrpc";

pub(super) type Answer = Response<Full<Bytes>>;

/// Answers a request. Whatever goes wrong is told to the client.
pub(super) async fn answer(connection: Arc<Connection>, request: Request<Incoming>) -> Result<Answer, Infallible> {
    let path = request.uri().path();
    let path = path.strip_suffix('/').unwrap_or(path);
    let answer = match (request.method(), path) {
        (&HttpMethod::POST, JSON) => call(&connection, request, Notation::Json).await,
        // XenAPI's clients have several paths for XML-RPC, and XenServer takes any.
        (&HttpMethod::POST, _) => call(&connection, request, Notation::Xml).await,
        (&HttpMethod::OPTIONS, _) => options(),
        (&HttpMethod::CONNECT, "/console") => console::connect(&connection, request).await,
        (_, JSON) => only("POST", JSON),
        (_, "/console") => only("CONNECT", "/console"),
        _ => {
            let remedy = "POST XML-RPC to / or JSON-RPC to /jsonrpc, or CONNECT to /console";
            failed(StatusCode::NOT_FOUND, &Failure::new("HANDLE_INVALID", ["path", path, remedy]))
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

/// Calls a verb.
async fn call(connection: &Arc<Connection>, http: Request<Incoming>, notation: Notation) -> Response<Body> {
    let (body, memory) = match receive(connection, http.into_body()).await {
        Ok(received) => received,
        Err((status, failure)) => return closing(sent(notation, status, notation.failure(&failure), Vec::new())),
    };
    let head = match notation.head(&body) {
        Ok(head) => head,
        Err(refusal) => return sent(notation, StatusCode::BAD_REQUEST, refusal, Vec::new()),
    };
    let Method { verb: name, kind, .. } = method(&head.method);
    if is_login(&name) {
        return login::answer(connection, notation, head, body, memory).await;
    }
    let turn = match connection.shared.admission.verb(kind).await {
        Ok(turn) => turn,
        Err(failure) => return sent(notation, StatusCode::OK, head.reply.write(&Err(failure), ""), Vec::new()),
    };
    let for_verb = Arc::clone(connection);
    // The turn goes along: if the client leaves, the verb does not end.
    let done = tokio::task::spawn_blocking(move || (verb(&for_verb, notation, &head, &body), vec![turn, memory]));
    match done.await {
        Ok((bytes, turns)) => sent(notation, StatusCode::OK, bytes, turns),
        Err(error) => {
            tracing::error!(%error, "a verb of XenAPI ended by a panic, which is a bug of xvirt");
            sent(notation, StatusCode::OK, notation.failure(&internal()), Vec::new())
        }
    }
}

/// The failure of a request whose thread panicked.
pub(super) fn internal() -> Failure {
    Failure::new("INTERNAL_ERROR", ["the service has a bug; its log says more"])
}

/// What runs on a thread for verbs: from the body to the answer.
fn verb(connection: &Connection, notation: Notation, head: &Head, body: &[u8]) -> Vec<u8> {
    let method = method(&head.method);
    let outcome = notation.parameters(body, &method).and_then(|(session, values)| match session {
        Some(session) => {
            let caller = connection.caller(&session)?;
            connection.shared.verbs.call(&caller, &method.verb, values)
        }
        None if method.verb == LIST_METHODS => Ok(methods()),
        None => Err(Failure::new("MESSAGE_METHOD_UNKNOWN", [&*method.verb])),
    });
    head.reply.write(&outcome, &method.verb)
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

/// The answer that a handler failed.
pub(super) fn failed(status: StatusCode, failure: &Failure) -> Response<Body> {
    sent(Notation::Json, status, Notation::Json.failure(failure), Vec::new())
}

/// What a browser may send from pages of other hosts: all that it knows a session for.
fn options() -> Response<Body> {
    let mut answer = empty();
    let headers = answer.headers_mut();
    headers.insert(ACCESS_CONTROL_ALLOW_ORIGIN, HeaderValue::from_static("*"));
    headers.insert(ACCESS_CONTROL_ALLOW_METHODS, HeaderValue::from_static("POST, OPTIONS"));
    headers.insert(ACCESS_CONTROL_ALLOW_HEADERS, HeaderValue::from_static("Content-Type, X-Requested-With"));
    answer
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

/// An answer in a notation.
pub(super) fn sent(notation: Notation, status: StatusCode, bytes: Vec<u8>, turns: Vec<Turn>) -> Response<Body> {
    let mut answer = Response::new(Body { bytes, turns, closing: false });
    *answer.status_mut() = status;
    let headers = answer.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(notation.content_type()));
    headers.insert(ACCESS_CONTROL_ALLOW_ORIGIN, HeaderValue::from_static("*"));
    answer
}

/// The result of a value that is not sent as JSON-RPC: nothing.
pub(super) fn empty() -> Response<Body> {
    Response::new(Body::default())
}

/// The text of a canned answer to a connection for which there is no room.
pub(super) fn no_room() -> Vec<u8> {
    let body = Notation::Json.failure(&overloaded());
    let head = format!(
        "HTTP/1.1 503 Service Unavailable\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\
         Connection: close\r\n\r\n",
        body.len()
    );
    [head.into_bytes(), body].concat()
}
