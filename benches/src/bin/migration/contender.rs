//! What takes part in the comparison.

use std::time::Duration;

use xvirt_benches::Result;
use xvirt_benches::guest::Guest;
use xvirt_core::migrate::Migration;

/// A migration that was measured.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Moved {
    /// From the request until the source says that it is complete.
    pub(crate) total: Duration,
    /// How long the guest was stopped, if that is known.
    pub(crate) downtime: Option<Duration>,
}

/// What the guest prints again and again.
pub(crate) const RUNS: &str = "timer: tick";

pub(crate) trait Contender {
    /// The name in the table.
    fn name(&self) -> &str;

    /// Starts the guest, and moves it to another process once its memory is in use.
    fn migrate(&mut self, guest: &Guest, settings: &Migration) -> Result<Moved>;
}
