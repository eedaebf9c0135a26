//! Which store and which queue: the one place where embedded and real parts are told apart.

use std::{sync::Arc, time::Duration};

use anyhow::{Context, bail};
use waybill_queue::{Metrics, Queue, RabbitMq, RabbitMqSettings};
use waybill_store::{Embedded, S3Settings, Store};

use crate::server::{settings::Settings, target::Target};

/// The bucket of the embedded store.
const EMBEDDED_BUCKET: &str = "waybill";
/// Waiting messages of one embedded lane, about 500 bytes each; a planner beyond it waits for workers.
const EMBEDDED_LANE: usize = 100_000;

/// How long a store may take for one attempt of a small call, where work waits for it. There are three.
const WORKER_PATIENCE: Duration = Duration::from_secs(10);
/// The same where a client waits: it is told that the store is away before it takes us for dead.
const ANSWER_PATIENCE: Duration = Duration::from_secs(3);

/// A store, and the embedded server behind it if it is one.
pub(crate) async fn store(settings: &Settings, target: Target) -> anyhow::Result<(Store, Option<Embedded>)> {
    if let Some(bucket) = &settings.s3_bucket {
        let attempt_timeout = if target.works() { WORKER_PATIENCE } else { ANSWER_PATIENCE };
        let settings = S3Settings { bucket: bucket.clone(), force_path_style: None, attempt_timeout };
        return Ok((Store::connect(settings).await?, None));
    }
    if !target.may_embed() {
        bail!("`waybill {target}` needs an S3 bucket: set WAYBILL_S3_BUCKET (and AWS_*), or run `waybill up`");
    }
    let embedded = Embedded::open(&settings.data.join("s3")).await?;
    Ok((embedded.store(EMBEDDED_BUCKET)?, Some(embedded)))
}

/// A queue.
pub(crate) fn queue(settings: &Settings, target: Target, metrics: &Metrics) -> anyhow::Result<Arc<dyn Queue>> {
    if let Some(url) = &settings.amqp_url {
        let settings = RabbitMqSettings { url: url.0.clone(), prefix: "waybill".to_owned() };
        return Ok(Arc::new(RabbitMq::new(settings, metrics).context("setting `amqp_url`")?));
    }
    if !target.may_embed() {
        bail!("`waybill {target}` needs RabbitMQ: set WAYBILL_AMQP_URL, or run `waybill up`");
    }
    Ok(Arc::new(waybill_queue::Embedded::new(EMBEDDED_LANE).with_metrics(metrics)))
}
