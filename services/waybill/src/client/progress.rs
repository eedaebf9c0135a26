//! Jobs followed until they end: bars on a terminal, plain lines elsewhere.

use std::{
    collections::HashMap,
    io::{IsTerminal, Write},
    time::{Duration, Instant},
};

use indicatif::{HumanBytes, HumanCount, MultiProgress, ProgressBar, ProgressStyle};

use crate::client::{
    Client, Job, failures,
    http::{Rows, Wait},
    jobs,
};

/// Often enough to look alive, seldom enough to cost the server nothing.
const POLL: Duration = Duration::from_millis(250);
/// Without a terminal: a line for each job at most so often while tasks end.
const LINE_EVERY: Duration = Duration::from_secs(2);
/// … and so often while nothing changes.
const IDLE_LINE_EVERY: Duration = Duration::from_secs(30);
/// How long no task may end before an estimate from the past says nothing.
const STALLED: Duration = Duration::from_secs(10);

/// Follows jobs until all have ended, says why tasks failed, and returns the jobs as they ended, in the same order.
pub(crate) async fn follow(client: &Client, ids: &[String]) -> anyhow::Result<Vec<Job>> {
    let mut bars = std::io::stderr().is_terminal().then(Bars::new);
    let mut seen: HashMap<&String, Seen> = HashMap::new();
    let mut ended: HashMap<&String, Job> = HashMap::new();
    loop {
        for id in ids {
            if !ended.contains_key(id) {
                let job = client.job(id).await?;
                let (seen, now) = (seen.entry(id).or_default(), Instant::now());
                let stalled = seen.stalled(&job, now);
                match &mut bars {
                    Some(bars) => bars.show(&job, stalled),
                    // A closed pipe is no reason to stop following.
                    None if seen.is_line_due(&job, now) => {
                        let _ = writeln!(std::io::stderr(), "{}", line(&job, stalled));
                    }
                    None => {}
                }
                if job.is_terminal() {
                    ended.insert(id, job);
                }
            }
        }
        if ended.len() == ids.len() {
            let jobs: Vec<_> = ids.iter().filter_map(|id| ended.get(id).cloned()).collect();
            for job in &jobs {
                if let Some(rows) = job.rows {
                    eprint!("{}", jobs::rows_summary(job, rows, client.base()));
                }
                failures::print_summary(client, job).await?;
            }
            return Ok(jobs);
        }
        tokio::time::sleep(POLL).await;
    }
}

/// What was seen of a job, and said of it.
#[derive(Debug, Default)]
struct Seen {
    /// Tasks or rows that had ended, and since when it is so many.
    ended: Option<(u64, Instant)>,
    line: Option<Line>,
}

/// What the last line said, and when it was.
#[derive(Debug)]
struct Line {
    state: String,
    ended: u64,
    waits: bool,
    at: Instant,
}

impl Seen {
    /// How long no task or row has ended of a job that runs; none while that is not long.
    fn stalled(&mut self, job: &Job, now: Instant) -> Option<Duration> {
        let ended = job.ended();
        let (_, since) = *match &mut self.ended {
            Some(last) if last.0 == ended => last,
            last => last.insert((ended, now)),
        };
        Some(now.duration_since(since)).filter(|stalled| job.state == "running" && *stalled >= STALLED)
    }

    /// Whether something changed that a line is worth, or it was long ago.
    fn is_line_due(&mut self, job: &Job, now: Instant) -> bool {
        let (ended, waits) = (job.ended(), !job.waits.is_empty());
        let is_due = self.line.as_ref().is_none_or(|last| {
            let (age, is_same) = (now.duration_since(last.at), (last.ended, last.waits) == (ended, waits));
            last.state != job.state || age >= IDLE_LINE_EVERY || (!is_same && age >= LINE_EVERY)
        });
        if is_due {
            self.line = Some(Line { state: job.state.clone(), ended, waits, at: now });
        }
        is_due
    }
}

/// `buses date=2024-05-01: running, 3 of 12 tasks, …`
fn line(job: &Job, stalled: Option<Duration>) -> String {
    let so_far = match job.rows {
        Some(rows) => rows_so_far(rows),
        None => format!("{} of {} tasks", job.tasks.ended(), job.tasks.total),
    };
    format!("{}: {}, {so_far}, {}", job.title(), job.state, amounts(job, stalled))
}

/// `1,200 of 5,000 rows, 3 errors`
fn rows_so_far(rows: Rows) -> String {
    let mut text = format!("{} of {} rows", HumanCount(rows.ended()), HumanCount(rows.total));
    match rows.errors {
        0 => {}
        1 => text += ", 1 error",
        errors => text += &format!(", {} errors", HumanCount(errors)),
    }
    if rows.unknown > 0 {
        text += &format!(", {} unknown", HumanCount(rows.unknown));
    }
    text
}

