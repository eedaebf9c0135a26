//! What `[fetch]` says of the rows of an upload: what is kept of each, and what an answer means.

use std::time::Duration;

use toml::de::DeValue;

use crate::{
    OnUnknown,
    definition::{
        parse::{
            diagnostic::{Report, quote_all},
            limit::iso_duration,
            reader::{Node, Table, Text, integer, list, string, wrong_type},
            shapes::{MAX_NAME, one_of},
        },
        template::{
            Destination, Template,
            scope::{Scope, Section},
        },
    },
    path::ValuePath,
};

/// How the rows of an upload are sent, beside the request.
#[derive(Debug)]
pub(crate) struct RowRules {
    /// The most rows of one task.
    pub(crate) batch: usize,
    /// What is kept of a row, by name.
    pub(crate) result: Vec<(String, Kept)>,
    /// The first that has the status of an answer decides.
    pub(crate) on: Vec<AnswerRule>,
    pub(crate) on_unknown: OnUnknown,
}

/// Where a kept value comes from.
#[derive(Debug)]
pub(crate) enum Kept {
    OfRow(Box<Template>),
    OfAnswer(ValuePath),
}

/// What an answer of these statuses means.
#[derive(Debug)]
pub(crate) struct AnswerRule {
    pub(crate) statuses: Vec<u16>,
    pub(crate) action: Action,
    pub(crate) reason: Option<String>,
}

/// What follows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Action {
    /// The row is sent again, after so long where it is said.
    Retry(Option<Duration>),
    /// The row is an error.
    Fail,
    /// Nobody knows whether the API has the row.
    Unknown,
    /// The API has the row, such as one that was sent before.
    Done,
}

/// Rows of a task where nothing is said.
const DEFAULT_BATCH: usize = 200;
/// More rows of a task than this would be too much to lose at once.
const MAX_BATCH: i64 = 1_000;
/// What an outcome says itself.
pub(crate) const OUTCOME_NAMES: [&str; 3] = ["line", "result", "reason"];
/// With the names above, as many fields as a record has.
const MAX_RESULTS: usize = 61;
/// The longest reason of a rule, in characters.
const MAX_REASON: usize = 200;
/// The longest wait of a rule: longer than that, and a task would only wait.
const MAX_WAIT: Duration = Duration::from_secs(60 * 60);
/// Keys of `[fetch]` that are about rows.
const KEYS: [&str; 3] = ["result", "on", "on_unknown"];

/// Refuses what only the rows of an upload can have.
pub(crate) fn refuse(report: &mut Report<'_>, table: &mut Table<'_, '_>) {
    for key in KEYS {
        if let Some(node) = table.optional(key) {
            let help = "an upload is [[items]] with `upload = \"csv\"`";
            let message = format!("`{key}` is only for sources whose items are an upload");
            report.add_with_help(node.span().start, message, help);
        }
    }
    refuse_method(report, table);
}

/// Refuses methods that do not read.
pub(crate) fn refuse_method(report: &mut Report<'_>, table: &mut Table<'_, '_>) {
    if let Some(node) = table.optional("method")
        && node.get_ref().as_str().is_some_and(|method| !["GET", "POST"].contains(&method))
    {
        let help = "what is fetched may be asked for twice";
        let message = "a method other than GET and POST is only for sources whose items are an upload";
        report.add_with_help(node.span().start, message, help);
    }
}

/// Refuses what the rows of an upload cannot have.
pub(crate) fn refuse_files(report: &mut Report<'_>, table: &mut Table<'_, '_>) {
    let stored = "what is stored are the outcomes of the rows, one JSON object a line";
    for (key, help) in [
        ("format", stored),
        ("records", stored),
        ("full", stored),
        ("match", "the answer to a request is its row's"),
        ("max_record", stored),
    ] {
        if let Some(node) = table.optional(key) {
            report.add_with_help(node.span().start, format!("`{key}` has no meaning for the rows of an upload"), help);
        }
    }
}

pub(crate) fn read(report: &mut Report<'_>, table: &mut Table<'_, '_>, scope: &Scope<'_>) -> Option<RowRules> {
    let batch = table.optional("batch").map_or(Some(DEFAULT_BATCH), |node| read_batch(report, node));
    let scope = Scope { place: Section::Outcome, ..*scope };
    let result = table.optional_table(report, "result").map(|table| read_result(report, &table, &scope));
    let on = table.optional("on").map(|node| read_rules(report, node));
    let known = [("report", OnUnknown::Report), ("resend", OnUnknown::Resend)];
    let on_unknown = table
        .optional_string(report, "on_unknown")
        .map_or(Some(OnUnknown::Report), |text| one_of(report, text, "`on_unknown`", known));
    Some(RowRules {
        batch: batch?,
        result: result.unwrap_or_default(),
        on: on.unwrap_or_default(),
        on_unknown: on_unknown?,
    })
}

fn read_batch(report: &mut Report<'_>, node: Node<'_, '_>) -> Option<usize> {
    let number = integer(report, node, "batch")?;
    let fits = usize::try_from(number).ok().filter(|_| (1..=MAX_BATCH).contains(&number));
    if fits.is_none() {
        let message = format!("`batch` must be between 1 and {MAX_BATCH}, found {number}");
        report.add_with_help(node.span().start, message, "so many rows are one task, and each is a request of its own");
    }
    fits
}

