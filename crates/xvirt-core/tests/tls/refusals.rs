//! Peers whose identity does not pass.

use std::io::{self, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::version::TLS13;
use rustls::{ClientConfig, ClientConnection, RootCertStore, ServerConfig, ServerConnection};
use xvirt_core::migrate::{Channel, Sockets, Tls};
use xvirt_core::{Error, ErrorKind};
use xvirt_testing::certificates::{Authority, ExtendedKeyUsagePurpose, Identity, date_time_ymd};

use crate::{PATIENCE, connect, receive, tls};

/// The error of this crate in one of a channel.
fn inside(error: &io::Error) -> &Error {
    error.get_ref().unwrap().downcast_ref().unwrap()
}

/// A spoiled identity, and what both sides say of it.
struct Spoiled {
    identity: Identity,
    /// The side to which it is presented.
    refusal: &'static str,
    /// The side to which it belongs.
    told: &'static str,
}

fn spoiled(authority: &Authority, purpose: ExtendedKeyUsagePurpose) -> Vec<Spoiled> {
    let expired = authority.sign("host-b", |wanted| wanted.not_after = date_time_ymd(2020, 1, 1));
    let early = authority.sign("host-b", |wanted| wanted.not_before = date_time_ymd(4000, 1, 1));
    let unknown = Authority::new("others").sign("host-b", |_| {});
    let renewed = Authority::new("the pool").sign("host-b", |_| {});
    let other_purpose = authority.sign("host-b", |wanted| wanted.extended_key_usages = vec![purpose]);
    vec![
        Spoiled { identity: expired, refusal: "has expired", told: "expired or not valid yet" },
        Spoiled { identity: early, refusal: "is not valid yet", told: "expired or not valid yet" },
        Spoiled {
            identity: unknown,
            refusal: "was not signed by an authority that this host trusts",
            told: "not signed by",
        },
        Spoiled { identity: renewed, refusal: "was not signed by the authority that it names", told: "was refused" },
        Spoiled { identity: other_purpose, refusal: "has another purpose", told: "is not suitable" },
    ]
}

#[test]
fn a_source_refuses_every_spoiled_certificate_and_the_target_is_told() {
    let authority = Authority::new("the pool");
    let source = tls(&authority.sign("host-a", |_| {}), &authority);
    let mut cases = spoiled(&authority, ExtendedKeyUsagePurpose::ClientAuth);
    let other_name = authority.sign("host-c", |_| {});
    cases.push(Spoiled { identity: other_name, refusal: "is for another name", told: "was refused" });
    for Spoiled { identity, refusal, told } in cases {
        let (here, there) = connect(&(source.clone(), tls(&identity, &authority)));
        let error = here.err().unwrap();
        assert_eq!(inside(&error).kind(), ErrorKind::Untrusted, "{error}");
        assert!(
            error.to_string().starts_with(&format!("host 'host-b' is not trusted: its certificate {refusal}")),
            "{error}"
        );
        assert!(inside(&error).remedy().is_some(), "{error}");
        let error = there.err().unwrap().to_string();
        assert!(error.contains("does not trust this host: its certificate ") && error.contains(told), "{error}");
    }
}

#[test]
fn a_target_refuses_every_spoiled_certificate_and_the_source_is_told() {
    let authority = Authority::new("the pool");
    let target = tls(&authority.sign("host-b", |_| {}), &authority);
    for Spoiled { identity, refusal, told } in spoiled(&authority, ExtendedKeyUsagePurpose::ServerAuth) {
        let (here, there) = connect(&(tls(&identity, &authority), target.clone()));
        let error = there.err().unwrap().to_string();
        assert!(
            error.contains(&format!("the host that connected is not trusted: its certificate {refusal}")),
            "{error}"
        );
        // In TLS 1.3, the source is told with the first data.
        let error = here.and_then(|here| receive(&*here, &mut [0; 10])).unwrap_err();
        assert_eq!(inside(&error).kind(), ErrorKind::Untrusted, "{error}");
        assert!(error.to_string().contains(told), "{error}");
    }
}

#[test]
fn a_source_whose_sending_fails_is_told_why_as_well() {
    let (authority, listener) = (Authority::new("the pool"), TcpListener::bind("127.0.0.1:0").unwrap());
    let address = listener.local_addr().unwrap();
    let target = tls(&authority.sign("host-b", |_| {}), &authority).accept(listener);
    let source = tls(&Authority::new("others").sign("host-a", |_| {}), &authority);
    let here = source.connect_to("host-b", move |limit| TcpStream::connect_timeout(&address, limit)).unwrap();
    thread::scope(|scope| {
        let accepted = scope.spawn(move || target.connect(Duration::from_secs(1)).err().unwrap());
        let here = here.connect(PATIENCE).unwrap();
        // The target closes the connection with these bytes unread, which resets it.
        let error = loop {
            match here.send(&[1; 1000]) {
                Ok(_) => thread::yield_now(),
                Err(error) => break error,
            }
        };
        assert_eq!(inside(&error).kind(), ErrorKind::Untrusted, "{error}");
        assert!(error.to_string().contains("was not signed by an authority that it trusts"), "{error}");
        let error = accepted.join().unwrap();
        assert_eq!(inside(&error).kind(), ErrorKind::Timeout, "{error}");
        assert!(error.to_string().contains("not signed by an authority that this host trusts"), "{error}");
    });
}

fn roots(authority: &Authority) -> RootCertStore {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_slice(authority.certificate.as_bytes()).unwrap()).unwrap();
    roots
}

