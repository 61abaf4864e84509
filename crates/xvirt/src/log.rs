//! The log of the service, on standard error.

use std::io;

use tracing::Level;

/// Logs what is at least as important as `level`. systemd adds the time itself.
pub fn start(level: Level) {
    let subscriber = tracing_subscriber::fmt().with_max_level(level).with_target(false).with_ansi(false);
    let subscriber = subscriber.with_writer(io::stderr);
    let under_systemd = std::env::var_os("JOURNAL_STREAM").is_some();
    // Only one can be started, and this is the only place.
    let _ = match under_systemd {
        true => tracing::subscriber::set_global_default(subscriber.without_time().finish()),
        false => tracing::subscriber::set_global_default(subscriber.finish()),
    };
}
