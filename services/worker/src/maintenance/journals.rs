//! Keeps journals short, and builds the index of a source that has none: after an update from a
//! release without it, or after its journal was lost.

use std::{
    collections::HashMap,
    time::{Duration, Instant},
};

use jiff::Timestamp;
use waybill_journal::CompactionError;
use waybill_ledger::{
    Ledger,
    journals::{INDEX, JOBS, crowded},
};

use crate::{context::Context, retry::pause};

/// Between two stretches, while there is something to compact, and while there is not.
const BUSY: Duration = Duration::from_secs(5);
const IDLE: Duration = Duration::from_secs(30);
/// Keys looked at in one turn: three LISTs.
const STRETCH: usize = 3_000;
/// How often it is asked whether every source has its index: one LIST each.
const BETWEEN_BUILDS: Duration = Duration::from_secs(5 * 60);
/// How often the log says how far a build is.
const TOLD: Duration = Duration::from_secs(10);

/// Runs until it is dropped, which may be at any step: any number of these may run at once.
pub(crate) async fn keep(context: &Context) {
    let mut next_build = Instant::now();
    let mut after = None;
    // Counts at which nothing was due.
    let mut settled = HashMap::new();
    loop {
        if next_build <= Instant::now() {
            next_build = Instant::now() + BETWEEN_BUILDS;
            build(context).await;
        }
        let compacted = match compact_all(context, &mut after, &mut settled).await {
            Ok(compacted) => compacted,
            Err(error) => {
                context.worker.metrics.acted("failed", 1);
                tracing::warn!(%error, "failed to compact the journals");
                0
            }
        };
        context.worker.metrics.acted("journal_compacted", compacted);
        let wait = if compacted > 0 || after.is_some() { BUSY } else { IDLE };
        if pause(wait, &context.shutdown).await.is_err() {
            return;
        }
    }
}

type Settled = HashMap<(String, String, String), (usize, usize)>;

/// Compacts a stretch of all journals and, where that is not all of them, those in which most is written; returns how many
/// compactions it made.
async fn compact_all(
    context: &Context,
    after: &mut Option<String>,
    settled: &mut Settled,
) -> Result<u64, CompactionError> {
    let is_further = after.is_some();
    let mut compacted = compact_stretch(context, after, settled).await?;
    if !is_further && after.is_none() {
        return Ok(compacted);
    }
    let busy = Ledger::busy_slots(Timestamp::now());
    for definition in context.worker.catalog.iter() {
        for slot in &busy {
            while context.worker.ledger.compact_jobs(definition.name(), slot).await? {
                compacted += 1;
            }
        }
    }
    Ok(compacted)
}

/// Returns how many compactions it made.
async fn compact_stretch(
    context: &Context,
    after: &mut Option<String>,
    settled: &mut Settled,
) -> Result<u64, CompactionError> {
    let crowded = crowded(&context.worker.store, after.as_deref(), STRETCH).await?;
    let mut compacted = 0;
    for (journal, counts) in crowded.journals {
        // Snapshots of different sizes are left as they are; segments are due once they are old.
        if counts.0 < 2 && settled.get(&journal) == Some(&counts) {
            continue;
        }
        while compact(context, &journal).await? {
            compacted += 1;
        }
        settled.insert(journal, counts);
    }
    *after = crowded.next;
    Ok(compacted)
}

/// Does one compaction; returns whether another may be due.
async fn compact(context: &Context, (source, kind, name): &(String, String, String)) -> Result<bool, CompactionError> {
    match kind.as_str() {
        INDEX => context.index.compact(source, name).await,
        JOBS => context.worker.ledger.compact_jobs(source, name).await,
        _ => Ok(false),
    }
}

/// Builds the index of every source of the catalog that has none.
async fn build(context: &Context) {
    for definition in context.worker.catalog.iter() {
        let source = definition.name();
        match context.index.months(source).await {
            Ok(months) if months.is_built => continue,
            Ok(_) => {}
            Err(error) => {
                tracing::warn!(source, %error, "failed to look whether the source has an index");
                continue;
            }
        }
        let mut told = Instant::now();
        let progress = |rebuilt: &waybill_ledger::index::Rebuilt| {
            if told.elapsed() >= TOLD {
                told = Instant::now();
                tracing::info!(source, objects = rebuilt.objects, added = rebuilt.added, "building the index");
            }
        };
        match context.index.rebuild(source, Timestamp::now(), progress).await {
            Ok(rebuilt) => {
                let (objects, added) = (rebuilt.objects, rebuilt.added);
                tracing::info!(source, objects, added, unreadable = rebuilt.unreadable, "built the index");
            }
            Err(error) => {
                context.worker.metrics.acted("failed", 1);
                tracing::warn!(source, %error, "failed to build the index; tried again in some minutes");
            }
        }
    }
}
