//! Uploads whose rows are sent one by one: none is lost, and none is sent twice unless somebody asks for it.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use fastrand::Rng;

use crate::chaos::{
    Report,
    canceller::act,
    check::{get_when_up, settle},
    fleet::{Body, Fleet, Post},
};

/// Rows of one upload, at most. With the pauses between uploads they take half of the upstream's limit.
const MOST_ROWS: u64 = 30;
/// How long jobs of uploads may take once they are retried.
const RETRIED_WITHIN: Duration = Duration::from_secs(600);

/// The uploads of a run. The canceller leaves their jobs alone: it would ask for rows to be sent again.
pub(super) struct Relay {
    rng: Rng,
    /// Jobs, each with the number of its rows.
    pub(super) jobs: Vec<(String, u64)>,
    /// Uploads that were sent, accepted or not.
    sent: u64,
}

impl Relay {
    pub(super) fn new(rng: Rng) -> Self {
        Self { rng, jobs: Vec::new(), sent: 0 }
    }

    pub(super) async fn run(&mut self, fleet: &Fleet, end: Instant) {
        while Instant::now() < end {
            let (rows, upload) = (self.rng.u64(1..=MOST_ROWS), self.sent);
            self.sent += 1;
            let csv = (0..rows).fold("userId,title,body\n".to_owned(), |csv, row| {
                csv + &format!("{row},{},some text\n", title(upload, row))
            });
            let key = format!("chaos-upload-{upload}");
            for api in 0..60 {
                let post =
                    Post { path: "/v1/jobs?source=relay", submit: Some((Body::Csv(&csv), &key)), allowed: &[202] };
                if let Some((202, job)) = fleet.post(api, post).await {
                    assert_eq!(self.jobs.len() as u64, upload, "titles are numbered by job");
                    self.jobs.extend(job["id"].as_str().map(|id| (id.to_owned(), rows)));
                    break;
                }
                tokio::time::sleep(Duration::from_millis(500)).await;
            }
            tokio::time::sleep(Duration::from_millis(self.rng.u64(3_000..7_000))).await;
        }
    }

    /// Checks what has come of all rows before and after what is not done is retried.
    pub(super) async fn check(&self, fleet: &Fleet, deadline: Duration, report: &mut Report) {
        let ids: Vec<_> = self.jobs.iter().map(|(id, _)| id.clone()).collect();
        settle(fleet, &ids, deadline, report, "every job of an upload is terminal").await;
        let before = self.outcomes(fleet).await;
        let (mut wrong, mut unknown) = (Vec::new(), 0);
        for (upload, row) in self.rows() {
            let (result, received) =
                (before.get(&(upload, row)), fleet.upstream.received_with_title(&title(upload, row)));
            let is_right = match result.map(String::as_str) {
                Some("done") => received == 1,
                Some("unknown") => received <= 1,
                Some(_) => false,
                // Its task was given up, and may have begun with it.
                None => received <= 1,
            };
            unknown += u64::from(result.is_some_and(|result| result == "unknown"));
            if !is_right {
                wrong.push(format!("{} is {result:?} and came {received} times", title(upload, row)));
            }
        }
        let rows = self.rows().count();
        let promise =
            format!("none of {rows} rows was sent twice, and those that are done were sent; {unknown} are unknown");
        report.expect(wrong.is_empty(), &promise, || wrong.join(", "));

        let mut retried = Vec::new();
        for (n, id) in ids.iter().enumerate() {
            let job = get_when_up(fleet, "api", &format!("/v1/jobs/{id}")).await.unwrap_or_default();
            if job["state"] != "succeeded" {
                act(fleet, n, id, "retry").await;
                retried.push(id.clone());
            }
        }
        let promise = format!("the {} uploads of which a row is not done end when they are retried", retried.len());
        settle(fleet, &retried, RETRIED_WITHIN, report, &promise).await;
        let after = self.outcomes(fleet).await;
        let mut wrong = Vec::new();
        for (upload, row) in self.rows() {
            let was_done = before.get(&(upload, row)).is_some_and(|result| result == "done");
            let (result, received) =
                (after.get(&(upload, row)), fleet.upstream.received_with_title(&title(upload, row)));
            let may_come = if was_done { 1..=1 } else { 1..=2 };
            if result.is_none_or(|result| result != "done") || !may_come.contains(&received) {
                wrong.push(format!("{} is {result:?} and came {received} times", title(upload, row)));
            }
        }
        let promise = "then every row is done, and those that were done before were not sent again";
        report.expect(wrong.is_empty(), promise, || wrong.join(", "));
        let posts = fleet.upstream.requests().posts;
        let promise = format!("{} requests with a row kept the upstream's limit", posts.requests);
        report.expect(posts.violations == 0, &promise, || format!("{} did not", posts.violations));
    }

    /// By upload and row.
    async fn outcomes(&self, fleet: &Fleet) -> BTreeMap<(u64, u64), String> {
        let mut outcomes = BTreeMap::new();
        for (upload, (id, _)) in (0..).zip(&self.jobs) {
            let path = format!("/api/v1/file/download?uuid_id={id}");
            let answer = get_when_up(fleet, "api", &path).await.unwrap_or_default();
            for outcome in answer["result"].as_array().into_iter().flatten() {
                let row = outcome["userId"].as_u64().unwrap_or(u64::MAX);
                outcomes.insert((upload, row), outcome["result"].as_str().unwrap_or_default().to_owned());
            }
        }
        outcomes
    }

    fn rows(&self) -> impl Iterator<Item = (u64, u64)> {
        (0..).zip(&self.jobs).flat_map(|(upload, (_, rows))| (0..*rows).map(move |row| (upload, row)))
    }
}

fn title(upload: u64, row: u64) -> String {
    format!("row {row} of upload {upload}")
}
