//! `rate` and `concurrency`: the limits on requests to an upstream, over all workers together.

use std::time::Duration;

use toml::de::DeValue;

use crate::{
    Decimal,
    definition::{
        parse::{
            defaults::Defaults,
            diagnostic::Report,
            reader::{Node, Table, Text, integer, string, wrong_type},
        },
        template::scope::RequestOf,
    },
};

/// How hard an upstream may be worked, over all workers together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Limit {
    /// So many requests at once.
    Concurrency(u32),
    /// So many items in any window of this length, whatever the number of requests. Of an upload, so many rows, each
    /// of which is a request.
    Rate {
        /// At least 1, and no less than a batch of items that one request fetches.
        items: u32,
        /// The window's length, from a millisecond to 31 days.
        per: Duration,
    },
}

/// Requests at once where nothing is said: few enough for a small server.
const DEFAULT: Limit = Limit::Concurrency(4);
/// More requests at once than this would be an attack, and each is a permit that workers compete for.
const MAX_CONCURRENCY: u32 = 1_000;
/// More items in a window than this are no limit.
const MAX_ITEMS: u32 = 1_000_000;
/// The shortest window: below it a network's jitter is all there is.
const MIN_WINDOW: Duration = Duration::from_millis(1);
/// The longest window: a month is the longest that upstreams speak of.
const MAX_WINDOW: Duration = Duration::from_secs(31 * 24 * 60 * 60);

/// `None` where it was refused. `defaults` are those of `[request]`, for where neither is said.
pub(crate) fn read(
    report: &mut Report<'_>,
    table: &mut Table<'_, '_>,
    defaults: &Defaults<'_, '_>,
    request_of: RequestOf,
) -> Option<Limit> {
    let (at_once, rate) = match (table.optional("concurrency"), table.optional("rate")) {
        (None, None) => (defaults.concurrency, defaults.rate),
        own => own,
    };
    if let (Some(one), Some(other)) = (at_once, rate) {
        let later = one.span().start.max(other.span().start);
        let help = "leave one of them out: with a rate, requests go out one after the other";
        report.add_with_help(later, "`rate` and `concurrency` exclude each other", help);
    }
    let at_once = at_once.map(|node| read_concurrency(report, node));
    let rate = rate.map(|node| read_rate(report, node, request_of));
    rate.or(at_once).unwrap_or(Some(DEFAULT))
}

fn read_concurrency(report: &mut Report<'_>, node: Node<'_, '_>) -> Option<Limit> {
    let number = integer(report, node, "concurrency")?;
    let fits = u32::try_from(number).ok().filter(|number| (1..=MAX_CONCURRENCY).contains(number));
    if fits.is_none() {
        report.add(node.span().start, format!("`concurrency` must be between 1 and {MAX_CONCURRENCY}, found {number}"));
    }
    fits.map(Limit::Concurrency)
}

fn read_rate(report: &mut Report<'_>, node: Node<'_, '_>, request_of: RequestOf) -> Option<Limit> {
    const HELP: &str = "so many items in a time: rate = { items = 60, per = \"PT1M\" }";
    match node.get_ref() {
        DeValue::Table(_) => {}
        DeValue::String(text) => {
            report.add_with_help(node.span().start, format!("`{text}` is no rate"), HELP);
            return None;
        }
        other => {
            wrong_type(report, node, "`rate`", "a table such as { items = 60, per = \"PT1M\" }", other);
            return None;
        }
    }
    let mut table = Table::open(report, node, "`rate`")?;
    // Where one request is one item, both say the same.
    let requests = table.optional("requests");
    let items = match (requests, table.optional("items")) {
        (Some(node), Some(_)) => {
            report.add_with_help(
                node.span().start,
                "`requests` and `items` exclude each other",
                "leave one of them out",
            );
            None
        }
        (Some(node), None) if request_of == RequestOf::Batch => {
            let help = "say how many items: { items = 60, per = \"PT1M\" }";
            report.add_with_help(node.span().start, "a request of a batch is for several items", help);
            None
        }
        (Some(node), None) => read_count(report, node, "requests"),
        (None, Some(node)) => read_count(report, node, "items"),
        (None, None) => {
            let key = if request_of == RequestOf::Row { "requests" } else { "items" };
            report.add(table.at(), format!("`rate` lacks `{key}`"));
            None
        }
    };
    let per = table.required(report, "per").and_then(|node| read_window(report, node));
    table.close(report);
    Some(Limit::Rate { items: items?, per: per? })
}

fn read_count(report: &mut Report<'_>, node: Node<'_, '_>, key: &str) -> Option<u32> {
    let number = integer(report, node, key)?;
    let fits = u32::try_from(number).ok().filter(|number| (1..=MAX_ITEMS).contains(number));
    if fits.is_none() {
        let message = format!("`{key}` must be between 1 and {MAX_ITEMS}, found {number}");
        let help = "for less than one item in a time, make the time longer; to fetch nothing, submit no job";
        report.add_with_help(node.span().start, message, help);
    }
    fits
}

fn read_window(report: &mut Report<'_>, node: Node<'_, '_>) -> Option<Duration> {
    let text = string(report, node, "`per`")?;
    let window = iso_duration(text).filter(|window| (MIN_WINDOW..=MAX_WINDOW).contains(window));
    if window.is_none() {
        let help = "an ISO 8601 duration such as `PT1S`, `PT1M`, `PT1H` or `P1D`, from PT0.001S to P31D";
        report.add_with_help(text.at, format!("`{}` cannot be the time of a rate", text.value), help);
    }
    window
}

/// A duration that is not negative.
pub(crate) fn iso_duration(text: Text<'_>) -> Option<Duration> {
    let seconds = Decimal::from_iso_duration(text.value)?;
    u64::try_from(seconds.0).ok().map(Duration::from_nanos)
}
