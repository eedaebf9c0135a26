//! The bucket as another S3 client sees it.

use std::collections::HashMap;

use aws_sdk_s3::{
    Client,
    config::{BehaviorVersion, Credentials, Region},
};

/// A bucket at an endpoint.
#[derive(Debug, Clone)]
pub struct Bucket {
    client: Client,
    name: String,
}

impl Bucket {
    /// A bucket at `endpoint`; the access key and the secret are the same word.
    pub fn new(endpoint: &str, name: &str, key: &str) -> Self {
        let config = aws_sdk_s3::Config::builder()
            .behavior_version(BehaviorVersion::latest())
            .region(Region::new("us-east-1"))
            .endpoint_url(endpoint)
            .force_path_style(true)
            .credentials_provider(Credentials::new(key, key, None, None, "test"))
            .build();
        Self { client: Client::from_conf(config), name: name.to_owned() }
    }

    /// Makes it.
    pub async fn create(&self) {
        self.client.create_bucket().bucket(&self.name).send().await.expect("the bucket can be made");
    }

    /// Every key under a prefix.
    pub async fn keys(&self, prefix: &str) -> Vec<String> {
        let mut pages = self.client.list_objects_v2().bucket(&self.name).prefix(prefix).into_paginator().send();
        let mut keys = Vec::new();
        while let Some(page) = pages.next().await {
            let page = page.expect("the bucket can be listed");
            keys.extend(page.contents().iter().filter_map(|object| object.key().map(str::to_owned)));
        }
        keys
    }

    /// Writes an object.
    pub async fn put(&self, key: &str, body: Vec<u8>) {
        let put = self.client.put_object().bucket(&self.name).key(key).body(body.into());
        put.send().await.expect("the object can be written");
    }

    /// Deletes every object under a prefix.
    pub async fn delete(&self, prefix: &str) {
        for key in self.keys(prefix).await {
            self.client.delete_object().bucket(&self.name).key(key).send().await.expect("the object can be deleted");
        }
    }

    /// An object's bytes and metadata.
    pub async fn read(&self, key: &str) -> (Vec<u8>, HashMap<String, String>) {
        let object = self.client.get_object().bucket(&self.name).key(key).send().await.expect("the object is there");
        let metadata = object.metadata().cloned().unwrap_or_default();
        let body = object.body.collect().await.expect("the object can be read");
        (body.to_vec(), metadata)
    }
}
