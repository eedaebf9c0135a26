//! The routes of the weather system, which existing clients rely on. Its engine is the source `weather`:
//! a collection is a job whose idempotency key is the user's own id.

use std::sync::Arc;

use futures::{StreamExt, TryStreamExt, stream};
use jiff::Timestamp;
use poem::Request;
use poem_openapi::{ApiResponse, Object, OpenApi, param::Query, payload::Json};
use serde::Deserialize;
use waybill_ledger::{Ledger, TaskState, data};
use waybill_source::{Catalog, Definition, Env, Fetch, Item, JobContext};
use waybill_store::{Store, StoreError};
use waybill_web::{Caller, JsonBody, Problem, known_query};

use crate::{JobsApi, Metrics, error, routes::Wanted, submit::Submitter};

const SOURCE: &str = "weather";
/// Whose idempotency keys are the users' ids.
const ROUTE: &str = "POST /collect/";
/// Tasks of one collection that are looked at: a thousand batches of twenty cities.
const MOST: usize = 1_000;
/// An object holds one batch of cities, about 10 KB; the source accepts no larger file than 1 MB.
const OBJECT_BYTES: usize = 1 << 20;
/// Fetches read side by side.
const READS_AT_ONCE: usize = 16;

/// Weather collections over HTTP.
#[derive(Debug)]
pub struct WeatherApi {
    jobs: JobsApi,
    ledger: Ledger,
    catalog: Arc<Catalog>,
    store: Store,
}

impl WeatherApi {
    /// Collections kept in `ledger`, their data in `store`. `now` is the clock.
    pub fn new(ledger: Ledger, catalog: Arc<Catalog>, store: Store, env: &Env, now: fn() -> Timestamp) -> Self {
        Self { jobs: JobsApi::new(ledger.clone(), Arc::clone(&catalog), env, now), ledger, catalog, store }
    }

    /// The same, counted in `metrics`.
    #[must_use]
    pub fn with_metrics(self, metrics: &Metrics) -> Self {
        Self { jobs: self.jobs.with_metrics(metrics), ..self }
    }

    fn definition(&self) -> Result<&Arc<Definition>, Problem> {
        self.catalog.get(SOURCE).ok_or_else(|| Problem::not_found("the source `weather` is not configured here"))
    }
}

/// The user's own name for a collection.
#[derive(Debug, Object, Deserialize)]
#[serde(deny_unknown_fields)]
#[oai(deny_unknown_fields)]
struct Collection {
    /// 1 to 1,000 characters, none of them a control character.
    id: String,
}

#[derive(Debug, ApiResponse)]
enum Collecting {
    /// The cities will be collected.
    #[oai(status = 202)]
    Accepted(Json<Collection>),
}

/// How far a collection is, and what it has.
#[derive(Debug, Object)]
struct Collected {
    /// Cities done over cities asked for, 0 to 1.
    progress: f64,
    /// The cities that have arrived.
    data: Vec<City>,
}

/// The weather of a city.
#[derive(Debug, Object)]
struct City {
    city_id: i64,
    /// As the upstream serves it; in kelvin unless its definition asks for other units.
    temperature: f64,
    /// When it was fetched, in UTC.
    datetime: String,
    /// Per cent.
    humidity: i64,
}

#[OpenApi]
impl WeatherApi {
    /// Collect the weather
    ///
    /// The same id again is the same collection, not a second one. Each API key has ids of its own.
    #[oai(path = "/collect/", method = "post", operation_id = "collectWeather")]
    async fn collect(&self, request: &Request, collection: JsonBody<Collection>) -> Result<Collecting, Problem> {
        known_query(request, &[])?;
        let definition = self.definition()?;
        let id = collection.0.id;
        let caller = Caller::of(request);
        let by = Submitter { caller: &caller, route: ROUTE, key: Some(&id), place: "" };
        let params = self.jobs.bind(definition, [("id".to_owned(), id.clone())].into(), by).await?;
        let wanted = Wanted { params, upload: None, route: ROUTE, key: Some(id.clone()) };
        self.jobs.accept(&caller, definition, wanted, None).await?;
        Ok(Collecting::Accepted(Json(Collection { id })))
    }

