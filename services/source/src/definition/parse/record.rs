//! `[record]`: the schema of a record, in the terms of Frictionless Table Schema.

use toml::de::DeValue;

use crate::{
    Constraints, Decimal, Field, FieldPath, FieldType, Schema, TimeFormat,
    definition::parse::{
        diagnostic::Report,
        reader::{Node, Table, Text, boolean, list, wrong_type},
        shapes::{a_type, field, field_path, one_of, strings},
    },
    scan::check_pattern,
};

/// The scanner keeps one bit per field.
pub(crate) const MAX_FIELDS: usize = 64;

/// The fields by name, mistakes or not, for templates to be checked against; and the schema, where there are none.
/// `is_row` is whether the records are the rows of an upload.
pub(crate) fn read(
    report: &mut Report<'_>,
    mut table: Table<'_, '_>,
    is_row: bool,
) -> (Vec<(String, FieldType)>, Option<Schema>) {
    let nodes = table.required(report, "fields").and_then(|node| match node.get_ref() {
        // Nothing of a record is checked, and it is counted.
        DeValue::Array(nodes) if nodes.is_empty() && !is_row => Some(&nodes[..]),
        _ => list(report, node, "fields"),
    });
    let fields_match = table.optional_string(report, "fieldsMatch");
    let is_closed = fields_match
        .and_then(|text| one_of(report, text, "fieldsMatch", [("partial", false), ("superset", true)]))
        .unwrap_or_default();
    if let Some(text) = fields_match.filter(|_| is_row) {
        report.add_with_help(
            text.at,
            "the columns of an upload that are not fields are ignored",
            "leave `fieldsMatch` out",
        );
    }
    table.close(report);
    let Some(nodes) = nodes else { return Default::default() };
    let mut names = Vec::new();
    if let Some(node) = nodes.get(MAX_FIELDS) {
        report.add(
            node.span().start,
            format!("a record has at most {MAX_FIELDS} fields; those that are not named are ignored"),
        );
    }
    let mut fields: Vec<Field> = Vec::new();
    for node in nodes {
        let Some(mut table) = Table::open(report, node, "a record's field") else { continue };
        let named = field(report, &mut table, fields.iter().map(|field| field.name.as_str()));
        if let Some((name, kind)) = &named {
            if is_row && name == "line" {
                let help = "the number of a row's line is called so: rename the column, or leave it out";
                report.add_with_help(table.at(), "a row has a `line` of its own", help);
            }
            // A field of no known type still counts as known.
            names.push((name.clone(), kind.unwrap_or(FieldType::Date)));
        }
        let path = field_path(report, &mut table, named.as_ref().map(|(name, _)| name.as_str()));
        let at = table.at();
        let format = table.optional_string(report, "format");
        let constraints = table.optional_table(report, "constraints");
        table.close(report);
        let (Some((name, Some(kind))), Some(path)) = (named, path) else { continue };
        check_path(report, at, (&name, kind, &path), &fields, is_row);
        let constraints = constraints.map(|table| read_constraints(report, table, kind)).unwrap_or_default();
        let format = format.map(|text| read_format(report, text, kind)).unwrap_or_default();
        fields.push(Field { name, path, kind, format, constraints });
    }
    // A statistic over a field that was refused above would only be a second complaint about the first.
    let is_whole = fields.len() == nodes.len();
    (names, is_whole.then_some(Schema { fields, is_closed }))
}

fn check_path(
    report: &mut Report<'_>,
    at: usize,
    (name, kind, path): (&str, FieldType, &FieldPath),
    others: &[Field],
    is_row: bool,
) {
    if is_row && (kind.is_composite() || path.as_member() != Some(name)) {
        let message = format!("`{name}` of an upload is a column of this name, and a cell is a text or a number");
        report.add_with_help(at, message, "leave `path` out, and take another type");
    }
    if let Some(other) = others.iter().find(|other| other.path == *path) {
        report.add(at, format!("`{name}` and `{}` have the same path", other.name));
    }
    if *path == FieldPath::Name && kind.is_composite() {
        report.add_with_help(
            at,
            format!("a member's name is text, and `{name}` is {}", a_type(kind)),
            "such as `string`",
        );
    }
}

