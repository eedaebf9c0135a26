//! The routes of the relay system, which existing clients rely on: pages, and the same in JSON. Its engine is the source
//! `relay`: an operation is a job, and its id the job's.

mod form;

use minijinja::{Value, context};
use poem::Request;
use poem_openapi::{
    ApiResponse, Object, OpenApi, ResponseContent,
    param::Query,
    payload::{Html, Json},
};
use uuid::Uuid;
use waybill_ledger::{JobId, State, Status};
use waybill_web::{Caller, NavEntry, Page, Pages, Problem, known_query, prefers_html, quoted};

use self::form::FileForm;
use crate::{
    JobsApi, error,
    responses::{
        job_response,
        row_results::{self, ResultStream},
    },
    routes::Wanted,
    submit::{Given, Submitter},
};

const SOURCE: &str = "relay";
const ROUTE: &str = "POST /api/v1/file";
const FORM: &str = "/api/v1/file";
const CHECK: &str = "/api/v1/file/check";

/// Reasons that a page shows; the job in JSON has more.
const REASONS: usize = 5;

const KEY_HELP: &str = "export WAYBILL_API_KEY=wb_…
waybill submit relay --file rows.csv --wait
curl -H \"Authorization: Bearer $WAYBILL_API_KEY\" -F 'file=@rows.csv;type=text/csv' https://…/api/v1/file";

/// The pages of this crate's routes.
pub fn pages() -> Pages {
    Pages::new(
        &[FORM, CHECK],
        &[NavEntry { label: "Upload", href: FORM }],
        KEY_HELP,
        &[
            ("form.html", include_str!("form.html")),
            ("accepted.html", include_str!("accepted.html")),
            ("check.html", include_str!("check.html")),
        ],
    )
}

/// Uploaded rows over HTTP.
#[derive(Debug)]
pub struct RelayApi {
    jobs: JobsApi,
    pages: Pages,
}

/// The operation that a file began.
#[derive(Debug, Object)]
struct Operation {
    /// Its id, for `/api/v1/file/check` and `/api/v1/file/download`; also the job's.
    uuid_id: Uuid,
}

/// How far an operation is.
#[derive(Debug, Object)]
struct Progress {
    /// Rows of the file, without its header line.
    data_in: u64,
    /// Rows that were sent, and accepted by the API.
    data_out: u64,
    /// Rows that are not as they must be, or that the API refused.
    errors: u64,
    /// Rows whose answer was lost, so that nobody knows whether the API has them; absent where there are none.
    #[oai(skip_serializing_if_is_none)]
    unknown: Option<u64>,
    /// `process`, or `done` once nothing more is sent.
    result: String,
}

#[derive(ResponseContent)]
enum FormPage {
    Html(Html<String>),
}

#[derive(ResponseContent)]
enum AcceptedBody {
    Html(Html<String>),
    Json(Json<Operation>),
}

#[derive(ResponseContent)]
enum ProgressBody {
    Html(Html<String>),
    Json(Json<Progress>),
}

#[derive(ApiResponse)]
enum FormAnswer {
    /// The page.
    #[oai(status = 200)]
    Form(FormPage),
}

#[derive(ApiResponse)]
enum Sent {
    /// The file is whole, and its rows will be sent.
    #[oai(status = 201)]
    Operation(
        AcceptedBody,
        /// The job.
        #[oai(header = "Location")]
        String,
        /// What the answer depends on.
        #[oai(header = "Vary")]
        String,
    ),
}

#[derive(ApiResponse)]
enum Checked {
    /// How far it is.
    #[oai(status = 200)]
    Progress(
        ProgressBody,
        /// What the answer depends on.
        #[oai(header = "Vary")]
        String,
    ),
}

#[derive(ApiResponse)]
enum Downloaded {
    /// The rows that have ended, in the order of the file.
    #[oai(status = 200)]
    Rows(
        ResultStream,
        /// The job, while it has not ended: rows may be missing.
        #[oai(header = "Waybill-Pending-Jobs")]
        Option<String>,
    ),
}

impl RelayApi {
    /// The operations of these jobs. `pages` are [`pages`].
    pub fn new(jobs: JobsApi, pages: Pages) -> Self {
        Self { jobs, pages }
    }

    /// An operation as it stands. Whatever is wrong with an id, there is no such operation.
    async fn operation(&self, id: &str) -> Result<Status, Problem> {
        let unknown = || {
            let detail = format!(
                "there is no operation {}; it may be a job of another source, or have been deleted after 90 days",
                quoted(id)
            );
            Problem::not_found(detail).at("uuid_id")
        };
        let job: JobId = id.parse().map_err(|_| unknown())?;
        let status = self.jobs.ledger.status(job).await.map_err(error::ledger)?;
        let is_operation = |status: &Status| status.request.source == SOURCE && status.request.upload.is_some();
        status.filter(is_operation).ok_or_else(unknown)
    }

    fn page(
        &self,
        template: &str,
        title: &str,
        path: &str,
        is_live: bool,
        values: Value,
    ) -> Result<Html<String>, Problem> {
        Ok(Html(self.pages.render(Page { template, title, path, is_live }, values)?))
    }

