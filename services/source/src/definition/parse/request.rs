//! The parts of a request that listings and files have in common.

use toml::de::DeValue;

use crate::{
    RecordPath, RecordPathError,
    definition::{
        parse::{
            diagnostic::Report,
            reader::{Table, Text, string, wrong_type},
        },
        template::{Destination, Template, scope::Scope},
    },
};

/// `query = { name = "template" }`; numbers and booleans may be written without quotes.
pub(crate) fn query(report: &mut Report<'_>, table: &mut Table<'_, '_>, scope: &Scope<'_>) -> Vec<(String, Template)> {
    let Some(pairs) = table.optional_table(report, "query") else { return Vec::new() };
    let mut query = Vec::new();
    for (name, node) in pairs.entries() {
        if name.value.is_empty() {
            report.add(name.at, "a query parameter's name is empty");
        }
        let template = match node.get_ref() {
            DeValue::Integer(number) if number.radix() == 10 => literal(number.as_str()),
            DeValue::Boolean(value) => literal(if *value { "true" } else { "false" }),
            DeValue::String(_) => {
                string(report, node, "a query value").and_then(|text| scope.template(report, text, Destination::Query))
            }
            other => {
                wrong_type(report, node, &format!("`{}`", name.value), "a string, a whole number or a boolean", other);
                None
            }
        };
        query.extend(template.map(|template| (name.value.to_owned(), template)));
    }
    query
}

fn literal(text: &str) -> Option<Template> {
    Template::compile(Destination::Query, text).ok()
}

/// Where the elements are.
pub(crate) fn record_path(report: &mut Report<'_>, text: Text<'_>) -> Option<RecordPath> {
    text.value
        .parse()
        .map_err(|error: RecordPathError| {
            report.add_with_help(text.place(error.at), error.message, "a path such as `$[*]` or `$.data.items[*]`");
        })
        .ok()
}
