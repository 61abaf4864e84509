//! Consoles: `CONNECT /console?ref=…` (or `uuid=…`), of the console or of its VM.

use std::sync::Arc;

use hyper::body::Incoming;
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use tokio::io::copy_bidirectional_with_sizes;
use tokio::net::UnixStream;

use super::authentication::{permitted, refusal, session_of};
use super::connection::Connection;
use super::handler::{Body, empty, failed, internal};
use super::method::Kind;
use super::query::parameter;
use crate::model::Roles;
use crate::operation::Failure;

/// Bytes that are carried at once, each way.
const CARRIED: usize = 4096;

/// Connects the client to a console.
pub(super) async fn connect(connection: &Arc<Connection>, request: Request<Incoming>) -> Response<Body> {
    let query = request.uri().query().unwrap_or_default();
    let by_uuid = || parameter(query, "uuid").map(|uuid| format!("OpaqueRef:{uuid}"));
    let Some(reference) = parameter(query, "ref").or_else(by_uuid) else {
        let what = "the path has no console; use /console?ref= and its reference, or that of its VM";
        return failed(StatusCode::BAD_REQUEST, &Failure::new("INTERNAL_ERROR", [what]));
    };
    let session = session_of(&request);
    // A worker that hangs is waited for.
    let turn = match connection.shared.admission.verb(Kind::Wait).await {
        Ok(turn) => turn,
        Err(failure) => return failed(StatusCode::SERVICE_UNAVAILABLE, &failure),
    };
    let for_verb = Arc::clone(connection);
    let opened = tokio::task::spawn_blocking(move || {
        let _turn = turn;
        let caller = permitted(&for_verb, session.as_deref(), "http/connect_console", Roles::VM_OPERATOR)?;
        for_verb.shared.verbs.console(&caller, &reference)
    });
    let opened = match opened.await {
        Ok(Ok(opened)) => opened,
        Ok(Err(failure)) => return refusal(&failure),
        Err(error) => {
            tracing::error!(%error, "opening a console ended by a panic, which is a bug of xvirt");
            return failed(StatusCode::INTERNAL_SERVER_ERROR, &internal());
        }
    };
    let opened = opened.set_nonblocking(true).and_then(|()| UnixStream::from_std(opened));
    match opened {
        Ok(opened) => {
            tokio::spawn(carry(Arc::clone(connection), request, opened));
            empty()
        }
        Err(error) => {
            let what = format!("cannot carry the console: {error}; try again");
            failed(StatusCode::INTERNAL_SERVER_ERROR, &Failure::new("INTERNAL_ERROR", [what]))
        }
    }
}

/// Carries bytes until one side ends, or the server stops.
async fn carry(connection: Arc<Connection>, mut request: Request<Incoming>, mut console: UnixStream) {
    let Ok(client) = hyper::upgrade::on(&mut request).await else { return };
    let mut client = TokioIo::new(client);
    let mut stopping = connection.shared.stopping.clone();
    let carried = copy_bidirectional_with_sizes(&mut client, &mut console, CARRIED, CARRIED);
    tokio::select! {
        ended = carried => {
            if let Err(error) = ended {
                tracing::debug!(%error, "a console ended");
            }
        }
        _ = stopping.wait_for(|stopping| *stopping) => {}
    }
}
