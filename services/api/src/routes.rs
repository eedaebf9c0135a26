//! The routes under `/v1`, and `/process-request`.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use jiff::Timestamp;
use poem::Request;
use poem_openapi::{
    ApiResponse, OpenApi,
    param::{Header, Path, Query},
    payload::Json,
};
use tokio_util::sync::CancellationToken;
use waybill_ledger::{JobFilter, JobId, Ledger, Status, Submission, Upload, UploadId};
use waybill_source::{Catalog, Definition, Env, Params};
use waybill_web::{Caller, Date, Id, Problem, known_query, preferred_wait, quoted};

use crate::{
    bodies::{FileBody, JobBody},
    error,
    id::Ids,
    metrics::Metrics,
    receive::{self, Chunks, Receiver},
    responses::{
        job_response::{self, Job, JobState},
        pagination::{self, Jobs, JobsPage, Tasks, TasksPage},
        row_results::{self, ResultLines},
        source_response::{Source, Sources},
        task_response::TaskState,
        upload_response::UploadResponse,
    },
    submit::{self, Given, NewJob, Submitter},
    wait::Waits,
};

/// Whose idempotency keys are of `/v1/jobs`.
const ROUTE: &str = "POST /v1/jobs";
/// How long a client waits to learn whether its job exists.
const SUBMIT_TIMEOUT: Duration = Duration::from_secs(2);
/// The same of a client that has sent a file, which it would have to send again.
const FILE_SUBMIT_TIMEOUT: Duration = Duration::from_secs(30);

/// Jobs over HTTP. Clones share the limit on uploads.
#[derive(Debug, Clone)]
pub struct JobsApi {
    pub(crate) ledger: Ledger,
    catalog: Arc<Catalog>,
    /// Names of the environment variables that a source needs and that are not set, by source.
    lacks: Arc<BTreeMap<String, Vec<String>>>,
    now: fn() -> Timestamp,
    ids: Arc<Ids>,
    pub(crate) receiver: Receiver,
    metrics: Metrics,
    waits: Waits,
}

impl JobsApi {
    /// Jobs of the sources in `catalog`, kept in `ledger`; no value of `env` is kept. `now` is the clock.
    pub fn new(ledger: Ledger, catalog: Arc<Catalog>, env: &Env, now: fn() -> Timestamp) -> Self {
        let lacks = |definition: &Definition| definition.missing_env(env).map(str::to_owned).collect();
        let lacks = catalog.iter().map(|definition| (definition.name().to_owned(), lacks(definition))).collect();
        let (ids, metrics, waits) = (Arc::<Ids>::default(), Metrics::default(), Waits::default());
        let receiver = Receiver::new(ledger.clone(), Arc::clone(&ids), now);
        Self { ledger, catalog, lacks: Arc::new(lacks), now, ids, receiver, metrics, waits }
    }

    /// The same; once `shutdown` is cancelled, nobody is kept waiting.
    #[must_use]
    pub fn with_shutdown(self, shutdown: CancellationToken) -> Self {
        Self { waits: self.waits.until(shutdown), ..self }
    }

    /// The same, counted in `metrics`.
    #[must_use]
    pub fn with_metrics(self, metrics: &Metrics) -> Self {
        Self { metrics: metrics.clone(), ..self }
    }

    fn lacks(&self, definition: &Definition) -> &[String] {
        self.lacks.get(definition.name()).map_or(&[], Vec::as_slice)
    }

    pub(crate) fn source(&self, name: &str) -> Result<&Arc<Definition>, Problem> {
        self.catalog.get(name).ok_or_else(|| {
            let known: Vec<_> = self.catalog.iter().map(|definition| definition.name()).collect();
            Problem::unknown_source(name, &known)
        })
    }

    /// Refuses a job of a source that an operator has to configure first.
    pub(crate) fn is_configured(&self, definition: &Definition) -> Result<(), Problem> {
        match self.lacks(definition) {
            [variable, ..] => Err(error::lacking(definition.name(), variable)),
            [] => Ok(()),
        }
    }

    /// Accepts a job, and waits for its end as long as the client would.
    pub(crate) async fn accept(
        &self,
        caller: &Caller,
        definition: &Definition,
        wanted: Wanted,
        wait: Option<Duration>,
    ) -> Result<Accepted, Problem> {
        self.is_configured(definition)?;
        let status = self.submitted(caller, definition, wanted).await?;
        Ok(self.answer(status, wait).await)
    }

