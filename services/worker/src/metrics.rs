//! What is counted of plans, tasks and upstreams: per file and per request, never per record. No label may hold a
//! job, an item or anything that an upstream chose.

use std::{fmt, sync::Arc};

use prometheus_client::{
    encoding::{EncodeLabelSet, EncodeLabelValue, LabelValueEncoder},
    metrics::{counter::Counter, family::Family, gauge::Gauge, histogram::Histogram},
    registry::{Registry, Unit},
};
use reqwest::StatusCode;
use waybill_queue::QueueName;

/// Upper bounds in seconds: a small file next door, and one of 10 GB on a slow line.
const FETCH: [f64; 13] = [0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0, 15.0, 60.0, 300.0, 600.0, 1_800.0];
/// Upper bounds in seconds: 10 KB, and 10 GB, at a gigabyte a second and at a tenth of it.
const CHECK: [f64; 12] = [0.000_01, 0.000_1, 0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1.0, 5.0, 15.0, 60.0];
/// Upper bounds in seconds: a small object in process, and one of 10 GB on a slow line.
const STORE: [f64; 13] = [0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0, 30.0, 120.0, 600.0];
/// Upper bounds in seconds: a free worker, and an hour behind others.
const QUEUE: [f64; 14] = [0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1.0, 5.0, 15.0, 60.0, 300.0, 900.0, 1_800.0, 3_600.0];
/// Upper bounds in seconds: the pace of a thousand a minute, and an upstream that asked for an hour of peace.
const LIMITER: [f64; 12] = [0.001, 0.01, 0.05, 0.1, 0.5, 1.0, 5.0, 15.0, 60.0, 300.0, 900.0, 3_600.0];

/// How a task's message can have been dealt with; each is shown from the start.
const TASKS: [&str; 10] = [
    "cancelled",
    "elsewhere",
    "failed",
    "interrupted",
    "orphaned",
    "rejected",
    "repeated",
    "retried",
    "stored",
    "unchanged",
];
/// The same of a planning.
const PLANS: [&str; 4] = ["cancelled", "failed", "planned", "retried"];
/// What the housekeeper does; each is shown from the start.
const ACTIONS: [&str; 10] = [
    "failed",
    "hits_day_merged",
    "job_expired",
    "journal_compacted",
    "looked",
    "lost_object_entered",
    "message_sent_again",
    "superseded_object_removed",
    "table_file_deleted",
    "upload_aborted",
];

/// Stands for a source that this worker does not serve.
pub(crate) const UNKNOWN: &str = "unknown";

type Durations<L> = Family<L, Histogram, fn() -> Histogram>;

