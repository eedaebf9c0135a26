//! A request: method, path, query, headers and body, each of templates. The same table wherever it stands.

use serde_json::Value as Json;
use toml::de::DeValue;

use crate::{
    Method,
    definition::{
        model::{BodyTemplate, JsonTemplate, RequestTemplate},
        parse::{
            diagnostic::{Report, quote_all},
            reader::{Node, Table, Text, string, wrong_type},
            shapes::one_of,
        },
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

/// The whole request of `[fetch]`.
pub(crate) fn read(report: &mut Report<'_>, table: &mut Table<'_, '_>, scope: &Scope<'_>) -> Option<RequestTemplate> {
    let method = table.optional_string(report, "method").map(|text| (text, read_method(report, text)));
    let path = path(report, table, scope);
    let query = query(report, table, scope);
    let headers = headers(report, table, scope);
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

/// The request of a listing, which is a GET.
pub(crate) fn read_listing(
    report: &mut Report<'_>,
    table: &mut Table<'_, '_>,
    scope: &Scope<'_>,
) -> Option<RequestTemplate> {
    let path = path(report, table, scope);
    let query = query(report, table, scope);
    let headers = headers(report, table, scope);
    Some(RequestTemplate { method: Method::Get, path: path?, query, headers, body: None })
}

fn read_method(report: &mut Report<'_>, text: Text<'_>) -> Option<Method> {
    one_of(report, text, "method", Method::ALL.map(|method| (method.as_str(), method)))
}

fn path(report: &mut Report<'_>, table: &mut Table<'_, '_>, scope: &Scope<'_>) -> Option<Template> {
    table.string(report, "path").and_then(|text| scope.template(report, text, Destination::Path))
}

fn query(report: &mut Report<'_>, table: &mut Table<'_, '_>, scope: &Scope<'_>) -> Vec<(String, Template)> {
    let pairs = table.optional_table(report, "query");
    pairs.map_or_else(Vec::new, |table| {
        named(report, &table, scope, ("a query parameter's name", "a query value"), Destination::Text)
    })
}

fn headers(report: &mut Report<'_>, table: &mut Table<'_, '_>, scope: &Scope<'_>) -> Vec<(String, Template)> {
    let Some(table) = table.optional_table(report, "headers") else { return Vec::new() };
    let mut seen: Vec<String> = Vec::new();
    for (name, _) in table.entries() {
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
    named(report, &table, scope, ("a header's name", "a header's value"), Destination::Header)
}

/// `{ name = "template" }`; numbers and booleans may be written without quotes.
fn named(
    report: &mut Report<'_>,
    pairs: &Table<'_, '_>,
    scope: &Scope<'_>,
    (a_name, a_value): (&str, &str),
    destination: Destination,
) -> Vec<(String, Template)> {
    let mut read = Vec::new();
    for (name, node) in pairs.entries() {
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
            let table = Table::open(report, node, "`form`")?;
            let pairs =
                named(report, &table, scope, ("a form field's name", "a form field's value"), Destination::Text);
            Some(BodyTemplate::Form(pairs))
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
