//! `pagination` and `full`: how the answers to a request follow each other.

use crate::definition::{
    model::{PageKind, Pages, Pagination, RequestTemplate},
    parse::{
        diagnostic::{Report, quote_all},
        reader::{Node, Table, Text, integer, string},
        shapes::one_of,
    },
    template::{
        expression::Expression,
        scope::{PAGING_NAMES, Scope, Section},
    },
};

/// Pages where nothing is said.
const DEFAULT_MAX_PAGES: u64 = 100_000;
/// Of each page eight bytes are remembered, so that none is fetched twice.
const MAX_MAX_PAGES: i64 = 1_000_000;
/// Records of a page: more than this is no page.
const MAX_SIZE: i64 = 1_000_000;

#[derive(Clone, Copy)]
enum Kind {
    Page,
    Offset,
    Cursor,
    Link,
    List,
    None,
}

/// `None` where it was refused. `default` is that of `[request]`.
pub(crate) fn read(
    report: &mut Report<'_>,
    table: &mut Table<'_, '_>,
    default: Option<Node<'_, '_>>,
    scope: &Scope<'_>,
) -> Option<Pages> {
    let (own, full) = (table.optional("pagination"), table.optional("full"));
    if let (Some(_), Some(node)) = (own, full) {
        let help = "leave it out: pages are followed to their end";
        report.add_with_help(node.span().start, "`full` is for a request without `pagination`", help);
    }
    if let Some(node) = full.filter(|_| own.is_none()) {
        let number = positive(report, node, "full", i64::MAX);
        return number.map(|full| Pages::One { full: Some(full) });
    }
    match own.or(default) {
        None => Some(Pages::One { full: None }),
        Some(node) => read_pagination(report, node, scope),
    }
}

fn read_pagination(report: &mut Report<'_>, node: Node<'_, '_>, scope: &Scope<'_>) -> Option<Pages> {
    let mut table = Table::open(report, node, "`pagination`")?;
    let known = [
        ("page", Kind::Page),
        ("offset", Kind::Offset),
        ("cursor", Kind::Cursor),
        ("link", Kind::Link),
        ("list", Kind::List),
        ("none", Kind::None),
    ];
    let kind = table.string(report, "type").and_then(|text| one_of(report, text, "type of `pagination`", known))?;
    if matches!(kind, Kind::None) {
        table.close(report);
        return Some(Pages::Only);
    }
    for set in scope.items.iter().filter(|set| PAGING_NAMES.contains(&set.name.as_str())) {
        let message = format!("the item set `{}` hides what `pagination` calls so", set.name);
        report.add_with_help(node.span().start, message, format!("call it neither of {}", quote_all(PAGING_NAMES)));
    }
    let paging = Scope { place: Section::Paging, page: None, ..*scope };
    let kind = read_kind(report, &mut table, kind, &paging);
    let [stop, total] = ["stop", "total"].map(|key| optional_expression(report, &mut table, key, &paging));
    let max_pages = table
        .optional("max_pages")
        .map_or(Some(DEFAULT_MAX_PAGES), |node| positive(report, node, "max_pages", MAX_MAX_PAGES));
    table.close(report);
    Some(Pages::Several(Box::new(Pagination { kind: kind?, stop: stop?, total: total?, max_pages: max_pages? })))
}

fn read_kind(report: &mut Report<'_>, table: &mut Table<'_, '_>, kind: Kind, scope: &Scope<'_>) -> Option<PageKind> {
    let mut numbered = |report: &mut Report<'_>, default: i64| {
        let start = table.optional("start").map_or(Some(default), |node| integer(report, node, "start"));
        let size = table.optional("size").map(|node| positive(report, node, "size", MAX_SIZE));
        // Outer: whether it was read. Inner: whether there is one.
        Some((start?, size.map_or(Some(None), |size| size.map(Some))?))
    };
    Some(match kind {
        Kind::Page => {
            let (start, size) = numbered(report, 1)?;
            PageKind::Page { start, size }
        }
        Kind::Offset => {
            let (start, size) = numbered(report, 0)?;
            PageKind::Offset { start, size }
        }
        Kind::Cursor => PageKind::Cursor { next: required_expression(report, table, "next", scope)? },
        Kind::Link => PageKind::Link { next: optional_expression(report, table, "next", scope)? },
        Kind::List | Kind::None => PageKind::List { of: required_expression(report, table, "of", scope)? },
    })
}

fn required_expression(
    report: &mut Report<'_>,
    table: &mut Table<'_, '_>,
    key: &'static str,
    scope: &Scope<'_>,
) -> Option<Expression> {
    let text = table.string(report, key)?;
    expression(report, text, key, scope)
}

/// Outer: whether it was read. Inner: whether there is one.
fn optional_expression(
    report: &mut Report<'_>,
    table: &mut Table<'_, '_>,
    key: &'static str,
    scope: &Scope<'_>,
) -> Option<Option<Expression>> {
    let Some(node) = table.optional(key) else { return Some(None) };
    let text = string(report, node, &format!("`{key}`"))?;
    expression(report, text, key, scope).map(Some)
}

fn expression(report: &mut Report<'_>, text: Text<'_>, key: &str, scope: &Scope<'_>) -> Option<Expression> {
    if text.value.contains("{{") {
        let help = "an expression stands without braces, such as `body.next`";
        report.add_with_help(text.at, format!("`{key}` is an expression, and no template"), help);
        return None;
    }
    scope.expression(report, text)
}

fn positive(report: &mut Report<'_>, node: Node<'_, '_>, key: &str, most: i64) -> Option<u64> {
    let number = integer(report, node, key)?;
    if !(1..=most).contains(&number) {
        let range = if most == i64::MAX { "at least 1".to_owned() } else { format!("between 1 and {most}") };
        report.add(node.span().start, format!("`{key}` must be {range}, found {number}"));
        return None;
    }
    u64::try_from(number).ok()
}

/// Refuses pages that no template asks for: each would be the first once more. `at` is where the request stands.
pub(crate) fn check_read(report: &mut Report<'_>, at: usize, pages: &Pages, request: &RequestTemplate) {
    let Pages::Several(pagination) = pages else { return };
    let references: Vec<_> = request.templates().into_iter().flat_map(|template| template.references()).collect();
    let reads = |name: &str| references.iter().any(|reference| reference == name || reference == "page");
    if let Some(needed) = pagination.kind.needed().filter(|needed| !reads(needed)) {
        let help = format!("such as query = {{ page = \"{{{{ {needed} }}}}\" }}");
        report.add_with_help(at, format!("`pagination` has a `{needed}` that no template reads"), help);
    }
    if pagination.kind.size().is_some() && !reads("page.size") {
        let help = "ask for it, such as query = { limit = \"{{ page.size }}\" }, or leave it out";
        report.add_with_help(at, "`pagination` has a `size` that no template reads", help);
    }
}