    /// Receives a job's file, and accepts the job.
    pub(crate) async fn accept_file(
        &self,
        caller: &Caller,
        definition: &Definition,
        chunks: Chunks,
        wanted: Wanted,
    ) -> Result<Status, Problem> {
        // What can be refused without the file is, before it is sent.
        self.is_configured(definition)?;
        let upload = self.receiver.receive(definition, caller.name().map(str::to_owned), chunks).await?;
        let id = upload.id;
        let wanted = Wanted { upload: Some(upload.clone()), ..wanted };
        let submitted = self.submitted(caller, definition, wanted).await;
        let is_named = match &submitted {
            Ok(status) => status.request.upload.as_ref().is_some_and(|upload| upload.id == id),
            // After any other error the job may exist.
            Err(problem) => problem.kind != error::KEY_REUSED,
        };
        if !is_named && let Err(error) = self.ledger.delete_upload(&upload).await {
            tracing::warn!(upload = %id, %error, "failed to delete an upload that no job names");
        }
        submitted
    }

    /// Checks what a job is given.
    pub(crate) async fn bind(
        &self,
        definition: &Definition,
        given: Given,
        by: Submitter<'_>,
    ) -> Result<Params, Problem> {
        let binding = submit::bind(&self.ledger, definition, given, by, (self.now)());
        let late = |_| Problem::unavailable("the object store", format!("it did not answer within {SUBMIT_TIMEOUT:?}"));
        tokio::time::timeout(SUBMIT_TIMEOUT, binding).await.map_err(late).flatten()
    }

    async fn submitted(&self, caller: &Caller, definition: &Definition, wanted: Wanted) -> Result<Status, Problem> {
        let Wanted { params, upload, route, key } = wanted;
        let now = (self.now)();
        let (id, by) = (self.ids.fresh(now), caller.name().map(str::to_owned));
        // A file that is sent again is sent to its API again, unless a key says that it is the same.
        let is_file = upload.is_some();
        let is_safe_to_repeat = !is_file || key.is_some();
        let submission = Submission { definition, params, upload, idempotency_key: key, route, by, id, now };
        let accepting = async {
            let submitted = self.ledger.submit(submission).await.map_err(error::submit)?;
            if submitted.is_new {
                self.metrics.submitted(definition.name());
                return Ok(job_response::accepted(submitted.request));
            }
            let status = self.ledger.status(submitted.request.job).await.map_err(error::ledger)?;
            Ok(status.unwrap_or_else(|| job_response::accepted(submitted.request)))
        };
        // The job may exist all the same; an idempotency key makes a second try safe.
        let within = if is_file { FILE_SUBMIT_TIMEOUT } else { SUBMIT_TIMEOUT };
        let late = |_| Problem::unavailable("the object store", format!("a job was not accepted within {within:?}"));
        let accepted = tokio::time::timeout(within, accepting).await.map_err(late).flatten();
        accepted.map_err(|problem| match problem.status {
            503 if !is_safe_to_repeat => error::unconfirmed(JobId::new(id)),
            _ => problem,
        })
    }

    async fn answer(&self, status: Status, wait: Option<Duration>) -> Accepted {
        if let Some(wait) = wait
            && let Some(ended) = self.waits.for_end(&self.ledger, status.request.job, wait).await
        {
            let job = self.document(ended);
            let location = job.location();
            return Accepted::Ended(Json(job), location, format!("wait={}", wait.as_secs()));
        }
        let job = self.document(status);
        let location = job.location();
        Accepted::Job(Json(job), location)
    }

    /// The upload that a job names, if the caller may name it.
    async fn named_upload(&self, caller: &Caller, definition: &Definition, id: &str) -> Result<Upload, Problem> {
        if definition.upload_format().is_none() {
            return Err(error::upload_not_taken(definition.name()));
        }
        let expected = "the id of an upload, as `POST /v1/uploads` answers it";
        let wrong = |_| Problem::invalid_body(format!("`upload`: expected {expected}, found {}", quoted(id)));
        let id: UploadId = id.parse().map_err(|error| wrong(error).at("upload").expecting(expected))?;
        let upload = self.ledger.upload(id, (self.now)()).await.map_err(error::ledger)?;
        let upload = upload.ok_or_else(|| error::unknown_upload(id))?;
        caller.may_use_upload(upload.by.as_deref())?;
        if upload.source != definition.name() {
            return Err(error::upload_of_another_source(id, &upload.source, definition.name()));
        }
        Ok(upload)
    }

