//! Submits jobs. A job exists from the moment its `request.json` is written.

use std::time::Duration;

use bytes::Bytes;
use jiff::Timestamp;
use tokio::sync::oneshot;
use tracing::{
    Instrument, Span,
    field::{Empty, display},
};
use uuid::Uuid;
use waybill_source::{Definition, Params};
use waybill_store::Created;

use crate::{
    JobId, Ledger, LedgerError, Request, Upload,
    changes::expire::is_expired,
    layout::{
        keys::{self, Name},
        objects::SMALL,
    },
};

/// How long an answer waits for the plan message to be published.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(1);
/// Messages on their way to the queue. Beyond that a job is left to [`Ledger::recover`].
pub(crate) const MAX_PUBLISHING: usize = 1_024;
/// With more messages than this under way the queue is slow, and answers do not wait for it at all.
const PATIENT: usize = 16;
/// Waits between the tries to tell the queue of one job, in seconds: together, with the tries, less than what
/// [`Ledger::recover`] waits before it looks after a job. So a queue that is away for a moment costs no more than that.
const WAITS: [u64; 5] = [1, 2, 4, 8, 16];

/// What is submitted, checked already.
#[derive(Debug)]
pub struct Submission<'a> {
    /// The definition as it is now.
    pub definition: &'a Definition,
    /// Bound parameters.
    pub params: Params,
    /// The upload whose rows are the job's items, where the source takes one.
    pub upload: Option<Upload>,
    /// The client's own name for the request, at most 1,000 characters; the same one twice, by the same route and
    /// caller, is one job.
    pub idempotency_key: Option<String>,
    /// The route that the request came by.
    pub route: &'static str,
    /// The name of the API key that asks for it.
    pub by: Option<String>,
    /// A fresh UUIDv7 of `now`.
    pub id: Uuid,
    /// The time.
    pub now: Timestamp,
}

/// A job that exists.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Submitted {
    /// Its request, which is the earlier one where the key was known.
    pub request: Request,
    /// Whether this call made it.
    pub is_new: bool,
}

/// Why a job was not accepted.
#[derive(Debug, thiserror::Error)]
pub enum SubmitError {
    /// The idempotency key belongs to a job with another body.
    #[error("the idempotency key belongs to job {0}, which was asked for something else")]
    KeyReused(JobId),
    /// The store failed: the job may be accepted or not.
    #[error(transparent)]
    Ledger(#[from] LedgerError),
}

impl Ledger {
    /// Submits a job: writes the definition's text, the idempotency key if there is one, and the request; then
    /// publishes the plan message. Where the queue is unavailable, [`Self::recover`] publishes it later.
    pub async fn submit(&self, submission: Submission<'_>) -> Result<Submitted, SubmitError> {
        let span = tracing::info_span!("submit", job = Empty, source = submission.definition.name());
        self.submit_in(submission).instrument(span).await
    }

    async fn submit_in(&self, submission: Submission<'_>) -> Result<Submitted, SubmitError> {
        let Submission { definition, params, upload, idempotency_key, route, by, id, now } = submission;
        let request = Request {
            job: JobId::new(id),
            source: definition.name().to_owned(),
            params,
            definition: definition.hash().to_owned(),
            upload,
            route: idempotency_key.is_some().then(|| route.to_owned()),
            idempotency_key,
            by,
            created: now,
        };
        self.store_definition(definition).await?;
        let mut submitted = self.claim_key(request.clone()).await?;
        if !submitted.is_new {
            if self.request(submitted.request.job).await?.is_some() {
                return Ok(submitted);
            }
            if is_expired(submitted.request.job, now) {
                // It leads to a job that is gone, or never came about: nothing of that day is begun any more.
                self.delete_key(&request).await?;
                submitted = self.claim_key(request).await?;
            }
        }
        let request = &submitted.request;
        Span::current().record("job", display(request.job));
        // Either ours, or one whose submitter wrote the key and went no further: then it is completed here.
        let created = self.create(&keys::of(request.job, Name::Request), request, SMALL).await?;
        self.remember_request(request.clone());
        if created == Created::New {
            tracing::info!(job = %request.job, source = request.source, "job accepted");
            self.publish_with_retries(request).await;
        }
        Ok(submitted)
    }

