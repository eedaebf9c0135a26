//! A request: method, path, query, headers and body, each of templates. The same table wherever it stands.

use serde_json::Value as Json;
use toml::de::DeValue;
use url::Url;

use crate::{
    Method,
    definition::{
        model::{BodyTemplate, JsonTemplate, Pages, RequestTemplate},
        parse::{
            defaults::Defaults,
            diagnostic::{Report, quote_all},
            pagination,
            reader::{Node, Table, Text, string, wrong_type},
            shapes::one_of,
        },
        plan::signs::is_limit,
        template::{Destination, Template, scope::Scope},
    },
};

/// Headers that the worker sets itself, from what it has of a file and from the body.
const OWN_HEADERS: [&str; 12] = [
    "host",
    "content-length",
    "transfer-encoding",
    "connection",
    "te",
    "trailer",
    "upgrade",
    "expect",
    "accept-encoding",
    "range",
    "if-range",
    "if-none-match",
];

/// Pairs of a name and a value, as they stand in the file.
pub(crate) type Entries<'a, 't> = Vec<(Text<'a>, Node<'a, 't>)>;

/// A whole request, and how its answers follow each other. `defaults` are those of `[request]`.
pub(crate) fn read(
    report: &mut Report<'_>,
    table: &mut Table<'_, '_>,
    defaults: &Defaults<'_, '_>,
    scope: &Scope<'_>,
) -> Option<(RequestTemplate, Pages)> {
    let before = report.len();
    let pages = pagination::read(report, table, defaults.pagination, scope);
    let page = match &pages {
        Some(Pages::Several(pagination)) => Some(pagination.kind.offered()),
        Some(Pages::One { .. } | Pages::Only) => None,
        // Where it was refused, templates are not blamed for what they read of it.
        None => Some(&["number", "size", "offset", "cursor", "index"][..]),
    };
    let request = read_request(report, table, defaults, &Scope { page, ..*scope });
    let (request, pages) = (request?, pages?);
    if report.len() == before {
        pagination::check_read(report, table.at(), &pages, &request);
    }
    if matches!(pages, Pages::One { full: None }) {
        warn_of_limit(report, table);
    }
    Some((request, pages))
}

fn read_request(
    report: &mut Report<'_>,
    table: &mut Table<'_, '_>,
    defaults: &Defaults<'_, '_>,
    scope: &Scope<'_>,
) -> Option<RequestTemplate> {
    let method = table.optional_string(report, "method").map(|text| (text, read_method(report, text)));
    let path = path(report, table, defaults, scope);
    let query = query(report, table, defaults, scope);
    let headers = headers(report, table, defaults, scope);
    let node = table.optional("body");
    let body = node.map(|node| read_body(report, node, scope));
    if let (Some((text, Some(Method::Get))), Some(_)) = (method, node) {
        report.add_with_help(text.at, "a GET has no body", "leave `method` out, and it is POST");
    }
    let default = if node.is_some() { Method::Post } else { Method::Get };
    let method = method.map_or(Some(default), |(_, method)| method);
    // Outer: whether there is a body. Inner: whether it was read.
    let body = body.map_or(Some(None), |body| body.map(Some));
    Some(RequestTemplate { method: method?, path: path?, query, headers, body: body? })
}

/// A limit that is written out may be where a server cuts the answer.
fn warn_of_limit(report: &mut Report<'_>, table: &mut Table<'_, '_>) {
    let query = table.optional("query").and_then(|node| Table::open(report, node, "`query`"));
    for (name, node) in query.map_or_else(Vec::new, |query| query.entries()) {
        let is_number = match node.get_ref() {
            DeValue::Integer(_) => true,
            DeValue::String(text) => !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit()),
            _ => false,
        };
        if is_number && is_limit(name.value) {
            let message = format!("`{}` may cut the answer, and nothing says what follows then", name.value);
            report.warn_with_help(
                name.at,
                message,
                "add a `pagination`, or `full`: so many records are a failure then",
            );
        }
    }
}

fn read_method(report: &mut Report<'_>, text: Text<'_>) -> Option<Method> {
    one_of(report, text, "method", Method::ALL.map(|method| (method.as_str(), method)))
}

fn path(
    report: &mut Report<'_>,
    table: &mut Table<'_, '_>,
    defaults: &Defaults<'_, '_>,
    scope: &Scope<'_>,
) -> Option<Template> {
    let Some(node) = table.optional("url") else {
        return table.string(report, "path").and_then(|text| scope.template(report, text, Destination::Path));
    };
    if table.optional("path").is_some() {
        let help = "`path` is below `base_url`, `url` is a whole address";
        report.add_with_help(node.span().start, "`path` and `url` exclude each other", help);
    }
    let text = string(report, node, "`url`")?;
    check_url(report, text, defaults);
    scope.template(report, text, Destination::Url)
}

