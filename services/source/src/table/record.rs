//! One record becomes the cells of a row.

use std::sync::Arc;

use minijinja::{Value, value::Serde};
use serde_json::Value as Json;

use crate::{
    Cell, Columns, FieldType,
    definition::template::Template,
    scan::{FieldReader, Given},
    table::load::{Load, Origin},
};

/// Makes cells of records.
#[derive(Debug)]
pub(super) struct RecordReader {
    load: Arc<Load>,
    fields: FieldReader,
    /// The fields that templates read, where there are templates.
    shown: Option<Vec<usize>>,
}

impl RecordReader {
    pub(super) fn new(load: Arc<Load>) -> Self {
        Self { fields: FieldReader::new(&load.schema), shown: load.read_by_templates(), load }
    }

    /// The cells of a row of CSV.
    pub(super) fn row(&mut self, row: &[u8], columns: &Columns) -> Result<Vec<Cell>, String> {
        let given = self.fields.row(row, columns.count, &columns.of)?;
        self.cells(&given)
    }

    /// The cells of a JSON record, which is the whole of a line; `None` where the line is blank.
    pub(super) fn line(&mut self, line: &[u8]) -> Option<Result<Vec<Cell>, String>> {
        let given = self.fields.line(line).transpose()?;
        Some(given.and_then(|given| self.cells(&given)))
    }

    fn cells(&self, given: &[Given<'_>]) -> Result<Vec<Cell>, String> {
        let scope = self.shown.as_ref().map_or(Ok(Value::UNDEFINED), |shown| self.scope(shown, given))?;
        let mut cells = Vec::with_capacity(self.load.cells.len());
        for (column, source) in self.load.table.columns.iter().zip(&self.load.cells) {
            let cell = match &source.origin {
                Origin::Field(field) => source.reading.cell(&given[*field]),
                Origin::Value(template) => made(template, &scope).and_then(|value| source.reading.cell(&value)),
            };
            cells.push(cell.map_err(|reason| format!("column `{}`: {reason}", column.name))?);
        }
        Ok(cells)
    }

    /// What templates see.
    fn scope(&self, shown: &[usize], given: &[Given<'_>]) -> Result<Value, String> {
        let fields = shown.iter().map(|at| {
            let field = &self.load.schema.fields[*at];
            let value = seen(field.kind, &given[*at]).map_err(|error| format!("field `{}`: {error}", field.name))?;
            Ok((field.name.as_str(), value))
        });
        let record: Vec<_> = fields.collect::<Result<_, String>>()?;
        Ok(Value::from_pairs([("record", Value::from_pairs(record))]))
    }
}

/// A field's value as templates see it. A number that is not an integer is the nearest double.
fn seen(kind: FieldType, given: &Given<'_>) -> Result<Value, String> {
    Ok(match given {
        Given::Null => Value::from(()),
        Given::Truth(truth) => (*truth).into(),
        Given::Text(text) => (&**text).into(),
        Given::Number(text) => match text.parse::<i64>() {
            Ok(number) => number.into(),
            Err(_) => text.parse::<f64>().map_or_else(|_| (&**text).into(), |number| integer_or(kind, number)),
        },
        Given::Json(text) => {
            let json: Json = serde_json::from_str(text).map_err(|error| error.to_string())?;
            Value::from(Serde(json))
        }
    })
}

/// An integer may be written as `7.0`.
fn integer_or(kind: FieldType, number: f64) -> Value {
    if kind == FieldType::Integer { Value::from(number as i64) } else { number.into() }
}

/// What a template makes of a record. An empty text is no value.
fn made(template: &Template, scope: &Value) -> Result<Given<'static>, String> {
    let value = template.cell(scope).map_err(|error| format!("its `value` cannot be made: {error}"))?;
    Ok(match value {
        Json::Null => Given::Null,
        Json::Bool(truth) => Given::Truth(truth),
        Json::Number(number) => Given::Number(number.to_string().into()),
        Json::String(text) if text.is_empty() => Given::Null,
        Json::String(text) => Given::Text(text.into()),
        composite @ (Json::Array(_) | Json::Object(_)) => Given::Json(composite.to_string().into()),
    })
}
