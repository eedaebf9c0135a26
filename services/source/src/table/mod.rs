//! Tables: what a source keeps of its records, by key.

mod csv;
mod lines;
pub(crate) mod load;
pub(crate) mod reading;
mod record;
mod rows;
mod time;

pub use rows::{Row as TableRow, RowReader, Unreadable};

/// What `[table]` says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Table {
    /// Its name in SQL, and of its folder in tables/.
    pub name: String,
    /// What becomes of a row whose key is there already.
    pub mode: Mode,
    /// In order.
    pub columns: Vec<Column>,
    /// The columns, by number, that identify a row: at least one with [`Mode::Upsert`], none with [`Mode::Append`].
    pub key: Vec<usize>,
}

/// What becomes of a row whose key is there already.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// It takes the other's place.
    Upsert,
    /// There are no keys: every row is added.
    Append,
}

/// A column.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Column {
    /// Its name in SQL.
    pub name: String,
    /// What its cells are.
    pub kind: ColumnType,
    /// Whether no cell may be null. Columns of the key are required.
    pub is_required: bool,
}

/// What the cells of a column are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ColumnType {
    /// `true` or `false`.
    Boolean,
    /// 64 bits.
    Integer,
    /// IEEE 754, 64 bits.
    Number,
    /// So many digits, of which so many after the point: sums of it are exact.
    Decimal(u8, i8),
    /// Text.
    String,
    /// A day.
    Date,
    /// Microseconds in UTC.
    Timestamp,
}

/// A cell, of its column's type.
#[derive(Debug, Clone, PartialEq)]
pub enum Cell {
    /// Nothing.
    Null,
    /// Of a [`ColumnType::Boolean`].
    Boolean(bool),
    /// Of a [`ColumnType::Integer`].
    Integer(i64),
    /// Of a [`ColumnType::Number`].
    Number(f64),
    /// Of a [`ColumnType::Decimal`], without its point.
    Decimal(i128),
    /// Of a [`ColumnType::String`].
    String(String),
    /// Of a [`ColumnType::Date`]: days since 1970.
    Date(i32),
    /// Of a [`ColumnType::Timestamp`]: microseconds since 1970.
    Timestamp(i64),
}
