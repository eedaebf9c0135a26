//! Jobs, tasks, objects and requests in a bucket, asked in SQL.

use std::{collections::BTreeMap, sync::Arc};

use async_trait::async_trait;
use datafusion::{catalog::TableProvider, common::DataFusionError};
use futures::TryStreamExt;
use jiff::{Span, Timestamp};
use tempfile::TempDir;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;
use waybill_hits::{Hits, Metrics};
use waybill_ledger::{
    Done, Failure, JobId, Ledger, Outcome, Plan, Submission,
    index::{Entry, Fact, Index, IndexedFetch, IndexedObject},
};
use waybill_source::{Catalog, Item, Params};
use waybill_store::{Embedded, Store};

use crate::{
    SystemTables,
    sql::{Engine, Format, NamedTables, Session},
};

fn at(second: i64) -> Timestamp {
    "2024-05-01T08:00:00Z".parse::<Timestamp>().unwrap() + Span::new().seconds(second)
}

#[derive(Debug)]
struct Named(SystemTables);

#[async_trait]
impl NamedTables for Named {
    fn names(&self) -> Vec<String> {
        SystemTables::names().collect()
    }

    async fn provider(&self, name: &str) -> Result<Option<Arc<dyn TableProvider>>, DataFusionError> {
        Ok(self.0.provider(name))
    }
}

struct World {
    system: SystemTables,
    session: Session,
    store: Store,
    stop: CancellationToken,
    folder: TempDir,
}

impl World {
    async fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let store = Embedded::open(folder.path()).await.unwrap().store("waybill").unwrap();
        let stop = CancellationToken::new();
        let (hits, flusher) = Hits::new(store.clone(), Metrics::default(), || at(0));
        tokio::spawn(flusher.run(stop.clone()));
        let system = SystemTables {
            ledger: Ledger::new(store.clone(), Arc::new(waybill_queue::Embedded::new(1_000))),
            index: Index::new(store.clone(), stop.clone()),
            hits,
            sources: vec!["buses".to_owned(), "weather".to_owned()],
        };
        let engine = Engine::new(folder.path()).unwrap();
        let session = engine.session(Arc::new(Named(system.clone())));
        Self { system, session, store, stop, folder }
    }

    /// A job of that many tasks, which began so many seconds after the morning's.
    async fn job(&self, source: &str, second: i64, tasks: usize) -> JobId {
        let ledger = &self.system.ledger;
        let milliseconds = u64::try_from(at(second).as_millisecond()).unwrap();
        let id = uuid::Builder::from_unix_timestamp_millis(milliseconds, &[7; 10]).into_uuid();
        let catalog = Catalog::shipped();
        let submission = Submission {
            definition: catalog.get(source).unwrap(),
            params: Params([("date".to_owned(), "2024-05-01".to_owned())].into()),
            upload: None,
            idempotency_key: None,
            route: "POST /v1/jobs",
            by: None,
            id,
            now: at(second),
        };
        ledger.submit(submission).await.unwrap();
        let job = JobId::new(id);
        let item = |n: usize| Item { key: format!("{n}-city"), values: BTreeMap::new(), problem: None };
        let plan = Plan { planned: at(second), tasks: (0..tasks).map(|n| vec![item(n)]).collect() };
        ledger.record_start(job, at(second)).await.unwrap();
        ledger.record_plan(job, plan).await.unwrap();
        job
    }

    async fn done(&self, job: JobId, task: u32) {
        let done = Done {
            outcome: Outcome::Stored,
            object: format!("data/buses/{task}.json"),
            bytes: 1_000,
            records: 10,
            seconds: 0.25,
            attempts: 1,
            finished: at(3),
            missing: Vec::new(),
            rows: None,
            quarantine: None,
        };
        self.system.ledger.record_done(job, task, 0, &done).await.unwrap();
    }

    async fn failed(&self, job: JobId, task: u32) {
        let failure = Failure { reason: "404 Not Found".to_owned(), quarantine: None, attempts: 3, finished: at(4) };
        self.system.ledger.record_failure(job, task, 0, &failure).await.unwrap();
    }

    async fn object(&self, partition: &str, item: &str, pieces: u64) {
        let object = |n| IndexedObject {
            name: format!("20240501T080002.000000Z-{n}.json"),
            bytes: 100 + n,
            records: n,
            job: Uuid::nil().to_string(),
            statistics: "bus-count=7".to_owned(),
            ..IndexedObject::default()
        };
        let (as_of, fetched_at) = (at(0).as_microsecond(), at(2).as_microsecond());
        let fetch = IndexedFetch { as_of, fetched_at, objects: (0..pieces).map(object).collect() };
        let fact = Some(Fact::Stored(fetch));
        let entry = Entry { partition: partition.to_owned(), item: item.to_owned(), fact };
        self.system.index.commit("buses", vec![entry]).await.unwrap();
    }

    async fn built(&self) {
        let built = r#"{"built":"2024-05-01T08:00:00Z","objects":0}"#;
        self.store.put("journal/buses/index/built.json", "application/json", built.into()).await.unwrap();
    }

    async fn ask(&self, sql: &str) -> String {
        ask(&self.session, sql).await
    }
}

