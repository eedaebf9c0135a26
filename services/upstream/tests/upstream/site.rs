//! An upstream with a client.

use reqwest::{Client, RequestBuilder, StatusCode, header};
use serde_json::Value;
use waybill_upstream::{Options, Running, Upstream};

/// The day that is asked for where any will do.
pub(crate) const DAY: &str = "2024-05-01";

/// A running upstream and a client for it.
pub(crate) struct Site {
    pub(crate) upstream: Running,
    pub(crate) client: Client,
}

impl Site {
    pub(crate) async fn start(options: Options) -> Self {
        Self { upstream: Upstream::new(options).start().await.expect("a port is free"), client: Client::new() }
    }

    pub(crate) fn get(&self, path: &str) -> RequestBuilder {
        self.client.get(format!("{}{path}", self.upstream.base_url()))
    }

    /// A request for a city's file.
    pub(crate) fn city(&self, id: u64) -> RequestBuilder {
        self.get(&format!("/cities/{id}/stats?date={DAY}"))
    }

    /// The whole file of a city.
    pub(crate) async fn body(&self, id: u64) -> Vec<u8> {
        let response = self.city(id).send().await.expect("it answers");
        assert_eq!(response.status(), StatusCode::OK);
        response.bytes().await.expect("the body is whole").to_vec()
    }

    pub(crate) async fn etag(&self, id: u64) -> String {
        let response = self.city(id).send().await.expect("it answers");
        response.headers()[header::ETAG].to_str().expect("a tag is ASCII").to_owned()
    }

    pub(crate) async fn json(&self, path: &str) -> Value {
        self.get(path).send().await.expect("it answers").json().await.expect("it is JSON")
    }
}
