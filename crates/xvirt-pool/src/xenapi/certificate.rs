//! What a server of TLS shows, in one file: the private key and the chain of certificates, as PEM.

use std::fmt;
use std::fs;
use std::io::{self, Write as _};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use rcgen::{CertificateParams, DnType, ExtendedKeyUsagePurpose, KeyPair, date_time_ymd};
use rustls::ServerConfig;
use rustls::crypto::ring;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};

#[cfg(feature = "host")]
use crate::operation::Failure;
use crate::sync::lock;
use crate::{Error, ErrorKind, Result};

/// The mode of the file: it has a private key.
const MODE: u32 = 0o600;
/// For how many years a certificate that is made here is valid.
const YEARS: i32 = 10;
/// A file that is larger is none of certificates.
const LARGEST: u64 = 1 << 20;

/// The private key of a host and its certificates, from a file that may be replaced at any time: the connections that
/// begin afterwards use what is in it then. A file that cannot be used is logged, and the one before is used on.
///
/// It may be used from several threads at once.
pub struct Certificate {
    path: PathBuf,
    loaded: Mutex<Loaded>,
}

struct Loaded {
    stamp: Option<Stamp>,
    config: Arc<ServerConfig>,
}

/// What tells one file from the one that replaces it.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Stamp {
    inode: u64,
    length: u64,
    modified: (i64, i64),
}

impl Certificate {
    /// Reads the file. If there is none, a private key and a certificate for these names and addresses of the host are
    /// made, which is valid for ten years and signed by itself.
    ///
    /// # Errors
    /// The file cannot be read or written, or it has no private key (`Corrupt`) or not the certificate that goes with it.
    pub fn open(path: impl Into<PathBuf>, names: &[String]) -> Result<Self> {
        let path = path.into();
        if fs::symlink_metadata(&path).is_err_and(|error| error.kind() == io::ErrorKind::NotFound) {
            install(&path, &make(names)?)?;
        }
        let stamp = stamp(&path).ok();
        let config = load(&path)?;
        Ok(Self { path, loaded: Mutex::new(Loaded { stamp, config }) })
    }

    /// What a connection that begins now shows.
    pub(super) fn current(&self) -> Arc<ServerConfig> {
        let mut loaded = lock(&self.loaded);
        // While it is being replaced there may be none.
        if let Some(stamp) = stamp(&self.path).ok().filter(|stamp| Some(*stamp) != loaded.stamp) {
            loaded.stamp = Some(stamp);
            match load(&self.path) {
                Ok(config) => {
                    loaded.config = config;
                    tracing::info!(path = %self.path.display(), "a new certificate is used");
                }
                Err(error) => tracing::warn!(%error, "the certificate before is used on"),
            }
        }
        Arc::clone(&loaded.config)
    }
}

/// Replaces the file by one of this private key, certificate and chain, if they go together. All are PEM.
///
/// # Errors
/// XenAPI's; the file is as it was.
#[cfg(feature = "host")]
pub(crate) fn replace(path: &Path, key: &str, certificate: &str, chain: &str) -> std::result::Result<(), Failure> {
    let refused = |code: &str, remedy: &str| Err(Failure::new(code, [] as [&str; 0]).with_remedy(remedy));
    if PrivateKeyDer::from_pem_slice(key.as_bytes()).is_err() {
        return refused("SERVER_CERTIFICATE_KEY_INVALID", "give a private key as PEM, without a passphrase");
    }
    let count = |pem: &str| CertificateDer::pem_slice_iter(pem.as_bytes()).collect::<std::result::Result<Vec<_>, _>>();
    if !count(certificate).is_ok_and(|found| found.len() == 1) {
        return refused("SERVER_CERTIFICATE_INVALID", "give one certificate as PEM");
    }
    if !chain.trim().is_empty() && !count(chain).is_ok_and(|found| !found.is_empty()) {
        return refused("SERVER_CERTIFICATE_CHAIN_INVALID", "give certificates as PEM, or an empty text");
    }
    let text = [key, certificate, chain].map(str::trim).join("\n");
    if let Err(error) = parse(text.as_bytes()) {
        return match error.downcast_ref() {
            Some(rustls::Error::InconsistentKeys(_)) => {
                refused("SERVER_CERTIFICATE_KEY_MISMATCH", "give the private key of this certificate")
            }
            _ => refused("SERVER_CERTIFICATE_INVALID", "give another key and certificate: these cannot be used"),
        };
    }
    install(path, &text).map_err(|error| Failure::new("INTERNAL_ERROR", [error.to_string()]))
}

/// Makes a private key and a certificate.
fn make(names: &[String]) -> Result<String> {
    let cannot = |error: rcgen::Error| Error::new(ErrorKind::InvalidInput, "cannot make a certificate").because(error);
    let mut wanted = CertificateParams::new(names).map_err(cannot)?;
    let name = names.first().map_or("xvirt", String::as_str);
    wanted.distinguished_name.push(DnType::CommonName, name);
    wanted.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    let year = jiff::tz::Offset::UTC.to_datetime(jiff::Timestamp::now()).year();
    // From the year before on: the clock of a client may be behind.
    wanted.not_before = date_time_ymd(i32::from(year) - 1, 1, 1);
    wanted.not_after = date_time_ymd(i32::from(year) + YEARS, 1, 1);
    let key = KeyPair::generate().map_err(cannot)?;
    let certificate = wanted.self_signed(&key).map_err(cannot)?;
    Ok(format!("{}{}", key.serialize_pem(), certificate.pem()))
}