    async fn submit_json(&self, request: &Request, new: NewJob) -> Result<Accepted, Problem> {
        known_query(request, &[])?;
        let key = submit::idempotency_key(request)?;
        let NewJob { source, params, upload } = new;
        let definition = self.source(&source)?;
        let given = params.into_iter().map(|(name, value)| (name, value.0)).collect();
        let caller = Caller::of(request);
        let by = Submitter { caller: &caller, route: ROUTE, key: key.as_deref(), place: "params." };
        let params = self.bind(definition, given, by).await?;
        let upload = match upload {
            Some(id) => Some(self.named_upload(&caller, definition, &id).await?),
            None if definition.upload_format().is_some() => return Err(error::upload_required(definition)),
            None => None,
        };
        let wanted = Wanted { params, upload, route: ROUTE, key };
        self.accept(&caller, definition, wanted, preferred_wait(request)).await
    }

    async fn submit_file(&self, request: &Request, file: FileBody) -> Result<Accepted, Problem> {
        let key = submit::idempotency_key(request)?;
        let (definition, given) = submit::from_query(request, |name| self.source(name).map(Arc::clone))?;
        let format = definition.upload_format().ok_or_else(|| error::upload_not_taken(definition.name()))?;
        let body = file.spelled(format)?;
        let caller = Caller::of(request);
        let by = Submitter { caller: &caller, route: ROUTE, key: key.as_deref(), place: "" };
        let params = self.bind(&definition, given, by).await?;
        let wanted = Wanted { params, upload: None, route: ROUTE, key };
        let status = self.accept_file(&caller, &definition, receive::chunks(body), wanted).await?;
        Ok(self.answer(status, preferred_wait(request)).await)
    }

    /// The job to retry or cancel, if the caller may.
    async fn to_change(&self, request: &Request, id: &Id) -> Result<JobId, Problem> {
        known_query(request, &[])?;
        let job = job_id(id)?;
        let asked = self.ledger.request(job).await.map_err(error::ledger)?.ok_or_else(|| error::unknown(job))?;
        Caller::of(request).may_change(asked.by.as_deref())?;
        Ok(job)
    }

    /// A job's response.
    async fn standing(&self, job: JobId) -> Result<Job, Problem> {
        let status = self.ledger.status(job).await.map_err(error::ledger)?;
        Ok(self.document(status.ok_or_else(|| error::unknown(job))?))
    }

    fn document(&self, status: Status) -> Job {
        let definition = self.catalog.get(&status.request.source);
        let by_date =
            definition.is_some_and(|definition| definition.partition_names().last().is_some_and(|name| name == "date"));
        Job::new(status, by_date, (self.now)())
    }
}

/// A job that is wanted, checked but for its file.
#[derive(Debug)]
pub(crate) struct Wanted {
    pub(crate) params: Params,
    pub(crate) upload: Option<Upload>,
    pub(crate) route: &'static str,
    /// The idempotency key.
    pub(crate) key: Option<String>,
}

#[derive(Debug, ApiResponse)]
enum Received {
    /// The file is whole, and passed its check: a job may name it.
    #[oai(status = 201)]
    Upload(
        Json<UploadResponse>,
        /// Where it is found.
        #[oai(header = "Location")]
        String,
    ),
}

#[derive(Debug, ApiResponse)]
pub(crate) enum Accepted {
    /// The job has ended, within the time that the client would wait.
    #[oai(status = 200)]
    Ended(
        Json<Job>,
        /// Where it is.
        #[oai(header = "Location")]
        String,
        /// How long it would have been waited for.
        #[oai(header = "Preference-Applied")]
        String,
    ),
    /// The job exists, and will be done.
    #[oai(status = 202)]
    Job(
        Json<Job>,
        /// Where to watch it.
        #[oai(header = "Location")]
        String,
    ),
}

