//! The loop that takes messages of a queue one at a time: jobs to be planned, and tables to be loaded.

use std::sync::Arc;

use waybill_queue::QueueName;

use crate::{
    context::Context,
    delivery::{
        run_delivery::{consumer, run_delivery},
        work_delivery::WorkDelivery,
    },
};

/// Runs the work of one message after the other until shutdown.
pub(crate) async fn run(context: Arc<Context>, queue_name: QueueName) {
    let Some(mut consumer) = consumer(&context, &queue_name, 1).await else { return };
    while let Some(delivery) = context.shutdown.run_until_cancelled(consumer.next()).await.flatten() {
        run_delivery(&context, &queue_name, WorkDelivery::new(delivery)).await;
    }
}
