//! TLS on our own port: a certificate and its key, checked at start, read again when they change.

use std::{
    fmt, fs, io,
    path::{Path, PathBuf},
    sync::{Arc, PoisonError, RwLock},
    time::Duration,
};

use jiff::Timestamp;
use rustls::{
    Error, InconsistentKeys, ServerConfig,
    crypto::{CryptoProvider, aws_lc_rs},
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
    server::{ClientHello, ResolvesServerCert},
    sign::CertifiedKey,
};
use tokio::net::TcpStream;
use tokio_rustls::{TlsAcceptor, server::TlsStream};
use tokio_util::sync::CancellationToken;
use x509_parser::{certificate::X509Certificate, prelude::FromDer};

use crate::Metrics;

/// A certificate that expires sooner is worth a warning, in seconds.
const SOON: i64 = 30 * 86_400;

/// How often the files are looked at.
const BETWEEN_LOOKS: Duration = Duration::from_secs(60);

/// The largest file that is read, in bytes: a chain has a few certificates of 2 KB each.
const FILE_LIMIT: u64 = 1024 * 1024;

/// A certificate and its key.
#[derive(Clone)]
pub struct Tls {
    acceptor: TlsAcceptor,
    files: Arc<Files>,
}

/// The two files, and what is in them.
#[derive(Debug)]
struct Files {
    certificate: PathBuf,
    key: PathBuf,
    pair: RwLock<Arc<CertifiedKey>>,
}

/// A certificate or key that cannot be used; the text says what to change.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct TlsError(String);

impl fmt::Debug for Tls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Tls").field(&self.files.certificate).finish()
    }
}

impl Tls {
    /// Reads and checks both files, in PEM. The certificate's file begins with the server's own, the chain follows.
    ///
    /// # Errors
    /// Where there is none in a file, they do not belong together, or it is not valid `now`.
    pub fn load(certificate: &Path, key: &Path, now: Timestamp) -> Result<Self, TlsError> {
        let provider = Arc::new(aws_lc_rs::default_provider());
        let pair = RwLock::new(Arc::new(pair(certificate, key, &provider, now)?));
        let files = Arc::new(Files { certificate: certificate.to_owned(), key: key.to_owned(), pair });
        let config = ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
        let config = config.map_err(|error| TlsError(format!("TLS cannot be set up: {error}")))?;
        let resolver: Arc<dyn ResolvesServerCert> = Arc::<Files>::clone(&files);
        let mut config = config.with_no_client_auth().with_cert_resolver(resolver);
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok(Self { acceptor: TlsAcceptor::from(Arc::new(config)), files })
    }

    /// Takes renewed files as they come, until `shutdown`. What cannot be used is logged, and the old one kept;
    /// `metrics` shows when the one in use expires.
    pub async fn follow(self, metrics: Metrics, shutdown: CancellationToken) {
        let mut seen = self.files.contents();
        loop {
            metrics.certificate_expiry.set(self.files.expires());
            tokio::select! {
                () = tokio::time::sleep(BETWEEN_LOOKS) => {}
                () = shutdown.cancelled() => return,
            }
            let contents = self.files.contents();
            if contents == seen {
                continue;
            }
            match self.files.renew(Timestamp::now()) {
                Ok(()) => tracing::info!("the TLS certificate was renewed"),
                Err(error) => tracing::error!(%error, "the TLS certificate was not renewed"),
            }
            seen = contents;
        }
    }

    pub(crate) async fn accept(&self, stream: TcpStream) -> io::Result<TlsStream<TcpStream>> {
        self.acceptor.accept(stream).await
    }
}

impl Files {
    fn contents(&self) -> [Option<Vec<u8>>; 2] {
        [&self.certificate, &self.key].map(|file| fs::read(file).ok())
    }

    /// When the server's own certificate ends, in seconds since 1970.
    fn expires(&self) -> i64 {
        let pair = self.pair.read().unwrap_or_else(PoisonError::into_inner);
        let leaf = pair.cert.first().and_then(|der| X509Certificate::from_der(der).ok());
        leaf.map_or(0, |(_, certificate)| certificate.validity().not_after.timestamp())
    }