    /// The job that a caller's idempotency key belongs to; `None` where the key is not known.
    pub async fn find(
        &self,
        route: &str,
        by: Option<&str>,
        source: &str,
        key: &str,
    ) -> Result<Option<Request>, LedgerError> {
        self.read(&keys::idempotency(route, by, source, key), SMALL).await
    }

    /// The text must be there before any request that names it.
    async fn store_definition(&self, definition: &Definition) -> Result<(), LedgerError> {
        let key = keys::definition(definition.name(), definition.hash());
        if self.memory.stored_definitions.get(&key).is_none() {
            let text = Bytes::copy_from_slice(definition.text().as_bytes());
            self.store.create(&key, "application/toml", text).await?;
            self.memory.stored_definitions.insert(key, (), 1);
        }
        Ok(())
    }

    /// The job that the idempotency key belongs to. The key's object holds the whole request, so that any process can
    /// complete the job. The definition of the first time counts: a changed one is not another body.
    async fn claim_key(&self, request: Request) -> Result<Submitted, SubmitError> {
        let Some(key) = request.key_object() else {
            return Ok(Submitted { request, is_new: true });
        };
        let holder = self.create_or_read(&key, request.clone(), SMALL).await?;
        // The same file sent twice is two uploads.
        let sha256 = |request: &Request| request.upload.as_ref().map(|upload| upload.sha256.clone());
        if holder.source != request.source || holder.params != request.params || sha256(&holder) != sha256(&request) {
            return Err(SubmitError::KeyReused(holder.job));
        }
        Ok(Submitted { is_new: holder.job == request.job, request: holder })
    }

    /// Deletes the request's idempotency key.
    async fn delete_key(&self, request: &Request) -> Result<(), LedgerError> {
        Ok(self.store.delete(&Vec::from_iter(request.key_object())).await?)
    }

    /// Publishes the plan message, with retries. The caller waits for the first try at most; where all fail,
    /// [`Self::recover`] publishes it.
    pub(crate) async fn publish_with_retries(&self, request: &Request) {
        let Ok(permit) = self.memory.publishing.clone().try_acquire_owned() else { return };
        let is_slow = self.memory.publishing.available_permits() + PATIENT < MAX_PUBLISHING;
        let (ledger, request) = (self.clone(), request.clone());
        let (trying, tried) = oneshot::channel::<()>();
        let publishing = async move {
            let (mut trying, mut waits) = (Some(trying), WAITS.into_iter());
            while let Err(error) = ledger.publish_plan(&request).await {
                drop(trying.take());
                // Waiting messages must not take the permits of jobs that come once the queue is back.
                let has_room = ledger.memory.publishing.available_permits() > MAX_PUBLISHING / 2;
                let Some(wait) = waits.next().filter(|_| has_room) else {
                    tracing::warn!(job = %request.job, source = request.source, %error, "failed to publish a job, left to recovery");
                    break;
                };
                tokio::time::sleep(Duration::from_secs(wait)).await;
            }
            drop(permit);
        };
        tokio::spawn(publishing.in_current_span());
        // That the sender is dropped is all there is to hear.
        if !is_slow && tokio::time::timeout(ANSWER_TIMEOUT, tried).await.is_err() {
            tracing::debug!("publishing a job takes long");
        }
    }
}

#[cfg(test)]
mod tests {
    use futures::future::join_all;
    use waybill_source::Definition;

    use super::*;
    use crate::testing::{Fixture, at, id};

