//! The TCP address of a target.

use std::io;
use std::net::{SocketAddr, TcpStream, ToSocketAddrs};
use std::time::{Duration, Instant};

use super::channel::Channel;
use crate::{Error, Result};

/// Connections to `target`, such as `host-b:7400`, `192.0.2.7:7400` or `[2001:db8::7]:7400`, for the source. They are not
/// encrypted; [`Tls::channel`](super::Tls::channel) makes such ones.
///
/// The name is resolved now. If it has several addresses, each connection tries them in turn.
///
/// # Errors
/// The name cannot be resolved, or has no port.
pub fn tcp_channel(target: &str) -> Result<impl Channel + use<>> {
    let addresses = resolve(target)?;
    Ok(move |limit| connect(&addresses, limit))
}

/// The addresses of a host and port.
pub(super) fn resolve(target: &str) -> Result<Vec<SocketAddr>> {
    let addresses = target.to_socket_addrs().map_err(|e| {
        let error = Error::io(format!("cannot find the address of migration target '{target}'"), e);
        error.with_remedy("give it as HOST:PORT, such as host-b:7400, and check the name")
    })?;
    Ok(addresses.collect())
}

/// Connects to the first address that answers. Each gets an equal part of the time that is left.
pub(super) fn connect(addresses: &[SocketAddr], limit: Duration) -> io::Result<TcpStream> {
    let deadline = Instant::now() + limit;
    let mut last = io::Error::new(io::ErrorKind::NotFound, "the name has no address");
    for (address, left) in addresses.iter().zip((1..=addresses.len() as u32).rev()) {
        let part = deadline.saturating_duration_since(Instant::now()) / left;
        match TcpStream::connect_timeout(address, part.max(Duration::from_millis(1))) {
            Ok(stream) => return Ok(stream),
            Err(error) => last = error,
        }
    }
    Err(last)
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;

    #[test]
    fn the_first_address_that_answers_is_used() {
        let closed = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let open = listener.local_addr().unwrap();
        let stream = connect(&[closed, open], Duration::from_secs(60)).unwrap();
        assert_eq!(stream.peer_addr().unwrap(), open);
    }

    #[test]
    fn an_address_without_a_port_is_refused_with_what_is_right() {
        let error = tcp_channel("host-b").err().unwrap();
        assert!(error.to_string().contains("HOST:PORT"), "{error}");
    }
}