    fn renew(&self, now: Timestamp) -> Result<(), TlsError> {
        let renewed = Arc::new(pair(&self.certificate, &self.key, &aws_lc_rs::default_provider(), now)?);
        *self.pair.write().unwrap_or_else(PoisonError::into_inner) = renewed;
        Ok(())
    }
}

impl ResolvesServerCert for Files {
    fn resolve(&self, _hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(Arc::clone(&self.pair.read().unwrap_or_else(PoisonError::into_inner)))
    }
}

fn pair(certificate: &Path, key: &Path, provider: &CryptoProvider, now: Timestamp) -> Result<CertifiedKey, TlsError> {
    let (chain_text, key_text) = (read("tls_cert", certificate)?, read("tls_key", key)?);
    let wrong = |setting: &str, file: &Path, detail: String| {
        Err(TlsError(format!("setting `{setting}`: {}: {detail}", file.display())))
    };
    let chain: Vec<_> = CertificateDer::pem_slice_iter(&chain_text).filter_map(Result::ok).collect();
    if chain.is_empty() {
        let is_key = PrivateKeyDer::from_pem_slice(&chain_text).is_ok();
        let found = if is_key { "found a private key; are `tls_cert` and `tls_key` exchanged?" } else { "found none" };
        return wrong("tls_cert", certificate, format!("expected a certificate in PEM, {found}"));
    }
    let Ok(private) = PrivateKeyDer::from_pem_slice(&key_text) else {
        return wrong("tls_key", key, "expected a private key in PEM that is not encrypted, found none".to_owned());
    };
    for (at, der) in chain.iter().enumerate() {
        if let Err(detail) = check(der, at, certificate, now) {
            return wrong("tls_cert", certificate, detail);
        }
    }
    match CertifiedKey::from_der(chain, private, provider) {
        Ok(pair) => Ok(pair),
        Err(Error::InconsistentKeys(InconsistentKeys::KeyMismatch)) => {
            let whose = certificate.display();
            wrong(
                "tls_key",
                key,
                format!("this key does not belong to the first certificate in {whose}; expected its own"),
            )
        }
        Err(error) => wrong("tls_key", key, format!("this pair cannot be used: {error}")),
    }
}

fn read(setting: &str, file: &Path) -> Result<Vec<u8>, TlsError> {
    let error = |detail: &dyn fmt::Display| TlsError(format!("setting `{setting}`: {}: {detail}", file.display()));
    let size = fs::metadata(file).map_err(|cause| error(&cause))?.len();
    if size > FILE_LIMIT {
        return Err(error(&format_args!("expected a file of at most {FILE_LIMIT} bytes, found {size}")));
    }
    fs::read(file).map_err(|cause| error(&cause))
}