#[derive(ApiResponse)]
enum RowResults {
    /// A line for each row.
    #[oai(status = 200)]
    Lines(ResultLines),
}

#[derive(Debug, ApiResponse)]
enum Found {
    /// The job.
    #[oai(status = 200)]
    Job(
        Json<Job>,
        /// Seconds after which there may be news, unless all is done.
        #[oai(header = "Retry-After")]
        Option<u64>,
    ),
}

#[OpenApi]
impl JobsApi {
    /// Submit a job
    ///
    /// It is done later, by whichever worker is free. The same `Idempotency-Key` with the same body is the
    /// same job, however often it is sent. Each API key has idempotency keys of its own.
    ///
    /// Where the source takes an upload, the job names one that was sent before, or the CSV or NDJSON itself is the body:
    /// then `source` and the job's other parameters stand in the query. A file of at most 10 GB, read as it arrives; a job
    /// exists once it is whole and its header line has the columns that the source needs.
    ///
    /// A source with a table loads the upload. The job is `partial` where rows were left out since they are not as the
    /// definition says: `rows` counts them, and `errors` names the first, and the report of them in the bucket.
    ///
    /// With `Prefer: wait=60` the answer comes when the job has ended, with 200, or after 60 seconds, with 202; at most
    /// 300 are waited.
    #[oai(path = "/v1/jobs", method = "post", operation_id = "submitJob")]
    async fn submit(
        &self,
        request: &Request,
        /// The client's own name for this request: 1 to 255 visible ASCII characters.
        #[oai(name = "Idempotency-Key")]
        idempotency_key: Header<Option<String>>,
        /// How many seconds the client would wait for the job's end: `wait=60`.
        #[oai(name = "Prefer")]
        prefer: Header<Option<String>>,
        /// The source's name, where the body is a file; its other parameters follow, by name.
        source: Query<Option<String>>,
        body: JobBody,
    ) -> Result<Accepted, Problem> {
        // Taken from the request itself: the extractor does not see a header that is not ASCII.
        let _documented = (idempotency_key, prefer, source);
        match body {
            JobBody::Json(new) => self.submit_json(request, new).await,
            JobBody::File(file) => self.submit_file(request, file).await,
        }
    }

    /// Send a file for a job
    ///
    /// A file of at most 10 GB, of the type that the source takes: a CSV in UTF-8, whose header line has the columns that the
    /// source needs; JSON or NDJSON, where the source loads such. A job that names it may be submitted within a day, by the
    /// same API key.
    #[oai(path = "/v1/uploads", method = "post", operation_id = "upload")]
    async fn upload(
        &self,
        request: &Request,
        /// The source's name.
        source: Query<String>,
        file: FileBody,
    ) -> Result<Received, Problem> {
        known_query(request, &["source"])?;
        let definition = self.source(&source)?;
        let format = definition.upload_format().ok_or_else(|| error::upload_not_taken(definition.name()))?;
        let body = file.spelled(format)?;
        let by = Caller::of(request).name().map(str::to_owned);
        let upload = self.receiver.receive(definition, by, receive::chunks(body)).await?;
        let location = format!("/v1/uploads/{}", upload.id);
        Ok(Received::Upload(Json(upload.into()), location))
    }

    /// A file that a job may name
    ///
    /// 404 once no job may name it any more: a day after it was sent.
    #[oai(path = "/v1/uploads/:id", method = "get", operation_id = "oneUpload")]
    async fn one_upload(
        &self,
        request: &Request,
        /// The upload.
        id: Path<Id>,
    ) -> Result<Json<UploadResponse>, Problem> {
        known_query(request, &[])?;
        let expected = "an upload id, which is a UUID of version 7 such as 018f3253-7a40-7c21-9d5e-6b1f0a2c4e88";
        let wrong = |_| Problem::invalid_parameter("id", expected, quoted(&id.0.0));
        let upload: UploadId = id.0.0.parse().map_err(wrong)?;
        let found = self.ledger.upload(upload, (self.now)()).await.map_err(error::ledger)?;
        let found = found.ok_or_else(|| Problem::not_found(format!("there is no upload {upload}")).at("id"))?;
        Caller::of(request).may_use_upload(found.by.as_deref())?;
        Ok(Json(found.into()))
    }

