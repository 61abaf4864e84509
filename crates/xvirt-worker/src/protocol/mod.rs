//! The private protocol between a host service and the worker of a VM.
//!
//! A connection is a unix stream socket. Both sides send frames (`frame`): a length and one message as MessagePack with
//! named fields, with open descriptors beside the bytes. The service sends a [`Request`] and waits for its [`Reply`]; the
//! first is [`Request::Hello`], which agrees on a version (`version`). Several connections may be open, from several
//! services. [`Request::Events`] turns a connection into a stream of [`EventFrame`]s, and [`Request::Console`] into the
//! console itself.
//!
//! What `xvirt-core` defines (configurations, reports, limits, statistics, events) travels as JSON ([`Json`]), as it is
//! also stored, so that this crate does not need the core. Fields that one side does not know are ignored, and those
//! that the other side does not send have defaults.

mod frame;
mod reply;
mod request;
mod version;

pub use frame::{Frame, MAX_DESCRIPTORS, MAX_FRAME, receive, send};
pub use reply::{Answer, Description, EventFrame, MissingWall, Outcome, Reply};
pub use request::{Build, ConsoleKind, Layer, NewDisk, NewNic, NicBackend, NumberedRequest, Request, Slot, TakeOver};
pub use version::{FEATURES, VERSIONS, Versions, common_features};

use std::io::Cursor;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::error::kind;
use crate::{Error, Result};

/// How deep a message may be nested; ours are at most half of that.
const MAX_DEPTH: usize = 24;

/// A value of `xvirt-core` as JSON text.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Json(pub String);

impl Json {
    /// A value as JSON.
    ///
    /// # Errors
    /// It cannot be serialized.
    pub fn of(value: &impl Serialize) -> Result<Self> {
        let text = serde_json::to_string(value);
        text.map(Self).map_err(|e| Error::new(kind::PROTOCOL, format!("cannot write a value as JSON: {e}")))
    }

    /// The value; `what` names it in the error.
    ///
    /// # Errors
    /// [`kind::INVALID_CONFIG`] if the text is not JSON of such a value.
    pub fn read<T: DeserializeOwned>(&self, what: &str) -> Result<T> {
        serde_json::from_str(&self.0).map_err(|e| Error::new(kind::INVALID_CONFIG, format!("cannot read {what}: {e}")))
    }
}

/// A message as the bytes of a frame.
///
/// # Errors
/// [`kind::PROTOCOL`] if it cannot be serialized.
pub fn encode(message: &impl Serialize) -> Result<Vec<u8>> {
    rmp_serde::to_vec_named(message).map_err(|e| Error::new(kind::PROTOCOL, format!("cannot write a message: {e}")))
}

/// Reads a message from the bytes of a frame, which are not trusted.
///
/// # Errors
/// [`kind::PROTOCOL`] if they are not such a message.
pub fn decode<T: DeserializeOwned>(bytes: &[u8]) -> Result<T> {
    let mut reader = rmp_serde::Deserializer::new(Cursor::new(bytes));
    reader.set_max_depth(MAX_DEPTH);
    let message = T::deserialize(&mut reader)
        .map_err(|e| Error::new(kind::PROTOCOL, format!("the peer sent what is not a message: {e}")))?;
    if reader.position() != bytes.len() as u64 {
        return Err(Error::new(kind::PROTOCOL, "the peer sent bytes after a message"));
    }
    Ok(message)
}

/// The number of a request, if nothing else of it can be read.
#[derive(Deserialize)]
struct OnlyId {
    id: u64,
}

/// Reads a request, which is not trusted. An error comes with the request's number, if there is one: then the connection
/// can go on, because the request is only unknown, or one of its arguments is.
///
/// # Errors
/// As [`decode`], and [`kind::UNKNOWN_REQUEST`] with the number.
pub fn decode_request(bytes: &[u8]) -> std::result::Result<NumberedRequest, (Option<u64>, Error)> {
    decode(bytes).map_err(|error| match decode::<OnlyId>(bytes) {
        Ok(OnlyId { id }) => {
            let what = format!("this worker cannot read the request: {}", error.message());
            (Some(id), Error::new(kind::UNKNOWN_REQUEST, what).with_remedy("the worker may be older than the service"))
        }
        Err(_) => (None, error),
    })
}

#[cfg(test)]
mod tests;