    #[tokio::test]
    async fn a_job_is_made_and_announced_once() {
        let fixture = Fixture::new().await;
        let submitted = fixture.submit(id(0, 1), "2024-05-01", Some("monday")).await.unwrap();
        assert!(submitted.is_new);
        assert_eq!(fixture.queue.sent(), [format!("plan {}", id(0, 1))]);
        let key = keys::definition("buses", &submitted.request.definition);
        assert_eq!(fixture.text(&key).await.as_deref(), Some(fixture.definition.text()));
        let definition = fixture.another().definition("buses", &submitted.request.definition).await.unwrap();
        assert_eq!(definition.hash(), fixture.definition.hash());

        let again = fixture.submit(id(5, 2), "2024-05-01", Some("monday")).await.unwrap();
        assert_eq!(again, Submitted { request: submitted.request, is_new: false });
        assert!(fixture.queue.sent().is_empty());
    }

    #[tokio::test]
    async fn publishing_is_retried_while_the_queue_is_unavailable() {
        let fixture = Fixture::new().await;
        fixture.queue.take_only(0);
        fixture.submit(id(0, 1), "2024-05-01", None).await.unwrap();
        assert!(fixture.queue.sent().is_empty());
        fixture.queue.take_all();
        let sent = async {
            loop {
                match fixture.queue.sent() {
                    sent if sent.is_empty() => tokio::time::sleep(Duration::from_millis(10)).await,
                    sent => return sent,
                }
            }
        };
        let sent = tokio::time::timeout(Duration::from_secs(30), sent).await.expect("it is told within seconds");
        assert_eq!(sent, [format!("plan {}", id(0, 1))]);
    }

    #[tokio::test]
    async fn a_key_belongs_to_one_body() {
        let fixture = Fixture::new().await;
        fixture.submit(id(0, 1), "2024-05-01", Some("monday")).await.unwrap();
        let error = fixture.submit(id(5, 2), "2024-05-02", Some("monday")).await.unwrap_err();
        assert!(matches!(&error, SubmitError::KeyReused(job) if *job == id(0, 1)));
        insta::assert_snapshot!(error, @"the idempotency key belongs to job 018f332a-e400-7000-8000-000000000001, which was asked for something else");
        assert!(fixture.ledger.request(id(5, 2)).await.unwrap().is_none());
    }

    #[tokio::test]
    async fn a_key_belongs_to_a_route_and_a_caller() {
        let fixture = Fixture::new().await;
        let mut jobs = std::collections::HashSet::new();
        for (n, route) in (0..).zip(["POST /v1/jobs", "POST /collect/"]) {
            for (m, by) in (0..).zip([None, Some("one"), Some("two")]) {
                let submission = || {
                    let submission = fixture.submission(id(0, 10 * n + m), "2024-05-01", Some("monday"));
                    Submission { route, by: by.map(str::to_owned), ..submission }
                };
                let submitted = fixture.ledger.submit(submission()).await.unwrap();
                assert!(submitted.is_new && jobs.insert(submitted.request.job));
                let again = Submission { id: id(5, 99).into(), ..submission() };
                assert_eq!(fixture.another().submit(again).await.unwrap().request, submitted.request);
                let found = fixture.another().find(route, by, "buses", "monday").await.unwrap();
                assert_eq!(found, Some(submitted.request));
            }
        }
        assert_eq!(fixture.store.list("keys/", None, 10).await.unwrap().len(), 6);
        for days in 91..93 {
            fixture.another().expire(at(days * 86_400)).await.unwrap();
        }
        assert_eq!(fixture.store.list("keys/", None, 10).await.unwrap().len(), 0);
    }

    /// Keys of earlier releases were not scoped: they lead nowhere, and go with their jobs.
    #[tokio::test]
    async fn a_key_of_an_earlier_release_is_not_looked_at_and_goes_with_its_job() {
        let fixture = Fixture::new().await;
        let mut request = fixture.job(id(0, 1)).await;
        request.idempotency_key = Some("monday".to_owned());
        let key = keys::unscoped_idempotency("buses", "monday");
        for key in [&key, &keys::of(id(0, 1), Name::Request)] {
            fixture.ledger.put(key, &request, SMALL).await.unwrap();
        }
        assert!(fixture.submit(id(5, 2), "2024-05-02", Some("monday")).await.unwrap().is_new);
        for days in 91..93 {
            fixture.another().expire(at(days * 86_400)).await.unwrap();
        }
        assert_eq!(fixture.store.list("", None, 10).await.unwrap().len(), 1, "the definition");
    }

