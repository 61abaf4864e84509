//! Certificates for TLS, and an authority that signs them.

use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair};
pub use rcgen::{ExtendedKeyUsagePurpose, date_time_ymd};

/// Signs certificates. All texts are PEM.
pub struct Authority {
    /// Its own certificate.
    pub certificate: String,
    issuer: Issuer<'static, KeyPair>,
}

/// The certificate of a host.
pub struct Identity {
    /// The certificate.
    pub certificate: String,
    /// Its private key.
    pub key: String,
}

impl std::fmt::Debug for Authority {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Authority").finish_non_exhaustive()
    }
}

impl std::fmt::Debug for Identity {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Identity").finish_non_exhaustive()
    }
}

impl Authority {
    /// An authority with this name.
    pub fn new(name: &str) -> Self {
        let mut wanted = CertificateParams::default();
        wanted.distinguished_name.push(DnType::CommonName, name);
        wanted.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().unwrap();
        let certificate = wanted.self_signed(&key).unwrap().pem();
        Self { certificate, issuer: Issuer::new(wanted, key) }
    }

    /// A certificate for the host `name`, a name or an IP address, which `change` can spoil.
    pub fn sign(&self, name: &str, change: impl FnOnce(&mut CertificateParams)) -> Identity {
        let mut wanted = CertificateParams::new([name.to_owned()]).unwrap();
        change(&mut wanted);
        let key = KeyPair::generate().unwrap();
        let certificate = wanted.signed_by(&key, &self.issuer).unwrap().pem();
        Identity { certificate, key: key.serialize_pem() }
    }
}