    /// Fetch the buses of a date
    ///
    /// The same as a job of the source `buses`; each request is a job of its own. `Prefer: wait=60` is understood as
    /// there.
    #[oai(path = "/process-request", method = "post", operation_id = "processRequest")]
    async fn process_request(
        &self,
        request: &Request,
        /// The day, `YYYY-MM-DD`.
        date: Query<Date>,
        /// How many seconds the client would wait for the job's end: `wait=60`.
        #[oai(name = "Prefer")]
        prefer: Header<Option<String>>,
    ) -> Result<Accepted, Problem> {
        let _documented = prefer;
        known_query(request, &["date"])?;
        let definition = self.source("buses")?;
        let given = BTreeMap::from([("date".to_owned(), date.0.0)]);
        let (caller, route) = (Caller::of(request), "POST /process-request");
        let params = self.bind(definition, given, Submitter { caller: &caller, route, key: None, place: "" }).await?;
        let wanted = Wanted { params, upload: None, route, key: None };
        self.accept(&caller, definition, wanted, preferred_wait(request)).await
    }

    /// Watch a job
    #[oai(path = "/v1/jobs/:id", method = "get", operation_id = "job")]
    async fn job(
        &self,
        request: &Request,
        /// The job.
        id: Path<Id>,
    ) -> Result<Found, Problem> {
        known_query(request, &[])?;
        let job = job_id(&id)?;
        let job = self.standing(job).await?;
        let again = (!job.is_terminal()).then_some(1);
        Ok(Found::Job(Json(job), again))
    }

    /// Retry what failed of a job
    ///
    /// Tasks that failed or lack items, or the planning, are tried again, as a new round of the same job; what ended
    /// well is left alone. Of several requests at once one begins the round, and the others are answered the same, or
    /// find that the job has not ended.
    ///
    /// Refused with 403 where another key submitted the job, unless this one is of scope `admin`; with 409 where the
    /// job stands otherwise: `/problems/job-not-finished`, `/problems/nothing-to-retry`, `/problems/job-cancelled`;
    /// with 404 where there is no such job.
    #[oai(path = "/v1/jobs/:id/retry", method = "post", operation_id = "retryJob")]
    async fn retry(
        &self,
        request: &Request,
        /// The job.
        id: Path<Id>,
    ) -> Result<Accepted, Problem> {
        let job = self.to_change(request, &id).await?;
        self.ledger.retry(job, (self.now)()).await.map_err(|error| error::retry(job, error))?;
        let job = self.standing(job).await?;
        let location = job.location();
        Ok(Accepted::Job(Json(job), location))
    }

    /// Cancel a job
    ///
    /// Tasks that have not begun do not begin, and those that run do not store, save one that was storing already.
    /// There is no way back. A job that is cancelled can be cancelled again.
    ///
    /// Refused with 403 where another key submitted the job, unless this one is of scope `admin`; with 409 where the
    /// job has ended otherwise: `/problems/job-finished`; with 404 where there is no such job.
    #[oai(path = "/v1/jobs/:id/cancel", method = "post", operation_id = "cancelJob")]
    async fn cancel(
        &self,
        request: &Request,
        /// The job.
        id: Path<Id>,
    ) -> Result<Found, Problem> {
        let job = self.to_change(request, &id).await?;
        let cancelled = self.ledger.cancel(job, (self.now)()).await;
        let status = cancelled.map_err(|error| error::cancel(job, error))?;
        Ok(Found::Job(Json(self.document(status)), None))
    }

    /// Read how the rows of a job ended
    ///
    /// One JSON object a line, in the order of the file: `line`, `result` (`done`, `error`, `unknown`), `reason` where it is
    /// not done, and what the definition's `result` keeps. Rows of tasks that have not ended are not in it.
    #[oai(path = "/v1/jobs/:id/result", method = "get", operation_id = "result")]
    async fn result(
        &self,
        request: &Request,
        /// The job.
        id: Path<Id>,
    ) -> Result<RowResults, Problem> {
        known_query(request, &[])?;
        let job = job_id(&id)?;
        let asked = self.ledger.request(job).await.map_err(error::ledger)?.ok_or_else(|| error::unknown(job))?;
        if asked.upload.as_ref().is_none_or(|upload| upload.rows.is_none()) {
            let detail = format!("job {job} has sent no rows of an upload; its tasks name its objects, or its table");
            return Err(Problem::not_found(detail).at("id"));
        }
        Ok(RowResults::Lines(row_results::lines(self.ledger.clone(), job).await?))
    }

