//! How far the jobs of a source have come: what `previous.to` in a definition stands for. A mark is derived from jobs that
//! succeeded: one that is lost, or older than it could be, makes a job fetch again what is there, and leaves no gap.

use serde::{Deserialize, Serialize};
use waybill_source::Params;

use crate::{
    JobId, Ledger, LedgerError, Request,
    layout::{keys, objects::SMALL},
};

/// `marks/{source}/{hash}.json`, of all jobs whose other parameters are the same.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Mark {
    /// Where the windows of the job ended: the greatest of all that succeeded, unless two of them ended at one moment.
    to: String,
    /// For people.
    job: JobId,
}

impl Ledger {
    /// Up to where jobs of a source with these other parameters have come; `None` where none has succeeded.
    pub async fn mark(&self, source: &str, others: &Params) -> Result<Option<String>, LedgerError> {
        let mark: Option<Mark> = self.read_intact(&keys::mark(source, others), SMALL).await?;
        Ok(mark.map(|mark| mark.to))
    }

    /// Says how far a job that succeeded has come. Whoever writes its summary does so before, so that no death leaves a
    /// summary without it.
    pub(crate) async fn set_mark(&self, request: &Request) -> Result<(), LedgerError> {
        let definition = match self.definition(&request.source, &request.definition).await {
            Ok(definition) => definition,
            Err(error @ LedgerError::Damaged { .. }) => {
                tracing::warn!(job = %request.job, %error, "failed to say how far a job has come");
                return Ok(());
            }
            Err(error) => return Err(error),
        };
        // Its windows were made when it was planned, so they can be made.
        let Ok(Some(mark)) = definition.mark(&request.context()) else { return Ok(()) };
        let key = keys::mark(&request.source, &mark.others);
        let before: Option<Mark> = self.read_intact(&key, SMALL).await?;
        if before.is_none_or(|before| before.to < mark.to) {
            self.put(&key, &Mark { to: mark.to, job: request.job }, SMALL).await?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use waybill_source::{DefaultsFrom, Definition};

    use super::*;
    use crate::{
        Outcome, Submission,
        testing::{Fixture, at, done, failure, id, plan},
    };

    const RATES: &str = include_str!("../../../source/tests/definitions/rates.toml");

    fn rates() -> Definition {
        Definition::parse("rates.toml", &RATES.replace("2024-04-29", "{{ previous.to | default('2024-04-20') }}"))
            .unwrap()
    }

    /// A job of one task, until this day.
    async fn job(fixture: &Fixture, number: u64, to: &str) -> JobId {
        let definition = rates();
        let given = BTreeMap::from([("from".to_owned(), "2024-04-01".to_owned()), ("to".to_owned(), to.to_owned())]);
        let from = DefaultsFrom { day: jiff::civil::date(2024, 5, 1), previous: None };
        let params = definition.bind(&given, from).unwrap();
        let job = id(0, number);
        let submission = Submission { params, definition: &definition, ..fixture.submission(job, "2024-05-01", None) };
        fixture.ledger.submit(submission).await.unwrap();
        fixture.ledger.record_start(job, at(1)).await.unwrap();
        fixture.ledger.record_plan(job, plan(1)).await.unwrap();
        job
    }

    async fn mark(fixture: &Fixture) -> Option<String> {
        fixture.another().mark("rates", &Params::default()).await.unwrap()
    }

    #[tokio::test]
    async fn only_a_job_that_succeeded_moves_the_mark_and_never_back() {
        let fixture = Fixture::new().await;
        assert_eq!(mark(&fixture).await, None);
        let (first, failed, earlier) = (
            job(&fixture, 1, "2024-04-10").await,
            job(&fixture, 2, "2024-04-25").await,
            job(&fixture, 3, "2024-04-05").await,
        );
        fixture.ledger.record_done(first, 0, 0, &done(Outcome::Stored, 3)).await.unwrap();
        assert_eq!(mark(&fixture).await, None, "nobody has looked at it");
        fixture.ledger.status(first).await.unwrap();
        assert_eq!(mark(&fixture).await.as_deref(), Some("2024-04-10"));
        fixture.ledger.record_failure(failed, 0, 0, &failure("gone", 4)).await.unwrap();
        fixture.ledger.record_done(earlier, 0, 0, &done(Outcome::Unchanged, 3)).await.unwrap();
        for job in [failed, earlier] {
            fixture.ledger.status(job).await.unwrap();
        }
        assert_eq!(mark(&fixture).await.as_deref(), Some("2024-04-10"));
        fixture.ledger.record_done(failed, 0, 0, &done(Outcome::Stored, 9)).await.unwrap();
        fixture.another().status(failed).await.unwrap();
        assert_eq!(mark(&fixture).await.as_deref(), Some("2024-04-25"));
    }

    #[tokio::test]
    async fn a_mark_that_cannot_be_read_is_none_and_is_made_again() {
        let fixture = Fixture::new().await;
        let key = keys::mark("rates", &Params::default());
        fixture.store.put(&key, "application/json", "{".into()).await.unwrap();
        assert_eq!(mark(&fixture).await, None);
        let job = job(&fixture, 1, "2024-04-10").await;
        fixture.ledger.record_done(job, 0, 0, &done(Outcome::Stored, 3)).await.unwrap();
        fixture.ledger.status(job).await.unwrap();
        assert_eq!(mark(&fixture).await.as_deref(), Some("2024-04-10"));
    }

    #[tokio::test]
    async fn a_source_that_asks_for_no_mark_leaves_none() {
        let fixture = Fixture::new().await;
        let job = id(0, 1);
        fixture.planned(job, 0).await;
        fixture.ledger.status(job).await.unwrap();
        assert!(fixture.store.list("marks/", None, 10).await.unwrap().is_empty());
    }
}
