//! The routes: `/country-stats` as the old clients know it, and `/v1/stats/{source}` for every source.

use std::sync::Arc;

use jiff::Timestamp;
use poem::{Request, http::StatusCode};
use poem_openapi::{
    ApiResponse, OpenApi, ResponseContent,
    param::{Header, Path, Query},
    payload::{Json, PlainText},
};
use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256};
use waybill_ledger::{Ledger, LedgerError, index::Index};
use waybill_source::{Catalog, Definition, JobContext};
use waybill_store::Store;
use waybill_web::{Problem, quoted};

use crate::{
    Range, Report,
    collect::{CollectError, Collector},
    country,
};

/// Unfinished jobs that an answer names, and that a header does.
const JOBS_NAMED: usize = 100;
const JOBS_IN_HEADER: usize = 20;

/// When a client may ask again for what there is no index of yet, in seconds.
const NOT_BUILT_AFTER: u64 = 30;

/// Statistics of every source in a catalog.
#[derive(Debug, Clone)]
pub struct StatsApi {
    catalog: Arc<Catalog>,
    ledger: Ledger,
    collector: Collector,
    now: fn() -> Timestamp,
}

/// Jobs of a range that have not ended: what they will store is not in the numbers.
#[derive(Debug, Default)]
struct Pending {
    /// The newest.
    jobs: Vec<String>,
    /// Whether there may be others.
    more: bool,
}

#[derive(ApiResponse)]
enum Answer {
    /// The statistics.
    #[oai(status = 200)]
    Fresh(
        Body,
        /// The same tag: the same numbers.
        #[oai(header = "ETag")]
        String,
        /// Jobs of the range that have not ended, by id; `more` stands for others. None: all have ended.
        #[oai(header = "Waybill-Pending-Jobs")]
        Option<String>,
        /// How many objects of the range are not in the numbers; `/v1/stats/{source}` says why.
        #[oai(header = "Waybill-Not-Added")]
        Option<u64>,
    ),
    /// The client has these numbers already.
    #[oai(status = 304)]
    NotModified(
        #[oai(header = "ETag")] String,
        #[oai(header = "Waybill-Pending-Jobs")] Option<String>,
        #[oai(header = "Waybill-Not-Added")] Option<u64>,
    ),
}

/// The statistics, spelled as asked.
#[derive(ResponseContent)]
enum Body {
    Json(Json<Value>),
    #[oai(content_type = "text/csv; charset=utf-8")]
    Csv(PlainText<String>),
    #[oai(content_type = "application/x-ndjson")]
    Ndjson(PlainText<String>),
}

/// How an answer is spelled.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Format {
    Json,
    Csv,
    Ndjson,
}

impl Format {
    fn parse(given: Option<&str>) -> Result<Self, Problem> {
        match given {
            None | Some("json") => Ok(Self::Json),
            Some("csv") => Ok(Self::Csv),
            Some("ndjson") => Ok(Self::Ndjson),
            Some(other) => Err(Problem::invalid_parameter("format", "`json`, `csv` or `ndjson`", quoted(other))),
        }
    }
}

impl StatsApi {
    /// Statistics of the objects in `store`'s bucket, which is `ledger`'s and `index`'s too. `now` is the clock.
    pub fn new(catalog: Arc<Catalog>, ledger: Ledger, index: Index, store: Store, now: fn() -> Timestamp) -> Self {
        Self { catalog, collector: Collector::new(ledger.clone(), index, store), ledger, now }
    }

    async fn report(&self, definition: &Arc<Definition>, range: Range) -> Result<(Report, Pending), Problem> {
        // Before the index is listed: a job that has ended by now has entered all that it will.
        let pending = self.pending(definition, range).await?;
        let report = self.collector.collect(definition, range).await.map_err(|error| match error {
            CollectError::Store(_) | CollectError::Ledger(_) | CollectError::Index(_) => {
                Problem::unavailable("the object store", &error)
            }
            CollectError::NotBuilt(_) => {
                Problem::new(StatusCode::SERVICE_UNAVAILABLE, "index-not-built", error.to_string())
                    .after(NOT_BUILT_AFTER)
            }
            CollectError::Overflow(_) => Problem::internal(&error),
            CollectError::TooManyGroups(most) => {
                let (source, parts) = (definition.name(), definition.partition_names());
                let parts = parts.split_last().map_or_else(String::new, |(_, before)| before.join("`, `"));
                let detail = format!(
                    "`{source}` has more than {most} groups (values of `{parts}`), too many to add up for one answer"
                );
                let expected = "a source whose partition has fewer values before the date; or the statistics in the \
                                metadata of each object";
                Problem::new(StatusCode::UNPROCESSABLE_ENTITY, "too-many-groups", detail).expecting(expected)
            }
        })?;
        Ok((report, pending))
    }

