//! Why `passt` did not start, and what to do about it.

use std::io;

use super::PasstCommand;
use crate::{Error, ErrorKind};

/// What it says where it ends at once, what kind of failure that is, and what to do.
const REASONS: [(&str, ErrorKind, &str); 6] = [
    (
        "Failed to bind",
        ErrorKind::Busy,
        "forward another port of the host, or end the program that has it; ports below 1024 take a privilege",
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

/// The error of a program that could not be started at all.
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

/// The error of one that ended at once, after having said `last_lines`.
pub(super) fn refused(command: &PasstCommand, ending: &str, last_lines: String) -> Error {
    let known = REASONS.iter().find(|(text, ..)| last_lines.contains(text));
    let (kind, remedy) =
        known.map_or((ErrorKind::Io, "try to start it in a shell"), |(_, kind, remedy)| (*kind, *remedy));
    let options = command.options.join(" ");
    Error::new(kind, format!("{} {options} has ended at once ({ending})", command.program.display()))
        .because(last_lines)
        .with_remedy(remedy)
}
