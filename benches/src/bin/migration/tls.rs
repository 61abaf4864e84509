//! TLS: the certificate of both processes, and rustls alone.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::sync::Arc;

use rustls::crypto::CryptoProvider;
use rustls::crypto::ring::{cipher_suite, default_provider};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::version::TLS13;
use rustls::{ClientConfig, ClientConnection, RootCertStore, ServerConfig, ServerConnection, StreamOwned};
use xvirt_benches::Result;
use xvirt_core::migrate::Tls;
use xvirt_testing::certificates::Authority;

use crate::raw::PIECE;

const HOST: &str = "127.0.0.1";
const CERTIFICATE: &str = "host.pem";
const KEY: &str = "host.key";
const AUTHORITY: &str = "authority.pem";

/// A connection in both directions.
pub(crate) trait Stream: Read + Write {}
impl<S: Read + Write> Stream for S {}

/// Writes a certificate for both processes to `folder`.
pub(crate) fn write_certificate(folder: &Path) -> Result<()> {
    let authority = Authority::new("benches");
    let host = authority.sign(HOST, |_| ());
    std::fs::write(folder.join(CERTIFICATE), host.certificate)?;
    std::fs::write(folder.join(KEY), host.key)?;
    Ok(std::fs::write(folder.join(AUTHORITY), authority.certificate)?)
}

/// xvirt's TLS with this certificate.
pub(crate) fn load(folder: &Path) -> Result<Tls> {
    Ok(Tls::from_files(folder.join(CERTIFICATE), folder.join(KEY), folder.join(AUTHORITY))?)
}

/// Encrypts `stream` by rustls, with the same version and cipher as xvirt.
pub(crate) fn client(stream: TcpStream, folder: &Path) -> Result<Box<dyn Stream>> {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_file(folder.join(AUTHORITY))?)?;
    let config = ClientConfig::builder_with_provider(provider()).with_protocol_versions(&[&TLS13])?;
    let config = config.with_root_certificates(roots).with_no_client_auth();
    let mut tls = ClientConnection::new(Arc::new(config), ServerName::try_from(HOST)?)?;
    tls.set_buffer_limit(Some(PIECE));
    let mut stream = StreamOwned::new(tls, stream);
    // The handshake.
    stream.flush()?;
    Ok(Box::new(stream))
}

/// The other side of [`client`].
pub(crate) fn server(stream: TcpStream, folder: &Path) -> Result<Box<dyn Stream>> {
    let certificate = CertificateDer::from_pem_file(folder.join(CERTIFICATE))?;
    let key = PrivateKeyDer::from_pem_file(folder.join(KEY))?;
    let config = ServerConfig::builder_with_provider(provider()).with_protocol_versions(&[&TLS13])?;
    let config = config.with_no_client_auth().with_single_cert(vec![certificate], key)?;
    Ok(Box::new(StreamOwned::new(ServerConnection::new(Arc::new(config))?, stream)))
}

fn provider() -> Arc<CryptoProvider> {
    Arc::new(CryptoProvider { cipher_suites: vec![cipher_suite::TLS13_AES_128_GCM_SHA256], ..default_provider() })
}