    #[tokio::test]
    async fn a_changed_definition_is_not_another_body() {
        let fixture = Fixture::new().await;
        let first = fixture.submit(id(0, 1), "2024-05-01", Some("monday")).await.unwrap().request;
        let changed = Definition::parse("buses.toml", &format!("{}\n# changed", fixture.definition.text())).unwrap();
        let submission =
            Submission { definition: &changed, ..fixture.submission(id(5, 2), "2024-05-01", Some("monday")) };
        let second = fixture.another().submit(submission).await.unwrap();
        assert_eq!(second, Submitted { request: first, is_new: false });
    }

    #[tokio::test]
    async fn one_key_of_sixteen_at_once_is_one_job() {
        let fixture = Fixture::new().await;
        let submits = (0..16).map(|n| {
            let (fixture, ledger) = (&fixture, fixture.another());
            async move { ledger.submit(fixture.submission(id(0, n), "2024-05-01", Some("monday"))).await.unwrap() }
        });
        let submitted = join_all(submits).await;
        assert_eq!(submitted.iter().filter(|submitted| submitted.is_new).count(), 1);
        assert!(submitted.iter().all(|one| one.request == submitted[0].request));
        let page = fixture.ledger.jobs(&Default::default(), None, 100).await.unwrap();
        assert_eq!(page.jobs.len(), 1);
        let mut sent = fixture.queue.sent();
        sent.dedup();
        assert_eq!(sent, [format!("plan {}", submitted[0].request.job)]);
    }

    #[tokio::test]
    async fn a_key_whose_submitter_died_is_completed_by_the_next() {
        let fixture = Fixture::new().await;
        let first = fixture.submit(id(0, 1), "2024-05-01", Some("monday")).await.unwrap().request;
        fixture.store.delete(&[keys::of(id(0, 1), Name::Request)]).await.unwrap();
        fixture.queue.sent();

        let another = fixture.another();
        assert!(another.request(id(0, 1)).await.unwrap().is_none());
        let second = another.submit(fixture.submission(id(9, 2), "2024-05-01", Some("monday"))).await.unwrap();
        assert_eq!(second, Submitted { request: first.clone(), is_new: false });
        assert_eq!(*fixture.another().request(id(0, 1)).await.unwrap().unwrap(), first);
        assert_eq!(fixture.queue.sent(), [format!("plan {}", id(0, 1))]);
    }

    #[tokio::test]
    async fn a_job_is_accepted_while_the_queue_is_unavailable() {
        let fixture = Fixture::new().await;
        // For longer than this process tries, or lives.
        fixture.ledger.memory.publishing.close();
        assert!(fixture.submit(id(0, 1), "2024-05-01", None).await.unwrap().is_new);
        assert!(fixture.queue.sent().is_empty());
        assert_eq!(fixture.ledger.recover(at(61), false).await.unwrap(), 1);
        assert_eq!(fixture.queue.sent(), [format!("plan {}", id(0, 1))]);
    }

    #[tokio::test]
    async fn a_full_queue_does_not_delay_answers() {
        let fixture = Fixture::new().await;
        fixture.queue.is_full.store(true, std::sync::atomic::Ordering::Relaxed);
        let accepted = join_all((0..100).map(|n| fixture.job(id(0, n))));
        tokio::time::timeout(Duration::from_secs(30), accepted).await.expect("no answer waits for the queue");
        // All are still on their way.
        assert!(fixture.ledger.memory.publishing.available_permits() <= MAX_PUBLISHING - 100);
    }
}
