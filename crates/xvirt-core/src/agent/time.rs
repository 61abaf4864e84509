//! The guest's clock.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use serde::Serialize;

use super::channel::{Call, MAX_ANSWER};
use super::handle::GuestAgent;
use super::message::{NoArguments, Nothing, not_understood};
use crate::{Error, ErrorKind, Result};

const SET_TIME: &str = "guest-set-time";

/// How long an agent has to answer before it is asked again: it may be busy in a guest that has just been resumed.
const ATTEMPT: Duration = Duration::from_secs(5);

#[derive(Serialize)]
struct SetTime {
    /// Nanoseconds since 1970-01-01 00:00 UTC.
    time: i64,
}

impl GuestAgent {
    /// The time of the guest's clock.
    ///
    /// # Errors
    /// Those of [all calls](Self#errors).
    pub fn time(&self) -> Result<SystemTime> {
        let nanoseconds: i64 = self.call("guest-get-time", NoArguments {})?;
        let distance = Duration::from_nanos(nanoseconds.unsigned_abs());
        let time = if nanoseconds < 0 { UNIX_EPOCH.checked_sub(distance) } else { UNIX_EPOCH.checked_add(distance) };
        time.ok_or_else(|| self.channel.failed("guest-get-time", not_understood("the time is out of range")))
    }

    /// Sets the guest's system clock and hardware clock. With the present time, that corrects a clock that stood still
    /// while the VM was paused. In a Linux guest the agent uses `hwclock` for the hardware clock; if that is missing or
    /// fails, the call fails, but the system clock is set.
    ///
    /// # Errors
    /// [`InvalidConfig`](ErrorKind::InvalidConfig) for times before 1970 or after 2262, and those of
    /// [all calls](Self#errors).
    pub fn set_time(&self, time: SystemTime) -> Result<()> {
        self.call::<_, Nothing>(SET_TIME, self.at(time)?).map(drop)
    }

    /// Sets the guest's clock to the host's time. Asks again while the agent does not answer, within `limit`, and only
    /// while `wanted` is true.
    ///
    /// # Errors
    /// Those of [all calls](Self#errors); `Cancelled` if `wanted` is false.
    pub(crate) fn set_time_to_now(&self, limit: Duration, wanted: impl Fn() -> bool) -> Result<()> {
        let end = Instant::now() + limit;
        // The time is read when the agent has just answered, so that it is not late by how long that took.
        let now = || match wanted() {
            true => self.at(SystemTime::now()),
            false => Err(Error::new(ErrorKind::Cancelled, "the guest is no longer running")),
        };
        loop {
            let deadline = Some(end.min(Instant::now() + ATTEMPT));
            let call = Call { command: SET_TIME, limit: MAX_ANSWER, deadline };
            match self.channel.call_with::<_, Nothing>(call, now) {
                Err(error) if error.kind() == ErrorKind::Timeout && wanted() && Instant::now() < end => {}
                outcome => return outcome.map(drop),
            }
        }
    }

    fn at(&self, time: SystemTime) -> Result<SetTime> {
        let since = time.duration_since(UNIX_EPOCH).ok().and_then(|since| i64::try_from(since.as_nanos()).ok());
        let time = since.ok_or_else(|| {
            Error::new(
                ErrorKind::InvalidConfig,
                format!("the clock of VM '{}' cannot be set to this time", self.channel.name()),
            )
            .with_remedy("use a time from 1970 to 2262")
        })?;
        Ok(SetTime { time })
    }
}
