//! Reads an upstream's listing into item drafts. Each element is checked field by field, as the records of a file are.
//!
//! Only the fields that the definition names are kept, so a plan does not grow with what else is listed.

use crate::{
    Constraints, Field, FieldPath, Format, ItemDraft, Page, PageParts, RecordPath, Rejection, Scanner, Schema,
    TimeFormat, definition::model::Level,
};

/// The drafts of `level` in `body`, a JSON document with the elements at the level's path, and what else is wanted of
/// the page.
pub(crate) fn expand(
    level: &Level,
    records: &RecordPath,
    parent: &ItemDraft,
    body: &[u8],
    parts: PageParts,
) -> Result<(Vec<ItemDraft>, Page), Rejection> {
    let (name, fields) = (&level.set.name, &level.set.fields);
    let constraints = Constraints { required: true, ..Constraints::default() };
    let field = |((name, kind), path): (&(String, _), &FieldPath)| Field {
        name: name.clone(),
        path: path.clone(),
        kind: *kind,
        format: TimeFormat::Iso,
        constraints: constraints.clone(),
    };
    let fields_of_element = fields.iter().zip(&level.set.paths).map(field).collect();
    let schema = Schema { fields: fields_of_element, is_closed: false };
    let (rows, page) = Scanner::values(Format::Json, records, &schema, body, parts)?;
    let draft = |row: Vec<Option<serde_json::Value>>| {
        let values = fields.iter().zip(row).filter_map(|((field, _), value)| Some((field.clone(), value?)));
        let mut draft = parent.clone();
        draft.values.insert(name.clone(), values.collect());
        draft
    };
    Ok((rows.into_iter().map(draft).collect(), page))
}
