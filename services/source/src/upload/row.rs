//! The rows of a batch, each checked by itself.

use std::collections::BTreeMap;

use serde_json::Value as Json;

use crate::{Definition, RowBatch, scan::RowReader, upload::row_ends::RowEnds};

/// One row of an upload.
#[derive(Debug, Clone, PartialEq)]
pub struct Row {
    /// The line of the file that it begins on, from 1.
    pub line: u64,
    /// Its values that are good, by column: each as JSON has its type. An empty cell has none.
    pub values: BTreeMap<String, Json>,
    /// Why it cannot be sent: ``column `userId`: expected an integer, found "x"``.
    pub problem: Option<String>,
}

impl Definition {
    /// The rows of `batch`, whose bytes these are. Bytes of an oversized row are not looked at. Where there are fewer
    /// rows than the batch has, these are not its bytes.
    pub fn rows(&self, batch: &RowBatch, bytes: &[u8]) -> Vec<Row> {
        let Some(upload) = self.upload() else { return Vec::new() };
        if batch.is_oversized() {
            let problem = format!(
                "expected at most 1 MiB for one row, found {} bytes; a quote that is not closed makes one row of all that \
                 follows",
                batch.length
            );
            return vec![Row { line: batch.line, values: BTreeMap::new(), problem: Some(problem) }];
        }
        let columns = &batch.columns;
        let mut reader = RowReader::new(upload.schema());
        let mut rows = Vec::new();
        let mut ends = RowEnds::at(batch.offset, batch.line);
        let mut spans = Vec::new();
        ends.push(bytes, |span| spans.push(span));
        ends.finish(|span| spans.push(span));
        for span in spans {
            if span.is_blank && columns.count > 1 {
                continue;
            }
            let from = (span.offset - batch.offset) as usize;
            let text = &bytes[from..from + span.length as usize];
            let (values, problem) = reader.read(text, columns.count, &columns.of);
            rows.push(Row { line: span.line, values, problem });
        }
        rows
    }
}
