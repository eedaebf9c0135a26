//! The definitions in `sources/examples`, as whole jobs against servers of the shape of the real ones. What is expected is
//! read from those by a plain client.

use std::collections::{BTreeMap, HashMap};

use serde_json::Value;
use waybill_ledger::{State, Status};
use waybill_upstream::{Options, Running, Upstream as StandIn};

use crate::support::{PATIENCE, System, Upstream};

const GUARDIAN: &str = include_str!("../../../source/sources/examples/guardian.toml");
const OPENAQ: &str = include_str!("../../../source/sources/examples/openaq.toml");
const OPENEXCHANGE: &str = include_str!("../../../source/sources/examples/openexchange.toml");
const STRIPE: &str = include_str!("../../../source/sources/examples/stripe.toml");

struct Site {
    running: Running,
    stand_in: StandIn,
    client: reqwest::Client,
}

impl Site {
    async fn start() -> Self {
        let stand_in = StandIn::new(Options::default());
        Self { running: stand_in.start().await.unwrap(), stand_in, client: reqwest::Client::new() }
    }

    async fn get(&self, path: &str) -> Value {
        let request = self.client.get(format!("{}{path}", self.running.base_url()));
        let request = request.bearer_auth("test").header("X-API-Key", "test");
        request.send().await.unwrap().error_for_status().unwrap().json().await.unwrap()
    }

    /// All records at `list` of the numbered pages of a path.
    async fn pages(&self, path: &str, list: &str) -> Vec<Value> {
        let mut all = Vec::new();
        for page in 1.. {
            let body = self.get(&format!("{path}&page={page}")).await;
            let records = body.pointer(list).unwrap().as_array().unwrap().clone();
            let is_last = records.is_empty() || body.pointer("/response/pages") == Some(&page.into());
            all.extend(records);
            if is_last {
                break;
            }
        }
        all
    }

    /// A job of a definition that is as fast as the stand-in allows.
    async fn job(&self, definition: &str, below: &str, given: &[(&str, &str)]) -> (System, Status) {
        let definition = definition.replace("per = \"PT1S\"", "per = \"PT0.01S\"").replace("\"PT1M\"", "\"PT0.5S\"");
        let mut system = System::stopped(&definition, Upstream::start().await, PATIENCE).await;
        let name = system.definition.name().to_owned();
        let base_url = format!("{}{below}", self.running.base_url());
        system.worker.base_urls = HashMap::from([(name.clone(), base_url)]);
        for variable in ["GUARDIAN_KEY", "OPENAQ_API_KEY", "OXR_APP_ID", "STRIPE_KEY"] {
            system.worker.env.insert(variable.to_owned(), "test".to_owned());
        }
        system.run();
        let given: BTreeMap<_, _> = given.iter().map(|(name, value)| ((*name).into(), (*value).into())).collect();
        let job = system.submit_given(&name, &given, None).await;
        let status = system.ended(job).await;
        assert_eq!(status.state, State::Succeeded, "{:?}", status.errors);
        (system, status)
    }
}

/// A statistic over all objects.
async fn sum(system: &System, statistic: &str) -> i64 {
    let data = system.data().await;
    data.iter().map(|object| object.head.metadata[statistic].parse::<i64>().unwrap()).sum()
}

#[tokio::test]
async fn articles_of_the_guardian_by_week() {
    let site = Site::start().await;
    let (system, status) = site.job(GUARDIAN, "/guardian", &[("from", "2024-05-01"), ("to", "2024-05-17")]).await;
    // Weeks begin on Mondays, the last one ends with the job.
    let expected = "/guardian/search?from-date=2024-04-29&to-date=2024-05-16&page-size=50&api-key=test";
    let articles = site.pages(expected, "/response/results").await.len();
    assert_eq!((status.tasks.total, status.records), (3, articles as u64));
    assert_eq!(sum(&system, "articles").await, articles as i64);
}

#[tokio::test]
async fn daily_means_of_openaq_by_sensor_and_year() {
    let site = Site::start().await;
    let (system, status) = site.job(OPENAQ, "/openaq/v3", &[("from", "2023-01-01"), ("to", "2024-03-01")]).await;
    let (mut days, mut sensors) = (0, 0);
    for country in [9, 22] {
        for location in site.pages(&format!("/openaq/v3/locations?countries_id={country}&limit=100"), "/results").await
        {
            let path = format!("/openaq/v3/locations/{}/sensors?limit=100", location["id"]);
            for sensor in site.pages(&path, "/results").await {
                sensors += 1;
                for (from, to) in [("2023-01-01", "2023-12-31"), ("2024-01-01", "2024-02-29")] {
                    let path =
                        format!("/openaq/v3/sensors/{}/days?date_from={from}&date_to={to}&limit=1000", sensor["id"]);
                    days += site.pages(&path, "/results").await.len();
                }
            }
        }
    }
    assert_eq!((status.tasks.total, status.records), (2 * sensors, days as u64));
    assert_eq!(sum(&system, "days").await, days as i64);
}

#[tokio::test]
async fn exchange_rates_by_day() {
    let site = Site::start().await;
    let given = [("from", "2024-02-28"), ("to", "2024-03-02")];
    let (system, status) = site.job(OPENEXCHANGE, "/openexchange/api", &given).await;
    let mut rates = 0;
    for day in ["2024-02-28", "2024-02-29", "2024-03-01"] {
        let answer = site.get(&format!("/openexchange/api/historical/{day}.json?app_id=test")).await;
        rates += answer["rates"].as_object().unwrap().len();
    }
    assert_eq!((status.tasks.total, status.records, sum(&system, "currencies").await), (3, rates as u64, rates as i64));
    assert_eq!(system.data().await.len(), 3);
}

#[tokio::test]
async fn transactions_of_stripe_by_month() {
    let site = Site::start().await;
    let (system, status) = site.job(STRIPE, "/stripe/v1", &[("from", "2024-04-15"), ("to", "2024-05-16")]).await;
    let asked = site.stand_in.requests().pages("/stripe/v1/balance_transactions");
    let (mut after, mut count, mut net) = (String::new(), 0, 0);
    loop {
        // From 2024-04-01 on, until 2024-05-16: three days are looked back, which is the same month.
        let path = "/stripe/v1/balance_transactions?limit=100&created[gte]=1711929600&created[lt]=1715817600";
        let page = site.get(&format!("{path}{after}")).await;
        let records = page["data"].as_array().unwrap();
        count += records.len();
        net += records.iter().map(|record| record["amount"].as_i64().unwrap()).sum::<i64>();
        if page["has_more"] == false {
            break;
        }
        after = format!("&starting_after={}", records.last().unwrap()["id"].as_str().unwrap());
    }
    assert_eq!((status.tasks.total, status.records), (2, count as u64));
    assert_eq!((sum(&system, "transactions").await, sum(&system, "net").await), (count as i64, net));
    let pages: u64 =
        system.data().await.iter().map(|object| object.head.metadata["pages"].parse::<u64>().unwrap()).sum();
    assert_eq!(asked, pages, "every page is asked for once");
}
