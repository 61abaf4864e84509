//! The log, which is the standard error output: a file that was opened by the starter.

use tracing::Level;

use crate::{Error, Result, kind};

/// Begins to write the log.
pub(super) fn begin(level: &str) -> Result<()> {
    let level: Level = level.parse().map_err(|_| {
        Error::new(kind::INVALID_CONFIG, format!("{level:?} is not a level of the log"))
            .with_remedy("use error, warn, info, debug or trace")
    })?;
    let log = tracing_subscriber::fmt().with_max_level(level).with_writer(std::io::stderr).with_ansi(false);
    log.try_init().map_err(|error| Error::new(kind::INVALID_STATE, format!("cannot begin the log: {error}")))
}
