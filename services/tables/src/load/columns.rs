//! Makes batches of Arrow of a table's rows.

use std::sync::Arc;

use datafusion::arrow::{
    array::{
        ArrayBuilder, ArrayRef, BooleanBuilder, Date32Builder, Decimal128Builder, Float64Builder, Int64Builder,
        RecordBatch, StringBuilder, TimestampMicrosecondBuilder,
    },
    datatypes::{DataType, Field, Schema, SchemaRef},
    error::ArrowError,
};
use waybill_source::{Cell, Column, ColumnType, Table};

use crate::delta::schema;

/// The number of a row in its load, from 1, beside its cells. No definition can have a column of this name.
pub(super) const ROW: &str = "__waybill_row";
/// DataFusion's own size of a batch.
const MOST_ROWS: usize = 8_192;
/// Text in a batch. Rows of more than 128 bytes make smaller batches, and the sort holds some of them at once.
const MOST_TEXT: usize = 1024 * 1024;

/// The columns of a batch in the making.
pub(super) struct Columns {
    schema: SchemaRef,
    builders: Vec<Builder>,
    rows: Int64Builder,
    text: usize,
}

enum Builder {
    Boolean(BooleanBuilder),
    Integer(Int64Builder),
    Number(Float64Builder),
    Decimal(Decimal128Builder),
    String(StringBuilder),
    Date(Date32Builder),
    Timestamp(TimestampMicrosecondBuilder),
}

/// The schema of the batches of a load: the table's columns, and [`ROW`].
pub(super) fn with_row(columns: &Schema) -> SchemaRef {
    let row = Arc::new(Field::new(ROW, DataType::Int64, true));
    Arc::new(Schema::new(columns.fields().iter().cloned().chain([row]).collect::<Vec<_>>()))
}

impl Columns {
    pub(super) fn new(table: &Table) -> Self {
        let schema = with_row(&schema::arrow(table));
        let builders = table.columns.iter().map(|column| Builder::new(column.kind)).collect();
        Self { schema, builders, rows: Int64Builder::new(), text: 0 }
    }

    pub(super) fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    /// Adds a row that [`check`] has found good.
    pub(super) fn push(&mut self, row: i64, cells: Vec<Cell>) {
        for (builder, cell) in self.builders.iter_mut().zip(cells) {
            if let Cell::String(text) = &cell {
                self.text += text.len();
            }
            builder.push(cell);
        }
        self.rows.append_value(row);
    }

    pub(super) fn is_full(&self) -> bool {
        self.rows.len() >= MOST_ROWS || self.text >= MOST_TEXT
    }

    /// The batch, after which another begins; `None` where there are no rows.
    pub(super) fn take(&mut self) -> Result<Option<RecordBatch>, ArrowError> {
        if self.rows.is_empty() {
            return Ok(None);
        }
        self.text = 0;
        let mut arrays: Vec<ArrayRef> = self.builders.iter_mut().map(|builder| builder.array().finish()).collect();
        // A builder of decimals forgets its type.
        for (array, field) in arrays.iter_mut().zip(self.schema.fields()) {
            if array.data_type() != field.data_type() {
                *array = datafusion::arrow::compute::cast(array, field.data_type())?;
            }
        }
        arrays.push(Arc::new(self.rows.finish()));
        RecordBatch::try_new(Arc::clone(&self.schema), arrays).map(Some)
    }
}

impl Builder {
    fn new(kind: ColumnType) -> Self {
        let data_type = schema::data_type(kind);
        match kind {
            ColumnType::Boolean => Self::Boolean(BooleanBuilder::new()),
            ColumnType::Integer => Self::Integer(Int64Builder::new()),
            ColumnType::Number => Self::Number(Float64Builder::new()),
            ColumnType::Decimal(..) => Self::Decimal(Decimal128Builder::new().with_data_type(data_type)),
            ColumnType::String => Self::String(StringBuilder::new()),
            ColumnType::Date => Self::Date(Date32Builder::new()),
            ColumnType::Timestamp => Self::Timestamp(TimestampMicrosecondBuilder::new().with_data_type(data_type)),
        }
    }

    fn push(&mut self, cell: Cell) {
        match (self, cell) {
            (Self::Boolean(builder), Cell::Boolean(value)) => builder.append_value(value),
            (Self::Integer(builder), Cell::Integer(value)) => builder.append_value(value),
            (Self::Number(builder), Cell::Number(value)) => builder.append_value(value),
            (Self::Decimal(builder), Cell::Decimal(value)) => builder.append_value(value),
            (Self::String(builder), Cell::String(value)) => builder.append_value(value),
            (Self::Date(builder), Cell::Date(value)) => builder.append_value(value),
            (Self::Timestamp(builder), Cell::Timestamp(value)) => builder.append_value(value),
            (Self::Boolean(builder), _) => builder.append_null(),
            (Self::Integer(builder), _) => builder.append_null(),
            (Self::Number(builder), _) => builder.append_null(),
            (Self::Decimal(builder), _) => builder.append_null(),
            (Self::String(builder), _) => builder.append_null(),
            (Self::Date(builder), _) => builder.append_null(),
            (Self::Timestamp(builder), _) => builder.append_null(),
        }
    }

    fn array(&mut self) -> &mut dyn ArrayBuilder {
        match self {
            Self::Boolean(builder) => builder,
            Self::Integer(builder) => builder,
            Self::Number(builder) => builder,
            Self::Decimal(builder) => builder,
            Self::String(builder) => builder,
            Self::Date(builder) => builder,
            Self::Timestamp(builder) => builder,
        }
    }
}

/// Whether the table takes the row; else why not. Two rows without a key would both be added by every load.
pub(super) fn check(table: &Table, cells: &[Cell]) -> Result<(), String> {
    if cells.len() != table.columns.len() {
        return Err(format!("it has {} cells, and the table {} columns", cells.len(), table.columns.len()));
    }
    for (at, (column, cell)) in table.columns.iter().zip(cells).enumerate() {
        let is_key = table.key.contains(&at);
        match cell {
            Cell::Null if is_key => return Err(format!("{} is null, and it is of the key", column.name)),
            Cell::Null if column.is_required => return Err(format!("{} is null, and it is required", column.name)),
            // It equals nothing, itself included.
            Cell::Number(number) if is_key && number.is_nan() => return Err(format!("{} is no number", column.name)),
            cell if !fits(column, cell) => return Err(format!("{} is not of its column's type", column.name)),
            _ => {}
        }
    }
    Ok(())
}

fn fits(column: &Column, cell: &Cell) -> bool {
    match (column.kind, cell) {
        (_, Cell::Null)
        | (ColumnType::Boolean, Cell::Boolean(_))
        | (ColumnType::Integer, Cell::Integer(_))
        | (ColumnType::Number, Cell::Number(_))
        | (ColumnType::String, Cell::String(_))
        | (ColumnType::Date, Cell::Date(_))
        | (ColumnType::Timestamp, Cell::Timestamp(_)) => true,
        (ColumnType::Decimal(precision, _), Cell::Decimal(value)) => {
            10_u128.checked_pow(precision.into()).is_none_or(|limit| value.unsigned_abs() < limit)
        }
        _ => false,
    }
}
