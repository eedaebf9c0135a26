//! The servers: which services a target runs, how they are put together, and how they go down.

pub(crate) mod backends;
pub(crate) mod catalog;
pub(crate) mod listen_address;
pub(crate) mod process;
pub(crate) mod security;
pub(crate) mod settings;
pub(crate) mod signals;
pub(crate) mod tables;
pub(crate) mod target;

use std::{process::ExitCode, sync::Arc, time::Duration};

use anyhow::Context;
use futures::{FutureExt, TryStreamExt};
use jiff::Timestamp;
use poem::{
    Body, Endpoint, EndpointExt, Request, Response,
    endpoint::{BoxEndpoint, make},
};
use prometheus_client::registry::Registry;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use waybill_api::{HitsApi, JobsApi, RelayApi, WeatherApi};
use waybill_hits::Hits;
use waybill_ledger::{Ledger, index::Index};
use waybill_queue::Queue;
use waybill_stats::{HitStatsApi, StatsApi};
use waybill_store::{Embedded, Store};
use waybill_web::{AppConfig, Check, HitCounter, Probes, Problem, Serving, Warnings};
use waybill_worker::{RetryPolicy, Worker};

use crate::{
    cli::ServerFlags,
    server::{settings::Settings, tables::ServedTables, target::Target},
};

/// How long running tasks may take to finish once the process is told to stop. With what HTTP takes after that, 10 s, it
/// is less than the grace that compose/ and k8s/ give.
const DRAIN: Duration = Duration::from_secs(25);

/// Connections of clients at once; one more takes the place of the one that has been idle longest.
const MOST_CONNECTIONS: usize = 1_000;

/// A server that is up.
#[derive(Debug)]
pub(crate) struct Running {
    /// Where it serves HTTP.
    pub(crate) url: String,
    /// Where the embedded S3 can be looked into, if there is one.
    pub(crate) s3_url: Option<String>,
    /// Where it listens on other ports than usual, for people.
    pub(crate) notes: Vec<String>,
    /// Ends when the server has gone down.
    pub(crate) ended: JoinHandle<anyhow::Result<()>>,
}

/// Runs a target until a signal.
pub(crate) async fn run(target: Target, flags: ServerFlags) -> anyhow::Result<ExitCode> {
    let settings = Settings::load(&flags)?;
    let running = start(target, &settings, signals::shutdown()?).await?;
    print!("{}", summary(target, &settings, &running));
    running.ended.await??;
    Ok(ExitCode::SUCCESS)
}

