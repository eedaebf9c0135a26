//! Statistics as a table, JSON or CSV.

use std::collections::BTreeSet;

use comfy_table::{CellAlignment, Table, presets::NOTHING};
use serde_json::Value;

use crate::cli::Format;

/// The answer of `/v1/stats/{source}`, spelled as asked.
pub(crate) fn render(answer: &Value, format: Format) -> anyhow::Result<String> {
    if matches!(format, Format::Json) {
        return Ok(serde_json::to_string_pretty(answer)? + "\n");
    }
    let (header, rows) = rows(answer);
    if matches!(format, Format::Csv) {
        let mut csv = csv::Writer::from_writer(Vec::new());
        csv.write_record(&header)?;
        for row in rows {
            csv.write_record(row)?;
        }
        return Ok(String::from_utf8(csv.into_inner()?)?);
    }
    if rows.is_empty() {
        return Ok("no data in this range\n".to_owned());
    }
    Ok(format!("{}\n", aligned(&header, rows)))
}

/// The statistics of a country and day, a line each, as the demo shows them.
pub(crate) fn country_table(answer: &Value) -> String {
    let (header, rows) = rows(answer);
    aligned(&header, rows).to_string()
}

fn aligned(header: &[String], rows: Vec<Vec<String>>) -> Table {
    let mut table = Table::new();
    let numbers = rows.first().map(|row| row.iter().map(|cell| cell.parse::<f64>().is_ok()).collect::<Vec<_>>());
    table.load_style(NOTHING).set_header(header.iter().map(|name| name.to_uppercase())).add_rows(rows);
    for (column, is_number) in table.column_iter_mut().zip(numbers.unwrap_or_default()) {
        if is_number {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    table
}

/// The partition's parts first, then the statistics.
fn rows(answer: &Value) -> (Vec<String>, Vec<Vec<String>>) {
    let groups = answer["groups"].as_array().map(Vec::as_slice).unwrap_or_default();
    let names = |of: fn(&Value) -> &Value| -> Vec<String> {
        let names: BTreeSet<_> =
            groups.iter().filter_map(|group| of(group).as_object()).flat_map(|map| map.keys()).collect();
        names.into_iter().filter(|name| *name != "statistics").cloned().collect()
    };
    let (parts, statistics) = (names(|group| group), names(|group| &group["statistics"]));
    let plain = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    let row = |group: &Value| {
        let parts = parts.iter().map(|name| plain(&group[name]));
        parts.chain(statistics.iter().map(|name| plain(&group["statistics"][name]))).collect()
    };
    let rows = groups.iter().map(row).collect();
    (parts.iter().chain(&statistics).cloned().collect(), rows)
}
