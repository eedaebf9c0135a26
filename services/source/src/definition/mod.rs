//! A source definition, checked as a whole when it is parsed.
//!
//! Nothing here fails for a reason that could have been found in the text of the definition: what is left
//! to go wrong is what a client gave and what an upstream answered.

mod hosts;
pub(crate) mod model;
pub(crate) mod parse;
pub(crate) mod plan;
pub(crate) mod template;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

pub use self::hosts::Hosts;
pub use self::parse::{
    diagnostic::{Diagnostic, Diagnostics},
    limit::Limit,
    stats::is_provenance,
};
pub use self::plan::mark::Mark;
pub use self::plan::pager::{PageAnswer, Pager, PagingError};
use crate::{
    Env, ParamError, Params, RecordPath, Scanner, Schema, Statistic, Statistics, Table,
    definition::{
        model::{Auth, Items, Pages},
        parse::{fetch::Fetch, store::Partition},
    },
    params::{self, DefaultsFrom, Param},
    table::load::Load,
    upload::Upload,
};

/// How an upstream's file is spelled.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Deserialize, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Format {
    /// One JSON document; the records are the elements at a path.
    Json,
    /// One JSON document a line.
    Ndjson,
    /// RFC 4180 with a header line.
    Csv,
    /// One JSON document; the records are arrays, the first of which names the columns.
    Rows,
}

impl Format {
    pub(crate) const ALL: [Self; 4] = [Self::Json, Self::Ndjson, Self::Csv, Self::Rows];

    /// Its name in definitions.
    pub fn name(self) -> &'static str {
        if self == Self::Rows { "rows" } else { self.extension() }
    }

    /// The extension of its files.
    pub fn extension(self) -> &'static str {
        match self {
            Self::Json | Self::Rows => "json",
            Self::Ndjson => "ndjson",
            Self::Csv => "csv",
        }
    }

    /// The media type of its files.
    pub fn media_type(self) -> &'static str {
        match self {
            Self::Json | Self::Rows => "application/json",
            Self::Ndjson => "application/x-ndjson",
            Self::Csv => "text/csv",
        }
    }
}

/// A checked definition. It cannot be made but by [`Definition::parse`], so whoever holds one may rely
/// on every template and every name in it.
#[derive(Debug)]
pub struct Definition {
    name: String,
    title: String,
    base_url: String,
    auth: Option<Auth>,
    hosts: Hosts,
    text: String,
    hash: String,
    params: Vec<Param>,
    items: Items,
    work: Work,
    schema: Schema,
    upload: Option<Upload>,
    statistics: Statistics,
    partition: Partition,
    env_names: BTreeSet<String>,
    warnings: Vec<Diagnostic>,
}

/// What the tasks of a source do.
#[derive(Debug)]
enum Work {
    /// They fetch items, or send the rows of an upload.
    Fetch(Box<Fetch>),
    /// They load an upload into a table.
    Load(Arc<Load>),
}

impl Definition {
    /// Parses and checks a definition. `file` only names the text in diagnostics.
    pub fn parse(file: &str, text: &str) -> Result<Self, Diagnostics> {
        parse::check::parse(file, text)
    }

    /// The source's name: lower-case letters, digits and `-`; part of keys and URLs.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// One line for people.
    pub fn title(&self) -> &str {
        &self.title
    }

    /// The text it was parsed from.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// SHA-256 of the text, in hex: the definition's identity.
    pub fn hash(&self) -> &str {
        &self.hash
    }

    /// The upstream's address, where the operator names no other; no `/` at its end. Empty where an upload is loaded.
    pub fn base_url(&self) -> &str {
        &self.base_url
    }

    /// What may be meant, but rarely is.
    pub fn warnings(&self) -> &[Diagnostic] {
        &self.warnings
    }

    /// Where downloads may lead beside the base URL.
    pub fn hosts(&self) -> &Hosts {
        &self.hosts
    }

    /// Names, types (`date`, `datetime`, `string`, `integer`, `boolean`) and defaults of what a job is given, in the
    /// definition's order.
    pub fn params(&self) -> impl Iterator<Item = (&str, &str, Option<String>)> {
        self.params.iter().map(|param| {
            (param.name.as_str(), param.kind.as_str(), param.default.as_ref().map(|default| default.source()))
        })
    }

    /// Checks what a job was given, and brings it into canonical spelling. Defaults take the place of what is missing.
    pub fn bind(&self, given: &BTreeMap<String, String>, from: DefaultsFrom<'_>) -> Result<Params, ParamError> {
        params::bind(&self.params, given, from)
    }

    /// The names of the partition's parts: `["country", "date"]`.
    pub fn partition_names(&self) -> &[String] {
        &self.partition.names
    }

    /// What is said of the rows, where the items of a job are the rows of a file that the client uploads.
    pub fn upload(&self) -> Option<&Upload> {
        self.upload.as_ref()
    }

