//! The host side: unix sockets, and the line by which a program requests a connection.

use std::io;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};

use rustix::net::{RecvFlags, recv};

use crate::socket;

/// The longest line: the largest port, with an optional carriage return.
const MAX_LINE: usize = b"CONNECT 4294967295\r\n".len();

/// The path at which a host program listens for guest connections to `port`.
pub(crate) fn port_path(path: &Path, port: u32) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(format!("_{port}"));
    name.into()
}

/// Connects to the program that listens at `path` without waiting; fails if its backlog is full.
pub(super) fn reach(path: &Path) -> io::Result<UnixStream> {
    socket::connect_at_once(path).map(UnixStream::from)
}

/// A program's request so far.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Asked {
    /// An incomplete line.
    NotYet,
    /// A request for this port of the guest.
    Port(u32),
    /// Anything else.
    Nonsense,
}

/// Reads the line `CONNECT <port>\n`, but no data that the program may have sent after it. An incomplete line stays in
/// the socket, which must be watched for more (edge-triggered).
pub(super) fn asked(stream: &UnixStream) -> Asked {
    let mut bytes = [0; MAX_LINE];
    let count = match recv(stream, &mut bytes, RecvFlags::PEEK) {
        Ok((count, _)) if count > 0 => count,
        Err(rustix::io::Errno::AGAIN | rustix::io::Errno::INTR) => return Asked::NotYet,
        _ => return Asked::Nonsense,
    };
    let said = &bytes[..count];
    match said.iter().position(|byte| *byte == b'\n') {
        Some(end) => match recv(stream, &mut [0; MAX_LINE][..=end], RecvFlags::empty()) {
            Ok((taken, _)) if taken == end + 1 => parse(&said[..end]),
            _ => Asked::Nonsense,
        },
        None if count < MAX_LINE => Asked::NotYet,
        None => Asked::Nonsense,
    }
}

fn parse(line: &[u8]) -> Asked {
    let port = || {
        let text = str::from_utf8(line).ok()?.strip_prefix("CONNECT ")?.trim_end_matches('\r');
        text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse().ok())?
    };
    port().map_or(Asked::Nonsense, Asked::Port)
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};

    use super::*;

    #[test]
    fn only_whole_lines_count_and_what_follows_is_left_alone() {
        let (mut program, stream) = UnixStream::pair().unwrap();
        stream.set_nonblocking(true).unwrap();
        assert_eq!(asked(&stream), Asked::NotYet);
        program.write_all(b"CONN").unwrap();
        assert_eq!(asked(&stream), Asked::NotYet);
        program.write_all(b"ECT 52\nhello").unwrap();
        assert_eq!(asked(&stream), Asked::Port(52));
        let mut rest = [0; 5];
        (&stream).read_exact(&mut rest).unwrap();
        assert_eq!(&rest, b"hello");
    }

    #[test]
    fn nonsense_is_told_from_ports() {
        for (line, expected) in [
            ("CONNECT 4294967295\n", Asked::Port(u32::MAX)),
            ("CONNECT 7\r\n", Asked::Port(7)),
            ("CONNECT 4294967296\n", Asked::Nonsense),
            ("CONNECT -1\n", Asked::Nonsense),
            ("CONNECT +1\n", Asked::Nonsense),
            ("CONNECT \n", Asked::Nonsense),
            ("connect 1\n", Asked::Nonsense),
            ("\n", Asked::Nonsense),
            ("CONNECT 00000000000000000000000001", Asked::Nonsense),
        ] {
            let (mut program, stream) = UnixStream::pair().unwrap();
            program.write_all(line.as_bytes()).unwrap();
            assert_eq!(asked(&stream), expected, "{line:?}");
        }
        let (program, stream) = UnixStream::pair().unwrap();
        drop(program);
        assert_eq!(asked(&stream), Asked::Nonsense);
    }

    #[test]
    fn ports_have_paths_beside_the_socket() {
        assert_eq!(port_path(Path::new("/run/vm.sock"), 52), Path::new("/run/vm.sock_52"));
    }
}