fn provider() -> Arc<rustls::crypto::CryptoProvider> {
    Arc::new(rustls::crypto::ring::default_provider())
}

/// Another program that connects by TLS: without a certificate unless it gets one, and for another protocol.
fn other_client(authority: &Authority, identity: Option<&Identity>, protocols: &[&[u8]]) -> ClientConnection {
    let config = ClientConfig::builder_with_provider(provider()).with_protocol_versions(&[&TLS13]).unwrap();
    let config = config.with_root_certificates(roots(authority));
    let mut config = match identity {
        Some(Identity { certificate, key }) => {
            let chain = vec![CertificateDer::from_pem_slice(certificate.as_bytes()).unwrap()];
            config.with_client_auth_cert(chain, PrivateKeyDer::from_pem_slice(key.as_bytes()).unwrap()).unwrap()
        }
        None => config.with_no_client_auth(),
    };
    config.alpn_protocols = protocols.iter().map(|protocol| protocol.to_vec()).collect();
    ClientConnection::new(Arc::new(config), "host-b".try_into().unwrap()).unwrap()
}

/// What the target says to a client.
fn accept_other(target: &Tls, mut client: ClientConnection) -> String {
    let (mut here, there) = std::os::unix::net::UnixStream::pair().unwrap();
    let target = target.accept(Sockets::new([there]).unwrap());
    thread::scope(|scope| {
        let accepted = scope.spawn(|| target.connect(PATIENCE).err().unwrap().to_string());
        // Until the target closes the connection.
        let mut stream = rustls::Stream::new(&mut client, &mut here);
        let _ = stream.write_all(b"GET / HTTP/1.0\r\n\r\n").and_then(|()| stream.read(&mut [0; 10]));
        accepted.join().unwrap()
    })
}

#[test]
fn a_target_refuses_clients_without_a_certificate_or_of_another_protocol() {
    let authority = Authority::new("the pool");
    let (host, other) = (authority.sign("host-b", |_| {}), authority.sign("host-a", |_| {}));
    let target = tls(&host, &authority);
    let migration: &[u8] = b"xvirt-migration/1";
    for (identity, protocols, expected) in [
        (None, &[migration][..], "it has sent no certificate"),
        (Some(&other), &[], "speaks TLS, but not for migrations"),
        (Some(&other), &[b"http/1.1"], "speaks TLS, but not for migrations"),
    ] {
        let error = accept_other(&target, other_client(&authority, identity, protocols));
        assert!(error.contains(expected), "{error}");
    }
}

#[test]
fn a_source_refuses_a_server_of_another_protocol() {
    let authority = Authority::new("the pool");
    let Identity { certificate, key } = authority.sign("host-b", |_| {});
    let source = tls(&authority.sign("host-a", |_| {}), &authority);
    for protocols in [vec![], vec![b"http/1.1".to_vec()]] {
        let chain = vec![CertificateDer::from_pem_slice(certificate.as_bytes()).unwrap()];
        let mut config = ServerConfig::builder_with_provider(provider())
            .with_protocol_versions(&[&TLS13])
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(chain, PrivateKeyDer::from_pem_slice(key.as_bytes()).unwrap())
            .unwrap();
        config.alpn_protocols = protocols;
        let (here, mut there) = std::os::unix::net::UnixStream::pair().unwrap();
        let here = source.connect_to("host-b", Sockets::new([here]).unwrap()).unwrap();
        thread::scope(|scope| {
            scope.spawn(move || {
                let mut server = ServerConnection::new(Arc::new(config)).unwrap();
                let _ = rustls::Stream::new(&mut server, &mut there).read(&mut [0; 10]);
            });
            let error = here.connect(PATIENCE).err().unwrap();
            assert_eq!(inside(&error).kind(), ErrorKind::PeerFailed, "{error}");
            assert!(error.to_string().contains("host 'host-b' speaks TLS, but not for migrations"), "{error}");
        });
    }
}

#[test]
fn a_host_by_address_is_verified_by_its_address() {
    let authority = Authority::new("the pool");
    let source = tls(&authority.sign("host-a", |_| {}), &authority);
    for (name, passes) in [("127.0.0.1", true), ("127.0.0.2", false), ("localhost", false)] {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let target = tls(&authority.sign(name, |_| {}), &authority).accept(listener);
        let here = source.channel(&address.to_string()).unwrap();
        thread::scope(|scope| {
            let accepted = scope.spawn(|| target.connect(if passes { PATIENCE } else { Duration::from_secs(1) }));
            assert_eq!(here.connect(PATIENCE).is_ok(), passes, "{name}");
            assert_eq!(accepted.join().unwrap().is_ok(), passes, "{name}");
        });
    }
}
