//! One JSON object a line. Blank lines are no records, and the last line may lack its end; a file without any
//! line is one without any record.

use memchr::memchr;

use crate::scan::{
    error::{Found, Step, ended, wrong},
    object::RecordSink,
    token::after_space,
};

/// Reads all the lines that are whole. `pos` moves from one to the next.
pub(super) fn advance(bytes: &[u8], pos: &mut usize, last: bool, limit: usize, sheet: &mut RecordSink) -> Step<()> {
    while *pos < bytes.len() {
        let unit = &bytes[*pos..bytes.len().min(pos.saturating_add(limit))];
        let (end, next) = match memchr(b'\n', unit) {
            Some(length) => (*pos + length, *pos + length + 1),
            None if last && unit.len() < limit => (bytes.len(), bytes.len()),
            None => return Err(ended("the end of a line")),
        };
        line(&bytes[..end], *pos, sheet).map_err(|stop| match stop.found {
            Found::End if end < next => stop.at(end).saying("end of line"),
            _ => stop,
        })?;
        *pos = next;
    }
    Ok(())
}

/// Reads the line from `pos` to the end of `bytes`.
fn line(bytes: &[u8], pos: usize, sheet: &mut RecordSink) -> Step<()> {
    let start = after_space(bytes, pos);
    match bytes.get(start) {
        None => return Ok(()),
        Some(b'{') => {}
        Some(b'[') if sheet.shape.begins_with(b'[') => {}
        Some(_) => return Err(wrong(start, "an object")),
    }
    let end = sheet.record(bytes, start, 0, None)?;
    let rest = after_space(bytes, end);
    if rest < bytes.len() {
        return Err(wrong(rest, "one object a line"));
    }
    sheet.add(start)?;
    if let Some(capture) = &mut sheet.capture {
        capture.json(&bytes[start..end], None);
    }
    Ok(())
}
