//! `rows`: records that are arrays, the first of which names the columns. A row may lack its last columns.

use crate::scan::{
    csv::columns_of,
    error::{Step, wrong},
    object::RecordSink,
    skip::Skip,
    trie::Trie,
};

/// Reads the header at `pos`, inside `depth` containers, and says where it ends.
#[cold]
pub(super) fn header(bytes: &[u8], pos: usize, depth: usize, sheet: &mut RecordSink) -> Step<usize> {
    let mut end = pos;
    Skip::new(depth).read(bytes, &mut end, bytes.len())?;
    let names: Vec<String> =
        serde_json::from_slice(&bytes[pos..end]).map_err(|_| wrong(pos, "the names of the columns, in quotes"))?;
    let names: Vec<_> = names.iter().map(|name| (pos, name.as_bytes().into())).collect();
    let columns = columns_of(&names, &sheet.shape)?;
    sheet.shape.trie = Some(Trie::of_columns(&columns));
    if let Some(capture) = &mut sheet.capture {
        capture.json_header(&bytes[pos..end]);
    }
    Ok(end)
}
