//! A VMM that takes part in the comparison.

use std::time::Duration;

use xvirt_benches::Result;
use xvirt_benches::programs::{Guest, Program};

pub(crate) trait Contender {
    /// The name in the table.
    fn name(&self) -> &str;

    /// Details after a comma, such as the version.
    fn detail(&self) -> &str {
        ""
    }

    /// Whether it is another VMM, which may be omitted.
    fn is_peer(&self) -> bool;

    /// Starts the guest, shuts it down, and returns the start time.
    fn run(&mut self, guest: &Guest) -> Result<Duration>;
}

impl Contender for Program {
    fn name(&self) -> &str {
        &self.name
    }

    fn detail(&self) -> &str {
        &self.detail
    }

    fn is_peer(&self) -> bool {
        self.peer
    }

    fn run(&mut self, guest: &Guest) -> Result<Duration> {
        self.start(guest).map(|(_running, time)| time)
    }
}