/// Replaces the file at once, readable for nobody else at any time.
fn install(path: &Path, text: &str) -> Result<()> {
    let new = path.with_extension("new");
    let written = || -> io::Result<()> {
        match fs::remove_file(&new) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let mut file = fs::OpenOptions::new().create_new(true).write(true).mode(MODE).open(&new)?;
        file.write_all(text.as_bytes())?;
        file.sync_all()?;
        fs::rename(&new, path)
    };
    written().map_err(|error| Error::io(format!("cannot write {}", path.display()), error))
}

fn stamp(path: &Path) -> io::Result<Stamp> {
    let file = fs::metadata(path)?;
    Ok(Stamp { inode: file.ino(), length: file.len(), modified: (file.mtime(), file.mtime_nsec()) })
}

fn load(path: &Path) -> Result<Arc<ServerConfig>> {
    let what = || format!("cannot use the certificate in {}", path.display());
    let read = |error| Error::io(what(), error);
    if fs::metadata(path).map_err(read)?.len() > LARGEST {
        return Err(Error::new(ErrorKind::Corrupt, format!("{}: it is larger than 1 MiB", what())));
    }
    parse(&fs::read(path).map_err(read)?).map_err(|why| {
        Error::new(ErrorKind::Corrupt, what())
            .because(why)
            .with_remedy("put a private key and its certificate in it as PEM, or remove it, and a new one is made")
    })
}

fn parse(pem: &[u8]) -> std::result::Result<Arc<ServerConfig>, Box<dyn std::error::Error + Send + Sync>> {
    let key = PrivateKeyDer::from_pem_slice(pem)?;
    let chain = CertificateDer::pem_slice_iter(pem).collect::<std::result::Result<Vec<_>, _>>()?;
    let config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()?
        .with_no_client_auth();
    // Whether the key goes with the certificate is looked at here.
    let mut config = config.with_single_cert(chain, key)?;
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(Arc::new(config))
}

impl fmt::Debug for Certificate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Certificate").field("path", &self.path).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    fn names() -> Vec<String> {
        vec!["host.example".to_owned(), "127.0.0.1".to_owned()]
    }

    #[test]
    fn a_certificate_is_made_once_for_nobody_else_to_read() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("certificate.pem");
        Certificate::open(&path, &names()).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, MODE);
        let made = fs::read_to_string(&path).unwrap();
        Certificate::open(&path, &names()).unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), made);
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    }

    #[test]
    #[cfg(feature = "host")]
    fn a_key_and_a_certificate_are_installed_if_they_go_together() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("certificate.pem");
        let parts = || {
            let text = make(&names()).unwrap();
            let at = text.find("-----BEGIN CERT").unwrap();
            (text[..at].to_owned(), text[at..].to_owned())
        };
        let ((key, certificate), (other_key, other)) = (parts(), parts());
        for (key, certificate, chain, code) in [
            ("", certificate.as_str(), "", "SERVER_CERTIFICATE_KEY_INVALID"),
            (&key, "", "", "SERVER_CERTIFICATE_INVALID"),
            (&key, &key, "", "SERVER_CERTIFICATE_INVALID"),
            (&key, &certificate, "nonsense", "SERVER_CERTIFICATE_CHAIN_INVALID"),
            (&other_key, &certificate, "", "SERVER_CERTIFICATE_KEY_MISMATCH"),
        ] {
            assert_eq!(replace(&path, key, certificate, chain).unwrap_err().code, code);
            assert!(!path.exists());
        }
        replace(&path, &key, &certificate, &other).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, MODE);
        Certificate::open(&path, &names()).unwrap();
    }

    #[test]
    fn a_file_that_is_replaced_is_used_if_it_can_be() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("certificate.pem");
        let certificate = Certificate::open(&path, &names()).unwrap();
        let first = certificate.current();
        assert!(Arc::ptr_eq(&first, &certificate.current()));
        let (one, other) = (make(&names()).unwrap(), make(&names()).unwrap());
        // The key of one and the certificate of another.
        let mixed = format!(
            "{}{}",
            &one[..one.find("-----BEGIN CERT").unwrap()],
            &other[other.find("-----BEGIN CERT").unwrap()..]
        );
        for bad in ["", "nonsense", &mixed] {
            install(&path, bad).unwrap();
            assert!(Arc::ptr_eq(&first, &certificate.current()), "{bad:.20}");
            assert_eq!(Certificate::open(&path, &names()).unwrap_err().kind(), ErrorKind::Corrupt);
        }
        install(&path, &one).unwrap();
        assert!(!Arc::ptr_eq(&first, &certificate.current()));
    }
}
