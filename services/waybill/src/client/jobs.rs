//! Jobs as people read them.

use comfy_table::{Table, presets::NOTHING};
use indicatif::{HumanBytes, HumanCount};

use crate::client::{Job, http::Rows};

/// One job, whole.
pub(crate) fn print(job: &Job) {
    let tasks = job.tasks;
    println!("{}  {}", job.id, job.title());
    println!("  state     {}", job.state);
    println!("  created   {}", job.created);
    if let Some(finished) = &job.finished {
        println!("  finished  {finished}");
    }
    println!(
        "  tasks     {} ({} stored, {} unchanged, {} failed)",
        tasks.total, tasks.stored, tasks.unchanged, tasks.failed
    );
    match job.rows {
        Some(rows) => println!(
            "  rows      {} ({} done, {} errors, {} unknown)",
            rows.total, rows.done, rows.errors, rows.unknown
        ),
        None => println!("  amount    {}, {} records", HumanBytes(job.bytes), HumanCount(job.records)),
    }
    for wait in &job.waits {
        println!("  waits     until {}: {}", wait.until, wait.reason);
    }
    print_errors(job);
}

/// Its first failures, and how many there are beyond them.
fn print_errors(job: &Job) {
    for error in &job.errors {
        println!("  failed    {}: {}", error.items.join(", "), error.reason);
    }
    let more = job.tasks.failed.saturating_sub(job.errors.len() as u64);
    if more > 0 {
        println!("  and {more} more, at /v1/jobs/{}/tasks?state=failed", job.id);
    }
    if matches!(job.state.as_str(), "partial" | "failed") {
        println!("  retry     waybill retry {}", job.id);
    }
}

/// How the rows of a job that has ended ended, how to get the result, and what can be done about the others.
pub(crate) fn rows_summary(job: &Job, rows: Rows, base: &str) -> String {
    if job.is_load() {
        let [done, errors] = [rows.done, rows.errors].map(HumanCount);
        return format!("{}: {done} rows loaded, {errors} left out\n", job.title());
    }
    let [total, done, errors, unknown] = [rows.total, rows.done, rows.errors, rows.unknown].map(HumanCount);
    let mut lines = format!("{}: {total} rows: {done} done, {errors} errors, {unknown} unknown\n", job.title());
    let not_sent = rows.total.saturating_sub(rows.ended());
    if not_sent > 0 {
        lines += &format!("  {} rows were not sent\n", HumanCount(not_sent));
    }
    if rows.errors > 0 {
        lines += "  errors are rows that are not as they must be, or that the API refused; the result says which\n";
    }
    if rows.unknown > 0 {
        lines += "  unknown are rows whose answer was lost: the API may have them\n";
    }
    let key = if std::env::var_os("WAYBILL_API_KEY").is_some() {
        "-H \"Authorization: Bearer $WAYBILL_API_KEY\" "
    } else {
        ""
    };
    lines += &format!("  result    curl {key}'{base}/v1/jobs/{}/result'\n", job.id);
    lines
}

/// A line a job.
pub(crate) fn table(jobs: &[Job]) -> Table {
    let mut table = Table::new();
    table.load_style(NOTHING).set_header(["ID", "JOB", "STATE", "TASKS", "FAILED", "RECORDS", "CREATED"]);
    for job in jobs {
        table.add_row([
            job.id.clone(),
            job.title(),
            job.state.clone(),
            job.tasks.total.to_string(),
            job.tasks.failed.to_string(),
            HumanCount(job.records).to_string(),
            job.created.clone(),
        ]);
    }
    table
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn relay(done: u64, errors: u64, unknown: u64) -> String {
        let job: Job = serde_json::from_value(json!({
            "id": "018f", "source": "relay", "params": {}, "state": "partial",
            "created": "2024-05-01T08:00:00Z", "finished": null, "bytes": 0, "records": 0,
            "tasks": { "total": 60, "stored": 60, "unchanged": 0, "failed": 0 },
            "rows": { "total": 12_000, "done": done, "errors": errors, "unknown": unknown },
            "links": { "result": "/v1/jobs/018f/result" },
        }))
        .unwrap();
        rows_summary(&job, job.rows.unwrap(), "http://127.0.0.1:8080")
    }

    #[test]
    fn the_end_of_rows_says_what_to_do() {
        insta::assert_snapshot!(relay(12_000, 0, 0), @"
        relay: 12,000 rows: 12,000 done, 0 errors, 0 unknown
          result    curl 'http://127.0.0.1:8080/v1/jobs/018f/result'
        ");
        insta::assert_snapshot!(relay(11_000, 3, 1), @"
        relay: 12,000 rows: 11,000 done, 3 errors, 1 unknown
          996 rows were not sent
          errors are rows that are not as they must be, or that the API refused; the result says which
          unknown are rows whose answer was lost: the API may have them
          result    curl 'http://127.0.0.1:8080/v1/jobs/018f/result'
        ");
    }
}
