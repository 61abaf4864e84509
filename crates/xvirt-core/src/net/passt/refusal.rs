//! Explains why `passt` did not start.

use std::io;

use super::PasstCommand;
use crate::{Error, ErrorKind};

/// Messages of a `passt` that exits at once, with error kinds and remedies.
const REASONS: [(&str, ErrorKind, &str); 6] = [
    (
        "Failed to bind",
        ErrorKind::Busy,
        "forward another port of the host, or stop the program that uses it; ports below 1024 need a privilege",
    ),
    ("Invalid interface name", ErrorKind::NotFound, "name an interface that the host has (ip link)"),
    (
        "xternal interface",
        ErrorKind::HostUnsupported,
        "give the host a default route, or name the interface that leads to the network in UserNetwork::interface",
    ),
    (
        "xternal routable interface",
        ErrorKind::HostUnsupported,
        "give the host a default route, or name the interface that leads to the network in UserNetwork::interface",
    ),
    (
        "namespace",
        ErrorKind::PermissionDenied,
        "passt confines itself by user namespaces: allow them in the seccomp profile of the container, and by \
         sysctl kernel.apparmor_restrict_unprivileged_userns=0 or kernel.unprivileged_userns_clone=1",
    ),
    ("Usage:", ErrorKind::HostUnsupported, "install passt of March 2023 or newer"),
];

/// The error for a program that could not be started.
pub(super) fn not_started(command: &PasstCommand, error: io::Error) -> Error {
    let by_path = command.program.components().count() > 1;
    let remedy = match error.kind() {
        io::ErrorKind::NotFound if !by_path => "install the package passt (https://passt.top)",
        io::ErrorKind::NotFound => "check the path of the program",
        io::ErrorKind::PermissionDenied => "let this user execute it",
        _ => "try to start it in a shell",
    };
    Error::io(format!("cannot start {}", command.program.display()), error).with_remedy(remedy)
}

/// The error for a program that exited at once after printing `last_lines`.
pub(super) fn refused(command: &PasstCommand, ending: &str, last_lines: String) -> Error {
    let known = REASONS.iter().find(|(text, ..)| last_lines.contains(text));
    let (kind, remedy) =
        known.map_or((ErrorKind::Io, "try to start it in a shell"), |(_, kind, remedy)| (*kind, *remedy));
    let options = command.options.join(" ");
    Error::new(kind, format!("{} {options} exited at once ({ending})", command.program.display()))
        .because(last_lines)
        .with_remedy(remedy)
}
