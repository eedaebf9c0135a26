//! A source definition: what it says, checked whole.
//!
//! Nothing here fails for a reason that could have been found in the text of the definition: what is left
//! to go wrong is what a client gave and what an upstream answered.

mod check;
mod diagnostic;
mod fetch;
mod items;
mod listing;
mod reader;
mod record;
mod scope;
mod stats;
mod store;

use std::{collections::BTreeMap, time::Duration};

use minijinja::Value;

pub use self::diagnostic::{Diagnostic, Diagnostics};
use self::{fetch::Fetch, items::Items, store::Partition};
use crate::{
    Item, ItemDraft, ItemError, ParamError, Params, RecordPath, Request, Scanner, Schema, Statistics,
    item::Values,
    params::{self, Param, ParamKind, readable},
    template::Template,
};

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

impl Format {
    pub(crate) const ALL: [Self; 3] = [Self::Json, Self::Ndjson, Self::Csv];

    /// Its name in definitions, and the extension of its files.
    pub fn extension(self) -> &'static str {
        match self {
            Self::Json => "json",
            Self::Ndjson => "ndjson",
            Self::Csv => "csv",
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
    text: String,
    hash: String,
    params: Vec<Param>,
    items: Items,
    fetch: Fetch,
    schema: Schema,
    statistics: Statistics,
    partition: Partition,
}

impl Definition {
    /// Parses and checks a definition. `file` only names the text in diagnostics.
    pub fn parse(file: &str, text: &str) -> Result<Self, Diagnostics> {
        check::parse(file, text)
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

    /// The upstream's address, where the operator names no other; no `/` at its end.
    pub fn base_url(&self) -> &str {
        &self.base_url
    }

    /// Names, types (`date`, `string`, `integer`) of what a job must be given, in the definition's order.
    pub fn params(&self) -> impl Iterator<Item = (&str, &str)> {
        self.params.iter().map(|param| (param.name.as_str(), param.kind.as_str()))
    }

    /// Checks what a job was given and brings it into canonical spelling.
    pub fn bind(&self, given: &BTreeMap<String, String>) -> Result<Params, ParamError> {
        params::bind(&self.params, given)
    }

    /// How many `[[items]]` there are: the levels to expand.
    pub fn levels(&self) -> usize {
        self.items.levels.len()
    }

    /// The request that lists the items of `level` (from 0, less than [`Self::levels`]) below `parent`.
    pub fn listing(&self, level: usize, params: &Params, parent: &ItemDraft) -> Result<Request, ItemError> {
        let Some(level) = self.items.levels.get(level) else { return Err(no_level(level)) };
        let what = format!("the listing of `{}`", level.set.name);
        self.request(&what, &level.path, &level.query, params, &parent.values)
    }

    /// The items of `level` in the answer to [`Self::listing`]; each carries its parent's values too.
    pub fn expand(
        &self,
        level: usize,
        _params: &Params,
        parent: &ItemDraft,
        body: &[u8],
    ) -> Result<Vec<ItemDraft>, ItemError> {
        let Some(level) = self.items.levels.get(level) else { return Err(no_level(level)) };
        listing::expand(level, parent, body)
    }

    /// A draft of the last level made an item, with its key.
    pub fn item(&self, params: &Params, draft: ItemDraft) -> Result<Item, ItemError> {
        let key = render("the key", &self.items.key, &self.scope(params, &draft.values), &draft.values)?;
        Ok(Item { key, values: draft.values })
    }

    /// The request that fetches an item's file.
    pub fn fetch(&self, params: &Params, item: &Item) -> Result<Request, ItemError> {
        self.request("the fetch", &self.fetch.path, &self.fetch.query, params, &item.values)
    }

    /// The Hive-style partition of an item's objects: `country=singapore/date=2024-05-01`.
    pub fn partition(&self, params: &Params, item: &Item) -> Result<String, ItemError> {
        let scope = self.scope(params, &item.values);
        let parts = self.partition.names.iter().zip(&self.partition.values).map(|(name, value)| {
            render("the partition", value, &scope, &item.values).map(|value| format!("{name}={value}"))
        });
        Ok(parts.collect::<Result<Vec<_>, _>>()?.join("/"))
    }

    /// The names of the partition's parts: `["country", "date"]`.
    pub fn partition_names(&self) -> &[String] {
        &self.partition.names
    }

    /// How the files are spelled.
    pub fn format(&self) -> Format {
        self.fetch.format
    }

    /// Where the records are in a JSON file.
    pub fn record_path(&self) -> &RecordPath {
        &self.fetch.records
    }

    /// What a record must look like.
    pub fn schema(&self) -> &Schema {
        &self.schema
    }

    /// Which statistics are kept.
    pub fn statistics(&self) -> &Statistics {
        &self.statistics
    }

    /// Requests at once, over all workers.
    pub fn concurrency(&self) -> u32 {
        self.fetch.concurrency
    }

    /// For one file, whole.
    pub fn timeout(&self) -> Duration {
        self.fetch.timeout
    }

    /// The largest file accepted.
    pub fn max_bytes(&self) -> u64 {
        self.fetch.max_bytes
    }

    /// A scanner for one file of this source.
    pub fn scanner(&self) -> Scanner {
        Scanner::new(self.format(), self.record_path(), &self.schema, &self.statistics)
    }

    fn request(
        &self,
        what: &str,
        path: &Template,
        query: &[(String, Template)],
        params: &Params,
        values: &Values,
    ) -> Result<Request, ItemError> {
        let scope = self.scope(params, values);
        let query = query.iter().map(|(name, value)| Ok((name.clone(), render(what, value, &scope, values)?)));
        Ok(Request { path: render(what, path, &scope, values)?, query: query.collect::<Result<_, _>>()? })
    }

    /// What templates see of a job and an item.
    fn scope(&self, params: &Params, values: &Values) -> Value {
        let params = self.params.iter().filter_map(|Param { name, kind }| {
            let text = params.0.get(name)?;
            let number = text.parse::<i64>().ok().filter(|_| *kind == ParamKind::Integer);
            Some((name.as_str(), number.map_or_else(|| Value::from(text.as_str()), Value::from)))
        });
        let params = Value::from_pairs(params.collect::<Vec<_>>());
        let items = values.iter().map(|(name, fields)| {
            let fields = fields.iter().map(|(name, value)| (name.as_str(), scalar(value)));
            (name.as_str(), Value::from_pairs(fields.collect::<Vec<_>>()))
        });
        Value::from_pairs(items.chain([("params", params)]))
    }
}

/// An item's value as templates see it. Lists and tables do not occur: a field is of a simple type.
fn scalar(value: &serde_json::Value) -> Value {
    match value {
        serde_json::Value::Bool(value) => (*value).into(),
        serde_json::Value::String(value) => value.as_str().into(),
        serde_json::Value::Number(number) => match (number.as_i64(), number.as_u64(), number.as_f64()) {
            (Some(number), _, _) => number.into(),
            (_, Some(number), _) => number.into(),
            (_, _, Some(number)) => number.into(),
            (None, None, None) => Value::UNDEFINED,
        },
        serde_json::Value::Null | serde_json::Value::Array(_) | serde_json::Value::Object(_) => Value::UNDEFINED,
    }
}

fn render(what: &str, template: &Template, scope: &Value, values: &Values) -> Result<String, ItemError> {
    template.render(scope).map_err(|error| {
        // The shown values are the upstream's own, cut short: they say which item it was.
        let item = serde_json::to_string(values).unwrap_or_default();
        ItemError(format!("{what} cannot be made for {}: {error}", readable(&item)))
    })
}

fn no_level(level: usize) -> ItemError {
    ItemError(format!("there is no level {level} of [[items]]"))
}
