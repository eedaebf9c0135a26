//! The command line: what can be said, and the help that teaches it. Nothing is done here.

use std::{net::SocketAddr, path::PathBuf};

use clap::{Args, Parser, Subcommand, ValueEnum};
use serde::Serialize;

#[cfg(feature = "upstream")]
const BEGIN: &str = "Begin with `waybill demo`. Then: `waybill up` in one terminal, `waybill upstream` in another, `waybill submit buses date=2024-05-01 --wait` in a third.";
#[cfg(not(feature = "upstream"))]
const BEGIN: &str = "Begin with `waybill up` in one terminal, and `waybill submit` in another. This one is built without `demo` and `upstream`.";

/// Brings files and records from slow, rate-limited HTTP servers into S3, and answers with statistics.
#[derive(Debug, Parser)]
#[command(version, after_help = BEGIN)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    #[cfg(feature = "upstream")]
    /// Show the whole of Waybill on this machine: stand-in upstream, three jobs, statistics
    Demo(Demo),
    /// Run everything in one process; what no setting names is embedded
    Up(ServerFlags),
    /// Run the job service, on RabbitMQ and S3
    Api(ServerFlags),
    /// Run one worker, on RabbitMQ and S3
    Worker(ServerFlags),
    /// Ask for a source's statistics; without SOURCE, run the statistics service, on S3
    Stats(Stats),
    #[cfg(feature = "tables")]
    /// Load a file into a table: `waybill load --model movie --collector csv --config movies.csv`
    ///
    /// Records that are there already, by the table's key, are replaced. Where no Waybill runs, this command does the
    /// work itself, on the same data.
    Load(Load),
    #[cfg(feature = "tables")]
    /// Ask tables in SQL: `waybill query "select count(*) from movie"`
    ///
    /// SQL as PostgreSQL has it, only queries. Where no Waybill runs, this command does the work itself, on the same data.
    Query(Query),
    #[cfg(feature = "tables")]
    /// Make tables ready for loads; there is nothing to do, so that scripts which do it go on
    InitDb,
    #[cfg(feature = "tables")]
    /// Run the service that answers queries, on S3
    Tables(ServerFlags),
    #[cfg(feature = "upstream")]
    /// Run the stand-in upstream, with faults on request
    Upstream(Upstream),
    /// Submit a job: `waybill submit buses date=2024-05-01`
    Submit(Submit),
    /// Show a job
    Job {
        /// The job's id, as `submit` printed it
        id: String,
        /// Follow it until it ends; the exit status says how it did
        #[arg(long)]
        watch: bool,
    },
    /// Try again what failed of a job
    Retry {
        /// The job's id
        id: String,
        /// Follow the job until it ends; the exit status says how it did
        #[arg(long)]
        wait: bool,
    },
    /// Cancel a job: what has not begun does not begin, what runs does not store
    Cancel {
        /// The job's id
        id: String,
    },
    /// List jobs, newest first
    Jobs(Jobs),
    /// Check source definitions: every mistake with its line and what was meant, and what is rarely meant as a warning
    Check {
        /// Definitions in TOML
        #[arg(required = true, value_name = "FILE")]
        files: Vec<PathBuf>,
    },
    /// Draft a definition from an answer of an API: `waybill new https://api.example.com/items > items.toml`
    ///
    /// Asks for the address, and once or twice more for a second page. The largest array gives the records, their values
    /// the fields, and what the answer says of more the paging. Credentials become environment variables: none is
    /// printed. The definition is on standard output, and what to do next on standard error.
    New(New),
    /// Try a definition on the real API, and store nothing: requests, records, paging, mistakes
    ///
    /// Shows each request, the first item of each level, the first records as the schema reads them, why paging goes on
    /// or stops, and where the records differ from what the definition says of them. The exit status is 0 only if all is
    /// well. Values of the environment are never shown. With --save the answers become a test: --replay tries the
    /// definition on them without network and credentials.
    Try(Try),
    /// Print what the journals of a source say, as JSON lines: its objects, or what happened to jobs
    Journal(Journal),
    /// Make a source's object index again from the objects in data/, and say where the two differed
    ///
    /// Statistics are added up from the index. Workers build it when it is not there, so this is for one that is
    /// damaged, or after objects were put or deleted by other means. It may run while workers do.
    Rebuild(Rebuild),
    /// Make API keys
    Key {
        #[command(subcommand)]
        action: Key,
    },
    /// Ask a running service whether it is ready; exit status 0 if so
    ///
    /// The one at WAYBILL_URL; without that the one on this machine which the same WAYBILL_* variables are for.
    Health,
    /// Print a completion script: `source <(waybill completions bash)`
    Completions {
        /// For which shell
        shell: clap_complete::Shell,
    },
}

