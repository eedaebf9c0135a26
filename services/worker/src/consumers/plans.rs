//! The loop that takes jobs to be planned.

use std::sync::Arc;

use waybill_queue::QueueName;

use crate::{
    context::Context,
    delivery::{
        run_delivery::{consumer, run_delivery},
        work_delivery::WorkDelivery,
    },
};

/// Plans one job at a time until shutdown.
pub(crate) async fn run(context: Arc<Context>) {
    let Some(mut plans) = consumer(&context, &QueueName::Plans, 1).await else { return };
    while let Some(delivery) = context.shutdown.run_until_cancelled(plans.next()).await.flatten() {
        run_delivery(&context, &QueueName::Plans, WorkDelivery::new(delivery)).await;
    }
}
