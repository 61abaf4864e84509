//! Where a server listens.

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use rustix::net::sockopt::{set_socket_keepalive, set_tcp_keepidle, set_tcp_keepintvl};
use tokio::net::{TcpStream, UnixStream};
use tokio_rustls::TlsAcceptor;

use super::certificate::Certificate;
use super::connection::Peer;
use crate::{Error, Result};

/// How long nothing comes from a peer before the kernel asks whether it is there, and how often it asks.
const KEEPALIVE: Duration = Duration::from_secs(60);

/// Where a [`Server`](super::Server) listens: at the path of a socket, and on ports of TCP.
#[derive(Debug)]
pub struct Listeners {
    pub(super) socket: PathBuf,
    pub(super) tcp: Vec<(TcpListener, Option<Arc<Certificate>>)>,
}

impl Listeners {
    /// A path, where a socket is made that its owner and its group may use (mode 0660). Who can connect there may do
    /// everything.
    pub fn socket(path: impl Into<PathBuf>) -> Self {
        Self { socket: path.into(), tcp: Vec::new() }
    }

    /// Listens on a port too, without TLS. Returns the address, with the port that the system chose if it was 0.
    ///
    /// # Errors
    /// The port is taken, or this program may not use it.
    pub fn http(&mut self, address: SocketAddr) -> Result<SocketAddr> {
        self.add(address, None)
    }

    /// Listens on a port too, with TLS. Returns the address.
    ///
    /// # Errors
    /// The port is taken, or this program may not use it.
    pub fn https(&mut self, address: SocketAddr, certificate: Arc<Certificate>) -> Result<SocketAddr> {
        self.add(address, Some(certificate))
    }

    fn add(&mut self, address: SocketAddr, certificate: Option<Arc<Certificate>>) -> Result<SocketAddr> {
        let cannot = |error| {
            Error::io(format!("cannot listen on {address}"), error)
                .with_remedy("end the program that uses the port, or choose another one; ports below 1024 are root's")
        };
        let listener = TcpListener::bind(address).map_err(cannot)?;
        listener.set_nonblocking(true).map_err(cannot)?;
        let address = listener.local_addr().map_err(cannot)?;
        self.tcp.push((listener, certificate));
        Ok(address)
    }
}

/// A listener of the runtime.
pub(super) enum Listener {
    Unix(tokio::net::UnixListener),
    Tcp(tokio::net::TcpListener, Option<Arc<Certificate>>),
}

/// A connection that was accepted.
pub(super) enum Accepted {
    Unix(UnixStream),
    Tcp(TcpStream),
    /// One whose TLS has not begun.
    Tls(TcpStream, TlsAcceptor),
}

impl Listener {
    /// Accepts a connection.
    pub(super) async fn accept(&self) -> io::Result<(Accepted, Peer)> {
        match self {
            Self::Unix(listener) => {
                let (stream, _) = listener.accept().await?;
                let uid = stream.peer_cred()?.uid();
                Ok((Accepted::Unix(stream), Peer::Local { uid }))
            }
            Self::Tcp(listener, certificate) => {
                let (stream, address) = listener.accept().await?;
                let peer = Peer::Remote(address.ip().to_canonical());
                // They fail for a peer that has left already.
                let _ = stream.set_nodelay(true);
                // So that a console whose client has lost its power ends.
                let _ = set_socket_keepalive(&stream, true);
                let _ = set_tcp_keepidle(&stream, KEEPALIVE);
                let _ = set_tcp_keepintvl(&stream, KEEPALIVE / 6);
                Ok(match certificate {
                    None => (Accepted::Tcp(stream), peer),
                    Some(certificate) => (Accepted::Tls(stream, TlsAcceptor::from(certificate.current())), peer),
                })
            }
        }
    }
}