    fn check_page(&self, status: &Status, progress: &Progress) -> Result<Html<String>, Problem> {
        let unknown = progress.unknown.unwrap_or(0);
        let ended = progress.data_out + progress.errors + unknown;
        let is_live = !status.state.is_terminal();
        let title = match status.state {
            State::Queued | State::Planning => "Waiting to be sent",
            State::Running => "Rows are being sent",
            State::Cancelled => "Cancelled",
            State::Failed | State::Damaged => "Stopped",
            State::Succeeded | State::Partial => "Done",
        };
        let values = context! {
            id => status.request.job.to_string(),
            data_in => progress.data_in,
            data_out => progress.data_out,
            errors => progress.errors,
            unknown,
            ended,
            not_sent => progress.data_in.saturating_sub(ended),
            result => progress.result.as_str(),
            is_cancelled => status.state == State::Cancelled,
            is_retryable => status.is_retryable(),
            reasons => status.errors.iter().map(|error| error.failure.reason.clone()).take(REASONS).collect::<Vec<_>>(),
            is_live,
            job => Value::from_safe_string(job_response::location(status.request.job)),
        };
        self.page("check.html", title, CHECK, is_live, values)
    }
}

fn progress(status: &Status) -> Progress {
    let rows = status.rows.unwrap_or_default();
    Progress {
        data_in: status.request.upload.as_ref().and_then(|upload| upload.rows).unwrap_or(0),
        data_out: rows.done,
        errors: rows.errors,
        unknown: Some(rows.unknown).filter(|unknown| *unknown > 0),
        result: if status.state.is_terminal() { "done" } else { "process" }.to_owned(),
    }
}

#[OpenApi]
impl RelayApi {
    /// The page that uploads a file of rows
    #[oai(path = "/api/v1/file", method = "get", operation_id = "relayForm")]
    async fn form(&self, request: &Request) -> Result<FormAnswer, Problem> {
        known_query(request, &[])?;
        let definition = self.jobs.source(SOURCE)?;
        let columns = definition.upload().map(|upload| {
            let fields = upload.schema().fields.iter();
            fields.map(|field| field.name.clone()).collect::<Vec<_>>()
        });
        let has_keys = Caller::of(request).name().is_some();
        let values = context! { columns => columns.unwrap_or_default(), has_keys, key_help => KEY_HELP };
        Ok(FormAnswer::Form(FormPage::Html(self.page("form.html", "Upload rows", FORM, false, values)?)))
    }

    /// Upload a file of rows
    ///
    /// A form with one field `file`, of the type `text/csv`; read as it arrives, however large it is up to 10 GB. Nothing is
    /// sent before the file is whole and its header line has the columns `userId`, `title` and `body`. The answer is a
    /// page, or JSON where the client accepts that rather.
    #[oai(path = "/api/v1/file", method = "post", operation_id = "relayFile")]
    async fn file(&self, request: &Request, form: FileForm) -> Result<Sent, Problem> {
        known_query(request, &[])?;
        let definition = self.jobs.source(SOURCE)?;
        let caller = Caller::of(request);
        let by = Submitter { caller: &caller, route: ROUTE, key: None, place: "" };
        let params = self.jobs.bind(definition, Given::new(), by).await?;
        let file = form.file().await?;
        let wanted = Wanted { params, upload: None, route: ROUTE, key: None };
        let status = self.jobs.accept_file(&caller, definition, file.chunks(), wanted).await?;
        let (job, rows) = (status.request.job, status.request.upload.and_then(|upload| upload.rows).unwrap_or(0));
        let body = if prefers_html(request) {
            let values = context! { id => job.to_string(), rows };
            AcceptedBody::Html(self.page("accepted.html", "Upload received", FORM, false, values)?)
        } else {
            AcceptedBody::Json(Json(Operation { uuid_id: job.into() }))
        };
        Ok(Sent::Operation(body, job_response::location(job), "Accept".to_owned()))
    }

    /// How far an upload's rows are
    ///
    /// A page, or JSON where the client accepts that rather.
    #[oai(path = "/api/v1/file/check", method = "get", operation_id = "relayCheck")]
    async fn check(
        &self,
        request: &Request,
        /// The operation's id, as the upload was answered.
        uuid_id: Query<String>,
    ) -> Result<Checked, Problem> {
        known_query(request, &["uuid_id"])?;
        let status = self.operation(&uuid_id).await?;
        let progress = progress(&status);
        let body = if prefers_html(request) {
            ProgressBody::Html(self.check_page(&status, &progress)?)
        } else {
            ProgressBody::Json(Json(progress))
        };
        Ok(Checked::Progress(body, "Accept".to_owned()))
    }

    /// How each row ended
    ///
    /// In the order of the file, as far as its rows have ended; streamed.
    #[oai(path = "/api/v1/file/download", method = "get", operation_id = "relayDownload")]
    async fn results(
        &self,
        request: &Request,
        /// The operation's id, as the upload was answered.
        uuid_id: Query<String>,
    ) -> Result<Downloaded, Problem> {
        known_query(request, &["uuid_id"])?;
        let status = self.operation(&uuid_id).await?;
        let job = status.request.job;
        let pending = (!status.state.is_terminal()).then(|| job.to_string());
        Ok(Downloaded::Rows(row_results::document(self.jobs.ledger.clone(), job).await?, pending))
    }
}