/// Starts a target; it goes down well once `shutdown` is cancelled.
pub(crate) async fn start(target: Target, settings: &Settings, shutdown: CancellationToken) -> anyhow::Result<Running> {
    let catalog = Arc::new(catalog::load(settings)?);
    let (keys, tls) = security::load(target, settings)?;
    security::advise(target, settings);
    let (listener, is_other_port) = settings.listen.bind("listen").await?;
    let scheme = if tls.is_some() { "https" } else { "http" };
    let address = listener.local_addr()?;
    let url = format!("{scheme}://{address}");
    let mut notes = Vec::new();
    if is_other_port {
        let taken = settings.listen.address;
        notes.push(format!(
            "{taken} is taken, so this is at {url}: export WAYBILL_URL={url} for the other commands (--listen chooses)"
        ));
    }
    let (store, embedded) = backends::store(settings, target).await?;

    // Each room registers its own; from here on they are only counted and shown.
    let mut registry = Registry::default();
    process::register(&mut registry);
    let metrics = registry.sub_registry_with_prefix("waybill");
    let http = waybill_web::Metrics::register(metrics);
    let store = store.with_metrics(&waybill_store::Metrics::register(metrics));

    let (hits, flusher) = Hits::new(store.clone(), waybill_hits::Metrics::register(metrics), Timestamp::now);
    let counter = hits.clone();
    let counter = HitCounter::new(move |path| counter.count(path));
    let (counter, flusher) = if settings.hits { (counter, Some(flusher)) } else { Default::default() };

    // HTTP outlives the workers, so that /ready can say that the process drains.
    let stop_serving = CancellationToken::new();
    let mut s3_url = None;
    if let Some(embedded) = embedded {
        let (listener, is_other_port) = settings.s3_listen.bind("s3_listen").await?;
        let address = listener.local_addr()?;
        if is_other_port {
            let taken = settings.s3_listen.address;
            notes.push(format!("{taken} is taken, so the embedded S3 is at {address} (--s3-listen chooses)"));
        }
        s3_url = Some(format!("http://{address}"));
        let serving = Serving { connections: S3_CONNECTIONS, ..Serving::default() };
        tokio::spawn(waybill_web::serve(listener, s3_reads(&embedded), serving, stop_serving.clone()));
    }

    // Once all rooms have registered.
    let front = |registry| AppConfig {
        keys,
        metrics: http.clone(),
        registry: Arc::new(registry),
        hits: counter,
        ..AppConfig::default()
    };
    let (app, worker) = match target {
        #[cfg(feature = "tables")]
        Target::Tables => {
            let probes = probes(&store, None, &shutdown, Vec::new());
            let (ledger, index) = (Ledger::read_only(store.clone()), Index::new(store.clone(), shutdown.clone()));
            let queries = ServedTables::new(store, &catalog)?.queries(ledger, index, hits)?;
            let front = AppConfig { reads: QUERIES, ..front(registry) };
            (boxed(waybill_web::app(queries, probes, front)), None)
        }
        Target::Stats => {
            let (ledger, index) = (Ledger::read_only(store.clone()), Index::new(store.clone(), shutdown.clone()));
            let probes = probes(&store, None, &shutdown, warnings(&ledger, [&index]));
            let statistics = StatsApi::new(catalog, ledger, index, store, Timestamp::now);
            (boxed(waybill_web::app((statistics, HitStatsApi::new(hits)), probes, front(registry))), None)
        }
        Target::Up | Target::Api | Target::Worker => {
            let queue = backends::queue(settings, target, &waybill_queue::Metrics::register(metrics))?;
            let names = || catalog.iter().map(|definition| definition.name());
            let ledger_metrics = waybill_ledger::Metrics::register(metrics, names());
            let worker_metrics = waybill_worker::Metrics::register(metrics);
            let jobs_metrics = (target != Target::Worker).then(|| waybill_api::Metrics::register(metrics, names()));
            let pages = waybill_api::pages();
            let front =
                AppConfig { uploads: waybill_api::uploads(), reads: QUERIES, pages: pages.clone(), ..front(registry) };
            let ledger = Ledger::new(store.clone(), Arc::clone(&queue)).with_metrics(ledger_metrics);
            let index = (target == Target::Up).then(|| Index::new(store.clone(), shutdown.clone()));
            let probes = probes(&store, Some(&queue), &shutdown, warnings(&ledger, &index));
            let env = catalog::environment(&catalog);
            let tables = target.works().then(|| ServedTables::new(store.clone(), &catalog)).transpose()?;
            let loader = tables.as_ref().and_then(ServedTables::loader);
            let app = match jobs_metrics {
                None => boxed(waybill_web::app((), probes, front)),
                Some(metrics) => {
                    let now = Timestamp::now;
                    let jobs = JobsApi::new(ledger.clone(), Arc::clone(&catalog), &env, now)
                        .with_metrics(&metrics)
                        .with_shutdown(shutdown.clone());
                    let weather = WeatherApi::new(ledger.clone(), Arc::clone(&catalog), store.clone(), &env, now)
                        .with_metrics(&metrics);
                    let relay = RelayApi::new(jobs.clone(), pages);
                    let simulated = HitsApi::new(&listen_address::local_url(scheme, address), shutdown.clone())?;
                    if let Some((index, tables)) = index.zip(tables) {
                        let statistics =
                            StatsApi::new(Arc::clone(&catalog), ledger.clone(), index.clone(), store.clone(), now);
                        let counts = HitStatsApi::new(hits.clone());
                        let statistics = (statistics, counts, tables.queries(ledger.clone(), index, hits)?);
                        boxed(waybill_web::app((jobs, weather, relay, simulated, statistics), probes, front))
                    } else {
                        boxed(waybill_web::app((jobs, weather, relay, simulated), probes, front))
                    }
                }
            };
            let worker = Worker {
                ledger,
                store,
                queue,
                base_urls: settings.base_url.clone(),
                env,
                catalog,
                retry: RETRY,
                housekeeping: HOUSEKEEPING,
                lost_after: waybill_ledger::LOST_AFTER,
                lease: LEASE,
                requeue_after: REQUEUE_AFTER,
                metrics: worker_metrics,
                loader,
            };
            (app, target.works().then_some(worker))
        }
    };

    if let Some(tls) = tls.clone() {
        tokio::spawn(tls.follow(http.clone(), stop_serving.clone()));
    }
    // The other half is for the store, the broker, upstreams and spools.
    let connections = MOST_CONNECTIONS.min(process::open_file_limit() / 2);
    let serving = Serving { tls, connections, metrics: http, ..Serving::default() };
    let stop_counting = CancellationToken::new();
    let counting = flusher.map(|flusher| tokio::spawn(flusher.run(stop_counting.clone())));
    let ended = tokio::spawn(async move {
        let serving = tokio::spawn(waybill_web::serve(listener, app, serving, stop_serving.clone()));
        let worked = match worker {
            Some(worker) => waybill_worker::run(worker, shutdown, DRAIN).await,
            None => {
                shutdown.cancelled().await;
                Ok(())
            }
        };
        stop_serving.cancel();
        let served = serving.await;
        // After the last request.
        stop_counting.cancel();
        if let Some(counting) = counting {
            counting.await?;
        }
        served?.context("serving HTTP")?;
        worked
    });
    Ok(Running { url, s3_url, notes, ended })
}

