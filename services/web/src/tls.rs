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

    /// Takes renewed files as they come, until `shutdown`. What cannot be used is logged, and the old one kept.
    pub async fn follow(self, shutdown: CancellationToken) {
        let mut seen = self.files.contents();
        loop {
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
