//! Jobs as people read them.

use comfy_table::{Table, presets::NOTHING};
use indicatif::{HumanBytes, HumanCount};

use crate::client::Job;

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
    println!("  amount    {}, {} records", HumanBytes(job.bytes), HumanCount(job.records));
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
