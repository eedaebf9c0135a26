//! A batch of rows: the item of one task, and where its bytes lie in the upload.

use std::collections::BTreeMap;

use serde_json::Value as Json;

use crate::{Columns, Definition, Item, ItemError, scan::UNIT_BYTES};

/// Rows that follow each other in an upload: what one task sends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RowBatch {
    /// Its first byte in the file.
    pub offset: u64,
    /// In bytes: at most 4 MiB, unless it is one row of more than 1 MiB.
    pub length: u64,
    /// The line on which its first row begins, from 1.
    pub line: u64,
    /// The number of its first row, from 1.
    pub first_row: u64,
    /// How many rows it has.
    pub rows: u64,
    /// Which column each field is.
    pub columns: Columns,
}

impl RowBatch {
    /// Whether it is one row that is too long to be read. It may be gigabytes: its bytes are not needed.
    pub fn is_oversized(&self) -> bool {
        self.rows == 1 && self.length > UNIT_BYTES as u64
    }

    /// As an item of `definition`, whose items are an upload: `rows-000000001-000000200`.
    pub fn into_item(self, definition: &Definition) -> Item {
        let key = format!("rows-{:09}-{:09}", self.first_row, self.first_row + self.rows.saturating_sub(1));
        let values: BTreeMap<String, Json> = [
            ("offset", self.offset.into()),
            ("length", self.length.into()),
            ("line", self.line.into()),
            ("first_row", self.first_row.into()),
            ("rows", self.rows.into()),
            ("columns", self.columns.to_string().into()),
        ]
        .map(|(name, value): (&str, Json)| (name.to_owned(), value))
        .into();
        Item { key, values: [(definition.level_name(0).to_owned(), values)].into(), problem: None }
    }

    /// Back from an item that [`Self::into_item`] made for the same `[record]`.
    pub fn from_item(definition: &Definition, item: &Item) -> Result<Self, ItemError> {
        let wrong = |what: &str| ItemError(format!("the item `{}` is no batch of rows: {what}", item.key));
        let upload = definition.upload().ok_or_else(|| wrong("the items of this source are not an upload"))?;
        let values = item.values.get(upload.name()).ok_or_else(|| wrong("it has no values of a row"))?;
        let number = |name: &str| {
            values.get(name).and_then(Json::as_u64).ok_or_else(|| wrong(&format!("`{name}` is not a whole number")))
        };
        let columns = values.get("columns").and_then(Json::as_str).and_then(|text| text.parse::<Columns>().ok());
        let columns = columns.filter(|columns| columns.of.len() == upload.schema().fields.len());
        Ok(Self {
            offset: number("offset")?,
            length: number("length")?,
            line: number("line")?,
            first_row: number("first_row")?,
            rows: number("rows")?,
            columns: columns.ok_or_else(|| wrong("`columns` are not those of [record]"))?,
        })
    }
}
