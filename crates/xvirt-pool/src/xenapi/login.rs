//! Logins. They have turns of their own, because each takes much of a processor for a while; and the answer to a wrong
//! password is kept back for some seconds, which takes nobody's turn.

use std::sync::Arc;
use std::time::Instant;

use hyper::{Response, StatusCode};
use serde_json::Value;
use tokio::time::sleep;

use super::admission::Turn;
use super::connection::{Connection, Peer};
use super::handler::{Body, internal, sent};
use super::method::method;
use super::rpc::{Credentials, Head, Notation, credentials};
use crate::operation::{Failure, Login};

const WRONG: &str = "SESSION_AUTHENTICATION_FAILED";

/// Answers a login.
pub(super) async fn answer(
    connection: &Arc<Connection>,
    notation: Notation,
    head: Head,
    body: Vec<u8>,
    memory: Turn,
) -> Response<Body> {
    let outcome = match connection.shared.admission.login().await {
        Ok(turn) => {
            let (for_login, name) = (Arc::clone(connection), head.method.clone());
            let done = tokio::task::spawn_blocking(move || {
                let _held = (turn, memory);
                log_in(&for_login, notation, &name, &body)
            });
            done.await.unwrap_or_else(|error| {
                tracing::error!(%error, "a login ended by a panic, which is a bug of xvirt");
                Err(internal())
            })
        }
        Err(failure) => Err(failure),
    };
    if outcome.as_ref().is_err_and(|failure| failure.code == WRONG) {
        let mut stopping = connection.shared.stopping.clone();
        tokio::select! {
            () = sleep(connection.shared.admission.limits().login_delay) => {}
            _ = stopping.wait_for(|stopping| *stopping) => {}
        }
    }
    sent(notation, StatusCode::OK, head.reply.write(&outcome, &method(&head.method).verb), Vec::new())
}

/// What runs on a thread for logins.
fn log_in(connection: &Connection, notation: Notation, name: &str, body: &[u8]) -> Result<Value, Failure> {
    let method = method(name);
    let (_, values) = notation.parameters(body, &method)?;
    let Credentials { user, password, originator } = credentials(&method.verb, values)?;
    let mut login = Login::new(user, password);
    login.originator = originator;
    let throttle = &connection.shared.throttle;
    match connection.peer {
        Peer::Local { uid } => login.local = Some(uid),
        Peer::Remote(address) => {
            login.from = Some(address);
            if !throttle.allows(address, &login.user, Instant::now()) {
                let what = "too many logins failed lately; try again in five minutes, or on the host itself";
                return Err(Failure::new(WRONG, [login.user.as_str(), what]));
            }
        }
    }
    let outcome = connection.shared.verbs.log_in(&login);
    if let Some(address) = login.from {
        match &outcome {
            Ok(_) => throttle.succeeded(address),
            Err(failure) if failure.code == WRONG => throttle.failed(address, &login.user, Instant::now()),
            Err(_) => {}
        }
    }
    outcome.map(Value::from)
}
