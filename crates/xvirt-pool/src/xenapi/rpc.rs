//! The two notations of calls, and what they have in common.

use serde_json::Value;

use super::method::{Method, is_login, result};
use super::{json_rpc, xml_rpc};
use crate::model::{CLASSES, Call};
use crate::operation::Failure;

/// The verb that says which there are. It is not XenAPI's, and so has no session.
pub(crate) const LIST_METHODS: &str = "system.listMethods";

/// How a call is written, and its answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Notation {
    Json,
    Xml,
}

/// What is read of a request before it has its turn.
#[derive(Debug)]
pub(crate) struct Head {
    pub(crate) method: String,
    pub(crate) reply: Reply,
}

/// How a request is answered.
#[derive(Debug)]
pub(crate) enum Reply {
    Json(json_rpc::Reply),
    Xml(xml_rpc::Envelope),
}

impl Notation {
    /// Reads the begin of a request.
    ///
    /// # Errors
    /// It is none: the answer that says so.
    pub(crate) fn head(self, body: &[u8]) -> Result<Head, Vec<u8>> {
        match self {
            Self::Json => {
                let request = json_rpc::request(body).map_err(|malformed| malformed.write())?;
                Ok(Head { method: request.method.into_owned(), reply: Reply::Json(request.reply) })
            }
            Self::Xml => {
                let method = xml_rpc::method_name(body).map_err(|malformed| self.failure(&refused(malformed)))?;
                let bare = method == LIST_METHODS;
                let envelope = if bare { xml_rpc::Envelope::None } else { xml_rpc::Envelope::Status };
                Ok(Head { method, reply: Reply::Xml(envelope) })
            }
        }
    }

    /// Reads the session, if the verb has one, and the parameters of a request.
    ///
    /// # Errors
    /// They are no list, or they do not begin with a session.
    pub(crate) fn parameters(self, body: &[u8], method: &Method<'_>) -> Result<(Option<String>, Vec<Value>), Failure> {
        let values = match self {
            Self::Json => {
                let given = json_rpc::request(body).map_err(|malformed| malformed.failure())?;
                json_rpc::parameters(&method.verb, given.parameters)?
            }
            Self::Xml => xml_rpc::request(body).map_err(refused)?.parameters,
        };
        if method.session { with_session(&method.verb, values) } else { Ok((None, values)) }
    }

    /// The answer that a request failed before it was known what was asked.
    pub(crate) fn failure(self, failure: &Failure) -> Vec<u8> {
        let reply = match self {
            Self::Json => Reply::Json(json_rpc::Reply::unknown()),
            Self::Xml => Reply::Xml(xml_rpc::Envelope::Status),
        };
        reply.write(&Err(failure.clone()), "")
    }

    /// What the answers are. Clients compare the whole header.
    pub(crate) fn content_type(self) -> &'static str {
        match self {
            Self::Json => "application/json",
            Self::Xml => "text/xml",
        }
    }
}

impl Reply {
    /// The answer: the result of the verb, where `null` is that of a verb without one, or its failure.
    pub(crate) fn write(&self, outcome: &Result<Value, Failure>, verb: &str) -> Vec<u8> {
        match self {
            Self::Json(reply) => reply.write(outcome),
            Self::Xml(envelope) => xml_rpc::response(outcome, result(verb), *envelope),
        }
    }
}

fn refused(malformed: xml_rpc::Malformed) -> Failure {
    Failure::new("INTERNAL_ERROR", [malformed.0])
}

/// Takes the session from the parameters: it is the first of them.
fn with_session(verb: &str, mut values: Vec<Value>) -> Result<(Option<String>, Vec<Value>), Failure> {
    if let Some(Value::String(_)) = values.first()
        && let Value::String(session) = values.remove(0)
    {
        return Ok((Some(session), values));
    }
    let what = format!("the parameters of {verb} do not begin with a session");
    Err(Failure::new("INTERNAL_ERROR", [what]).with_remedy("give it as the first one, as a text"))
}

/// The result of `system.listMethods`: all verbs that wait for their end.
pub(crate) fn methods() -> Value {
    let of_class = |class: &&'static crate::model::ClassTable| {
        let name = class.name;
        let calls = class.calls().into_iter().filter(|(_, call)| !matches!(call, Call::Own(verb) if verb.is_removed()));
        calls.map(move |(verb, _)| Value::from(format!("{name}.{verb}")))
    };
    CLASSES.iter().flat_map(of_class).chain([Value::from(LIST_METHODS)]).collect()
}

/// What a login asks for.
#[derive(PartialEq, Eq)]
pub(crate) struct Credentials {
    pub(crate) user: String,
    pub(crate) password: String,
    /// The name that the client gives itself.
    pub(crate) originator: String,
}

/// Reads the parameters of a login: the user, the password, and perhaps a version, which means nothing, and the name of
/// the client.
///
/// # Errors
/// `MESSAGE_PARAMETER_COUNT_MISMATCH`, `FIELD_TYPE_ERROR`.
pub(crate) fn credentials(verb: &str, values: Vec<Value>) -> Result<Credentials, Failure> {
    debug_assert!(is_login(verb));
    let most = if verb.ends_with("slave_local_login_with_password") { 2 } else { 4 };
    if !(2..=most).contains(&values.len()) {
        let parameters = [verb.to_owned(), most.to_string(), values.len().to_string()];
        return Err(
            Failure::new("MESSAGE_PARAMETER_COUNT_MISMATCH", parameters).with_remedy("give a user and a password")
        );
    }
    let names = ["uname", "pwd", "version", "originator"];
    let mut texts = Vec::with_capacity(4);
    for (value, name) in values.into_iter().zip(names) {
        let Value::String(text) = value else { return Err(Failure::new("FIELD_TYPE_ERROR", [name])) };
        texts.push(text);
    }
    let mut texts = texts.into_iter();
    let mut next = || texts.next().unwrap_or_default();
    let (user, password, _version, originator) = (next(), next(), next(), next());
    Ok(Credentials { user, password, originator })
}

#[cfg(test)]
mod tests;
