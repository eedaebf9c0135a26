//! Carries the SDK's requests to the embedded S3 within this process. The crate s3s-aws has the same, and 24,000
//! lines of conversions beside it that nothing here calls: they were a sixth of the first build.

use aws_sdk_s3::config::RuntimeComponents;
use aws_smithy_runtime_api::client::http::{
    HttpClient, HttpConnector, HttpConnectorFuture, HttpConnectorSettings, SharedHttpConnector,
};
use aws_smithy_runtime_api::client::orchestrator::{HttpRequest, HttpResponse};
use aws_smithy_runtime_api::client::result::ConnectorError;
use aws_smithy_runtime_api::client::retries::ErrorKind;
use aws_smithy_types::body::SdkBody;
use s3s::service::S3Service;

#[derive(Debug, Clone)]
pub(super) struct InProcess(pub(super) S3Service);

impl HttpClient for InProcess {
    fn http_connector(&self, _: &HttpConnectorSettings, _: &RuntimeComponents) -> SharedHttpConnector {
        SharedHttpConnector::new(self.clone())
    }
}

impl HttpConnector for InProcess {
    fn call(&self, request: HttpRequest) -> HttpConnectorFuture {
        let service = self.0.clone();
        HttpConnectorFuture::new(async move {
            let request = request.try_into_http1x().map_err(failed)?;
            let response = service.call(with_host(request)).await.map_err(failed)?;
            HttpResponse::try_from(response.map(SdkBody::from_body_1_x)).map_err(failed)
        })
    }
}

/// S3 names the host in a header, which an HTTP client adds when it sends the request.
fn with_host(mut request: http::Request<SdkBody>) -> s3s::HttpRequest {
    let host = request.uri().authority().and_then(|host| http::HeaderValue::from_str(host.as_str()).ok());
    if let Some(host) = host {
        request.headers_mut().entry(http::header::HOST).or_insert(host);
    }
    request.map(s3s::Body::http_body)
}

fn failed(error: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> ConnectorError {
    ConnectorError::other(error.into(), Some(ErrorKind::ServerError))
}
