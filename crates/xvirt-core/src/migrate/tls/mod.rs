//! Migration over TLS 1.3, in which both hosts prove with certificates who they are.

mod channels;
mod records;
mod refusal;
mod session;

use std::fmt;
use std::path::Path;
use std::sync::Arc;

use rustls::client::Resumption;
use rustls::crypto::CryptoProvider;
use rustls::crypto::ring::{cipher_suite, default_provider};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::server::{NoServerSessionStorage, WebPkiClientVerifier};
use rustls::version::TLS13;
use rustls::{ClientConfig, RootCertStore, ServerConfig};

use self::channels::{Acceptor, Connector};
use super::address::{connect, resolve};
use super::channel::Channel;
use crate::{Error, ErrorKind, Result};

/// What both sides say that they speak (ALPN), so that neither takes a host's other TLS service for a migration.
const PROTOCOL: &[u8] = b"xvirt-migration/1";

/// What the PEM texts are for errors.
const CHAIN: &str = "the certificate of this host";
const KEY: &str = "the private key of this host";
const AUTHORITIES: &str = "the certificates of the authorities";

/// The certificate and private key of this host, and the authorities that it trusts: what a migration over TLS needs.
///
/// Connections are encrypted by TLS 1.3. Both sides demand a certificate of the other, and check that one of the given
/// authorities has signed it, that it is valid now, and that it may be used for this side (`serverAuth` at the target and
/// `clientAuth` at the source, if it limits its purpose). The source also checks that it is for the target's name. The
/// target takes a VM of every host whose certificate passes, so use authorities that sign nothing else. Revocation lists
/// are not read.
///
/// ```no_run
/// # fn main() -> xvirt_core::Result<()> {
/// use std::net::TcpListener;
/// use xvirt_core::migrate::{Migration, Tls};
/// # let vm: xvirt_core::vm::Vm = unimplemented!();
///
/// let tls = Tls::from_files("host-a.pem", "host-a.key", "authorities.pem")?;
/// vm.migrate(&tls.channel("host-b:7400")?, &Migration::default(), &(), &())?;
///
/// // At host-b, to pass to `receive`:
/// let tls = Tls::from_files("host-b.pem", "host-b.key", "authorities.pem")?;
/// let listener = TcpListener::bind("[::]:7400").map_err(|e| xvirt_core::Error::io("cannot listen", e))?;
/// let channel = tls.accept(listener);
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct Tls {
    client: Arc<ClientConfig>,
    server: Arc<ServerConfig>,
}

impl fmt::Debug for Tls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tls").finish_non_exhaustive()
    }
}

impl Tls {
    /// From PEM texts: the certificate of this host, followed by the intermediate ones that lead to an authority; its
    /// private key (PKCS #8, PKCS #1 or SEC 1, without a passphrase); and the certificates of all authorities that may
    /// have signed the certificate of the other host.
    ///
    /// # Errors
    /// [`InvalidConfig`](ErrorKind::InvalidConfig), if one of them is invalid or empty, or the key does not belong to the
    /// certificate.
    pub fn from_pem(chain: &[u8], key: &[u8], authorities: &[u8]) -> Result<Self> {
        let pem = |what: &str, text: &[u8]| Pem { text: text.to_vec(), what: what.to_owned() };
        Self::new(&pem(CHAIN, chain), &pem(KEY, key), &pem(AUTHORITIES, authorities))
    }

    /// From PEM files, as [`from_pem`](Self::from_pem).
    ///
    /// # Errors
    /// As [`from_pem`](Self::from_pem), or a file cannot be read.
    pub fn from_files(chain: impl AsRef<Path>, key: impl AsRef<Path>, authorities: impl AsRef<Path>) -> Result<Self> {
        let chain = Pem::read(CHAIN, chain.as_ref())?;
        let key = Pem::read(KEY, key.as_ref())?;
        Self::new(&chain, &key, &Pem::read(AUTHORITIES, authorities.as_ref())?)
    }

    fn new(chain: &Pem, key: &Pem, authorities: &Pem) -> Result<Self> {
        let (certificates, private) = (chain.certificates()?, key.key()?);
        let roots = Arc::new(authorities.roots()?);
        let unusable = |error: rustls::Error| {
            let what = format!("{} and {} cannot be used together", chain.what, key.what);
            let error = Error::new(ErrorKind::InvalidConfig, what).because(error);
            error.with_remedy("give the key with which this certificate was requested, RSA, ECDSA or Ed25519")
        };
        let unsupported = |error| Error::new(ErrorKind::InvalidConfig, "TLS cannot be set up").because(error);
        let provider = Arc::new(provider());
        let verifier = WebPkiClientVerifier::builder_with_provider(Arc::clone(&roots), Arc::clone(&provider));
        let verifier = verifier.build().map_err(|e| authorities.wrong("are not usable").because(e))?;
        let mut server = ServerConfig::builder_with_provider(Arc::clone(&provider))
            .with_protocol_versions(&[&TLS13])
            .map_err(unsupported)?
            .with_client_cert_verifier(verifier)
            .with_single_cert(certificates.clone(), private.clone_key())
            .map_err(unusable)?;
        let mut client = ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(&[&TLS13])
            .map_err(unsupported)?
            .with_root_certificates(roots)
            .with_client_auth_cert(certificates, private)
            .map_err(unusable)?;
        server.alpn_protocols = vec![PROTOCOL.to_vec()];
        client.alpn_protocols = server.alpn_protocols.clone();
        // Certificates are checked for each connection.
        server.session_storage = Arc::new(NoServerSessionStorage {});
        server.send_tls13_tickets = 0;
        client.resumption = Resumption::disabled();
        Ok(Self { client: Arc::new(client), server: Arc::new(server) })
    }