/// Where queries are asked: by POST, since they are long.
const QUERIES: &[&str] = &["/v1/query"];

/// Five tries of a request within some 15 seconds, then five more goes by way of the queue.
const RETRY: RetryPolicy =
    RetryPolicy { initial: Duration::from_millis(500), max_wait: Duration::from_secs(5), tries: 5, attempts: 5 };

/// The most connections to the embedded S3: tools open some tens at once.
const S3_CONNECTIONS: usize = 256;

/// How often the housekeeper looks: soon enough for people, seldom enough to cost nothing.
const HOUSEKEEPING: Duration = Duration::from_secs(30);

/// How often a long task says that it runs.
const LEASE: Duration = Duration::from_secs(30);

/// When a long task is handed on: RabbitMQ waits half an hour for an acknowledgement.
const REQUEUE_AFTER: Duration = Duration::from_secs(15 * 60);

/// The embedded S3 for other people's tools, on connections that are as bounded as those to our own routes.
fn s3_reads(embedded: &Embedded) -> impl Endpoint<Output = Response> + 'static {
    let reader = embedded.reader();
    let answer = make(move |request: Request| {
        let reader = reader.clone();
        async move {
            waybill_web::refuse_foreign(&request)?;
            // What changes nothing has no body.
            let mut asked = hyper::Request::new(s3s::Body::empty());
            (*asked.method_mut(), *asked.uri_mut()) = (request.method().clone(), request.uri().clone());
            *asked.headers_mut() = request.headers().clone();
            let answer = reader.call(asked).await.map_err(|error| Problem::internal(format!("{error:?}")))?;
            let (head, body) = answer.into_parts();
            let mut response = match body.bytes() {
                Some(bytes) => Response::from(Body::from_bytes(bytes)),
                None => Response::from(Body::from_bytes_stream(body.map_err(std::io::Error::other))),
            };
            response.set_status(head.status);
            *response.headers_mut() = head.headers;
            Ok::<_, Problem>(response)
        }
    });
    answer.map_to_response()
}

fn boxed(app: impl Endpoint<Output = Response> + 'static) -> BoxEndpoint<'static, Response> {
    app.boxed()
}

/// Names what this process finds unreadable in journals: everything else goes on, and nothing repairs it by itself.
fn warnings<'a>(ledger: &Ledger, indexes: impl IntoIterator<Item = &'a Index>) -> Vec<Warnings> {
    let ledger = ledger.clone();
    let mut warnings: Vec<Warnings> =
        vec![Box::new(move || ledger.unreadable().iter().map(ToString::to_string).collect())];
    for index in indexes {
        let index = index.clone();
        warnings.push(Box::new(move || index.unreadable().iter().map(ToString::to_string).collect()));
    }
    warnings
}

fn probes(
    store: &Store,
    queue: Option<&Arc<dyn Queue>>,
    shutdown: &CancellationToken,
    warnings: Vec<Warnings>,
) -> Probes {
    // Statistics are only read, but for what is derived.
    let (store, writes) = (store.clone(), queue.is_some());
    let mut checks = vec![Check {
        name: "store",
        run: Box::new(move || {
            let store = store.clone();
            let looked = async move { if writes { store.check_writes().await } else { store.check().await } };
            looked.map(|looked| looked.map_err(|error| error.to_string())).boxed()
        }),
    }];
    if let Some(queue) = queue.cloned() {
        checks.push(Check {
            name: "queue",
            run: Box::new(move || {
                let queue = Arc::clone(&queue);
                async move { queue.check().await.map_err(|error| error.to_string()) }.boxed()
            }),
        });
    }
    Probes { checks, warnings, shutdown: shutdown.clone() }
}

/// What people read when it is up; scripts read the address from its second line.
fn summary(target: Target, settings: &Settings, running: &Running) -> String {
    let embedded = |there: bool, what: &str| if there { String::new() } else { format!(", embedded: {what}") };
    let parts = match target {
        Target::Up => format!(
            "everything in one process{}{}",
            embedded(settings.amqp_url.is_some(), "queue (in memory, made again from the bucket)"),
            embedded(settings.s3_bucket.is_some(), "S3"),
        ),
        _ => "one service".to_owned(),
    };
    let mut lines = format!("waybill {target} {}: {parts}\n", env!("CARGO_PKG_VERSION"));
    running.notes.iter().for_each(|note| lines += &format!("  note       {note}\n"));
    lines += &format!("  serving    {}\n", running.url);
    if let Some(s3) = &running.s3_url {
        lines += &format!("  data       {} (S3 at {s3}, read-only)\n", settings.data.join("s3").display());
    }
    if matches!(target, Target::Up | Target::Api) {
        lines += &format!("  docs       {}/docs\n", running.url);
    }
    lines
}
