//! Failures of a job that has ended, summed up by reason.

use std::collections::HashMap;

use crate::client::{Client, Job, http::TaskError};

/// Reasons told; a job has a few, unless its upstream invents them.
const REASONS_TOLD: usize = 10;

/// Tasks that failed for the same reason, but for the numbers and names in it.
struct Group {
    count: u64,
    example: TaskError,
}

/// Prints to standard error why tasks of a job failed, and what to do next.
pub(crate) async fn print_summary(client: &Client, job: &Job) -> anyhow::Result<()> {
    if !job.errors.is_empty() {
        // Planning failures and missing items are among the job's errors only.
        let is_all = job.tasks.failed <= job.errors.len() as u64;
        let failures = if is_all { job.errors.clone() } else { client.failed_tasks(&job.id).await? };
        eprint!("{}", summary(job, failures));
    }
    Ok(())
}

fn summary(job: &Job, failures: Vec<TaskError>) -> String {
    let (told, mut quarantine) = (failures.len() as u64, None);
    let mut lines = format!("{}: {}", job.title(), job.state);
    if job.tasks.failed > 0 {
        lines += &format!(", {} of {} tasks failed", job.tasks.failed, job.tasks.total);
    }
    lines.push('\n');
    let groups = groups(failures);
    for Group { count, example } in groups.iter().take(REASONS_TOLD) {
        lines += &format!("  {count} × {}", example.reason);
        if !example.items.is_empty() {
            let such_as = if *count > 1 { "for example " } else { "" };
            lines += &format!(" ({such_as}{})", shortened(&example.items));
        }
        lines.push('\n');
        quarantine = quarantine.or(example.quarantine.as_ref());
    }
    if groups.len() > REASONS_TOLD {
        lines += &format!("  and {} more reasons\n", groups.len() - REASONS_TOLD);
    }
    if job.tasks.failed > told {
        lines += &format!("  and {} more tasks, at /v1/jobs/{}/tasks?state=failed\n", job.tasks.failed - told, job.id);
    }
    if job.is_load() && job.state == "partial" {
        if let Some(report) = quarantine {
            lines += &format!("  the first 1,000 rows that were left out are named in the bucket, in {report}\n");
        }
        return lines + "  once they are mended, load the file again: what is there already is replaced\n";
    }
    if let Some(file) = quarantine {
        let report = file.rsplit_once('.').map_or(file.as_str(), |(stem, _)| stem);
        lines += &format!("  refused files are in the bucket, each with a report, such as {report}.report.json\n");
    }
    if matches!(job.state.as_str(), "partial" | "failed") {
        lines += &format!("  once the cause is mended, `waybill retry {} --wait` tries again what failed\n", job.id);
    }
    lines
}

/// Most frequent first.
fn groups(failures: Vec<TaskError>) -> Vec<Group> {
    let mut groups: HashMap<String, Group> = HashMap::new();
    for example in failures {
        groups.entry(kind(&example)).or_insert(Group { count: 0, example }).count += 1;
    }
    let mut groups: Vec<_> = groups.into_values().collect();
    groups.sort_by(|a, b| b.count.cmp(&a.count).then_with(|| a.example.reason.cmp(&b.example.reason)));
    groups
}

/// A reason without what differs from task to task: quoted values and numbers.
fn kind(error: &TaskError) -> String {
    let unquoted = error.reason.split('"').step_by(2).collect::<Vec<_>>().join("\"\"");
    unquoted.split(|c: char| c.is_ascii_digit()).filter(|part| !part.is_empty()).collect::<Vec<_>>().join("0")
}

/// `a, b and 18 more`
fn shortened(items: &[String]) -> String {
    match items {
        [first, second, _, rest @ ..] => format!("{first}, {second} and {} more", rest.len() + 1),
        few => few.join(", "),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::client::http::Rows;

    fn error(task: u64, reason: &str, quarantine: Option<&str>) -> TaskError {
        let items = [format!("{task}-city"), "b".to_owned(), "c".to_owned()];
        let items = if task == 9 { items.to_vec() } else { items[..1].to_vec() };
        TaskError { items, reason: reason.to_owned(), quarantine: quarantine.map(str::to_owned) }
    }

    fn job(state: &str, failed: u64) -> Job {
        serde_json::from_value(json!({
            "id": "018f", "source": "buses", "params": { "date": "2024-05-01" }, "state": state,
            "created": "2024-05-01T08:00:00Z", "finished": null, "bytes": 0, "records": 0,
            "tasks": { "total": 60, "stored": 60 - failed, "unchanged": 0, "failed": failed },
        }))
        .unwrap()
    }

    #[test]
    fn failures_are_summed_up_by_reason() {
        let mut failures = vec![
            error(1, "record 17: expected an integer, found \"x\"", Some("quarantine/buses/1-city.2024-0a1b.json")),
            error(9, "GET /cities/9/stats: 404 Not Found", None),
        ];
        failures.extend((20..40).map(|city| error(city, &format!("GET /cities/{city}/stats: 500"), None)));
        failures.push(error(2, "record 170: expected an integer, found \"1.5\"", None));
        insta::assert_snapshot!(summary(&job("partial", 52), failures), @r#"
        buses date=2024-05-01: partial, 52 of 60 tasks failed
          20 × GET /cities/20/stats: 500 (for example 20-city)
          2 × record 17: expected an integer, found "x" (for example 1-city)
          1 × GET /cities/9/stats: 404 Not Found (9-city, b and 1 more)
          and 29 more tasks, at /v1/jobs/018f/tasks?state=failed
          refused files are in the bucket, each with a report, such as quarantine/buses/1-city.2024-0a1b.report.json
          once the cause is mended, `waybill retry 018f --wait` tries again what failed
        "#);
    }

    #[test]
    fn rows_that_were_left_out_want_a_better_file() {
        let mut job = job("partial", 0);
        job.rows = Some(Rows { total: 3, done: 2, errors: 1, unknown: 0 });
        let reason = "field `pages`: expected an integer, found \"x\"".to_owned();
        let quarantine = Some("quarantine/book/job=018f/rows.2024-0a1b.ndjson".to_owned());
        let left_out = TaskError { items: vec!["line 4".to_owned()], reason, quarantine };
        insta::assert_snapshot!(summary(&job, vec![left_out]), @r#"
        buses date=2024-05-01: partial
          1 × field `pages`: expected an integer, found "x" (line 4)
          the first 1,000 rows that were left out are named in the bucket, in quarantine/book/job=018f/rows.2024-0a1b.ndjson
          once they are mended, load the file again: what is there already is replaced
        "#);
    }

    #[test]
    fn a_planning_that_failed_names_no_task() {
        let failures = vec![TaskError { items: Vec::new(), reason: "GET /cities: 404".to_owned(), quarantine: None }];
        insta::assert_snapshot!(summary(&job("failed", 0), failures), @"
        buses date=2024-05-01: failed
          1 × GET /cities: 404
          once the cause is mended, `waybill retry 018f --wait` tries again what failed
        ");
    }
}