    /// What has been collected
    #[oai(path = "/get/", method = "get", operation_id = "collectedWeather")]
    async fn get(
        &self,
        request: &Request,
        /// As it was given to `/collect/`.
        id: Query<String>,
    ) -> Result<Json<Collected>, Problem> {
        known_query(request, &["id"])?;
        let definition = self.definition()?;
        let by = Caller::of(request);
        let asked = self.ledger.find(ROUTE, by.name(), SOURCE, &id).await.map_err(error::ledger)?;
        let asked = asked.ok_or_else(|| Problem::not_found("there is no collection of this id").at("id"))?;
        let tasks = self.ledger.tasks(asked.job, None, 0, MOST).await.map_err(error::ledger)?.unwrap_or_default();
        let cities = |pending: bool| -> usize {
            tasks.iter().filter(|task| (task.state == TaskState::Pending) == pending).map(|task| task.items.len()).sum()
        };
        let job = asked.context();
        let plan = self.ledger.plan(asked.job).await.map_err(error::ledger)?;
        let data = match plan.as_deref().and_then(|plan| plan.tasks.first()) {
            Some(items) => self.data(definition, &job, items).await?,
            None => Vec::new(),
        };
        Ok(Json(Collected { progress: progress(cities(false), cities(true)), data }))
    }
}

impl WeatherApi {
    /// All that the collection has: its objects share one partition, whichever batch they are of.
    async fn data(&self, definition: &Definition, job: &JobContext, items: &[Item]) -> Result<Vec<City>, Problem> {
        let partition = definition.partition(job, items).map_err(Problem::internal)?;
        self.cities(&format!("data/{SOURCE}/{partition}/"))
            .await
            .map_err(|error| Problem::unavailable("the object store", error))
    }

    /// The cities of every batch's newest fetch.
    async fn cities(&self, prefix: &str) -> Result<Vec<City>, StoreError> {
        loop {
            let batches: Vec<Option<Vec<City>>> = stream::iter(data::newest_below(&self.store, prefix).await?)
                .map(async |fetch| self.read(&fetch).await)
                .buffered(READS_AT_ONCE)
                .try_collect()
                .await?;
            // What vanished since it was listed has something newer in its place.
            if let Some(batches) = batches.into_iter().collect::<Option<Vec<_>>>() {
                return Ok(batches.into_iter().flatten().collect());
            }
        }
    }

    async fn read(&self, fetch: &Fetch) -> Result<Option<Vec<City>>, StoreError> {
        let mut cities = Vec::new();
        for key in &fetch.keys {
            let Some(body) = self.store.get(key, OBJECT_BYTES).await? else { return Ok(None) };
            cities.extend(read(fetch.fetched_at, &body));
        }
        Ok(Some(cities))
    }
}

/// Rounded to hundredths, and 1 only when all is done.
fn progress(done: usize, pending: usize) -> f64 {
    match (done, pending) {
        (0, _) => 0.0,
        (_, 0) => 1.0,
        (done, pending) => ((done as f64 / (done + pending) as f64 * 100.0).round() / 100.0).min(0.99),
    }
}

/// The cities in an object, whose records were checked before it was stored; what has no weather is left out.
fn read(fetched_at: Timestamp, body: &[u8]) -> Vec<City> {
    #[derive(Deserialize)]
    struct Answer {
        list: Vec<Listed>,
    }
    #[derive(Deserialize)]
    struct Listed {
        id: i64,
        main: Option<Main>,
    }
    #[derive(Deserialize)]
    struct Main {
        temp: f64,
        humidity: f64,
    }
    let datetime = fetched_at.strftime("%Y-%m-%dT%H:%M:%S").to_string();
    let answer: Option<Answer> = serde_json::from_slice(body).ok();
    let cities = answer.map(|answer| answer.list).unwrap_or_default().into_iter();
    cities
        .filter_map(|city| {
            let main = city.main?;
            let (datetime, humidity) = (datetime.clone(), main.humidity as i64);
            Some(City { city_id: city.id, temperature: main.temp, datetime, humidity })
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn progress_is_1_only_when_all_is_done() {
        assert_eq!(progress(0, 0), 0.0);
        assert_eq!(progress(60, 107), 0.36);
        assert_eq!(progress(1_000, 1), 0.99);
        assert_eq!(progress(167, 0), 1.0);
    }

    #[test]
    fn a_batch_is_read_with_the_time_of_its_fetch() {
        let body = br#"{"cnt":2,"list":[{"id":3439525,"main":{"temp":293.1,"humidity":64}},{"id":1}]}"#;
        let cities = read("2024-05-01T10:00:00.5Z".parse().unwrap(), body);
        assert_eq!(cities.len(), 1);
        assert_eq!((cities[0].city_id, cities[0].humidity), (3_439_525, 64));
        assert_eq!(cities[0].datetime, "2024-05-01T10:00:00");
    }
}
