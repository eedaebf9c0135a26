//! A table for people on a terminal.

use arrow::{
    array::RecordBatch,
    util::display::{ArrayFormatter, FormatOptions},
};
use comfy_table::{CellAlignment, Table, presets::NOTHING};
use futures::StreamExt;

use crate::sql::{Answer, QueryError};

/// Rows that a table shows: it is in memory whole, since its columns are as wide as their widest value.
pub const MAX_SHOWN: usize = 1_000;

/// Characters of a value that are shown.
const MAX_WIDTH: usize = 200;

/// The answer's first rows as a table, and a last line that says how many there are. The rest is not computed.
///
/// # Errors
/// The query failed on the way.
pub async fn text_table(mut answer: Answer) -> Result<String, QueryError> {
    let schema = answer.schema();
    let mut table = Table::new();
    table.load_style(NOTHING).set_header(schema.fields().iter().map(|field| field.name()));
    for (column, field) in table.column_iter_mut().zip(schema.fields()) {
        if field.data_type().is_numeric() {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    let mut shown = 0;
    while let Some(batch) = answer.next().await.transpose()? {
        let rows = rows(&batch).map_err(|error| QueryError::Failed(error.to_string()))?;
        for row in rows {
            if shown == MAX_SHOWN {
                return Ok(format!("{table}\n({MAX_SHOWN} rows, and there are more)\n"));
            }
            shown += 1;
            table.add_row(row);
        }
    }
    let rows = if shown == 1 { "row" } else { "rows" };
    Ok(format!("{table}\n({shown} {rows})\n"))
}

fn rows(batch: &RecordBatch) -> Result<Vec<Vec<String>>, arrow::error::ArrowError> {
    let options = FormatOptions::new().with_null("null");
    let columns = batch.columns().iter().map(|column| ArrayFormatter::try_new(column, &options));
    let columns = columns.collect::<Result<Vec<_>, _>>()?;
    Ok((0..batch.num_rows())
        .map(|row| columns.iter().map(|column| printable(&column.value(row).to_string())).collect())
        .collect())
}

/// Without what moves a terminal's cursor, or is longer than anybody reads.
fn printable(value: &str) -> String {
    let mut characters = value.chars();
    let shown: String = characters
        .by_ref()
        .take(MAX_WIDTH)
        .map(|character| if character.is_control() { ' ' } else { character })
        .collect();
    if characters.next().is_some() { shown + "…" } else { shown }
}