    /// Connections to `target`, such as `host-b:7400`, `192.0.2.7:7400` or `[2001:db8::7]:7400`, for the source. The
    /// target's certificate must be for this name or address.
    ///
    /// The name is resolved now. If it has several addresses, each connection tries them in turn.
    ///
    /// # Errors
    /// The name cannot be resolved, or has no port.
    pub fn channel(&self, target: &str) -> Result<impl Channel + use<>> {
        let addresses = resolve(target)?;
        let host = target.rsplit_once(':').map_or(target, |(host, _)| host);
        let host = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
        self.connect_to(host, move |limit| connect(&addresses, limit))
    }

    /// Encrypts the connections of `channel`, which lead to the target, for the source. The target's certificate must be
    /// for `name`, a host name or IP address.
    ///
    /// The time limit of each connection includes its handshake.
    ///
    /// ```
    /// use std::net::{SocketAddr, TcpStream};
    /// # fn example(tls: xvirt_core::migrate::Tls) -> xvirt_core::Result<()> {
    /// let address: SocketAddr = ([192, 0, 2, 7], 7400).into();
    /// let channel = tls.connect_to("host-b", move |limit| TcpStream::connect_timeout(&address, limit))?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// [`InvalidConfig`](ErrorKind::InvalidConfig), if `name` is neither a host name nor an IP address.
    pub fn connect_to<C: Channel>(&self, name: &str, channel: C) -> Result<impl Channel + use<C>> {
        let server = ServerName::try_from(name.to_owned()).map_err(|e| {
            let what = format!("no certificate can be for the name '{name}' of the migration target");
            let error = Error::new(ErrorKind::InvalidConfig, what).because(e);
            error.with_remedy("give a host name or an IP address without a port")
        })?;
        Ok(Connector::new(Arc::clone(&self.client), server, name, channel))
    }

    /// Encrypts the connections of `channel`, usually a [`TcpListener`](std::net::TcpListener), for the target.
    ///
    /// A peer whose handshake fails, or takes longer than ten seconds, is logged and closed, and others are accepted: so
    /// a stranger who connects does not end a migration. If no more can be accepted, the error names the last refusal.
    pub fn accept<C: Channel>(&self, channel: C) -> impl Channel + use<C> {
        Acceptor::new(Arc::clone(&self.server), channel)
    }
}

/// The cryptography of *ring*. AES-128 comes first, because it is faster than AES-256 and has no known weakness.
fn provider() -> CryptoProvider {
    let cipher_suites = vec![
        cipher_suite::TLS13_AES_128_GCM_SHA256,
        cipher_suite::TLS13_AES_256_GCM_SHA384,
        cipher_suite::TLS13_CHACHA20_POLY1305_SHA256,
    ];
    CryptoProvider { cipher_suites, ..default_provider() }
}

/// A PEM text, and what it is for errors.
struct Pem {
    text: Vec<u8>,
    what: String,
}

impl Pem {
    fn read(what: &str, path: &Path) -> Result<Self> {
        let what = format!("{what} in {}", path.display());
        let text = std::fs::read(path).map_err(|e| Error::io(format!("cannot read {what}"), e))?;
        Ok(Self { text, what })
    }

    fn certificates(&self) -> Result<Vec<CertificateDer<'static>>> {
        let all: std::result::Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&self.text).collect();
        let all = all.map_err(|e| self.wrong("cannot be read").because(e))?;
        if all.is_empty() { Err(self.wrong("cannot be read: there is no PEM section CERTIFICATE")) } else { Ok(all) }
    }

    fn key(&self) -> Result<PrivateKeyDer<'static>> {
        PrivateKeyDer::from_pem_slice(&self.text).map_err(|e| {
            let error = Error::new(ErrorKind::InvalidConfig, format!("{} cannot be read", self.what)).because(e);
            error.with_remedy("give a PEM file with a section PRIVATE KEY that is not encrypted")
        })
    }

    fn roots(&self) -> Result<RootCertStore> {
        let mut roots = RootCertStore::empty();
        for certificate in self.certificates()? {
            roots.add(certificate).map_err(|e| self.wrong("cannot be used").because(e))?;
        }
        Ok(roots)
    }

    fn wrong(&self, how: &str) -> Error {
        let error = Error::new(ErrorKind::InvalidConfig, format!("{} {how}", self.what));
        error.with_remedy("give X.509 certificates in PEM, which begin with -----BEGIN CERTIFICATE-----")
    }
}
