//! The rows of an uploaded CSV, each sent by one request: checked while they come in, cut into batches, read, judged by
//! the answer, and their outcomes.
//!
//! Pure, and of constant memory: a row is at most 1 MiB, a batch at most 4 MiB.

mod check;
mod columns;
mod error;
mod judgement;
mod outcome;
mod row;
mod row_batch;
mod row_ends;
mod splitter;

pub use self::{
    check::{UploadCheck, UploadSummary},
    columns::Columns,
    error::UploadError,
    judgement::Judgement,
    outcome::{OutcomeError, RowOutcome, RowResult},
    row::Row,
    row_batch::RowBatch,
    splitter::UploadSplitter,
};
pub(crate) use self::{columns::ColumnsThenRows, row_ends::RowSpan};
use crate::{
    Constraints, Field, FieldPath, FieldType, Schema, TimeFormat,
    definition::parse::rows::{Kept, RowRules},
};

/// What a definition says of the rows of an upload.
#[derive(Debug)]
pub struct Upload {
    pub(crate) name: String,
    pub(crate) schema: Schema,
    pub(crate) rules: RowRules,
}

/// What becomes of a row whose answer was lost: nobody knows whether the API has it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OnUnknown {
    /// It is not sent again by itself. Its outcome says so.
    Report,
    /// It is sent again: the API may be asked twice.
    Resend,
}

impl Upload {
    /// What templates call a row.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// What a row must be.
    pub fn schema(&self) -> &Schema {
        &self.schema
    }

    /// What becomes of a row whose answer was lost.
    pub fn on_unknown(&self) -> OnUnknown {
        self.rules.on_unknown
    }

    /// What a row's outcome is: its line, how it ended and why, and those results whose type is known, because they
    /// are one column of the row. None of them is required: a bad row has none.
    pub(crate) fn outcome_schema(&self) -> Schema {
        let field = |name: &str, kind, format: &TimeFormat, constraints| Field {
            name: name.to_owned(),
            path: FieldPath::member(name),
            kind,
            format: format.clone(),
            constraints,
        };
        let required = Constraints { required: true, ..Constraints::default() };
        let results = RowResult::ALL.map(|result| result.as_str().to_owned()).to_vec();
        let one_of = Constraints { required: true, one_of: Some(results), ..Constraints::default() };
        let mut fields = vec![
            field("line", FieldType::Integer, &TimeFormat::Iso, required),
            field("result", FieldType::String, &TimeFormat::Iso, one_of),
            field("reason", FieldType::String, &TimeFormat::Iso, Constraints::default()),
        ];
        for (name, kept) in &self.rules.result {
            let Kept::OfRow(template) = kept else { continue };
            let expression = template.expression().unwrap_or_default();
            let Some(column) = expression.strip_prefix(&self.name).and_then(|rest| rest.strip_prefix('.')) else {
                continue;
            };
            if column == "line" {
                fields.push(field(name, FieldType::Integer, &TimeFormat::Iso, Constraints::default()));
            }
            if let Some(of) = self.schema.fields.iter().find(|field| field.name == column) {
                fields.push(field(name, of.kind, &of.format, Constraints::default()));
            }
        }
        Schema { fields, is_closed: false }
    }
}