fn read_result(report: &mut Report<'_>, table: &Table<'_, '_>, scope: &Scope<'_>) -> Vec<(String, Kept)> {
    let entries = table.entries();
    if let Some((name, _)) = entries.get(MAX_RESULTS) {
        report.add(name.at, format!("a result has at most {MAX_RESULTS} values"));
    }
    let mut result = Vec::new();
    for (name, node) in entries {
        result_name(report, name);
        let Some(text) = string(report, node, &format!("`{}`", name.value)) else { continue };
        let kept = if text.value.starts_with('$') {
            value_path(report, text).map(Kept::OfAnswer)
        } else {
            scope.template(report, text, Destination::Json).map(Box::new).map(Kept::OfRow)
        };
        result.extend(kept.map(|kept| (name.value.to_owned(), kept)));
    }
    result
}

fn result_name(report: &mut Report<'_>, name: Text<'_>) {
    let shape = name.value.len() <= MAX_NAME
        && name.value.starts_with(|c: char| c.is_ascii_alphabetic())
        && name.value.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
    if !shape {
        let help = format!("a letter, then letters, digits and `_`, at most {MAX_NAME}");
        report.add_with_help(name.at, format!("`{}` cannot be the name of a result", name.value), help);
    } else if OUTCOME_NAMES.contains(&name.value) {
        let help = format!("every outcome has {} of its own", quote_all(OUTCOME_NAMES));
        report.add_with_help(name.at, format!("the name `{}` is taken", name.value), help);
    }
}

fn value_path(report: &mut Report<'_>, text: Text<'_>) -> Option<ValuePath> {
    let path: Result<ValuePath, _> = text.value.parse();
    path.map_err(|error| {
        report.add_with_help(text.place(error.at), error.message, "a path such as `$.id` or `$.items[0].id`");
    })
    .ok()
}

fn read_rules(report: &mut Report<'_>, node: Node<'_, '_>) -> Vec<AnswerRule> {
    let mut rules: Vec<AnswerRule> = Vec::new();
    for node in list(report, node, "on").unwrap_or_default() {
        let Some(mut table) = Table::open(report, node, "a rule of `on`") else { continue };
        let statuses = table
            .list(report, "status")
            .map(|nodes| nodes.iter().filter_map(|node| read_status(report, node, &rules)).collect::<Vec<_>>());
        let known = [
            ("retry", Action::Retry(None)),
            ("fail", Action::Fail),
            ("unknown", Action::Unknown),
            ("done", Action::Done),
        ];
        let action = table.string(report, "action").and_then(|text| one_of(report, text, "action", known));
        let reason = table.optional_string(report, "reason").map(|text| read_reason(report, text));
        let wait = table.optional("wait").map(|node| (node.span().start, read_wait(report, node)));
        table.close(report);
        let action = match (action, wait) {
            (Some(Action::Fail | Action::Unknown | Action::Done), Some((at, _))) => {
                report.add_with_help(at, "`wait` is for `retry` only", "leave it out");
                action
            }
            (Some(Action::Retry(_)), Some((_, wait))) => Some(Action::Retry(wait)),
            _ => action,
        };
        rules.extend(statuses.zip(action).map(|(statuses, action)| AnswerRule { statuses, action, reason }));
    }
    rules
}

fn read_status(report: &mut Report<'_>, node: Node<'_, '_>, before: &[AnswerRule]) -> Option<u16> {
    let at = node.span().start;
    let number = integer(report, node, "status")?;
    let status = u16::try_from(number).ok().filter(|status| (200..=599).contains(status));
    match status {
        None => report.add(at, format!("a status is between 200 and 599, found {number}")),
        Some(status) if before.iter().any(|rule| rule.statuses.contains(&status)) => {
            report.add(at, format!("the status {status} is in a rule above, which wins"));
        }
        Some(_) => {}
    }
    status
}

fn read_reason(report: &mut Report<'_>, text: Text<'_>) -> String {
    let good = !text.value.trim().is_empty()
        && text.value.chars().count() <= MAX_REASON
        && !text.value.contains(char::is_control);
    if !good {
        report.add(text.at, format!("`reason` must be one line of 1 to {MAX_REASON} characters"));
    }
    text.value.to_owned()
}

fn read_wait(report: &mut Report<'_>, node: Node<'_, '_>) -> Option<Duration> {
    let DeValue::String(_) = node.get_ref() else {
        wrong_type(report, node, "`wait`", "a duration such as \"PT10S\"", node.get_ref());
        return None;
    };
    let text = string(report, node, "`wait`")?;
    let wait = iso_duration(text).filter(|wait| !wait.is_zero() && *wait <= MAX_WAIT);
    if wait.is_none() {
        let help = "an ISO 8601 duration such as `PT10S`, at most an hour";
        report.add_with_help(text.at, format!("`{}` cannot be a wait", text.value), help);
    }
    wait
}