/// The rows as CSV, or why there are none.
async fn ask(session: &Session, sql: &str) -> String {
    let answer = match session.query(sql, crate::sql::DEFAULT_TIME).await {
        Ok(answer) => answer,
        Err(error) => return error.to_string(),
    };
    let (say, mut said) = mpsc::unbounded_channel();
    let told = Format::Csv.encode(answer).unwrap().try_for_each(|piece| {
        say.send(piece).unwrap();
        std::future::ready(Ok(()))
    });
    if let Err(error) = told.await {
        return error.to_string();
    }
    drop(say);
    let mut text = Vec::new();
    while let Some(piece) = said.recv().await {
        text.extend_from_slice(&piece);
    }
    String::from_utf8(text).unwrap()
}

impl Drop for World {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

#[tokio::test]
async fn operators_ask_what_failed_where() {
    let world = World::new().await;
    let (old, new) = (world.job("buses", 0, 3).await, world.job("buses", 3_600, 1).await);
    world.done(old, 0).await;
    world.failed(old, 1).await;
    world.failed(new, 0).await;
    insta::assert_snapshot!(world.ask("select source, count(*) as n from waybill.tasks where state = 'failed' group by 1").await, @"
    source,n
    buses,2
    ");
    insta::assert_snapshot!(world.ask(
        "select task, items[1] as item, state, object, bytes, records, reason, attempts, seconds, finished \
         from waybill.tasks where created < '2024-05-01 08:30:00' order by task").await, @"
    task,item,state,object,bytes,records,reason,attempts,seconds,finished
    0,0-city,stored,data/buses/0.json,1000,10,,1,0.25,2024-05-01T08:00:03Z
    1,1-city,failed,,,,404 Not Found,3,,2024-05-01T08:00:04Z
    2,2-city,pending,,,,,,,
    ");
    insta::assert_snapshot!(world.ask(
        "select source, params, state, created, started, finished, tasks_total, tasks_pending, tasks_stored, tasks_failed, \
         bytes, reason from waybill.jobs").await, @r#"
    source,params,state,created,started,finished,tasks_total,tasks_pending,tasks_stored,tasks_failed,bytes,reason
    buses,"{""date"":""2024-05-01""}",failed,2024-05-01T09:00:00Z,2024-05-01T09:00:00Z,2024-05-01T08:00:04Z,1,0,0,1,0,404 Not Found
    buses,"{""date"":""2024-05-01""}",running,2024-05-01T08:00:00Z,2024-05-01T08:00:00Z,,3,1,1,1,1000,404 Not Found
    "#);
    for (filter, tasks) in [
        (format!("job = '{old}'"), 3),
        (format!("job = '{new}'"), 1),
        ("job = 'none'".to_owned(), 0),
        ("source = 'weather'".to_owned(), 0),
        ("source = 'buses'".to_owned(), 4),
        ("state = 'none'".to_owned(), 0),
        ("state in ('failed', 'stored')".to_owned(), 3),
        ("created > '2024-05-01 08:00:00'".to_owned(), 1),
        ("created >= '2024-05-01 08:00:00'".to_owned(), 4),
    ] {
        let counted = world.ask(&format!("select count(*) as n from waybill.tasks where {filter}")).await;
        assert_eq!(counted, format!("n\n{tasks}\n"), "{filter}");
    }
    for (filter, jobs) in [("state = 'failed'", 1), ("state = 'none'", 0), ("created > '2024-05-01 08:00:01'", 1)] {
        let counted = world.ask(&format!("select count(*) as n from waybill.jobs where {filter}")).await;
        assert_eq!(counted, format!("n\n{jobs}\n"), "{filter}");
    }
}

#[tokio::test]
async fn a_job_of_more_tasks_than_a_batch_is_told_whole() {
    let world = World::new().await;
    world.job("buses", 0, 20_001).await;
    let counted =
        world.ask("select count(*) as n, count(distinct task) as tasks, max(task) as last from waybill.tasks").await;
    assert_eq!(counted, "n,tasks,last\n20001,20001,20000\n");
    assert_eq!(world.ask("select task from waybill.tasks limit 1").await, "task\n0\n");
}

#[tokio::test]
async fn a_damaged_job_is_a_row_and_hides_no_other() {
    let world = World::new().await;
    let (well, damaged) = (world.job("buses", 0, 1).await, world.job("buses", 60, 1).await);
    world.done(well, 0).await;
    let key = format!("jobs/2024-05-01/{damaged}/request.json");
    world.store.put(&key, "application/json", "{".into()).await.unwrap();
    // Another process, which remembers nothing.
    let ledger = Ledger::read_only(world.store.clone());
    let system = SystemTables { ledger, ..world.system.clone() };
    let session = Engine::new(world.folder.path()).unwrap().session(Arc::new(Named(system)));
    insta::assert_snapshot!(ask(&session, "select state, task, reason is null as well from waybill.tasks order by 1").await, @"
    state,task,well
    damaged,,false
    stored,0,true
    ");
}

#[tokio::test]
async fn objects_are_those_of_the_index_with_their_statistics() {
    let world = World::new().await;
    assert_eq!(world.ask("select count(*) as n from waybill.objects").await, "n\n0\n");
    world.object("country=chile/date=2024-05-01", "0-arica", 1).await;
    let unbuilt = world.ask("select count(*) as n from waybill.objects").await;
    assert!(unbuilt.contains("not complete yet"), "{unbuilt}");
    assert_eq!(world.ask("select count(*) as n from waybill.objects where source = 'weather'").await, "n\n0\n");
    world.built().await;
    world.object("country=chile/date=2024-06-30", "all", 2).await;
    world.object("country=peru", "lima", 1).await;
    insta::assert_snapshot!(world.ask("select * from waybill.objects order by object").await, @"
    source,partition,date,item,object,bytes,records,sha256,as_of,fetched_at,definition,job,statistics
    buses,country=chile/date=2024-05-01,2024-05-01,0-arica,data/buses/country=chile/date=2024-05-01/0-arica.20240501T080002.000000Z-0.json,100,0,,2024-05-01T08:00:00Z,2024-05-01T08:00:02Z,,00000000-0000-0000-0000-000000000000,bus-count=7
    buses,country=chile/date=2024-06-30,2024-06-30,all,data/buses/country=chile/date=2024-06-30/all.20240501T080002.000000Z-0.json,100,0,,2024-05-01T08:00:00Z,2024-05-01T08:00:02Z,,00000000-0000-0000-0000-000000000000,bus-count=7
    buses,country=chile/date=2024-06-30,2024-06-30,all,data/buses/country=chile/date=2024-06-30/all.20240501T080002.000000Z-1.json,101,1,,2024-05-01T08:00:00Z,2024-05-01T08:00:02Z,,00000000-0000-0000-0000-000000000000,bus-count=7
    buses,country=peru,,lima,data/buses/country=peru/lima.20240501T080002.000000Z-0.json,100,0,,2024-05-01T08:00:00Z,2024-05-01T08:00:02Z,,00000000-0000-0000-0000-000000000000,bus-count=7
    ");
    for (filter, objects) in [
        ("date = '2024-06-30'", 2),
        ("date >= '2024-05-01' and date < '2024-06-01'", 1),
        ("date is null", 1),
        ("date between '2024-06-01' and '2024-06-30'", 2),
        ("partition = 'country=peru'", 1),
        ("partition = 'country=chile/date=2024-05-01'", 1),
        ("source = 'none'", 0),
    ] {
        let counted = world.ask(&format!("select count(*) as n from waybill.objects where {filter}")).await;
        assert_eq!(counted, format!("n\n{objects}\n"), "{filter}");
    }
}

#[tokio::test]
async fn more_items_than_a_batch_come_once_each() {
    let world = World::new().await;
    world.built().await;
    for partition in ["country=chile/date=2024-05-01", "country=peru/date=2024-05-01"] {
        let entries = (0..5_000).map(|n| {
            let objects = vec![IndexedObject { name: "a.json".to_owned(), ..IndexedObject::default() }];
            let fetch = IndexedFetch { as_of: n, fetched_at: n, objects };
            Entry { partition: partition.to_owned(), item: format!("{n}"), fact: Some(Fact::Stored(fetch)) }
        });
        world.system.index.commit("buses", entries.collect()).await.unwrap();
    }
    let counted = world.ask("select count(*) as n, count(distinct object) as objects from waybill.objects").await;
    assert_eq!(counted, "n,objects\n10000,10000\n");
}

#[tokio::test]
async fn requests_are_counted_by_day_and_path() {
    let world = World::new().await;
    for path in ["/live", "/v1/jobs", "/live"] {
        world.system.hits.count(path);
    }
    let hits = world.ask("select * from waybill.hits order by count desc").await;
    assert_eq!(hits, "day,path,count\n2024-05-01,/live,2\n2024-05-01,/v1/jobs,1\n");
    for (filter, count) in
        [("path = '/live'", "2"), ("day = '2024-05-01'", "3"), ("day > '2024-05-01'", "0"), ("path like '/v1%'", "1")]
    {
        let counted = world.ask(&format!("select coalesce(sum(count), 0) as n from waybill.hits where {filter}")).await;
        assert_eq!(counted, format!("n\n{count}\n"), "{filter}");
    }
}

#[tokio::test]
async fn names_have_their_schema() {
    let world = World::new().await;
    insta::assert_snapshot!(world.ask("show tables").await, @"
    table_name
    waybill.hits
    waybill.jobs
    waybill.objects
    waybill.tasks
    ");
    insta::assert_snapshot!(world.ask("describe waybill.hits").await, @"
    column_name,data_type,is_nullable
    day,Date32,YES
    path,Utf8,YES
    count,Int64,YES
    ");
    let mut said = Vec::new();
    for sql in [
        "select * from waybill.job",
        "select * from jobs",
        "select * from \"waybill.jobs\"",
        "select * from waybill.a.b",
    ] {
        said.push(world.ask(sql).await);
    }
    insta::assert_snapshot!(said.join("\n"), @"
    line 1, column 15: there is no table `waybill.job`; the tables are `waybill.hits`, `waybill.jobs`, `waybill.objects`, `waybill.tasks`; did you mean `waybill.jobs`?
    line 1, column 15: there is no table `jobs`; the tables are `waybill.hits`, `waybill.jobs`, `waybill.objects`, `waybill.tasks`
    line 1, column 15: there is no table `waybill.jobs`; the tables are `waybill.hits`, `waybill.jobs`, `waybill.objects`, `waybill.tasks`; did you mean `waybill.jobs`?
    line 1, column 15: there is no table `a.b`; the tables are `waybill.hits`, `waybill.jobs`, `waybill.objects`, `waybill.tasks`
    ");
}
