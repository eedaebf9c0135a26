//! A port with a certificate of a private authority.

use std::{fs, sync::Arc, time::Duration};

use jiff::Timestamp;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use rustls::{ClientConfig, RootCertStore, crypto::aws_lc_rs, pki_types::ServerName};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    time::timeout,
};
use tokio_rustls::TlsConnector;
use tokio_util::sync::CancellationToken;
use waybill_web::{AppConfig, ClientTimeouts, Probes, Serving, Tls, app, serve};

#[tokio::test]
async fn requests_are_answered_over_tls_and_nothing_else_is() {
    let mut authority = CertificateParams::new(Vec::new()).unwrap();
    authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let authority = CertifiedIssuer::self_signed(authority, KeyPair::generate().unwrap()).unwrap();
    let key = KeyPair::generate().unwrap();
    let own = CertificateParams::new(["waybill.test".to_owned()]).unwrap().signed_by(&key, &authority).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let (certificate_file, key_file) = (folder.path().join("cert.pem"), folder.path().join("key.pem"));
    fs::write(&certificate_file, format!("{}{}", own.pem(), authority.pem())).unwrap();
    fs::write(&key_file, key.serialize_pem()).unwrap();
    let tls = Tls::load(&certificate_file, &key_file, Timestamp::now()).unwrap();

    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let stop = CancellationToken::new();
    let probes = Probes { checks: Vec::new(), warnings: Vec::new(), shutdown: stop.clone() };
    let timeouts = ClientTimeouts { head: Duration::from_secs(2), ..ClientTimeouts::default() };
    let serving = Serving { tls: Some(tls), timeouts, ..Serving::default() };
    let serving = tokio::spawn(serve(listener, app((), probes, AppConfig::default()), serving, stop.clone()));

    let config = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()));
    let mut roots = RootCertStore::empty();
    roots.add(authority.der().clone()).unwrap();
    let config = config.with_safe_default_protocol_versions().unwrap().with_root_certificates(roots);
    let mut config = config.with_no_client_auth();
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    let connector = TlsConnector::from(Arc::new(config));

    let stream = TcpStream::connect(address).await.unwrap();
    let mut stream = connector.connect(ServerName::try_from("waybill.test").unwrap(), stream).await.unwrap();
    assert_eq!(stream.get_ref().1.alpn_protocol(), Some(&b"http/1.1"[..]));
    stream.write_all(b"GET /live HTTP/1.1\r\nhost: localhost.test\r\nconnection: close\r\n\r\n").await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");

    // Plain HTTP, and a handshake that never comes, end.
    for sent in [&b"GET /live HTTP/1.1\r\nhost: localhost.test\r\n\r\n"[..], b"\x16\x03\x01"] {
        let mut stream = TcpStream::connect(address).await.unwrap();
        stream.write_all(sent).await.unwrap();
        let mut seen = Vec::new();
        let _ = timeout(Duration::from_secs(5), stream.read_to_end(&mut seen)).await.expect("the connection ends");
        assert!(!seen.starts_with(b"HTTP"));
    }

    // A handshake under way does not hold up the end.
    let _begun = TcpStream::connect(address).await.unwrap();
    stop.cancel();
    timeout(Duration::from_millis(1_500), serving).await.expect("it ends").unwrap().unwrap();
}
