//! Certificates and keys that cannot be used.

use std::fs;

use xvirt_core::ErrorKind;
use xvirt_core::migrate::Tls;
use xvirt_testing::certificates::Authority;

#[test]
fn what_is_wrong_with_a_pem_text_is_named() {
    let authority = Authority::new("the pool");
    let (good, other) = (authority.sign("host-a", |_| {}), authority.sign("host-b", |_| {}));
    let (chain, key, roots) = (good.certificate.as_str(), good.key.as_str(), authority.certificate.as_str());
    let cut = &chain[..chain.len() / 2];
    let garbage = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
    assert!(Tls::from_pem(chain.as_bytes(), key.as_bytes(), roots.as_bytes()).is_ok());
    for (chain, key, roots, named) in [
        ("", key, roots, "the certificate of this host cannot be read: there is no PEM section CERTIFICATE"),
        (key, key, roots, "the certificate of this host cannot be read: there is no PEM section CERTIFICATE"),
        (cut, key, roots, "the certificate of this host cannot be read"),
        (garbage, key, roots, "the certificate of this host and the private key of this host cannot be used together"),
        (chain, "", roots, "the private key of this host cannot be read"),
        (chain, chain, roots, "the private key of this host cannot be read"),
        (
            chain,
            &other.key,
            roots,
            "the certificate of this host and the private key of this host cannot be used together",
        ),
        (chain, key, "", "the certificates of the authorities cannot be read: there is no PEM section CERTIFICATE"),
        (chain, key, garbage, "the certificates of the authorities cannot be used"),
    ] {
        let error = Tls::from_pem(chain.as_bytes(), key.as_bytes(), roots.as_bytes()).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidConfig, "{error}");
        assert!(error.message().starts_with(named), "{error}");
        assert!(error.remedy().is_some(), "{error}");
    }
}

#[test]
fn a_file_that_is_missing_or_wrong_is_named() {
    let (authority, folder) = (Authority::new("the pool"), tempfile::tempdir().unwrap());
    let good = authority.sign("host-a", |_| {});
    let path = |name: &str| folder.path().join(name);
    fs::write(path("chain"), &good.certificate).unwrap();
    fs::write(path("key"), &good.key).unwrap();
    fs::write(path("authorities"), &authority.certificate).unwrap();
    assert!(Tls::from_files(path("chain"), path("key"), path("authorities")).is_ok());
    let error = Tls::from_files(path("chain"), path("missing"), path("authorities")).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotFound);
    assert!(error.message().contains(path("missing").to_str().unwrap()), "{error}");
    let error = Tls::from_files(path("chain"), path("authorities"), path("authorities")).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidConfig);
    assert!(error.message().contains(path("authorities").to_str().unwrap()), "{error}");
}

#[test]
fn a_target_without_a_port_or_with_an_impossible_name_is_refused() {
    let (source, _) = super::both();
    for (target, kind) in [("host-b", ErrorKind::Io), ("host b:7400", ErrorKind::Io)] {
        let error = source.channel(target).err().unwrap();
        assert_eq!(error.kind(), kind, "{error}");
        assert!(error.message().contains(target) && error.remedy().unwrap().contains("HOST:PORT"), "{error}");
    }
    let error = source.connect_to("host b", |_| std::net::TcpStream::connect("127.0.0.1:1")).err().unwrap();
    assert_eq!(error.kind(), ErrorKind::InvalidConfig);
    assert!(error.message().contains("'host b'"), "{error}");
}
