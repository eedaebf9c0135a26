//! Builds the client from the standard `AWS_*` variables. Sends no request.

use std::{
    sync::{Arc, atomic::AtomicBool},
    time::Duration,
};

use aws_config::{meta::region::RegionProviderChain, profile::ProfileFileRegionProvider};
use aws_sdk_s3::{
    Client,
    config::{
        BehaviorVersion, Builder, Region, RequestChecksumCalculation, ResponseChecksumValidation, SharedHttpClient,
        timeout::TimeoutConfig,
    },
};
use tokio::sync::OnceCell;

use crate::{
    Metrics, StoreError,
    s3::{Inner, Store},
};

/// The defaults that this crate was tested with; a newer SDK must not change them on its own.
pub(crate) fn behavior() -> BehaviorVersion {
    BehaviorVersion::v2026_01_12()
}

const DEFAULT_REGION: &str = "us-east-1";
const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);
/// The SDK's default of 3 attempts and the waits between them fit into this many attempts' time.
const OPERATION_ATTEMPTS: u32 = 4;

/// Region, credentials and endpoint as every AWS tool reads them.
pub(super) async fn from_environment(force_path_style: Option<bool>) -> Result<Builder, StoreError> {
    let endpoint = endpoint(|name| std::env::var(name).ok())?;
    let region = match endpoint {
        // A store that is not AWS's needs no metadata service to be asked for a region: that takes seconds.
        Some(_) => RegionProviderChain::first_try(aws_config::environment::EnvironmentVariableRegionProvider::new())
            .or_else(ProfileFileRegionProvider::new()),
        None => RegionProviderChain::default_provider(),
    };
    let region = region.or_else(DEFAULT_REGION);
    let mut loader = aws_config::defaults(behavior()).region(region);
    if rustls_native_certs::load_native_certs().certs.is_empty() {
        loader = loader.http_client(without_roots(endpoint.as_deref())?);
    }
    let shared = loader.load().await;
    let path_style = force_path_style.unwrap_or(endpoint.is_some());
    let mut builder = Builder::from(&shared).force_path_style(path_style);
    if endpoint.is_some() {
        builder.set_endpoint_url(endpoint);
    }
    Ok(builder)
}

/// The client of a machine without root certificates, where the SDK's own would panic: it speaks plain HTTP only.
fn without_roots(endpoint: Option<&str>) -> Result<SharedHttpClient, StoreError> {
    if endpoint.is_some_and(|url| url.starts_with("http://")) {
        return Ok(aws_smithy_http_client::Builder::new().build_http());
    }
    let reason = "no root certificates are found, to know the store by: install ca-certificates, or let SSL_CERT_FILE name \
                  a file of them";
    Err(StoreError::Refused { operation: "Connect", key: String::new(), reason: reason.to_owned() })
}

/// The endpoint of the first variable that is set, refused by name where it is no URL.
fn endpoint(read: impl Fn(&str) -> Option<String>) -> Result<Option<String>, StoreError> {
    for name in ["AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL"] {
        let Some(url) = read(name).filter(|url| !url.is_empty()) else { continue };
        if !url.starts_with("http://") && !url.starts_with("https://") {
            // The value is not repeated: a misplaced secret must not reach a log.
            let reason = format!("{name} must be a URL that begins with http:// or https://");
            return Err(StoreError::Refused { operation: "Connect", key: String::new(), reason });
        }
        return Ok(Some(url));
    }
    Ok(None)
}

fn timeouts(attempt: Duration) -> TimeoutConfig {
    TimeoutConfig::builder()
        .connect_timeout(CONNECT_TIMEOUT)
        .operation_attempt_timeout(attempt)
        .operation_timeout(attempt * OPERATION_ATTEMPTS)
        .build()
}

impl Store {
    /// A store over any SDK configuration; `refuses_overwrites` where it is known without a probe.
    ///
    /// For the embedded store and for tests; everybody else calls [`Store::connect`].
    #[doc(hidden)]
    #[must_use]
    pub fn with_config(
        config: Builder,
        bucket: &str,
        attempt_timeout: Duration,
        refuses_overwrites: Option<bool>,
    ) -> Self {
        let mut config = config;
        if config.clone().build().region().is_none() {
            config.set_region(Some(Region::from_static(DEFAULT_REGION)));
        }
        let config = config
            // Checksums in trailers are what S3-compatible stores reject most often.
            .request_checksum_calculation(RequestChecksumCalculation::WhenRequired)
            .response_checksum_validation(ResponseChecksumValidation::WhenRequired)
            .timeout_config(timeouts(attempt_timeout));
        Self {
            inner: Arc::new(Inner {
                client: Client::from_conf(config.build()),
                bucket: bucket.to_owned(),
                attempt_timeout,
                refuses_overwrites: OnceCell::new_with(refuses_overwrites),
                can_list: OnceCell::new(),
                can_write: OnceCell::new(),
                write_failed: AtomicBool::new(false),
                signs: true,
            }),
        }
    }

    pub(super) fn counted(&self, metrics: &Metrics) -> Self {
        let Inner { client, bucket, attempt_timeout, refuses_overwrites, signs, .. } = &*self.inner;
        let config = client.config().to_builder().interceptor(metrics.clone());
        let store = Self::with_config(config, bucket, *attempt_timeout, refuses_overwrites.get().copied());
        if *signs { store } else { store.unsigned() }
    }

    /// Where nothing is signed, nothing is hashed for it.
    pub(crate) fn unsigned(mut self) -> Self {
        Arc::get_mut(&mut self.inner).expect("a store that was just made has one owner").signs = false;
        self
    }

    /// How long `bytes` may take on their way, at no less than 256 KiB a second.
    pub(super) fn time_for(&self, bytes: u64) -> Duration {
        const SLOWEST_PER_SECOND: u64 = 256 * 1024;
        self.inner.attempt_timeout + Duration::from_secs(bytes / SLOWEST_PER_SECOND)
    }

    /// Timeouts for a call that carries `bytes`.
    pub(super) fn timeouts_for(&self, bytes: u64) -> Builder {
        Builder::new().timeout_config(timeouts(self.time_for(bytes)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn without_root_certificates_only_plain_http_is_spoken() {
        assert!(without_roots(Some("http://s3:1")).is_ok());
        for endpoint in [None, Some("https://s3:1")] {
            let error = without_roots(endpoint).unwrap_err().to_string();
            assert!(error.contains("ca-certificates") && error.contains("SSL_CERT_FILE"), "{error}");
        }
    }

    #[test]
    fn the_endpoint_of_s3_comes_first_and_must_be_a_url() {
        let both = |name: &str| match name {
            "AWS_ENDPOINT_URL_S3" => Some("http://s3:1".to_owned()),
            _ => Some("http://all:1".to_owned()),
        };
        assert_eq!(endpoint(both).unwrap().as_deref(), Some("http://s3:1"));
        assert_eq!(endpoint(|_| None).unwrap(), None);
        assert_eq!(endpoint(|_| Some(String::new())).unwrap(), None);
        let error = endpoint(|_| Some("s3cr3t".to_owned())).unwrap_err().to_string();
        assert!(error.contains("AWS_ENDPOINT_URL_S3") && !error.contains("s3cr3t"), "{error}");
    }
}
