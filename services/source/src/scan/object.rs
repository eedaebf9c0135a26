//! One record: a JSON object, its members in any order. What is here runs once for every record of every file.

use crate::scan::{
    accumulator::Accumulator,
    compiled_schema::{CompiledSchema, Row},
    error::{Step, missing, wrong},
    kept::Kept,
    page::Capture,
    skip::Skip,
    token::{after_space, name},
};

/// Reads records: what one looks like, where its values lie, and where they are added up.
#[derive(Debug)]
pub(super) struct RecordSink {
    pub(super) shape: CompiledSchema,
    pub(super) row: Row,
    pub(super) tally: Accumulator,
    pub(super) kept: Kept,
    /// What else is wanted of a page.
    pub(super) capture: Option<Box<Capture>>,
    /// Which field came last behind each field, and at the end of the list the one that came first: writers
    /// keep to an order, so it is tried before any other.
    next: Vec<usize>,
}

impl RecordSink {
    pub(super) fn new(shape: CompiledSchema, tally: Accumulator) -> Self {
        let fields = shape.fields.len();
        let next = (1..fields + 1).chain([0]).collect();
        Self { row: Row::new(fields), shape, tally, kept: Kept::Nothing, capture: None, next }
    }

    /// Reads the record at `pos`, inside `depth` other containers and a member of this name, and says where it ends.
    #[inline(always)]
    pub(super) fn record(&mut self, bytes: &[u8], pos: usize, depth: usize, name: Option<&str>) -> Step<usize> {
        match &self.shape.trie {
            None => self.object(bytes, pos, depth),
            Some(_) => self.nested(bytes, pos, depth, name),
        }
    }

    /// Reads the record whose brace is at `pos`, inside `depth` other containers, and says where it ends. It is
    /// not added up yet: what stands behind it may still be wrong.
    pub(super) fn object(&mut self, bytes: &[u8], pos: usize, depth: usize) -> Step<usize> {
        self.row.clear();
        if !self.kept.is_nothing() {
            self.begin_row();
        }
        let mut last = self.shape.fields.len();
        let mut pos = after_space(bytes, pos + 1);
        if bytes.get(pos) != Some(&b'}') {
            loop {
                let (field, end) = self.key(bytes, pos, last)?;
                let colon = after_space(bytes, end);
                if bytes.get(colon) != Some(&b':') {
                    return Err(missing(bytes, colon, "`:`"));
                }
                let value = after_space(bytes, colon + 1);
                let end = match field {
                    Some(field) => {
                        if self.row.seen >> field & 1 == 1 {
                            return Err(wrong(pos, "every member once").in_field(field));
                        }
                        self.row.seen |= 1 << field;
                        last = field;
                        let end = self.shape.fields[field].read(bytes, value, field, &mut self.row)?;
                        if !self.kept.is_nothing() {
                            self.kept.keep(field, self.shape.fields[field].kind, bytes, value..end);
                        }
                        end
                    }
                    None => {
                        let mut end = value;
                        Skip::new(depth + 1).read(bytes, &mut end, bytes.len())?;
                        end
                    }
                };
                pos = after_space(bytes, end);
                match bytes.get(pos) {
                    Some(b',') => pos = after_space(bytes, pos + 1),
                    Some(b'}') => break,
                    _ => return Err(missing(bytes, pos, "`,` or `}`")),
                }
            }
        }
        self.check_required(pos)?;
        Ok(pos + 1)
    }

    #[cold]
    #[inline(never)]
    pub(super) fn begin_row(&mut self) {
        self.kept.begin(self.tally.records() as usize, self.shape.fields.len());
    }

    /// The record in the row was read to its end, which is at `pos`.
    #[inline(always)]
    pub(super) fn check_required(&self, pos: usize) -> Step<()> {
        let lacking = self.shape.required & !self.row.present;
        if lacking == 0 {
            return Ok(());
        }
        let field = lacking.trailing_zeros() as usize;
        Err(wrong(pos, self.shape.fields[field].expected.clone()).in_field(field).saying("nothing"))
    }

    /// Adds up the record in the row, which began at `pos`.
    #[inline(always)]
    pub(super) fn add(&mut self, pos: usize) -> Step<()> {
        self.tally.add(&self.row).map_err(|field| {
            let found = "a record too many for that";
            wrong(pos, "a sum that can be kept exactly").in_field(field).saying(found)
        })
    }

    /// The field whose name is the string at `pos`, and where the string ends. `last` is the field before it.
    #[inline(always)]
    fn key(&mut self, bytes: &[u8], pos: usize, last: usize) -> Step<(Option<usize>, usize)> {
        let likely = self.next[last];
        if let Some(column) = self.shape.fields.get(likely)
            && bytes[pos..].starts_with(&column.spelled)
        {
            return Ok((Some(likely), pos + column.spelled.len()));
        }
        self.any_key(bytes, pos, last)
    }

    #[inline(never)]
    fn any_key(&mut self, bytes: &[u8], pos: usize, last: usize) -> Step<(Option<usize>, usize)> {
        let (name, end) = name(bytes, pos)?;
        let field = self.shape.find(&name);
        if let Some(field) = field {
            self.next[last] = field;
        }
        Ok((field, end))
    }
}