/// Whether a certificate is valid now; `at` is its place in the file.
fn check(der: &CertificateDer<'_>, at: usize, file: &Path, now: Timestamp) -> Result<(), String> {
    let which = if at == 0 { "the certificate".to_owned() } else { format!("certificate {} of the chain", at + 1) };
    let (_, certificate) = X509Certificate::from_der(der).map_err(|_| format!("{which} cannot be read as X.509"))?;
    let validity = certificate.validity();
    let (begin, end) = (validity.not_before.timestamp(), validity.not_after.timestamp());
    let day =
        |second| Timestamp::from_second(second).map_or_else(|_| "?".to_owned(), |time| time.strftime("%F").to_string());
    if now.as_second() > end {
        return Err(format!("{which} expired on {}; put a renewed one there", day(end)));
    }
    if now.as_second() < begin {
        return Err(format!(
            "{which} is valid from {} on; today is {} by this clock",
            day(begin),
            day(now.as_second())
        ));
    }
    if end - now.as_second() < SOON {
        tracing::warn!(file = %file.display(), "{which} expires on {}; renew it", day(end));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use rcgen::{CertificateParams, KeyPair, date_time_ymd};

    use super::*;

    /// Noon on the first of May 2024.
    const NOW: i64 = 1_714_564_800;

    struct Folder(tempfile::TempDir);

    impl Folder {
        fn put(&self, name: &str, text: &str) -> PathBuf {
            let path = self.0.path().join(name);
            fs::write(&path, text).unwrap();
            path
        }

        /// The error, without the folder.
        fn refusal(&self, certificate: &Path, key: &Path) -> String {
            let now = Timestamp::from_second(NOW).unwrap();
            let error = Tls::load(certificate, key, now).unwrap_err().to_string();
            error.replace(&self.0.path().display().to_string(), "")
        }
    }

    /// A certificate that is valid on days of 2024, and its key.
    fn made(from: (u8, u8), to: (u8, u8)) -> (String, String) {
        let mut params = CertificateParams::new(["waybill.test".to_owned()]).unwrap();
        params.not_before = date_time_ymd(2024, from.0, from.1);
        params.not_after = date_time_ymd(2024, to.0, to.1);
        let key = KeyPair::generate().unwrap();
        (params.self_signed(&key).unwrap().pem(), key.serialize_pem())
    }

    #[test]
    fn what_cannot_be_served_is_refused_with_what_to_change() {
        let folder = Folder(tempfile::tempdir().unwrap());
        let (certificate, key) = made((1, 1), (12, 31));
        let (certificate, key) = (folder.put("cert.pem", &certificate), folder.put("key.pem", &key));
        let other = folder.put("other.pem", &made((1, 1), (12, 31)).1);
        let (expired, expired_key) = made((1, 1), (4, 30));
        let (expired, expired_key) = (folder.put("expired.pem", &expired), folder.put("expired-key.pem", &expired_key));
        let (early, early_key) = made((6, 1), (12, 31));
        let (early, early_key) = (folder.put("early.pem", &early), folder.put("early-key.pem", &early_key));
        let nothing = folder.put("nothing.pem", "<html></html>");
        let large = folder.put("large.pem", &" ".repeat(2_000_000));
        let broken = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
        let broken = folder.put("broken.pem", broken);
        let seen = [
            folder.refusal(Path::new("/no/cert.pem"), &key),
            folder.refusal(&certificate, Path::new("/no/key.pem")),
            folder.refusal(&nothing, &key),
            folder.refusal(&key, &certificate),
            folder.refusal(&certificate, &nothing),
            folder.refusal(&certificate, &other),
            folder.refusal(&expired, &expired_key),
            folder.refusal(&early, &early_key),
            folder.refusal(&large, &key),
            folder.refusal(&broken, &key),
        ];
        insta::assert_snapshot!(seen.join("\n"), @"
        setting `tls_cert`: /no/cert.pem: No such file or directory (os error 2)
        setting `tls_key`: /no/key.pem: No such file or directory (os error 2)
        setting `tls_cert`: /nothing.pem: expected a certificate in PEM, found none
        setting `tls_cert`: /key.pem: expected a certificate in PEM, found a private key; are `tls_cert` and `tls_key` exchanged?
        setting `tls_key`: /nothing.pem: expected a private key in PEM that is not encrypted, found none
        setting `tls_key`: /other.pem: this key does not belong to the first certificate in /cert.pem; expected its own
        setting `tls_cert`: /expired.pem: the certificate expired on 2024-04-30; put a renewed one there
        setting `tls_cert`: /early.pem: the certificate is valid from 2024-06-01 on; today is 2024-05-01 by this clock
        setting `tls_cert`: /large.pem: expected a file of at most 1048576 bytes, found 2000000
        setting `tls_cert`: /broken.pem: the certificate cannot be read as X.509
        ");
    }

    #[test]
    fn a_renewed_pair_is_taken_and_a_wrong_one_is_not() {
        let folder = Folder(tempfile::tempdir().unwrap());
        let (certificate, key) = made((1, 1), (12, 31));
        let (certificate, key) = (folder.put("cert.pem", &certificate), folder.put("key.pem", &key));
        let now = Timestamp::from_second(NOW).unwrap();
        let tls = Tls::load(&certificate, &key, now).unwrap();
        let served = || tls.files.pair.read().unwrap().cert[0].clone();
        let first = served();
        assert_eq!(tls.files.expires(), 1_735_603_200, "the last of December");
        let (renewed, renewed_key) = made((5, 1), (12, 30));
        folder.put("cert.pem", &renewed);
        assert!(tls.files.renew(now).is_err(), "its key is not there yet");
        assert_eq!(served(), first);
        folder.put("key.pem", &renewed_key);
        tls.files.renew(now).unwrap();
        assert_ne!(served(), first);
        assert_eq!(tls.files.expires(), 1_735_516_800);
    }
}
