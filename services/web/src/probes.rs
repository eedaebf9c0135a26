//! `/live` and `/ready`.

use std::{collections::BTreeMap, time::Duration};

use futures::future::{BoxFuture, join_all};
use poem_openapi::{ApiResponse, Enum, Object, OpenApi, payload::Json};

/// The longest that a check may take.
const CHECK_LIMIT: Duration = Duration::from_secs(2);

/// Something that must work for this process to be of use: `("store", || store.check())`.
pub struct Check {
    /// What is checked, as `/ready` calls it.
    pub name: &'static str,
    /// Checks it, within 2 seconds; the error is for people.
    pub run: Box<dyn Fn() -> BoxFuture<'static, Result<(), String>> + Send + Sync>,
}

/// Something that a person should look at, though the process is of use; in words.
pub type Warnings = Box<dyn Fn() -> Vec<String> + Send + Sync>;

/// All the checks of a process, and whether it is going down.
pub struct Probes {
    /// Run side by side at each `/ready`.
    pub checks: Vec<Check>,
    /// Asked at each `/ready`.
    pub warnings: Vec<Warnings>,
    /// Once cancelled, `/ready` is 503.
    pub shutdown: tokio_util::sync::CancellationToken,
}

/// Whether a process is of use.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Enum)]
#[oai(rename_all = "lowercase")]
enum Readiness {
    /// Every check passed.
    Ready,
    /// A check failed.
    Unready,
    /// It is going down; it takes no new work.
    Draining,
}

/// What `/ready` says.
#[derive(Debug, Object)]
struct Report {
    status: Readiness,
    /// `ok`, or what is wrong, by check.
    checks: BTreeMap<String, String>,
    /// What a person should look at, such as objects of a journal that cannot be read; requests can be sent here all the same.
    #[oai(skip_serializing_if_is_empty)]
    warnings: Vec<String>,
}

#[derive(Debug, ApiResponse)]
enum Answer {
    /// Send requests here.
    #[oai(status = 200)]
    Ready(Json<Report>),
    /// Send requests elsewhere.
    #[oai(status = 503)]
    NotReady(Json<Report>),
}

/// That the process runs.
#[derive(Debug, Object)]
struct Live {
    /// Always `live`.
    status: String,
}

#[OpenApi]
impl Probes {
    /// Whether the process runs.
    #[oai(path = "/live", method = "get", operation_id = "live")]
    async fn live(&self) -> Json<Live> {
        Json(Live { status: "live".to_owned() })
    }

    /// Whether the process is of use now.
    #[oai(path = "/ready", method = "get", operation_id = "ready")]
    async fn ready(&self) -> Answer {
        if self.shutdown.is_cancelled() {
            let (status, checks) = (Readiness::Draining, BTreeMap::new());
            return Answer::NotReady(Json(Report { status, checks, warnings: Vec::new() }));
        }
        let checks: BTreeMap<_, _> = join_all(self.checks.iter().map(outcome)).await.into_iter().collect();
        let warnings = self.warnings.iter().flat_map(|warnings| warnings()).collect();
        if checks.values().all(|outcome| outcome == "ok") {
            Answer::Ready(Json(Report { status: Readiness::Ready, checks, warnings }))
        } else {
            Answer::NotReady(Json(Report { status: Readiness::Unready, checks, warnings }))
        }
    }
}

async fn outcome(check: &Check) -> (String, String) {
    let outcome = match tokio::time::timeout(CHECK_LIMIT, (check.run)()).await {
        Ok(Ok(())) => "ok".to_owned(),
        Ok(Err(reason)) => reason,
        Err(_elapsed) => format!("no answer within {} seconds", CHECK_LIMIT.as_secs()),
    };
    (check.name.to_owned(), outcome)
}
