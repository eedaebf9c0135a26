//! `waybill journal SOURCE` and `waybill rebuild SOURCE`: a look into the journals, and the way back to the object index.

use std::{
    io::{self, BufWriter, Write},
    process::ExitCode,
    time::{Duration, Instant},
};

use anyhow::{Context, bail};
use jiff::Timestamp;
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;
use waybill_ledger::{
    JobFacts, JobId, Ledger, SlotFacts, TaskOutcome, WorkFacts,
    index::{Index, IndexedFetch, IndexedObject, Rebuilt, Row, Rows},
};
use waybill_store::Store;

use crate::{
    cli::{self, ServerFlags},
    server::{backends, catalog, settings::Settings, target::Target},
};

/// Between two lines of progress.
const TOLD: Duration = Duration::from_secs(2);

/// Prints what is asked for; what cannot be read is named, and makes the exit status 1.
pub(crate) async fn print(flags: cli::Journal) -> anyhow::Result<ExitCode> {
    match (flags.jobs, &flags.job) {
        (false, None) => print_rows(flags).await,
        (_, job) => {
            let job = job.as_deref().map(str::parse).transpose()?;
            print_jobs(&flags, job).await
        }
    }
}

/// What happened to a job and its tasks, or to all.
async fn print_jobs(flags: &cli::Journal, job: Option<JobId>) -> anyhow::Result<ExitCode> {
    let (store, _) = open(&flags.server, &flags.source).await?;
    let ledger = Ledger::read_only(store);
    let slots = match job {
        Some(job) => {
            let request = ledger.request(job).await?.with_context(|| format!("there is no job {job}"))?;
            if request.source != flags.source {
                bail!("job {job} is of the source `{}`", request.source);
            }
            vec![Ledger::journal_slot_of(job)]
        }
        None => ledger.journal_slots(&flags.source).await?,
    };
    let mut code = ExitCode::SUCCESS;
    let mut out = BufWriter::new(io::stdout().lock());
    for slot in slots {
        let SlotFacts { jobs, unreadable } = ledger.journal_slot(&flags.source, &slot, job).await?;
        for object in unreadable {
            eprintln!("{object}");
            code = ExitCode::FAILURE;
        }
        for job in &jobs {
            match write_job(&mut out, job) {
                // The reader of a pipe has seen enough.
                Err(error) if error.kind() == io::ErrorKind::BrokenPipe => return Ok(code),
                written => written?,
            }
        }
    }
    out.flush()?;
    Ok(code)
}

/// One line for the job; of one that is sealed, whose outcomes are not in the journal any more, what they add up to. One for each task that has ended, and one for each that has leases, further attempts or waits.
fn write_job(out: &mut impl Write, facts: &JobFacts) -> io::Result<()> {
    let JobFacts { job, started, planned, tasks, plan_failed, round, is_sent, cancelled, sealed, outcomes, work } =
        facts;
    let line = json!({
        "job": job,
        "started": started,
        "planned": planned,
        "tasks": tasks,
        "plan_failed": plan_failed,
        "latest_round": round,
        "is_sent": is_sent,
        "cancelled": cancelled,
        "sealed": sealed,
    });
    writeln!(out, "{line}")?;
    for TaskOutcome { task, round, done, failure } in outcomes {
        let line = json!({ "job": job, "task": task, "round": round, "done": done, "failure": failure });
        writeln!(out, "{line}")?;
    }
    for WorkFacts { task, round, attempts, leases, wait } in work {
        let line = json!({
            "job": job,
            "task": task,
            "round": round,
            "further_attempts": attempts,
            "leases": leases,
            "wait": wait,
        });
        writeln!(out, "{line}")?;
    }
    Ok(())
}