/// The metrics of a worker. A clone counts into the same.
#[derive(Debug, Clone)]
pub struct Metrics {
    tasks: Family<Ended, Counter>,
    plans: Family<Ended, Counter>,
    queue_wait: Durations<OnQueue>,
    fetch: Durations<OfSource>,
    check: Durations<OfSource>,
    store: Durations<OfSource>,
    limiter_wait: Durations<OfSource>,
    fetched: Family<OfSource, Counter>,
    records: Family<OfSource, Counter>,
    retries: Family<OfSource, Counter>,
    responses: Family<Answered, Counter>,
    quarantined: Family<OfSource, Counter>,
    actions: Family<Done, Counter>,
    unfinished: Family<OfSource, Gauge>,
    waiting: Family<OnQueue, Gauge>,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OfSource {
    source: Arc<str>,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Ended {
    source: Arc<str>,
    outcome: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Answered {
    source: Arc<str>,
    status: Answer,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OnQueue {
    queue: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Done {
    action: &'static str,
}

/// A status that HTTP knows, `other`, or `none` where there was no answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Answer {
    Status(u16),
    Other,
    None,
}

impl EncodeLabelValue for Answer {
    fn encode(&self, encoder: &mut LabelValueEncoder<'_>) -> Result<(), fmt::Error> {
        match self {
            Self::Status(status) => EncodeLabelValue::encode(status, encoder),
            Self::Other => EncodeLabelValue::encode(&"other", encoder),
            Self::None => EncodeLabelValue::encode(&"none", encoder),
        }
    }
}

fn durations<L: Clone + std::hash::Hash + Eq>(make: fn() -> Histogram) -> Durations<L> {
    Family::new_with_constructor(make)
}

impl Default for Metrics {
    /// Metrics that nobody reads, for tests.
    fn default() -> Self {
        Self {
            tasks: Family::default(),
            plans: Family::default(),
            queue_wait: durations(|| Histogram::new(QUEUE)),
            fetch: durations(|| Histogram::new(FETCH)),
            check: durations(|| Histogram::new(CHECK)),
            store: durations(|| Histogram::new(STORE)),
            limiter_wait: durations(|| Histogram::new(LIMITER)),
            fetched: Family::default(),
            records: Family::default(),
            retries: Family::default(),
            responses: Family::default(),
            quarantined: Family::default(),
            actions: Family::default(),
            unfinished: Family::default(),
            waiting: Family::default(),
        }
    }
}

impl Metrics {
    /// Fresh metrics that `registry` shows.
    pub fn register(registry: &mut Registry) -> Self {
        let it = Self::default();
        // The registry adds `_total` to counters, and the unit to all.
        registry.register("tasks", "Messages to run a task, by what became of them", it.tasks.clone());
        registry.register("plans", "Messages to plan a job, by what became of them", it.plans.clone());
        registry.register_with_unit(
            "queue_wait",
            "From when a message could be taken to when it was, the first time",
            Unit::Seconds,
            it.queue_wait.clone(),
        );
        registry.register_with_unit(
            "fetch_duration",
            "A download, with its retries and without the waits for the source's rate",
            Unit::Seconds,
            it.fetch.clone(),
        );
        let help = "Checking and adding up the records of a file, while it arrives";
        registry.register_with_unit("check_duration", help, Unit::Seconds, it.check.clone());
        registry.register_with_unit("store_duration", "Storing a file in data/", Unit::Seconds, it.store.clone());
        registry.register_with_unit(
            "limiter_wait",
            "What a request waited for the source's rate, or for the end of a pause that the upstream asked for",
            Unit::Seconds,
            it.limiter_wait.clone(),
        );
        let help = "What came from upstreams as files, also where it was not kept";
        registry.register_with_unit("fetched", help, Unit::Bytes, it.fetched.clone());
        registry.register("records", "Records in files that passed their checks", it.records.clone());
        registry.register("fetch_retries", "Requests to an upstream that were tried again", it.retries.clone());
        registry.register("upstream_responses", "Answers of upstreams", it.responses.clone());
        registry.register("quarantined_files", "Files that failed their checks", it.quarantined.clone());
        registry.register("housekeeper_actions", "What the housekeeper did", it.actions.clone());
        let help = "Jobs that have not ended, as the housekeeper last saw them; shown by the worker that keeps house";
        registry.register("jobs_unfinished", help, it.unfinished.clone());
        let help = "Messages that wait for a worker, as the housekeeper last saw them; \
                    shown by the worker that keeps house";
        registry.register("queue_messages_waiting", help, it.waiting.clone());
        it
    }

    /// What is counted of one source, shown from now on.
    pub(crate) fn of_source(&self, source: &str) -> Counts {
        let source: Arc<str> = source.into();
        for outcome in TASKS {
            drop(self.tasks.get_or_create(&Ended { source: Arc::clone(&source), outcome }));
        }
        for outcome in PLANS {
            drop(self.plans.get_or_create(&Ended { source: Arc::clone(&source), outcome }));
        }
        for status in [Answer::Status(200), Answer::None] {
            drop(self.responses.get_or_create(&Answered { source: Arc::clone(&source), status }));
        }
        let of_source = OfSource { source: Arc::clone(&source) };
        Counts {
            fetch: self.fetch.get_or_create_owned(&of_source),
            check: self.check.get_or_create_owned(&of_source),
            store: self.store.get_or_create_owned(&of_source),
            limiter_wait: self.limiter_wait.get_or_create_owned(&of_source),
            fetched: self.fetched.get_or_create_owned(&of_source),
            records: self.records.get_or_create_owned(&of_source),
            retries: self.retries.get_or_create_owned(&of_source),
            quarantined: self.quarantined.get_or_create_owned(&of_source),
            tasks: self.tasks.clone(),
            plans: self.plans.clone(),
            responses: self.responses.clone(),
            source,
        }
    }

    /// How long messages of a queue wait, shown from now on.
    pub(crate) fn queue_wait(&self, queue_name: &QueueName) -> Histogram {
        self.queue_wait.get_or_create_owned(&OnQueue { queue: queue_name.to_string() })
    }

    /// The housekeeper did something so often.
    pub(crate) fn acted(&self, action: &'static str, times: u64) {
        self.actions.get_or_create(&Done { action }).inc_by(times);
    }

    /// Shows what a worker may do that keeps house, should it get to it.
    pub(crate) fn may_keep_house(&self) {
        for action in ACTIONS {
            self.acted(action, 0);
        }
    }

    /// What the housekeeper saw of a source.
    pub(crate) fn saw_unfinished(&self, source: &str, jobs: u64) {
        self.unfinished.get_or_create(&OfSource { source: source.into() }).set(i64::try_from(jobs).unwrap_or(i64::MAX));
    }

    /// What the housekeeper saw of a queue; `None` where the queue does not say.
    pub(crate) fn saw_waiting(&self, queue_name: &QueueName, messages: Option<u64>) {
        let queue_name = OnQueue { queue: queue_name.to_string() };
        match messages.map(|messages| i64::try_from(messages).unwrap_or(i64::MAX)) {
            Some(messages) => {
                self.waiting.get_or_create(&queue_name).set(messages);
            }
            None => {
                self.waiting.remove(&queue_name);
            }
        }
    }

    /// Whoever keeps house now shows what there is.
    pub(crate) fn keeps_house_no_more(&self) {
        self.unfinished.clear();
        self.waiting.clear();
    }
}

/// What is counted of one source.
#[derive(Debug)]
pub(crate) struct Counts {
    source: Arc<str>,
    tasks: Family<Ended, Counter>,
    plans: Family<Ended, Counter>,
    responses: Family<Answered, Counter>,
    /// Seconds.
    pub(crate) fetch: Histogram,
    /// Seconds.
    pub(crate) check: Histogram,
    /// Seconds.
    pub(crate) store: Histogram,
    /// Seconds.
    pub(crate) limiter_wait: Histogram,
    /// Bytes.
    pub(crate) fetched: Counter,
    pub(crate) records: Counter,
    pub(crate) retries: Counter,
    pub(crate) quarantined: Counter,
}

impl Counts {
    /// A task's message was dealt with.
    pub(crate) fn task(&self, outcome: &'static str) {
        self.tasks.get_or_create(&Ended { source: Arc::clone(&self.source), outcome }).inc();
    }

    /// A planning's message was dealt with.
    pub(crate) fn plan(&self, outcome: &'static str) {
        self.plans.get_or_create(&Ended { source: Arc::clone(&self.source), outcome }).inc();
    }

    /// The upstream answered, or did not.
    pub(crate) fn answered(&self, status: Option<StatusCode>) {
        let status = match status.map(|status| status.as_u16()) {
            Some(status @ 100..600) => Answer::Status(status),
            Some(_) => Answer::Other,
            None => Answer::None,
        };
        self.responses.get_or_create(&Answered { source: Arc::clone(&self.source), status }).inc();
    }
}

#[cfg(test)]
mod tests {
    use prometheus_client::encoding::text::encode;

    use super::*;

    #[test]
    fn what_has_not_happened_yet_is_shown_and_a_stranger_cannot_add_labels() {
        let mut registry = Registry::with_prefix("waybill");
        let metrics = Metrics::register(&mut registry);
        let counts = metrics.of_source("buses");
        metrics.may_keep_house();
        for status in [StatusCode::OK, StatusCode::from_u16(799).unwrap(), StatusCode::from_u16(998).unwrap()] {
            counts.answered(Some(status));
        }
        counts.answered(None);
        let mut text = String::new();
        encode(&mut text, &registry).unwrap();
        let line = |start: &str| {
            let mut found = text.lines().filter(|line| line.starts_with(start));
            let line = found.next().unwrap_or_else(|| panic!("{start} is not in {text}"));
            assert_eq!(found.next(), None, "{start} is there twice");
            line.rsplit(' ').next().unwrap().to_owned()
        };
        assert_eq!(line("waybill_tasks_total{source=\"buses\",outcome=\"stored\"}"), "0");
        assert_eq!(line("waybill_fetched_bytes_total{source=\"buses\"}"), "0");
        assert_eq!(line("waybill_fetch_duration_seconds_count{source=\"buses\"}"), "0");
        assert_eq!(line("waybill_housekeeper_actions_total{action=\"looked\"}"), "0");
        assert_eq!(line("waybill_upstream_responses_total{source=\"buses\",status=\"200\"}"), "1");
        assert_eq!(line("waybill_upstream_responses_total{source=\"buses\",status=\"other\"}"), "2");
        assert_eq!(line("waybill_upstream_responses_total{source=\"buses\",status=\"none\"}"), "1");
    }

    #[test]
    fn only_who_keeps_house_says_what_there_is() {
        let metrics = Metrics::default();
        let queue_name = QueueName::Source("buses".to_owned());
        metrics.saw_unfinished("buses", 3);
        metrics.saw_waiting(&queue_name, Some(7));
        assert_eq!(metrics.waiting.get(&OnQueue { queue: "tasks.buses".to_owned() }).unwrap().get(), 7);
        metrics.saw_waiting(&queue_name, None);
        assert!(metrics.waiting.get(&OnQueue { queue: "tasks.buses".to_owned() }).is_none());
        metrics.keeps_house_no_more();
        assert!(metrics.unfinished.get(&OfSource { source: "buses".into() }).is_none());
    }
}
