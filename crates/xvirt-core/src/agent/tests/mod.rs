//! Tests the calls with an agent that is a thread on the device's side of the port.

mod calls;
mod commands;
mod files;
mod freezes;
mod hostile;
mod program;

use std::time::Duration;

pub(super) use program::{Fake, Files, Said};

use super::GuestAgent;
use crate::ErrorKind;

/// Long enough for a busy machine; never waited for in full unless a test fails.
const PATIENCE: Duration = Duration::from_secs(60);
/// A time limit that is meant to expire.
const SHORT: Duration = Duration::from_millis(300);

/// An agent that answers, with a generous time limit.
fn agent(said: impl FnMut(&str, &serde_json::Value) -> Said + Send + 'static) -> (Fake, GuestAgent) {
    let fake = Fake::start(said);
    let agent = fake.agent().with_timeout(PATIENCE);
    (fake, agent)
}

fn kind<T: std::fmt::Debug>(result: crate::Result<T>) -> ErrorKind {
    result.unwrap_err().kind()
}