async fn print_rows(flags: cli::Journal) -> anyhow::Result<ExitCode> {
    let (_, index) = open(&flags.server, &flags.source).await?;
    let months = index.months(&flags.source).await?;
    if !months.is_built {
        eprintln!("the index of `{}` is not built: `waybill rebuild {0}` does it", flags.source);
    }
    let mut code = ExitCode::SUCCESS;
    let mut out = BufWriter::new(io::stdout().lock());
    for name in months.hashes.keys().filter(|name| flags.month.as_ref().is_none_or(|month| month == *name)) {
        let month = index.month(&flags.source, name).await?;
        for object in month.unreadable() {
            eprintln!("{object}");
            code = ExitCode::FAILURE;
        }
        match month.read(|rows| write(&mut out, rows)) {
            // The reader of a pipe has seen enough.
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => return Ok(code),
            written => written?,
        }
    }
    out.flush()?;
    Ok(code)
}

fn write(out: &mut impl Write, rows: &Rows) -> io::Result<()> {
    for (partition, folder) in rows.folders() {
        for (item, row) in folder.rows() {
            writeln!(out, "{}", line(partition, item, row))?;
        }
    }
    Ok(())
}

fn line(partition: &str, item: &str, row: &Row) -> Value {
    let object = |object: &IndexedObject| {
        let statistics = object.statistics.lines().filter_map(|line| line.split_once('='));
        json!({
            "name": format!("{item}.{}", object.name),
            "bytes": object.bytes,
            "records": object.records,
            "sha256": object.sha256,
            "definition": object.definition,
            "job": object.job,
            "statistics": statistics.collect::<std::collections::BTreeMap<_, _>>(),
        })
    };
    let fetch = |fetch: IndexedFetch| {
        json!({
            "as_of": Timestamp::from_microsecond(fetch.as_of).ok(),
            "fetched_at": Timestamp::from_microsecond(fetch.fetched_at).ok(),
            "objects": fetch.objects.iter().map(object).collect::<Vec<_>>(),
        })
    };
    let unreadable: Vec<_> = row.unreadable().collect();
    json!({ "partition": partition, "item": item, "fetch": row.fetch().map(fetch), "unreadable": unreadable })
}

/// Makes the index again, and says what was put right.
pub(crate) async fn rebuild(flags: cli::Rebuild) -> anyhow::Result<ExitCode> {
    let source = &flags.source;
    let (_store, index) = open(&flags.server, source).await?;
    let mut told = Instant::now();
    let progress = |rebuilt: &Rebuilt| {
        if told.elapsed() >= TOLD {
            told = Instant::now();
            eprintln!("looked at {} objects, {} fetches were not in the index", rebuilt.objects, rebuilt.added);
        }
    };
    let rebuilt = index.rebuild(source, Timestamp::now(), progress).await?;
    println!("The index of `{source}` holds what is in data/{source}/: {} objects.", rebuilt.objects);
    let differences = [
        (rebuilt.added, "fetches were not in it, and are now"),
        (rebuilt.removed, "fetches were in it, and their objects are gone"),
        (rebuilt.unreadable, "objects are in no statistic: their metadata is not a worker's"),
        (rebuilt.incomplete, "objects are in no statistic: they are pieces of fetches that were not completed"),
    ];
    for (count, text) in differences.iter().filter(|(count, _)| *count > 0) {
        println!("{count} {text}");
    }
    if differences.iter().all(|(count, _)| *count == 0) {
        println!("The two did not differ.");
    }
    for key in &rebuilt.unreadable_journal {
        println!("{key} cannot be read. What it held is in the index again; it may be deleted.");
    }
    Ok(ExitCode::SUCCESS)
}

async fn open(flags: &ServerFlags, source: &str) -> anyhow::Result<(Store, Index)> {
    let settings = Settings::load(flags)?;
    let catalog = catalog::load(&settings)?;
    if catalog.get(source).is_none() {
        let known: Vec<_> = catalog.iter().map(|definition| definition.name()).collect();
        bail!("there is no source `{source}` here; there are {}", known.join(", "));
    }
    let (store, _) = backends::store(&settings, Target::Up).await.context("opening the bucket")?;
    Ok((store.clone(), Index::new(store, CancellationToken::new())))
}
