//! The housekeeper: looks after jobs that nobody holds.
//!
//! What it does is the ledger's business, and right however many do it at once; here is only when.

use jiff::Timestamp;

use crate::{aside, context::Context, retry::pause};

/// Looks at once, and then every so often until shutdown. After a start with a queue that was in memory
/// only, every unfinished job is sent out again, which is tried until it works.
pub(crate) async fn keep(context: &Context) {
    let worker = &context.worker;
    let mut everything = !worker.queue.is_durable();
    loop {
        let ledger = worker.ledger.clone();
        let looked = aside::run(move || async move { ledger.recover(Timestamp::now(), everything).await });
        match looked.await {
            None => return,
            Some(Ok(messages)) => {
                everything = false;
                if messages > 0 {
                    tracing::info!(messages, "unfinished jobs were sent out again");
                }
            }
            Some(Err(error)) => tracing::warn!(%error, "unfinished jobs cannot be looked for"),
        }
        if pause(worker.housekeeping, &context.shutdown).await.is_err() {
            return;
        }
    }
}