fn read_format(report: &mut Report<'_>, text: Text<'_>, kind: FieldType) -> TimeFormat {
    let with_time = match kind {
        FieldType::Datetime => true,
        FieldType::Date => false,
        _ if text.value == "default" => return TimeFormat::Iso,
        _ => {
            report.add(text.at, format!("`format` is for dates and times, not for {}", a_type(kind)));
            return TimeFormat::Iso;
        }
    };
    match text.value {
        "default" => return TimeFormat::Iso,
        "any" => return TimeFormat::Any,
        _ => {}
    }
    if let Err(reason) = check_pattern(text.value, with_time) {
        let message = format!("no day can be read by the format `{}`: {reason}", text.value);
        report.add_with_help(text.at, message, "`default`, `any`, or a pattern of strptime such as `%d/%m/%Y`");
    }
    TimeFormat::Pattern(text.value.to_owned())
}

fn read_constraints(report: &mut Report<'_>, mut table: Table<'_, '_>, kind: FieldType) -> Constraints {
    let required = table.optional("required").and_then(|node| boolean(report, node, "required")).unwrap_or_default();
    let [minimum, maximum] = ["minimum", "maximum"].map(|key| Some((key, table.optional(key)?)));
    let [minimum, maximum] =
        [minimum, maximum].map(|bound| bound.and_then(|(key, node)| read_bound(report, node, key, kind)));
    if let (Some((least, _)), Some((greatest, at))) = (minimum, maximum)
        && least > greatest
    {
        report.add(at, "`maximum` is less than `minimum`: no value could satisfy both");
    }
    let one_of = table.optional("enum").and_then(|node| read_enum(report, node, kind));
    table.close(report);
    Constraints { required, minimum: minimum.map(|(value, _)| value), maximum: maximum.map(|(value, _)| value), one_of }
}

fn read_bound(report: &mut Report<'_>, node: Node<'_, '_>, key: &str, kind: FieldType) -> Option<(Decimal, usize)> {
    let at = node.span().start;
    if !matches!(kind, FieldType::Integer | FieldType::Number | FieldType::Duration) {
        report.add(at, format!("`{key}` is for numbers and durations, not for {}", a_type(kind)));
        return None;
    }
    let bound = match node.get_ref() {
        DeValue::Integer(number) if number.radix() == 10 => number.as_str().parse().ok(),
        DeValue::Integer(number) => {
            i64::from_str_radix(number.as_str(), number.radix()).ok().and_then(|number| number.to_string().parse().ok())
        }
        DeValue::Float(number) => number.as_str().parse().ok(),
        DeValue::String(text) if kind == FieldType::Duration => {
            Decimal::from_iso_duration(text).or_else(|| text.parse().ok())
        }
        DeValue::String(text) => text.parse().ok(),
        other => {
            wrong_type(report, node, &format!("`{key}`"), "a number", other);
            return None;
        }
    };
    if bound.is_none() {
        let help = if kind == FieldType::Duration {
            "an ISO 8601 duration such as `PT1H`, or a number of seconds"
        } else {
            "a plain decimal number such as 0, -1.5 or \"0.000000001\""
        };
        report.add_with_help(at, format!("`{key}` cannot be compared with {}", a_type(kind)), help);
    }
    bound.map(|bound| (bound, at))
}

fn read_enum(report: &mut Report<'_>, node: Node<'_, '_>, kind: FieldType) -> Option<Vec<String>> {
    if kind != FieldType::String {
        report.add(node.span().start, format!("`enum` is for strings, not for {}", a_type(kind)));
        return None;
    }
    let nodes = list(report, node, "enum")?;
    Some(strings(report, nodes, "a value of `enum`").into_iter().map(|text| text.value.to_owned()).collect())
}
