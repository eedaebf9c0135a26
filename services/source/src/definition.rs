//! A source definition: what it says, checked whole.

use std::collections::BTreeMap;

use crate::{Item, ItemDraft, ItemError, ParamError, Params, RecordPath, Request, Scanner, Schema, Statistics};

/// How an upstream's file is spelled.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Format {
    /// One JSON document; the records are the elements at a path.
    Json,
    /// One JSON document a line.
    Ndjson,
    /// RFC 4180 with a header line.
    Csv,
}

/// One mistake in a definition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Diagnostic {
    /// The file as it was named by the caller.
    pub file: String,
    /// Line, from 1.
    pub line: usize,
    /// Column, from 1.
    pub column: usize,
    /// What is wrong.
    pub message: String,
    /// What was probably meant, or what would be right.
    pub help: Option<String>,
}

/// All mistakes found in a definition; displayed as `file:line:column: message`, one per line, each
/// followed by its help.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{} mistakes", .0.len())]
pub struct Diagnostics(pub Vec<Diagnostic>);

/// A checked definition. It cannot be made but by [`Definition::parse`], so whoever holds one may rely
/// on every template and every name in it.
#[derive(Debug)]
pub struct Definition {}

impl Definition {
    /// Parses and checks a definition. `file` only names the text in diagnostics.
    pub fn parse(file: &str, text: &str) -> Result<Self, Diagnostics> {
        todo!()
    }
    /// The source's name: lower-case letters, digits and `-`; part of keys and URLs.
    pub fn name(&self) -> &str {
        todo!()
    }
    /// One line for people.
    pub fn title(&self) -> &str {
        todo!()
    }
    /// The text it was parsed from.
    pub fn text(&self) -> &str {
        todo!()
    }
    /// SHA-256 of the text, in hex: the definition's identity.
    pub fn hash(&self) -> &str {
        todo!()
    }
    /// The upstream's address, where the operator names no other.
    pub fn base_url(&self) -> &str {
        todo!()
    }
    /// Names, types (`date`, `string`, `integer`) of what a job must be given, in the definition's order.
    pub fn params(&self) -> impl Iterator<Item = (&str, &str)> {
        [].into_iter()
    }
    /// Checks what a job was given and brings it into canonical spelling.
    pub fn bind(&self, given: &BTreeMap<String, String>) -> Result<Params, ParamError> {
        todo!()
    }
    /// How many `[[items]]` there are: the levels to expand.
    pub fn levels(&self) -> usize {
        todo!()
    }
    /// The request that lists the items of `level` below `parent`.
    pub fn listing(&self, level: usize, params: &Params, parent: &ItemDraft) -> Result<Request, ItemError> {
        todo!()
    }
    /// The items of `level` in the answer to [`Self::listing`]; each carries its parent's values too.
    pub fn expand(
        &self,
        level: usize,
        params: &Params,
        parent: &ItemDraft,
        body: &[u8],
    ) -> Result<Vec<ItemDraft>, ItemError> {
        todo!()
    }
    /// A draft of the last level made an item, with its key.
    pub fn item(&self, params: &Params, draft: ItemDraft) -> Result<Item, ItemError> {
        todo!()
    }
    /// The request that fetches an item's file.
    pub fn fetch(&self, params: &Params, item: &Item) -> Result<Request, ItemError> {
        todo!()
    }
    /// The Hive-style partition of an item's objects: `country=singapore/date=2024-05-01`.
    pub fn partition(&self, params: &Params, item: &Item) -> Result<String, ItemError> {
        todo!()
    }
    /// The names of the partition's parts: `["country", "date"]`.
    pub fn partition_names(&self) -> &[String] {
        todo!()
    }
    /// How the files are spelled.
    pub fn format(&self) -> Format {
        todo!()
    }
    /// Where the records are in a JSON file.
    pub fn record_path(&self) -> &RecordPath {
        todo!()
    }
    /// What a record must look like.
    pub fn schema(&self) -> &Schema {
        todo!()
    }
    /// Which statistics are kept.
    pub fn statistics(&self) -> &Statistics {
        todo!()
    }
    /// Requests at once, over all workers.
    pub fn concurrency(&self) -> u32 {
        todo!()
    }
    /// For one file, whole.
    pub fn timeout(&self) -> std::time::Duration {
        todo!()
    }
    /// The largest file accepted.
    pub fn max_bytes(&self) -> u64 {
        todo!()
    }
    /// A scanner for one file of this source.
    pub fn scanner(&self) -> Scanner {
        todo!()
    }
}
