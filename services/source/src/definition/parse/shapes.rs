//! Shapes that several tables of a definition share: a name, a field, a choice, a list of texts.

use toml::{Spanned, de::DeValue};

use crate::{
    FieldPath, FieldType, RecordPathError,
    definition::parse::{
        diagnostic::{Report, quote_all, suggest},
        reader::{Table, Text, string},
    },
};

/// The longest name, of a source (a part of queue names and keys) or of anything in it.
pub(crate) const MAX_NAME: usize = 63;

/// A name that templates can write after a dot or alone.
pub(crate) fn identifier(report: &mut Report<'_>, text: Text<'_>) -> Option<String> {
    /// Words that mean something else in a template.
    const TAKEN: [&str; 21] = [
        "params", "env", "loop", "self", "super", "caller", "true", "false", "none", "and", "or", "not", "in", "is",
        "if", "else", "elif", "for", "True", "False", "None",
    ];
    let shape = text.value.len() <= MAX_NAME
        && text.value.starts_with(|c: char| c.is_ascii_lowercase())
        && text.value.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_');
    if !shape {
        let help = format!("a letter, then letters, digits and `_`, lower-case, at most {MAX_NAME}");
        report.add_with_help(text.at, format!("`{}` cannot be a name", text.value), help);
    } else if TAKEN.contains(&text.value) {
        report.add(text.at, format!("the name `{}` means something else in templates", text.value));
        return None;
    }
    shape.then(|| text.value.to_owned())
}

/// Every type of a field, by its name.
const TYPES: [(&str, FieldType); 10] = [
    ("string", FieldType::String),
    ("integer", FieldType::Integer),
    ("number", FieldType::Number),
    ("boolean", FieldType::Boolean),
    ("datetime", FieldType::Datetime),
    ("date", FieldType::Date),
    ("duration", FieldType::Duration),
    ("object", FieldType::Object),
    ("array", FieldType::Array),
    ("any", FieldType::Any),
];

/// A type's name with its article: `an integer`.
pub(crate) fn a_type(kind: FieldType) -> String {
    let name = TYPES.iter().find(|(_, known)| *known == kind).map_or("field", |(name, _)| name);
    let article = if name.starts_with(['a', 'i', 'o']) { "an" } else { "a" };
    match kind {
        FieldType::Any => "any value".to_owned(),
        _ => format!("{article} {name}"),
    }
}

/// The name and type of a field; `others` are the fields before it. The type is `None` where it was refused.
pub(crate) fn field<'f>(
    report: &mut Report<'_>,
    table: &mut Table<'_, '_>,
    others: impl IntoIterator<Item = &'f str>,
) -> Option<(String, Option<FieldType>)> {
    let name = table.string(report, "name");
    let kind = table.string(report, "type").and_then(|text| {
        let kind = TYPES.iter().find(|(name, _)| *name == text.value).map(|(_, kind)| *kind);
        if kind.is_none() {
            let help = suggest(text.value, TYPES.map(|(name, _)| name));
            report.add_with_help(text.at, format!("no field has the type `{}`", text.value), help);
        }
        kind
    });
    let name = name?;
    if name.value.is_empty() {
        report.add(name.at, "a field's name is empty");
    }
    if others.into_iter().any(|other| other == name.value) {
        report.add(name.at, format!("there are two fields `{}`", name.value));
        return None;
    }
    Some((name.value.to_owned(), kind))
}

/// `path` of a field; by default it is the member of its name.
pub(crate) fn field_path(report: &mut Report<'_>, table: &mut Table<'_, '_>, name: Option<&str>) -> Option<FieldPath> {
    let Some(text) = table.optional_string(report, "path") else { return name.map(FieldPath::member) };
    text.value
        .parse()
        .map_err(|error: RecordPathError| {
            let help = "a path in the record such as `$.id` or `$.period.from`; `$` is the record, `~` its own name";
            report.add_with_help(text.place(error.at), error.message, help);
        })
        .ok()
}

/// A string that is one of a few.
pub(crate) fn one_of<T: Copy, const N: usize>(
    report: &mut Report<'_>,
    text: Text<'_>,
    what: &str,
    known: [(&str, T); N],
) -> Option<T> {
    let found = known.iter().find(|(name, _)| *name == text.value);
    if found.is_none() {
        let help = format!("known: {}", quote_all(known.iter().map(|(name, _)| *name)));
        report.add_with_help(text.at, format!("there is no {what} `{}`", text.value), help);
    }
    found.map(|(_, value)| *value)
}

/// A list of strings.
pub(crate) fn strings<'a>(report: &mut Report<'_>, nodes: &'a [Spanned<DeValue<'_>>], what: &str) -> Vec<Text<'a>> {
    nodes.iter().filter_map(|node| string(report, node, what)).collect()
}
