//! What the errors of TLS mean, and what to do about them.

use rustls::{AlertDescription, CertificateError, Error as TlsError};

use crate::migrate::frame::ONE_USES_TLS;
use crate::{Error, ErrorKind};

const OTHER_ADDRESS: &str = "check the address and port, and that both sides of the migration use TLS";
const BOTH_PURPOSES: &str = "issue it for servers and clients (extended key usage serverAuth and clientAuth)";

/// The error for a connection to `peer` that TLS ends.
pub(super) fn explain(peer: &str, cause: TlsError) -> Error {
    let (kind, what, remedy) = match &cause {
        TlsError::InvalidCertificate(error) => {
            let (what, remedy) = certificate(error);
            (ErrorKind::Untrusted, format!("{peer} is not trusted: its certificate {what}"), remedy)
        }
        TlsError::NoCertificatesPresented => {
            let what = format!("{peer} is not trusted: it has sent no certificate");
            (ErrorKind::Untrusted, what, "give it a certificate: both hosts of a migration need one")
        }
        TlsError::AlertReceived(alert) => match refused(*alert) {
            Some((what, remedy)) => {
                (ErrorKind::Untrusted, format!("{peer} does not trust this host: its certificate {what}"), remedy)
            }
            None if *alert == AlertDescription::NoApplicationProtocol => {
                (ErrorKind::PeerFailed, not_xvirt(peer), OTHER_ADDRESS)
            }
            None => {
                let what = format!("{peer} has ended the TLS connection");
                (ErrorKind::PeerFailed, what, "look into the log of the other host for the reason")
            }
        },
        TlsError::InvalidMessage(_) | TlsError::InappropriateMessage { .. } | TlsError::PeerIncompatible(_) => {
            (ErrorKind::PeerFailed, format!("{peer} does not speak TLS 1.3"), OTHER_ADDRESS)
        }
        TlsError::NoApplicationProtocol => (ErrorKind::PeerFailed, not_xvirt(peer), OTHER_ADDRESS),
        _ => (ErrorKind::PeerFailed, format!("the TLS connection to {peer} broke"), "migrate again"),
    };
    Error::new(kind, what).because(cause).with_remedy(remedy)
}

/// The error for a peer that speaks TLS for something else.
pub(super) fn other_protocol(peer: &str) -> Error {
    Error::new(ErrorKind::PeerFailed, not_xvirt(peer)).with_remedy(OTHER_ADDRESS)
}

/// The error for a peer that begins the migration without TLS.
pub(super) fn not_encrypted(peer: &str) -> Error {
    let what = format!("{peer} speaks the migration protocol without TLS");
    Error::new(ErrorKind::PeerFailed, what).with_remedy(ONE_USES_TLS)
}

/// The error for a peer that closes the connection before it is secure.
pub(super) fn closed_early(peer: &str) -> Error {
    let what = format!("{peer} closed the connection during the TLS handshake");
    Error::new(ErrorKind::PeerFailed, what).with_remedy(OTHER_ADDRESS)
}

/// The error for a peer that is silent or slow before the connection is secure.
pub(super) fn too_slow(peer: &str) -> Error {
    let what = format!("{peer} has not completed the TLS handshake in time");
    Error::new(ErrorKind::Timeout, what).with_remedy(OTHER_ADDRESS)
}

fn not_xvirt(peer: &str) -> String {
    format!("{peer} speaks TLS, but not for migrations")
}

/// What is wrong with the peer's certificate, and what to do.
fn certificate(error: &CertificateError) -> (&'static str, &'static str) {
    use CertificateError as Wrong;

    match error {
        Wrong::Expired | Wrong::ExpiredContext { .. } => {
            ("has expired", "renew it, and check the clocks of both hosts")
        }
        Wrong::NotValidYet | Wrong::NotValidYetContext { .. } => ("is not valid yet", "check the clocks of both hosts"),
        Wrong::UnknownIssuer => (
            "was not signed by an authority that this host trusts",
            "add its authority to the authorities of this host, and intermediate certificates to that host's own",
        ),
        Wrong::BadSignature => (
            "was not signed by the authority that it names",
            "give both hosts the same certificate of that authority, which may have been renewed",
        ),
        Wrong::NotValidForName | Wrong::NotValidForNameContext { .. } => {
            ("is for another name", "connect by a name in the certificate, or issue one for this name")
        }
        Wrong::InvalidPurpose | Wrong::InvalidPurposeContext { .. } => ("has another purpose", BOTH_PURPOSES),
        _ => ("is invalid", "issue a new certificate for that host"),
    }
}

/// What the peer says is wrong with this host's certificate, and what to do; `None` for alerts that do not concern it.
fn refused(alert: AlertDescription) -> Option<(&'static str, &'static str)> {
    use AlertDescription as Alert;

    match alert {
        Alert::CertificateExpired => {
            Some(("is expired or not valid yet", "renew it, and check the clocks of both hosts"))
        }
        Alert::UnknownCA => Some((
            "was not signed by an authority that it trusts",
            "add the authority to those of the other host, and intermediate certificates to this host's own",
        )),
        Alert::CertificateRequired => Some(("was not sent", "give this host a certificate")),
        Alert::UnsupportedCertificate => Some(("is not suitable", BOTH_PURPOSES)),
        Alert::BadCertificate
        | Alert::CertificateRevoked
        | Alert::CertificateUnknown
        | Alert::DecryptError
        | Alert::AccessDenied => Some(("was refused", "look into the log of the other host for the reason")),
        _ => None,
    }
}
