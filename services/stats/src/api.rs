//! The routes: `/country-stats` as the old clients know it, and `/v1/stats/{source}` for every source.

use std::sync::Arc;

use poem::Request;
use poem_openapi::{
    ApiResponse, OpenApi,
    param::{Header, Path, Query},
    payload::Json,
};
use serde_json::{Value, json};
use waybill_source::{Catalog, Definition};
use waybill_store::Store;
use waybill_web::Problem;

use crate::{
    Range, Report,
    collect::{CollectError, Collector},
    country,
};

/// Statistics of every source in a catalog.
#[derive(Debug, Clone)]
pub struct StatsApi {
    catalog: Arc<Catalog>,
    collector: Collector,
}

#[derive(ApiResponse)]
enum Answer {
    /// The statistics.
    #[oai(status = 200)]
    Fresh(
        Json<Value>,
        /// The same tag: the same numbers.
        #[oai(header = "ETag")]
        String,
    ),
    /// The client has these numbers already.
    #[oai(status = 304)]
    NotModified(#[oai(header = "ETag")] String),
}

impl StatsApi {
    /// Statistics of the objects in `store`'s bucket.
    pub fn new(catalog: Arc<Catalog>, store: Store) -> Self {
        Self { catalog, collector: Collector::new(store) }
    }

    async fn report(&self, definition: &Arc<Definition>, range: Range) -> Result<Report, Problem> {
        self.collector.collect(definition, range).await.map_err(|error| match error {
            CollectError::Store(_) | CollectError::ConcurrentChange(_) => {
                Problem::unavailable("the object store", &error)
            }
            CollectError::Overflow(_) => Problem::internal(&error),
        })
    }
}

#[OpenApi]
impl StatsApi {
    /// Bus statistics by country and day
    ///
    /// Every known country has an entry for every day from `from` to `to`, both included; zeros and `false`
    /// where there is no data. The range is at most 3,700 days.
    #[oai(path = "/country-stats", method = "get", operation_id = "countryStats")]
    async fn country_stats(
        &self,
        request: &Request,
        /// The first day, `YYYY-MM-DD`.
        from: Query<Option<String>>,
        /// The last day, `YYYY-MM-DD`.
        to: Query<Option<String>>,
        /// Tags that the client has.
        #[oai(name = "If-None-Match")]
        if_none_match: Header<Option<String>>,
    ) -> Result<Answer, Problem> {
        let _documented = (from, to);
        let query: Vec<(String, String)> = request.params().unwrap_or_default();
        let (ends, unknown) = country::ends(&query);
        if let Some(name) = unknown.first() {
            return Err(Problem::unknown_parameter(name, &["from", "to"]));
        }
        let range = Range::parse(ends.get("from").map(String::as_str), ends.get("to").map(String::as_str))?;
        let buses =
            self.catalog.get("buses").ok_or_else(|| Problem::not_found("the source `buses` is not configured here"))?;
        let report = self.report(buses, range).await?;
        Ok(answer(&report, if_none_match.0.as_deref(), || country::by_country(buses, &report, range)))
    }

    /// Statistics of a source
    ///
    /// One entry for each group and day that has data, from `from` to `to`, both included, and the total
    /// over all of them. The range is at most 3,700 days.
    #[oai(path = "/v1/stats/:source", method = "get", operation_id = "stats")]
    async fn stats(
        &self,
        request: &Request,
        /// The source's name.
        source: Path<String>,
        /// The first day, `YYYY-MM-DD`.
        from: Query<Option<String>>,
        /// The last day, `YYYY-MM-DD`.
        to: Query<Option<String>>,
        /// Tags that the client has.
        #[oai(name = "If-None-Match")]
        if_none_match: Header<Option<String>>,
    ) -> Result<Answer, Problem> {
        waybill_web::known_query(request, &["from", "to"])?;
        let definition = self.catalog.get(&source).ok_or_else(|| {
            let known: Vec<_> = self.catalog.iter().map(|definition| definition.name()).collect();
            Problem::unknown_source(&source, &known)
        })?;
        if definition.partition_names().last().is_none_or(|name| name != "date") {
            return Err(Problem::not_found(format!(
                "`{}` is not kept by date, so it has no statistics by date",
                source.0
            )));
        }
        let range = Range::parse(from.0.as_deref(), to.0.as_deref())?;
        let report = self.report(definition, range).await?;
        let total = total(definition, &report)?;
        Ok(answer(&report, if_none_match.0.as_deref(), || by_group(definition, &report, range, total)))
    }
}

fn answer(report: &Report, if_none_match: Option<&str>, body: impl FnOnce() -> Value) -> Answer {
    let etag = format!("\"{}\"", report.etag);
    if waybill_web::matches(if_none_match, &etag) {
        Answer::NotModified(etag)
    } else {
        Answer::Fresh(Json(body()), etag)
    }
}

fn total(definition: &Definition, report: &Report) -> Result<Value, Problem> {
    let mut total = definition.statistics().zero();
    for totals in report.groups.values().flat_map(|days| days.values()) {
        definition
            .statistics()
            .merge(&mut total, totals)
            .map_err(|error| Problem::internal(CollectError::Overflow(error)))?;
    }
    Ok(definition.statistics().to_json(&total).into())
}

fn by_group(definition: &Definition, report: &Report, range: Range, total: Value) -> Value {
    let mut groups = Vec::new();
    for (values, days) in &report.groups {
        for (day, totals) in days {
            let names = definition.partition_names().iter().cloned();
            let mut entry: serde_json::Map<_, _> = names.zip(values.iter().cloned().map(Value::from)).collect();
            entry.insert("date".to_owned(), day.to_string().into());
            entry.insert("statistics".to_owned(), definition.statistics().to_json(totals).into());
            groups.push(Value::Object(entry));
        }
    }
    json!({ "source": definition.name(), "from": range.from(), "to": range.to(), "groups": groups, "total": total })
}
