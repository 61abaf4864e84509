//! Entry points of the fuzzers in `fuzz/`, with plain types. Compiled only for cargo-fuzz.

use super::file::{PieceRead, PieceWritten};
use super::handle::AgentInfo;
use super::interface::Told;
use super::message::{Nothing, answer};
use super::process::{Started, State};

/// Parses a line of the agent as the answer of each call.
pub fn answers(line: &[u8]) {
    let _ = answer::<Nothing>(line);
    let _ = answer::<i64>(line);
    let _ = answer::<AgentInfo>(line);
    let _ = answer::<PieceRead>(line);
    let _ = answer::<PieceWritten>(line);
    let _ = answer::<Started>(line);
    let _ = answer::<State>(line);
    if let Ok(interfaces) = answer::<Vec<Told>>(line) {
        interfaces.into_iter().for_each(|interface| drop(interface.checked()));
    }
}
