//! What a definition says of an upload that is loaded: its format, and where the cells of each column come from.

use crate::{Format, RecordPath, Schema, Table, definition::template::Template, table::reading::Reading};

/// How the records of an upload become rows of a table.
#[derive(Debug)]
pub(crate) struct Load {
    pub(crate) format: Format,
    /// Where the records are in JSON.
    pub(crate) records: RecordPath,
    /// The longest record, in bytes.
    pub(crate) max_record: usize,
    /// What a record must look like.
    pub(crate) schema: Schema,
    pub(crate) table: Table,
    /// Of each column of the table.
    pub(crate) cells: Vec<CellSource>,
}

/// Where the cells of a column come from.
#[derive(Debug)]
pub(crate) struct CellSource {
    pub(crate) origin: Origin,
    pub(crate) reading: Reading,
}

/// What a cell is made of.
#[derive(Debug)]
pub(crate) enum Origin {
    /// A field of the record, by its place in the schema.
    Field(usize),
    /// A template over `record`.
    Value(Box<Template>),
}

impl Load {
    /// The fields that templates read, by their place in the schema; `None` where there is no template.
    pub(crate) fn read_by_templates(&self) -> Option<Vec<usize>> {
        let templates = self.cells.iter().filter_map(|cell| match &cell.origin {
            Origin::Value(template) => Some(template.references()),
            Origin::Field(_) => None,
        });
        let references = templates.reduce(|mut all, mut more| {
            all.append(&mut more);
            all
        })?;
        let is_read = |name: &str| {
            references.iter().any(|reference| match reference.strip_prefix("record.") {
                Some(path) => path.split('.').next() == Some(name),
                // `record['a b']` names no field by a dot.
                None => true,
            })
        };
        let fields = self.schema.fields.iter().enumerate();
        Some(fields.filter(|(_, field)| is_read(&field.name)).map(|(at, _)| at).collect())
    }
}
