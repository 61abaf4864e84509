//! Somebody who can start a guest.

use std::time::Duration;

use xvirt_benches::Result;

use crate::guest::Guest;

pub(crate) trait Contender {
    /// How the table calls it.
    fn name(&self) -> &str;

    /// What exactly it is, behind a comma, if there is more to say.
    fn detail(&self) -> &str {
        ""
    }

    /// Whether it is somebody else's, and may be left out.
    fn is_peer(&self) -> bool;

    /// Starts the guest, takes it down again, and says how long the start took.
    fn run(&mut self, guest: &Guest) -> Result<Duration>;
}