fn amounts(job: &Job, stalled: Option<Duration>) -> String {
    let mut text = match job.rows {
        Some(_) => format!("{} of {} tasks", job.tasks.ended(), job.tasks.total),
        None => format!("{}, {} records", HumanBytes(job.bytes), HumanCount(job.records)),
    };
    if job.tasks.unchanged > 0 {
        text += &format!(", {} unchanged", job.tasks.unchanged);
    }
    if job.tasks.failed > 0 {
        text += &format!(", {} failed", job.tasks.failed);
    }
    let left = job.tasks.total.saturating_sub(job.tasks.ended());
    let wait = job.waits.first().filter(|_| stalled.is_some() || left <= job.waits.len() as u64);
    match (stalled, wait, job.eta_seconds) {
        (_, Some(Wait { until, reason }), _) => format!("{text}, the next attempt waits until {until}: {reason}"),
        (Some(stalled), None, _) => format!(
            "{text}, no {} has ended for {} s: {left} tasks run or wait for the upstream's limit",
            if job.rows.is_some() { "row" } else { "task" },
            stalled.as_secs(),
        ),
        (None, None, Some(eta)) if !job.is_terminal() => format!("{text}, about {eta:.0} s left"),
        (None, None, _) => text,
    }
}

struct Bars {
    all: MultiProgress,
    by_job: HashMap<String, ProgressBar>,
}

impl Bars {
    fn new() -> Self {
        Self { all: MultiProgress::new(), by_job: HashMap::new() }
    }

    fn show(&mut self, job: &Job, stalled: Option<Duration>) {
        let style = "{prefix:<24} {bar:24} {pos:>5}/{len} {msg}";
        let bar = self.by_job.entry(job.id.clone()).or_insert_with(|| {
            let style = ProgressStyle::with_template(style).unwrap_or_else(|_| ProgressStyle::default_bar());
            self.all.add(ProgressBar::new(0).with_style(style).with_prefix(job.title()))
        });
        // Rows end batch by batch, as tasks do, but say more.
        let (ended, total) = job.rows.map_or((job.tasks.ended(), job.tasks.total), |rows| (rows.ended(), rows.total));
        bar.set_length(total);
        bar.set_position(ended);
        let rows = job.rows.map(|rows| format!("{}, ", rows_so_far(rows))).unwrap_or_default();
        bar.set_message(format!("{}, {rows}{}", job.state, amounts(job, stalled)));
        if job.is_terminal() {
            bar.abandon();
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn job(state: &str, stored: u64) -> Job {
        serde_json::from_value(json!({
            "id": "018f", "source": "buses", "params": { "date": "2024-05-01" }, "state": state,
            "created": "2024-05-01T08:00:00Z", "finished": null, "bytes": 1000 * stored, "records": 10 * stored,
            "tasks": { "total": 12, "stored": stored, "unchanged": 0, "failed": 0 }, "eta_seconds": 1.0,
            "waits": if stored == 11 { json!([{ "until": "08:01:35", "reason": "the upstream answers 429" }]) } else { json!([]) },
        }))
        .unwrap()
    }

    /// The lines that a job is worth which stands so at these seconds.
    fn lines(states: &[(u64, &str, u64)]) -> String {
        let (mut seen, start) = (Seen::default(), Instant::now());
        let lines = states.iter().filter_map(|(second, state, stored)| {
            let (job, now) = (job(state, *stored), start + Duration::from_secs(*second));
            let stalled = seen.stalled(&job, now);
            seen.is_line_due(&job, now).then(|| format!("{second}: {}\n", line(&job, stalled)))
        });
        lines.collect()
    }

    #[test]
    fn a_line_is_printed_for_a_change_and_else_every_30_seconds() {
        let waiting = (5..=95).map(|second| (second, "running", 11));
        let states: Vec<_> =
            [(0, "queued", 0), (1, "running", 0), (2, "running", 5), (3, "running", 6), (4, "running", 11)]
                .into_iter()
                .chain(waiting)
                .chain([(96, "succeeded", 12)])
                .collect();
        insta::assert_snapshot!(lines(&states), @"
        0: buses date=2024-05-01: queued, 0 of 12 tasks, 0 B, 0 records, about 1 s left
        1: buses date=2024-05-01: running, 0 of 12 tasks, 0 B, 0 records, about 1 s left
        3: buses date=2024-05-01: running, 6 of 12 tasks, 5.86 KiB, 60 records, about 1 s left
        5: buses date=2024-05-01: running, 11 of 12 tasks, 10.74 KiB, 110 records, the next attempt waits until 08:01:35: the upstream answers 429
        35: buses date=2024-05-01: running, 11 of 12 tasks, 10.74 KiB, 110 records, the next attempt waits until 08:01:35: the upstream answers 429
        65: buses date=2024-05-01: running, 11 of 12 tasks, 10.74 KiB, 110 records, the next attempt waits until 08:01:35: the upstream answers 429
        95: buses date=2024-05-01: running, 11 of 12 tasks, 10.74 KiB, 110 records, the next attempt waits until 08:01:35: the upstream answers 429
        96: buses date=2024-05-01: succeeded, 12 of 12 tasks, 11.72 KiB, 120 records
        ");
    }

    #[test]
    fn rows_are_shown_where_a_job_has_rows() {
        let mut job = job("running", 3);
        (job.source, job.params) = ("relay".to_owned(), [].into());
        job.rows = Some(Rows { total: 5_000, done: 1_196, errors: 3, unknown: 1 });
        insta::assert_snapshot!(line(&job, None), @"relay: running, 1,200 of 5,000 rows, 3 errors, 1 unknown, 3 of 12 tasks, about 1 s left");
    }
}