    /// The table that the records are loaded into.
    pub fn table(&self) -> Option<&Table> {
        self.load().map(|load| &load.table)
    }

    /// The format of the file that the client uploads, where it is loaded into a table.
    pub fn loads_upload(&self) -> Option<Format> {
        self.load().map(|load| load.format)
    }

    /// The format of the file that the client uploads, whether its rows are sent or loaded; `None` where there is none.
    pub fn upload_format(&self) -> Option<Format> {
        self.loads_upload().or_else(|| self.upload.as_ref().map(|_| Format::Csv))
    }

    pub(crate) fn load(&self) -> Option<&Arc<Load>> {
        match &self.work {
            Work::Load(load) => Some(load),
            Work::Fetch(_) => None,
        }
    }

    /// What is fetched, or sent; `None` where an upload is loaded.
    fn requests(&self) -> Option<&Fetch> {
        match &self.work {
            Work::Fetch(fetch) => Some(fetch),
            Work::Load(_) => None,
        }
    }

    /// How the objects are spelled: as the upstream's file is. Many pages of JSON become one object of NDJSON. Where the
    /// items are an upload, the objects are the outcomes of its rows, as NDJSON; a load has none.
    pub fn format(&self) -> Format {
        match self.answer_format() {
            Format::Json | Format::Rows if self.has_pages() => Format::Ndjson,
            format => format,
        }
    }

    /// How an answer is spelled, or an upload that is loaded.
    pub fn answer_format(&self) -> Format {
        match &self.work {
            Work::Fetch(fetch) => fetch.format,
            Work::Load(load) => load.format,
        }
    }

    /// Whether an object is made of several answers.
    pub fn has_pages(&self) -> bool {
        self.requests().is_some_and(|fetch| matches!(fetch.pages, Pages::Several(_)))
    }

    /// Where the records are in a JSON file, of format `json` or `rows`.
    pub fn record_path(&self) -> &RecordPath {
        match &self.work {
            Work::Fetch(fetch) => &fetch.records,
            Work::Load(load) => &load.records,
        }
    }

    /// What a record of an object must look like. Where the items are an upload, a record is the outcome of a row.
    pub fn schema(&self) -> &Schema {
        &self.schema
    }

    /// Which statistics are kept.
    pub fn statistics(&self) -> &Statistics {
        &self.statistics
    }

    /// Whether the statistics of an object that `other` describes mean the same as this definition's: those of one
    /// name are of the same kind, over the same field of the same records. `other` may keep more of them.
    pub fn adds_up_with(&self, other: &Self) -> bool {
        let is_kept = |(name, statistic): &(String, Statistic)| {
            let theirs = other.statistics.list.iter().find(|(theirs, _)| theirs == name);
            theirs.is_some_and(|(_, theirs)| statistic.means(&self.schema, theirs, &other.schema))
        };
        self.record_path() == other.record_path() && self.statistics.list.iter().all(is_kept)
    }

    /// How hard the upstream may be worked, over all workers together. Of loads one runs at a time: a table has one writer.
    pub fn limit(&self) -> Limit {
        self.requests().map_or(Limit::Concurrency(1), |fetch| fetch.limit)
    }

    /// The most items of one task; 1 where there are no batches. Where the items are an upload, the most rows.
    pub fn batch(&self) -> usize {
        match &self.upload {
            Some(upload) => upload.rules.batch,
            None => self.requests().and_then(|fetch| fetch.batch.as_ref()).map_or(1, |batch| batch.size),
        }
    }

    /// The environment variables that its requests are made of.
    pub fn env_names(&self) -> &BTreeSet<String> {
        &self.env_names
    }

    /// Those of [`Self::env_names`] that are not set, or empty: without them no request can be made.
    pub fn missing_env<'a>(&'a self, env: &'a Env) -> impl Iterator<Item = &'a str> {
        let is_set = |name: &str| env.get(name).is_some_and(|value| !value.is_empty());
        self.env_names.iter().map(String::as_str).filter(move |name| !is_set(name))
    }

    /// For one file, whole. Where the items are an upload, for one row, all its tries included. A load makes no request:
    /// nought.
    pub fn timeout(&self) -> Duration {
        self.requests().map_or(Duration::ZERO, |fetch| fetch.timeout)
    }

    /// The largest file accepted. Where the items are an upload, the largest answer to a row. A load makes no request:
    /// nought.
    pub fn max_bytes(&self) -> u64 {
        self.requests().map_or(0, |fetch| fetch.max_bytes)
    }

    /// A scanner for one answer of this source's upstream.
    pub fn scanner(&self) -> Scanner {
        let max_record = match &self.work {
            Work::Fetch(fetch) => fetch.max_record,
            Work::Load(load) => load.max_record,
        };
        Scanner::new(self.answer_format(), self.record_path(), &self.schema, &self.statistics).max_record(max_record)
    }
}
