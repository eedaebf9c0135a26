//! What is kept of the values of records, beside what is added up.

use std::ops::Range;

use serde_json::Value as Json;

use crate::{FieldType, scan::value::json_value};

/// The values of records, one row each, by field.
pub(crate) type Values = Vec<Vec<Option<Json>>>;

/// What is kept of values.
#[derive(Debug, Default)]
pub(super) enum Kept {
    #[default]
    Nothing,
    /// The values of all records.
    Values(Values),
    /// Where the values of the last record stand, by field.
    Spans(Vec<Option<Range<usize>>>),
}

impl Kept {
    #[inline(always)]
    pub(super) fn is_nothing(&self) -> bool {
        matches!(self, Self::Nothing)
    }

    /// A record with so many fields begins, behind so many that were read.
    #[cold]
    #[inline(never)]
    pub(super) fn begin(&mut self, records: usize, fields: usize) {
        match self {
            Self::Nothing => {}
            Self::Values(rows) => {
                // What was read of the record before it broke off is read again.
                rows.truncate(records);
                rows.push(vec![None; fields]);
            }
            Self::Spans(spans) => {
                spans.clear();
                spans.resize(fields, None);
            }
        }
    }

    /// Keeps a field's JSON value, which stands at `span`.
    #[cold]
    #[inline(never)]
    pub(super) fn keep(&mut self, field: usize, kind: FieldType, bytes: &[u8], span: Range<usize>) {
        match self {
            Self::Nothing => {}
            Self::Values(_) => {
                if let Some(row) = self.row() {
                    row[field] = json_value(kind, &bytes[span]);
                }
            }
            Self::Spans(spans) => spans[field] = Some(span),
        }
    }

    /// The values of the record being read, where values are kept.
    pub(super) fn row(&mut self) -> Option<&mut Vec<Option<Json>>> {
        match self {
            Self::Values(rows) => rows.last_mut(),
            Self::Nothing | Self::Spans(_) => None,
        }
    }
}