#[derive(Debug, Args)]
pub(crate) struct New {
    /// The address of a first page, with the query that it needs
    pub(crate) url: String,
    /// A header, as curl takes it; may be repeated
    #[arg(short = 'H', long = "header", value_name = "NAME:VALUE")]
    pub(crate) headers: Vec<String>,
    /// What the source is called; by default the host says it
    #[arg(long)]
    pub(crate) name: Option<String>,
}

#[derive(Debug, Args)]
pub(crate) struct Try {
    /// A definition in TOML
    pub(crate) file: PathBuf,
    /// What a job is given, such as date=2024-05-01
    #[arg(value_name = "NAME=VALUE")]
    pub(crate) params: Vec<String>,
    /// How many items to fetch
    #[arg(long, default_value_t = 1, value_name = "N", value_parser = clap::builder::RangedU64ValueParser::<usize>::new().range(1..=1000))]
    pub(crate) items: usize,
    /// How many pages to ask for, of each listing and each item
    #[arg(long, default_value_t = 2, value_name = "N", value_parser = clap::value_parser!(u64).range(1..=1000))]
    pub(crate) pages: u64,
    /// Show this record, from 1, as it came and as the schema reads it
    #[arg(long, value_name = "N")]
    pub(crate) record: Option<u64>,
    /// Save the answers, without credentials, in a new folder
    #[arg(long, value_name = "DIR", conflicts_with = "replay")]
    pub(crate) save: Option<PathBuf>,
    /// Take the answers from a folder that --save made, in place of the API
    #[arg(long, value_name = "DIR", conflicts_with = "base_url")]
    pub(crate) replay: Option<PathBuf>,
    /// Where the API is, in place of what the definition says
    #[arg(long, value_name = "URL")]
    pub(crate) base_url: Option<String>,
}

/// Settings of a server. Each can also be given in the settings file under the same name with `_`
/// for `-`, and in the environment as WAYBILL_ and its name; a flag outranks the environment, the
/// environment the file. S3 credentials, region and endpoint come from the standard AWS_* variables.
#[derive(Debug, Default, Clone, Args, Serialize)]
#[command(next_help_heading = "Server settings (also WAYBILL_* and the settings file)")]
pub(crate) struct ServerFlags {
    /// A settings file in TOML [env: WAYBILL_CONFIG]
    #[arg(long, value_name = "FILE")]
    #[serde(skip)]
    pub(crate) config: Option<PathBuf>,
    /// Where to serve HTTP [default: 127.0.0.1:8080]
    #[arg(long, value_name = "ADDRESS")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) listen: Option<SocketAddr>,
    /// Where embedded parts keep their data [default: data]
    #[arg(long, value_name = "DIR")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) data: Option<PathBuf>,
    /// More source definitions: every *.toml in this folder
    #[arg(long, value_name = "DIR")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) sources: Option<PathBuf>,
    /// Where a source's upstream is, in place of what its definition says; may be repeated
    #[arg(long, value_name = "SOURCE=URL")]
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) base_url: Vec<String>,
    /// Where the embedded S3 can be looked into [default: 127.0.0.1:9000]
    #[arg(long, value_name = "ADDRESS")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) s3_listen: Option<SocketAddr>,
    /// The bucket, which must exist; its endpoint and credentials come from AWS_*
    #[arg(long, value_name = "BUCKET")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) s3_bucket: Option<String>,
    /// RabbitMQ: amqp://user:password@host/vhost; better in WAYBILL_AMQP_URL, where `ps` does not show it
    #[arg(long, value_name = "URL")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) amqp_url: Option<String>,
    /// Answer everybody, also from other machines, without API keys
    #[arg(long)]
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub(crate) no_auth: bool,
    /// Serve HTTPS with this certificate, in PEM, its chain after it
    #[arg(long, value_name = "FILE")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) tls_cert: Option<PathBuf>,
    /// The certificate's private key, in PEM
    #[arg(long, value_name = "FILE")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) tls_key: Option<PathBuf>,
    /// Whether requests are counted by path, for `GET /stats/` [default: true]
    #[arg(long, value_name = "BOOL")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) hits: Option<bool>,
}

#[derive(Debug, Args)]
pub(crate) struct Journal {
    /// The source
    pub(crate) source: String,
    /// Of one month only: 2024-05
    #[arg(long, value_name = "MONTH", conflicts_with_all = ["job", "jobs"])]
    pub(crate) month: Option<String>,
    /// How the tasks of this job ended, in place of the objects
    #[arg(long, value_name = "ID")]
    pub(crate) job: Option<String>,
    /// How the tasks of all jobs ended, in place of the objects
    #[arg(long, conflicts_with = "job")]
    pub(crate) jobs: bool,
    #[command(flatten)]
    pub(crate) server: ServerFlags,
}

