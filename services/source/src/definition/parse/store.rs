//! `[store]`: where objects go, as a Hive-style partition.

use crate::{
    definition::{
        parse::{
            diagnostic::Report,
            reader::{Table, Text},
            shapes::{identifier, strings},
        },
        template::{Destination, MAX_NAME_BYTES, Template, scope::Scope},
    },
    params::parse_date,
};

/// The parts of a partition, names apart from values.
#[derive(Debug)]
pub(crate) struct Partition {
    pub(crate) names: Vec<String>,
    pub(crate) values: Vec<Template>,
}

/// The longest name of a part: with its value it stays within the 255 bytes of a file system's names.
const MAX_PART_NAME: usize = 40;
/// What a key is made of beside the parts, at most: `quarantine/`, source, item, time, hash, extension.
const REST_OF_KEY: usize = 11 + 64 + MAX_NAME_BYTES + 56;
/// S3's limit for a key, in bytes.
const MAX_KEY: usize = 1_024;

pub(crate) fn read(report: &mut Report<'_>, mut table: Table<'_, '_>, scope: &Scope<'_>) -> Option<Partition> {
    let nodes = table.list(report, "partition");
    table.close(report);
    let nodes = nodes?;
    let parts = strings(report, nodes, "a part of the partition");
    let mut partition = Partition { names: Vec::new(), values: Vec::new() };
    for (at, part) in parts.iter().enumerate() {
        let Some((name, value)) = read_part(report, *part, scope) else { continue };
        if partition.names.contains(&name) {
            report.add(part.at, format!("there are two parts `{name}`"));
        }
        if name == "date" {
            check_date(report, *part, at + 1 == nodes.len(), &value, scope);
        }
        partition.names.push(name);
        partition.values.push(value);
    }
    let longest = |name: &String| name.len() + 2 + if name == "date" { 10 } else { MAX_NAME_BYTES };
    if REST_OF_KEY + partition.names.iter().map(longest).sum::<usize>() > MAX_KEY {
        report
            .add(nodes[0].span().start, format!("with so many parts a key could be longer than S3's {MAX_KEY} bytes"));
    }
    (partition.names.len() == nodes.len()).then_some(partition)
}

fn read_part(report: &mut Report<'_>, part: Text<'_>, scope: &Scope<'_>) -> Option<(String, Template)> {
    let Some((name, value)) = part.value.split_once('=').filter(|(_, value)| !value.is_empty()) else {
        let help = "a part is `name={{ … }}`, such as \"country={{ city.country | slug }}\"";
        report.add_with_help(part.at, format!("`{}` is no part of a partition", part.value), help);
        return None;
    };
    let value = part.slice(name.len() + 1, value);
    if name.len() > MAX_PART_NAME {
        report.add(part.at, format!("the name of a part is longer than {MAX_PART_NAME} bytes"));
    }
    let name = identifier(report, part.slice(0, name));
    let template = scope.template(report, value, Destination::Name);
    name.zip(template)
}

/// Statistics over a range read the dates in one run of keys: the part has to be last, and a date.
fn check_date(report: &mut Report<'_>, part: Text<'_>, last: bool, value: &Template, scope: &Scope<'_>) {
    if !last {
        report.add_with_help(part.at, "the part `date` must be the last", "then a range of dates is one run of keys");
    }
    if scope.try_out(value).is_none_or(|text| parse_date(&text).is_none()) {
        let help = "make it of `job.date`, or of a parameter or a field whose type is `date`";
        report.add_with_help(part.at, "the part `date` must be a date such as 2024-05-01", help);
    }
}
