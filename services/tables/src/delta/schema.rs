//! The columns of a table in Arrow's types, and how they may change from one load to the next.

use std::sync::Arc;

use datafusion::arrow::datatypes::{DataType, Field, Schema, SchemaRef, TimeUnit};
use waybill_source::{ColumnType, Table};

use crate::errors::Refused;

/// The columns that the definition names. All of them may be null: a column that is required today may have been added
/// to rows that lack it. What is required is checked row by row.
pub(crate) fn arrow(table: &Table) -> SchemaRef {
    let fields = table.columns.iter().map(|column| Field::new(&column.name, data_type(column.kind), true));
    Arc::new(Schema::new(fields.collect::<Vec<_>>()))
}

pub(crate) fn data_type(kind: ColumnType) -> DataType {
    match kind {
        ColumnType::Boolean => DataType::Boolean,
        ColumnType::Integer => DataType::Int64,
        ColumnType::Number => DataType::Float64,
        ColumnType::Decimal(precision, scale) => DataType::Decimal128(precision, scale),
        ColumnType::String => DataType::Utf8,
        ColumnType::Date => DataType::Date32,
        ColumnType::Timestamp => DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into())),
    }
}

/// The table's columns, and behind them those that the definition has and the table lacks. A column that the definition
/// lacks stays. Types do not change, not even from integer to number: Delta would have to widen every file, and many
/// engines do not read tables that were widened.
pub(crate) fn merged(there: &Schema, table: &Table) -> Result<SchemaRef, Refused> {
    let mut fields: Vec<_> = there.fields().iter().cloned().collect();
    for field in arrow(table).fields() {
        match fields.iter().find(|there| there.name().eq_ignore_ascii_case(field.name())) {
            None => fields.push(Arc::clone(field)),
            Some(there) if there.name() != field.name() => {
                let reason = format!("its column {} differs from {} in case only", there.name(), field.name());
                return Err(Refused::Foreign { table: table.name.clone(), reason });
            }
            Some(there) if there.data_type() != field.data_type() => {
                return Err(Refused::TypeChanged {
                    table: table.name.clone(),
                    column: field.name().clone(),
                    there: spelled(there.data_type()),
                    here: spelled(field.data_type()),
                });
            }
            Some(_) => {}
        }
    }
    Ok(Arc::new(Schema::new(fields)))
}

/// A type as definitions spell it, or as Arrow does.
fn spelled(kind: &DataType) -> String {
    match kind {
        DataType::Boolean => "boolean".to_owned(),
        DataType::Int64 => "integer".to_owned(),
        DataType::Float64 => "number".to_owned(),
        DataType::Decimal128(precision, scale) => format!("decimal({precision}, {scale})"),
        DataType::Utf8 => "string".to_owned(),
        DataType::Date32 => "date".to_owned(),
        DataType::Timestamp(TimeUnit::Microsecond, Some(_)) => "timestamp".to_owned(),
        other => other.to_string(),
    }
}
