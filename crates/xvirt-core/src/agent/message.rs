//! The format of requests and answers: one JSON object per line.

use std::fmt;

use base64::Engine;
use base64::display::Base64Display;
use base64::engine::general_purpose::STANDARD;
use serde::de::{self, DeserializeOwned, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::{Error, ErrorKind, Result};

/// How much of a text from the agent is quoted in an error, in characters.
const MAX_TEXT: usize = 512;

/// An error with which the guest agent answered, the cause of errors of the kind
/// [`AgentRefused`](ErrorKind::AgentRefused).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[error("{description} ({class})")]
#[non_exhaustive]
pub struct AgentFailure {
    /// Its class, such as `GenericError` or `CommandNotFound`.
    pub class: String,
    /// Its description, at most 512 characters, without control characters.
    pub description: String,
}

impl AgentFailure {
    /// The agent's error, if that is the cause of `error`.
    pub fn of(error: &Error) -> Option<&Self> {
        let cause = error.cause()?;
        cause.downcast_ref().or_else(|| Self::of(cause.downcast_ref::<Error>()?))
    }
}

/// The arguments of a command without arguments.
#[derive(Serialize)]
pub(super) struct NoArguments {}

/// The answer of a command without a result.
#[derive(Deserialize)]
pub(super) struct Nothing {}

#[derive(Serialize)]
struct Request<'a, A> {
    execute: &'a str,
    arguments: A,
}

#[derive(Deserialize)]
#[serde(bound(deserialize = "T: Deserialize<'de>"))]
struct Answer<T> {
    #[serde(rename = "return")]
    value: Option<T>,
    error: Option<Refusal>,
}

#[derive(Deserialize)]
struct Refusal {
    #[serde(default)]
    class: String,
    #[serde(default)]
    desc: String,
}

/// The line that requests `command`.
pub(super) fn request<A: Serialize>(command: &str, arguments: A) -> Result<Vec<u8>> {
    let mut line = serde_json::to_vec(&Request { execute: command, arguments })
        .map_err(|error| Error::new(ErrorKind::InvalidConfig, format!("{command} cannot be sent")).because(error))?;
    line.push(b'\n');
    Ok(line)
}

/// Parses a line of the agent as an answer.
///
/// # Errors
/// [`AgentRefused`](ErrorKind::AgentRefused), [`InvalidAnswer`](ErrorKind::InvalidAnswer).
pub(super) fn answer<T: DeserializeOwned>(line: &[u8]) -> Result<T> {
    let answer: Answer<T> = serde_json::from_slice(line).map_err(|error| not_understood(&error))?;
    match (answer.value, answer.error) {
        (_, Some(refusal)) => Err(refused(&refusal)),
        (Some(value), None) => Ok(value),
        (None, None) => Err(not_understood("it has neither a result nor an error")),
    }
}

/// The error for an answer that is malformed.
pub(super) fn not_understood(why: impl fmt::Display) -> Error {
    let what = format!("the answer of the guest agent is not understood: {}", shown(&why.to_string()));
    Error::new(ErrorKind::InvalidAnswer, what).with_remedy("check the agent in the guest: it may be damaged or too new")
}

fn refused(refusal: &Refusal) -> Error {
    let failure = AgentFailure { class: shown(&refusal.class), description: shown(&refusal.desc) };
    let disabled = failure.description.contains("disabled") || failure.class == "CommandNotFound";
    let error = Error::new(ErrorKind::AgentRefused, "it answered with an error").because(failure);
    if disabled {
        return error.with_remedy(
            "the guest's configuration of the agent may forbid it (allow-rpcs, block-rpcs), the agent be too old, or file \
             systems be frozen: see GuestAgent::info",
        );
    }
    error
}

/// A text from the guest, made safe for the host's log.
fn shown(text: &str) -> String {
    text.chars().take(MAX_TEXT).map(|letter| if letter.is_control() { '\u{fffd}' } else { letter }).collect()
}

/// Bytes in a request.
pub(super) struct Encoded<'a>(pub(super) &'a [u8]);

impl Serialize for Encoded<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> std::result::Result<S::Ok, S::Error> {
        serializer.collect_str(&Base64Display::new(self.0, &STANDARD))
    }
}

/// Bytes in an answer.
#[derive(Debug, Default)]
pub(super) struct Decoded(pub(super) Vec<u8>);

impl<'de> Deserialize<'de> for Decoded {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> std::result::Result<Self, D::Error> {
        struct Text;

        impl Visitor<'_> for Text {
            type Value = Decoded;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("bytes in Base64")
            }

            fn visit_str<E: de::Error>(self, text: &str) -> std::result::Result<Decoded, E> {
                STANDARD.decode(text).map(Decoded).map_err(E::custom)
            }
        }

        deserializer.deserialize_str(Text)
    }
}