/// Refuses an address whose written part leads where no request may go. One that only an answer tells is looked at then.
fn check_url(report: &mut Report<'_>, text: Text<'_>, defaults: &Defaults<'_, '_>) {
    let written = text.value.split("{{").next().unwrap_or_default();
    let Some(base) = defaults.base_url.as_ref().and_then(|base| Url::parse(base).ok()) else { return };
    if written.is_empty() {
        return;
    }
    let is_allowed = Url::parse(written).is_ok_and(|url| {
        let rest = url.path().strip_prefix(base.path().trim_end_matches('/'));
        let is_below = url.origin() == base.origin() && rest.is_some_and(|rest| rest.starts_with('/'));
        matches!(url.scheme(), "http" | "https") && (is_below || defaults.hosts.contains(&url))
    });
    if !is_allowed {
        let help = "name its host, such as hosts = [\"files.example.com\"]; it is given no credentials";
        report.add_with_help(text.at, "`url` is neither below `base_url` nor at one of `hosts`", help);
    }
}

fn query(
    report: &mut Report<'_>,
    table: &mut Table<'_, '_>,
    defaults: &Defaults<'_, '_>,
    scope: &Scope<'_>,
) -> Vec<(String, Template)> {
    let own = table.optional_table(report, "query").map_or_else(Vec::new, |table| table.entries());
    let entries = repeated(over(&defaults.query, own, scope.page, |one, other| one == other));
    named(report, &entries, scope, ("a query parameter's name", "a query value"), Destination::Text)
}

fn headers(
    report: &mut Report<'_>,
    table: &mut Table<'_, '_>,
    defaults: &Defaults<'_, '_>,
    scope: &Scope<'_>,
) -> Vec<(String, Template)> {
    let own = table.optional_table(report, "headers").map_or_else(Vec::new, |table| table.entries());
    let entries = over(&defaults.headers, own, scope.page, str::eq_ignore_ascii_case);
    header_names(report, &entries);
    named(report, &entries, scope, ("a header's name", "a header's value"), Destination::Header)
}

/// The request's own pairs over those of `[request]`. Of these, the ones that read what the request's pages do not have
/// are for other requests.
fn over<'a, 't>(
    defaults: &Entries<'a, 't>,
    own: Entries<'a, 't>,
    page: Option<&[&str]>,
    is_same: impl Fn(&str, &str) -> bool,
) -> Entries<'a, 't> {
    let is_for_this = |(name, node): &(Text<'a>, Node<'a, 't>)| {
        let is_own = own.iter().any(|(other, _)| is_same(name.value, other.value));
        !is_own && reads_of_page(node.get_ref()).iter().all(|read| page.is_some_and(|page| page.contains(&&**read)))
    };
    defaults.iter().filter(|pair| is_for_this(pair)).copied().chain(own.iter().copied()).collect()
}

/// A list repeats the name.
fn repeated<'a, 't>(entries: Entries<'a, 't>) -> Entries<'a, 't> {
    let each = |(name, node): (Text<'a>, Node<'a, 't>)| match node.get_ref() {
        DeValue::Array(nodes) if !nodes.is_empty() => nodes.iter().map(|node| (name, node)).collect(),
        _ => vec![(name, node)],
    };
    entries.into_iter().flat_map(each).collect()
}

/// What a value reads of `page`.
fn reads_of_page(value: &DeValue<'_>) -> Vec<String> {
    match value {
        DeValue::String(text) => {
            let references = Template::compile(Destination::Text, text).map(|it| it.references()).unwrap_or_default();
            references.iter().filter_map(|name| name.strip_prefix("page.")).map(str::to_owned).collect()
        }
        DeValue::Array(values) => values.iter().flat_map(|value| reads_of_page(value.get_ref())).collect(),
        _ => Vec::new(),
    }
}

/// Reports names that no header can have, or that the worker sets itself.
pub(crate) fn header_names(report: &mut Report<'_>, entries: &[(Text<'_>, Node<'_, '_>)]) {
    let mut seen: Vec<String> = Vec::new();
    for (name, _) in entries {
        let token = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
        let lower = name.value.to_ascii_lowercase();
        if !name.value.bytes().all(token) {
            let help = "letters, digits and `-`, such as `X-Api-Key`";
            report.add_with_help(name.at, format!("`{}` cannot be the name of a header", name.value), help);
        } else if OWN_HEADERS.contains(&lower.as_str()) {
            report.add_with_help(name.at, format!("the header `{}` is set by the worker", name.value), "leave it out");
        }
        if seen.contains(&lower) {
            report.add(name.at, format!("there are two headers `{lower}`"));
        }
        seen.push(lower);
    }
}

