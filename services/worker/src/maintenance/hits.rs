//! Merges the counts of requests of days that are over: one file a day in place of many of every process.

use std::time::Duration;

use jiff::Timestamp;
use waybill_hits::{DayMerger, Merged};

use crate::{context::Context, retry::pause};

/// Nobody waits for it: files that are not merged count as they are.
const HOURLY: Duration = Duration::from_secs(60 * 60);

/// Runs until it is dropped, which may be at any step: any number of these may run at once.
pub(crate) async fn keep(context: &Context) {
    let mut merger = DayMerger::new(context.worker.store.clone());
    let metrics = &context.worker.metrics;
    loop {
        match merger.turn(Timestamp::now()).await {
            Ok(Merged { days, deleted }) => {
                metrics.acted("hits_day_merged", days);
                if days + deleted > 0 {
                    tracing::info!(days, deleted, "merged counts of requests of days that are over");
                }
            }
            Err(error) => {
                metrics.acted("failed", 1);
                tracing::warn!(%error, "failed to merge counts of requests");
            }
        }
        if pause(HOURLY, &context.shutdown).await.is_err() {
            return;
        }
    }
}
