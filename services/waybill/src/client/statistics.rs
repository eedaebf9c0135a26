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

/// Why the numbers are not complete, a line for each reason.
pub(crate) fn lacks(answer: &Value) -> Vec<String> {
    let list = |name: &str| answer[name].as_array().map(Vec::as_slice).unwrap_or_default();
    let mut lines = Vec::new();
    if let [first, ..] = list("pending_jobs") {
        let jobs = list("pending_jobs").len();
        lines.push(format!(
            "not complete: {jobs} jobs of this range have not ended, such as {}",
            first.as_str().unwrap_or_default()
        ));
    } else if answer["more_pending_jobs"] == true {
        lines.push("perhaps not complete: not every job was looked at yet; ask again".to_owned());
    }
    lines.extend(list("not_added").iter().map(|left_out| {
        let text = |name: &str| left_out[name].as_str().unwrap_or_default();
        format!(
            "not complete: {} objects are left out, such as {}: {}",
            left_out["objects"],
            text("example"),
            text("reason")
        )
    }));
    lines
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

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_the_numbers_lack_is_said() {
        assert_eq!(
            lacks(&json!({"complete": true, "pending_jobs": [], "more_pending_jobs": false, "not_added": []})),
            [""; 0]
        );
        let left_out = json!([{"reason": "run its job again", "objects": 3, "example": "data/x"}]);
        insta::assert_snapshot!(lacks(&json!({"pending_jobs": ["a", "b"], "not_added": left_out})).join("\n"), @r"
        not complete: 2 jobs of this range have not ended, such as a
        not complete: 3 objects are left out, such as data/x: run its job again
        ");
    }
}