#[cfg(feature = "tables")]
#[derive(Debug, Args)]
pub(crate) struct Load {
    /// What the file holds: movie, stream, user, author, book, review, or another source that keeps a table
    #[arg(long, value_name = "SOURCE")]
    pub(crate) model: String,
    /// How the file is spelled
    #[arg(long, value_enum)]
    pub(crate) collector: Collector,
    /// The file: a path, http:// or https://, s3://BUCKET/KEY, or `-` for standard input
    #[arg(long, value_name = "FILE")]
    pub(crate) config: String,
    /// Where the data are, if this works alone [default: data]
    #[arg(long, value_name = "DIR")]
    pub(crate) data: Option<PathBuf>,
}

#[cfg(feature = "tables")]
#[derive(Debug, Clone, Copy, ValueEnum)]
pub(crate) enum Collector {
    /// With a header line
    Csv,
    /// One document
    Json,
    /// A document a line
    Ndjson,
}

#[cfg(feature = "tables")]
#[derive(Debug, Args)]
pub(crate) struct Query {
    /// The query
    #[arg(required_unless_present = "file", conflicts_with = "file")]
    pub(crate) sql: Option<String>,
    /// A file with the query; `-` is standard input
    #[arg(short, long, value_name = "FILE")]
    pub(crate) file: Option<PathBuf>,
    /// How to print the answer
    #[arg(long, value_enum, default_value_t)]
    pub(crate) format: QueryFormat,
    #[command(flatten)]
    pub(crate) server: ServerFlags,
}

#[cfg(feature = "tables")]
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum QueryFormat {
    /// For people
    #[default]
    Table,
    /// One array of objects
    Json,
    /// An object a line
    Ndjson,
    /// For spreadsheets and scripts
    Csv,
    /// For other engines
    Parquet,
}

#[cfg(feature = "tables")]
impl QueryFormat {
    /// Its name in HTTP.
    pub(crate) fn media_type(self) -> &'static str {
        match self {
            Self::Table => "text/plain",
            Self::Json => "application/json",
            Self::Ndjson => "application/x-ndjson",
            Self::Csv => "text/csv",
            Self::Parquet => "application/vnd.apache.parquet",
        }
    }
}

#[derive(Debug, Args)]
pub(crate) struct Rebuild {
    /// The source
    pub(crate) source: String,
    #[command(flatten)]
    pub(crate) server: ServerFlags,
}

#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true)]
pub(crate) struct Stats {
    /// The source to ask about; none to run the service
    #[arg(requires_all = ["from", "to"])]
    pub(crate) source: Option<String>,
    /// The first day, YYYY-MM-DD
    #[arg(long, value_name = "DATE", requires = "source")]
    pub(crate) from: Option<String>,
    /// The last day, included
    #[arg(long, value_name = "DATE", requires = "source")]
    pub(crate) to: Option<String>,
    /// How to print them
    #[arg(long, value_enum, default_value_t)]
    pub(crate) format: Format,
    #[command(flatten)]
    pub(crate) server: ServerFlags,
}

#[derive(Debug, Clone, Copy, Default, ValueEnum)]
pub(crate) enum Format {
    /// For people
    #[default]
    Table,
    /// As the service answers
    Json,
    /// For spreadsheets and scripts
    Csv,
}

