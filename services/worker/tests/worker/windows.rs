//! Windows of time: what is open is fetched again by a later job, and counts once.

use std::collections::BTreeMap;

use waybill_ledger::{State, Status};

use crate::support::{Reply, System, Upstream};

/// The sales of each month.
const SALES: &str = r#"
name     = "sales"
title    = "Sales by month"
base_url = "http://127.0.0.1:1"
params   = [{ name = "from", type = "date" }, { name = "to", type = "date" }]

[[items]]
name  = "month"
dates = { from = "{{ params.from }}", to = "{{ params.to }}", step = "P1M" }
key   = "all"

[fetch]
path    = "/sales"
query   = { from = "{{ month.from }}", until = "{{ month.to }}" }
records = "$[*]"

[record]
fields = [{ name = "id", type = "integer" }]

[stats]
sales = "count"

[store]
partition = ["date={{ month.from }}"]
"#;

/// One sale a day: as many as there are days before `until` in its month, all that is asked for.
async fn system() -> System {
    let upstream = Upstream::start().await;
    upstream.on("/sales", |asked| {
        let until = asked.query.split('&').find_map(|pair| pair.strip_prefix("until=")).unwrap();
        let day: usize = until.rsplit('-').next().unwrap().parse().unwrap();
        let sales: Vec<_> = (1..if day == 1 { 31 } else { day }).map(|id| serde_json::json!({ "id": id })).collect();
        Reply::json(&sales.into())
    });
    System::start(SALES, upstream).await
}

async fn job(system: &System, from: &str, to: &str) -> Status {
    let given = BTreeMap::from([("from", from), ("to", to)].map(|(name, date)| (name.to_owned(), date.to_owned())));
    let job = system.submit_given("sales", &given, None).await;
    let status = system.ended(job).await;
    assert_eq!(status.state, State::Succeeded, "{:?}", status.errors);
    status
}

/// The sales of each month that is stored.
async fn stored(system: &System) -> Vec<(String, String)> {
    let month = |key: &str| key.split("date=").nth(1).unwrap()[..7].to_owned();
    let object = |object: crate::support::Object| (month(&object.key), object.head.metadata["sales"].clone());
    system.data().await.into_iter().map(object).collect()
}

fn months(months: &[(&str, &str)]) -> Vec<(String, String)> {
    months.iter().map(|(month, sales)| ((*month).to_owned(), (*sales).to_owned())).collect()
}

#[tokio::test]
async fn an_open_window_grows_with_later_jobs_and_is_there_once() {
    let system = system().await;
    job(&system, "2024-04-20", "2024-05-11").await;
    assert_eq!(stored(&system).await, months(&[("2024-04", "30"), ("2024-05", "10")]));
    let later = job(&system, "2024-05-11", "2024-05-21").await;
    assert_eq!((later.tasks.total, later.tasks.stored), (1, 1));
    assert_eq!(stored(&system).await, months(&[("2024-04", "30"), ("2024-05", "20")]));
    let whole = job(&system, "2024-05-21", "2024-06-02").await;
    assert_eq!((whole.tasks.total, whole.tasks.stored), (2, 2));
    assert_eq!(stored(&system).await, months(&[("2024-04", "30"), ("2024-05", "30"), ("2024-06", "1")]));
}

#[tokio::test]
async fn a_job_that_ends_earlier_takes_nothing_away() {
    let system = system().await;
    job(&system, "2024-05-01", "2024-05-21").await;
    let asked = system.upstream.asked("/sales").len();
    let shorter = job(&system, "2024-05-01", "2024-05-11").await;
    assert_eq!((shorter.tasks.unchanged, shorter.tasks.stored, shorter.records), (1, 0, 20));
    assert_eq!(system.upstream.asked("/sales").len(), asked, "it asks for nothing");
    assert_eq!(stored(&system).await, months(&[("2024-05", "20")]));
    // The same window again is asked for again.
    assert_eq!(job(&system, "2024-05-01", "2024-05-21").await.tasks.unchanged, 1);
    assert_eq!(system.upstream.asked("/sales").len(), asked + 1);
}
