//! Who asks for what is no verb: a console, an export. The session is in a cookie or in the query of the path.

use hyper::header::{COOKIE, HeaderValue, WWW_AUTHENTICATE};
use hyper::{Request, Response, StatusCode};

use super::connection::{Connection, Peer};
use super::handler::{Body, failed};
use super::query::parameter;
use crate::model::Roles;
use crate::operation::{Caller, Failure};

const SESSION: &str = "session_id";
const NO_SESSION: &str = "SESSION_AUTHENTICATION_FAILED";

/// The session of a request, if it has one. A cookie is looked at first.
pub(super) fn session_of<B>(request: &Request<B>) -> Option<String> {
    let cookies = request.headers().get_all(COOKIE).iter().filter_map(|value| value.to_str().ok());
    let mut pairs = cookies.flat_map(|cookies| cookies.split(';')).filter_map(|pair| pair.trim().split_once('='));
    let cookie = pairs.find(|(name, _)| *name == SESSION).map(|(_, value)| value.to_owned());
    cookie.or_else(|| parameter(request.uri().query().unwrap_or_default(), SESSION))
}

/// Who asks, if its role allows what it asks for. It blocks.
///
/// # Errors
/// There is no session, or it has ended; `RBAC_PERMISSION_DENIED`.
pub(super) fn permitted(
    connection: &Connection,
    session: Option<&str>,
    permission: &str,
    roles: Roles,
) -> Result<Caller, Failure> {
    let caller = match (session, connection.peer) {
        (Some(session), _) => connection.caller(session)?,
        (None, Peer::Local { uid }) => Caller::Local { uid },
        (None, Peer::Remote(_)) => {
            let what = "there is no session: give one as session_id, in the query or in a cookie";
            return Err(Failure::new(NO_SESSION, ["", what]));
        }
    };
    match caller.has_one_of(roles) {
        true => Ok(caller),
        false => Err(caller.permission_denied(permission, roles)),
    }
}

/// The answer to a request that failed.
pub(super) fn refusal(failure: &Failure) -> Response<Body> {
    let status = match failure.code.as_str() {
        NO_SESSION | "SESSION_INVALID" => StatusCode::UNAUTHORIZED,
        "RBAC_PERMISSION_DENIED" => StatusCode::FORBIDDEN,
        "HANDLE_INVALID" | "UUID_INVALID" => StatusCode::NOT_FOUND,
        _ => StatusCode::CONFLICT,
    };
    let mut answer = failed(status, failure);
    if status == StatusCode::UNAUTHORIZED {
        answer.headers_mut().insert(WWW_AUTHENTICATE, HeaderValue::from_static("Basic realm=\"xvirt\""));
    }
    answer
}