#[cfg(feature = "upstream")]
#[derive(Debug, Args)]
pub(crate) struct Demo {
    /// End when the jobs have ended; the exit status says how they did
    #[arg(long)]
    pub(crate) exit: bool,
    /// Where the demo keeps its data
    #[arg(long, value_name = "DIR", default_value = "data/demo")]
    pub(crate) data: PathBuf,
    /// Buses in each city's file, about
    #[arg(long, default_value_t = 100_000)]
    pub(crate) records: u64,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Key {
    /// Make a key: the key on standard error, this once; its lines for the settings file on standard output
    New(NewKey),
}

#[derive(Debug, Args)]
pub(crate) struct NewKey {
    /// Who will use it; shown in logs and jobs
    pub(crate) name: String,
    /// What it may be used for: read (every GET), submit (POST, and retry and cancel of its own jobs), admin
    /// (everything); may be repeated
    #[arg(long = "scope", value_name = "SCOPE", required = true, value_parser = ["read", "submit", "admin"])]
    pub(crate) scopes: Vec<String>,
    /// How often, such as 60/PT1M: 60 requests a minute, in each process
    #[arg(long, value_name = "REQUESTS/DURATION")]
    pub(crate) rate: Option<String>,
}

#[derive(Debug, Args)]
pub(crate) struct Submit {
    /// The source's name; `GET /v1/sources` lists them
    pub(crate) source: String,
    /// What the job is given, such as date=2024-05-01
    #[arg(value_name = "KEY=VALUE")]
    pub(crate) params: Vec<String>,
    /// The CSV whose rows are the job's items, where the source takes one; `-` is standard input
    #[arg(long, value_name = "FILE")]
    pub(crate) file: Option<PathBuf>,
    /// Follow the job until it ends; the exit status says how it did
    #[arg(long)]
    pub(crate) wait: bool,
    /// Your own name for this request: the same key again is the same job
    #[arg(long, value_name = "KEY")]
    pub(crate) key: Option<String>,
}

#[derive(Debug, Args)]
pub(crate) struct Jobs {
    /// Only of this source
    #[arg(long)]
    pub(crate) source: Option<String>,
    /// Only in this state: queued, planning, running, succeeded, partial, failed, cancelled
    #[arg(long)]
    pub(crate) state: Option<String>,
    /// How many
    #[arg(long, default_value_t = 20)]
    pub(crate) limit: usize,
}

#[cfg(feature = "upstream")]
#[derive(Debug, Args)]
#[command(after_help = "Its weather: OPENWEATHER_API_KEY=test waybill up --base-url weather=http://127.0.0.1:8000
Its posts: POST /posts takes userId, title and body; GET /posts/received says how often each came.
Its pages: GET /paged/NAME, 250 records, 100 a page. NAME is a paging (page, offset, cursor,
last-id, link, next, list, none); or, by number, a shape (array, rates, lines, csv, rows) or what
is wanted for it (bearer, basic, header, query, oauth: a token of POST /paged/token). A 401 says
which credentials are right. PUT /control sets collections, each whole:
  {\"collections\": {\"mine\": {\"records\": 30, \"size\": 10, \"paging\": \"cursor\", \"shape\": \"csv\",
    \"auth\": \"bearer\", \"faults\": [{\"status\": {\"page\": 2, \"status\": 500}}]}}}
Their faults: cut, status, expired_cursors, short, empty, repeat_last, total, next, huge_cursor,
unasked.
Five public APIs for --base-url, with the key `test`: /guardian, /openaq/v3, /openexchange/api,
/sendgrid, /stripe/v1.")]
pub(crate) struct Upstream {
    /// Where to serve
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:8000")]
    pub(crate) listen: SocketAddr,
    /// The same seed: the same cities and the same buses
    #[arg(long, default_value_t = 1)]
    pub(crate) seed: u64,
    /// How many cities
    #[arg(long, default_value_t = 12)]
    pub(crate) cities: u64,
    /// How many countries they are in
    #[arg(long, default_value_t = 4)]
    pub(crate) countries: u64,
    /// Buses in each city's file, about; 10,000,000 make a gigabyte
    #[arg(long, default_value_t = 2_000)]
    pub(crate) records: u64,
    /// Milliseconds before each answer
    #[arg(long, value_name = "MS", default_value_t = 0)]
    pub(crate) delay: u64,
    /// Slow bytes: at most so many a second for each file
    #[arg(long, value_name = "N")]
    pub(crate) bytes_per_second: Option<u64>,
    /// Send no ETag
    #[arg(long)]
    pub(crate) no_etag: bool,
    /// Ignore Range
    #[arg(long)]
    pub(crate) no_range: bool,
    /// Faults and how often each happens, such as server-error=0.1,hang-up=0.05; one of server-error,
    /// too-many, hang-up, html, wrong-field, truncated; for files and posts
    #[arg(long, value_name = "FAULT=0..1", value_delimiter = ',')]
    pub(crate) faults: Vec<String>,
    /// What `Retry-After` says with too-many, in seconds
    #[arg(long, value_name = "SECONDS", default_value_t = 1)]
    pub(crate) retry_after: u64,
    /// The key that its weather expects, as the query's `appid`
    #[arg(long, value_name = "KEY", default_value = "test")]
    pub(crate) weather_key: String,
    /// How many requests to /posts it takes in a second; 0 for no limit
    #[arg(long, value_name = "N", default_value_t = 7)]
    pub(crate) posts_rate: u64,
    /// Let PUT /control change all this while it runs, and let posts ask for faults
    ///
    /// A post asks with the first word of its title: fault:400, 409, 422, 500 (that status), fault:503 (once),
    /// fault:429 (once, with Retry-After: 1), fault:hang-up (no answer), fault:301 and 307 (to /posts/moved, which
    /// takes it), fault:elsewhere (307 to another origin), fault:slow (after 5 s), fault:html (201 with a page in
    /// HTML), fault:empty (201 without a body). With 429 and 503 nothing was done.
    #[arg(long)]
    pub(crate) control: bool,
}