/// `{ name = "template" }`; numbers and booleans may be written without quotes.
pub(crate) fn named(
    report: &mut Report<'_>,
    entries: &[(Text<'_>, Node<'_, '_>)],
    scope: &Scope<'_>,
    (a_name, a_value): (&str, &str),
    destination: Destination,
) -> Vec<(String, Template)> {
    let mut read = Vec::new();
    for (name, node) in entries {
        if name.value.is_empty() {
            report.add(name.at, format!("{a_name} is empty"));
        }
        let literal = |text: &str| Template::compile(destination, text).ok();
        let template = match node.get_ref() {
            DeValue::Integer(number) if number.radix() == 10 => literal(number.as_str()),
            DeValue::Boolean(value) => literal(if *value { "true" } else { "false" }),
            DeValue::String(_) => {
                string(report, node, a_value).and_then(|text| scope.template(report, text, destination))
            }
            other => {
                wrong_type(report, node, &format!("`{}`", name.value), "a string, a whole number or a boolean", other);
                None
            }
        };
        read.extend(template.map(|template| (name.value.to_owned(), template)));
    }
    read
}

fn read_body(report: &mut Report<'_>, node: Node<'_, '_>, scope: &Scope<'_>) -> Option<BodyTemplate> {
    const KINDS: [&str; 3] = ["json", "form", "text"];
    let mut table = Table::open(report, node, "`body`")?;
    let asked: Vec<_> = KINDS.into_iter().filter_map(|kind| Some((kind, table.optional(kind)?))).collect();
    table.close(report);
    let [(kind, node)] = asked[..] else {
        let help = "such as body.json = { title = \"{{ row.title }}\" }";
        let message = format!("`body` must have exactly one of {}", quote_all(KINDS));
        report.add_with_help(node.span().start, message, help);
        return None;
    };
    match kind {
        "json" => json(report, node, scope).map(BodyTemplate::Json),
        "form" => {
            let entries = Table::open(report, node, "`form`")?.entries();
            let names = ("a form field's name", "a form field's value");
            Some(BodyTemplate::Form(named(report, &entries, scope, names, Destination::Text)))
        }
        _ => {
            let text = string(report, node, "`text`")?;
            scope.template(report, text, Destination::Text).map(Box::new).map(BodyTemplate::Text)
        }
    }
}

/// A value of a JSON body. What was refused within it was reported.
fn json(report: &mut Report<'_>, node: Node<'_, '_>, scope: &Scope<'_>) -> Option<JsonTemplate> {
    Some(match node.get_ref() {
        DeValue::String(text) if ["{{", "{%", "{#"].iter().any(|open| text.contains(open)) => {
            let text = string(report, node, "a value")?;
            JsonTemplate::Value(Box::new(scope.template(report, text, Destination::Json)?))
        }
        DeValue::String(text) => JsonTemplate::Literal(Json::from(&**text)),
        DeValue::Boolean(value) => JsonTemplate::Literal(Json::from(*value)),
        DeValue::Datetime(time) => JsonTemplate::Literal(Json::from(time.to_string())),
        DeValue::Integer(number) => {
            let number = i64::from_str_radix(number.as_str(), number.radix()).ok().map(Json::from);
            JsonTemplate::Literal(number.or_else(|| no_number(report, node))?)
        }
        DeValue::Float(number) => {
            let number = number.as_str().parse().ok().and_then(serde_json::Number::from_f64).map(Json::from);
            JsonTemplate::Literal(number.or_else(|| no_number(report, node))?)
        }
        DeValue::Array(nodes) => {
            let values: Vec<_> = nodes.iter().map(|node| json(report, node, scope)).collect();
            JsonTemplate::List(values.into_iter().collect::<Option<_>>()?)
        }
        DeValue::Table(_) => {
            let entries = Table::open(report, node, "a value")?.entries();
            let members: Vec<_> = entries
                .into_iter()
                .map(|(name, node)| Some((name.value.to_owned(), json(report, node, scope)?)))
                .collect();
            JsonTemplate::Object(members.into_iter().collect::<Option<_>>()?)
        }
    })
}

fn no_number(report: &mut Report<'_>, node: Node<'_, '_>) -> Option<Json> {
    report.add(node.span().start, "JSON cannot have this number: write it in quotes");
    None
}
