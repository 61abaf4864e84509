//! A VMM that takes part in the comparison.

use std::time::Duration;

use xvirt_benches::Result;

use crate::guest::Guest;

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