    /// List a job's tasks
    ///
    /// In the order of the plan.
    #[oai(path = "/v1/jobs/:id/tasks", method = "get", operation_id = "tasks")]
    async fn tasks(
        &self,
        request: &Request,
        /// The job.
        id: Path<Id>,
        /// Only those that stand so.
        state: Query<Option<TaskState>>,
        /// The `next_page_token` of the page before.
        page_token: Query<Option<String>>,
        /// At most so many; 100 if not said.
        #[oai(validator(minimum(value = "1"), maximum(value = "1000")))]
        limit: Query<Option<u32>>,
    ) -> Result<TasksPage, Problem> {
        known_query(request, &["state", "page_token", "limit"])?;
        let job = job_id(&id)?;
        let from: u64 = pagination::token(page_token.0.as_deref())?.unwrap_or(0);
        let wanted = limit.0.unwrap_or(100) as usize;
        // One more than wanted tells whether there is another page, and where it begins.
        let tasks = self.ledger.tasks(job, state.0.map(Into::into), from, wanted + 1).await;
        let mut tasks = tasks.map_err(error::ledger)?.ok_or_else(|| error::unknown(job))?;
        let next_page_token = tasks.get(wanted).map(|next| next.task.to_string());
        tasks.truncate(wanted);
        let link = pagination::next_link(request.uri(), next_page_token.as_deref());
        let tasks = tasks.into_iter().map(Into::into).collect();
        Ok(TasksPage::Page(Json(Tasks { tasks, next_page_token }), link))
    }

    /// List jobs
    ///
    /// Newest first.
    #[oai(path = "/v1/jobs", method = "get", operation_id = "jobs")]
    async fn jobs(
        &self,
        request: &Request,
        /// Only those of this source.
        source: Query<Option<String>>,
        /// Only those that stand so.
        state: Query<Option<JobState>>,
        /// The `next_page_token` of the page before.
        page_token: Query<Option<String>>,
        /// At most so many; 20 if not said.
        #[oai(validator(minimum(value = "1"), maximum(value = "100")))]
        limit: Query<Option<u32>>,
    ) -> Result<JobsPage, Problem> {
        known_query(request, &["source", "state", "page_token", "limit"])?;
        if let Some(source) = &source.0 {
            self.source(source)?;
        }
        let after: Option<JobId> = pagination::token(page_token.0.as_deref())?;
        let wanted = limit.0.unwrap_or(20) as usize;
        let filter = JobFilter { source: source.0, state: state.0.map(Into::into) };
        let page = self.ledger.jobs(&filter, after, wanted).await.map_err(error::ledger)?;
        let next_page_token = page.next.map(|job| job.to_string());
        let link = pagination::next_link(request.uri(), next_page_token.as_deref());
        let jobs = page.jobs.into_iter().map(|status| self.document(status)).collect();
        Ok(JobsPage::Page(Json(Jobs { jobs, next_page_token }), link))
    }

    /// List the sources
    #[oai(path = "/v1/sources", method = "get", operation_id = "sources")]
    async fn sources(&self, request: &Request) -> Result<Json<Sources>, Problem> {
        known_query(request, &[])?;
        Ok(Json(Sources {
            sources: self.catalog.iter().map(|definition| Source::brief(definition, self.lacks(definition))).collect(),
        }))
    }

    /// A source and its definition
    #[oai(path = "/v1/sources/:name", method = "get", operation_id = "source")]
    async fn one_source(
        &self,
        request: &Request,
        /// The source's name.
        name: Path<String>,
    ) -> Result<Json<Source>, Problem> {
        known_query(request, &[])?;
        let definition = self.source(&name)?;
        Ok(Json(Source::whole(definition, self.lacks(definition))))
    }
}

fn job_id(id: &Id) -> Result<JobId, Problem> {
    let expected = "a job id, which is a UUID of version 7 such as 018f3253-7a40-7c21-9d5e-6b1f0a2c4e88";
    id.0.parse().map_err(|_| Problem::invalid_parameter("id", expected, quoted(&id.0)))
}