    async fn pending(&self, definition: &Definition, range: Range) -> Result<Pending, Problem> {
        let unfinished =
            self.ledger.unfinished(definition.name(), (self.now)()).await.map_err(|error| match error {
                LedgerError::Damaged { .. } => Problem::internal(error),
                _ => Problem::unavailable("the object store", error),
            })?;
        let is_of_range = |job: &JobContext| {
            let date = definition.date(job).and_then(|date| date.parse().ok());
            // Where the date depends on the items, the job may be of any.
            date.is_none_or(|date| range.contains(date))
        };
        let jobs = unfinished.jobs.iter().map(|request| request.context());
        let mut jobs: Vec<_> = jobs.filter(is_of_range).map(|job| job.id).collect();
        let more = !unfinished.is_whole || jobs.len() > JOBS_NAMED;
        jobs.truncate(JOBS_NAMED);
        Ok(Pending { jobs, more })
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
        let (report, pending) = self.report(buses, range).await?;
        let body = || Body::Json(Json(country::by_country(buses, &report, range)));
        Ok(answer(&report, &pending, Format::Json, if_none_match.0.as_deref(), body))
    }

    /// Statistics of a source
    ///
    /// One entry for each group and day that has data, from `from` to `to`, both included, and the total
    /// over all of them. The range is at most 3,700 days. `complete` is false while jobs of the range have not
    /// ended (`pending_jobs`, at most 100; `more_pending_jobs`), and where objects are not in the numbers
    /// (`not_added`: reasons, how many, and an example of each).
    ///
    /// With `format=csv` or `format=ndjson` the entries alone, one a line; what they lack is said in the headers.
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
        /// `json`, `csv` or `ndjson`; `json` if not said.
        format: Query<Option<String>>,
        /// Tags that the client has.
        #[oai(name = "If-None-Match")]
        if_none_match: Header<Option<String>>,
    ) -> Result<Answer, Problem> {
        waybill_web::known_query(request, &["from", "to", "format"])?;
        let format = Format::parse(format.0.as_deref())?;
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
        let (report, pending) = self.report(definition, range).await?;
        let total = total(definition, &report)?;
        let body = || match format {
            Format::Json => Body::Json(Json(by_group(definition, &report, &pending, range, total))),
            Format::Csv => Body::Csv(PlainText(csv_lines(definition, &report))),
            Format::Ndjson => Body::Ndjson(PlainText(
                entries(definition, &report).map(|entry| format!("{}\n", Value::Object(entry))).collect(),
            )),
        };
        Ok(answer(&report, &pending, format, if_none_match.0.as_deref(), body))
    }
}

impl Pending {
    fn is_none(&self) -> bool {
        self.jobs.is_empty() && !self.more
    }

    fn header(&self) -> Option<String> {
        let more = self.more || self.jobs.len() > JOBS_IN_HEADER;
        let jobs = self.jobs.iter().take(JOBS_IN_HEADER).map(String::as_str).chain(more.then_some("more"));
        (!self.is_none()).then(|| jobs.collect::<Vec<_>>().join(", "))
    }
}

fn answer(
    report: &Report,
    pending: &Pending,
    format: Format,
    if_none_match: Option<&str>,
    body: impl FnOnce() -> Body,
) -> Answer {
    let hash = Sha256::digest(format!("{} {format:?} {pending:?} {:?}", report.etag, report.not_added));
    let etag = format!("\"{}\"", base16ct::lower::encode_string(&hash));
    let not_added = Some(report.not_added.objects()).filter(|objects| *objects > 0);
    if waybill_web::matches(if_none_match, &etag) {
        Answer::NotModified(etag, pending.header(), not_added)
    } else {
        Answer::Fresh(body(), etag, pending.header(), not_added)
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

/// An entry for each group and day that has data.
fn entries<'a>(definition: &'a Definition, report: &'a Report) -> impl Iterator<Item = Map<String, Value>> + 'a {
    report.groups.iter().flat_map(move |(values, days)| {
        days.iter().map(move |(day, totals)| {
            let names = definition.partition_names().iter().cloned();
            let mut entry: Map<_, _> = names.zip(values.iter().cloned().map(Value::from)).collect();
            entry.insert("date".to_owned(), day.to_string().into());
            entry.insert("statistics".to_owned(), definition.statistics().to_json(totals).into());
            entry
        })
    })
}

/// A line of names, then one for each entry: the partition's parts, and the statistics in the definition's order.
fn csv_lines(definition: &Definition, report: &Report) -> String {
    let parts = definition.partition_names();
    let statistics: Vec<_> = definition.statistics().list.iter().map(|(name, _)| name).collect();
    let text = |value: &Value| match value {
        Value::Null => String::new(),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    };
    let mut csv = csv::Writer::from_writer(Vec::new());
    let written = csv.write_record(parts.iter().chain(statistics.iter().copied())).and_then(|()| {
        entries(definition, report).try_for_each(|entry| {
            let parts = parts.iter().map(|part| text(&entry[part]));
            csv.write_record(parts.chain(statistics.iter().map(|name| text(&entry["statistics"][*name]))))
        })
    });
    written.expect("memory takes what is written, and all lines are of one length");
    let bytes = csv.into_inner().expect("memory takes what is written");
    String::from_utf8(bytes).expect("texts are UTF-8")
}

fn by_group(definition: &Definition, report: &Report, pending: &Pending, range: Range, total: Value) -> Value {
    let groups: Vec<_> = entries(definition, report).map(Value::Object).collect();
    json!({
        "source": definition.name(),
        "from": range.from(),
        "to": range.to(),
        "complete": pending.is_none() && report.not_added.objects() == 0,
        "pending_jobs": pending.jobs,
        "more_pending_jobs": pending.more,
        "not_added": report.not_added.to_json(),
        "groups": groups,
        "total": total,
    })
}
