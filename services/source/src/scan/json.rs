//! One JSON document: along the path to the records, through them, and on to the last byte.
//!
//! The members before the first `[*]` of the path must be there. Behind it, an element that lacks a member of the
//! path, or has null there, has no records.

use crate::{
    path::RecordStep,
    scan::{
        body::Body,
        error::{Step, ended, missing, wrong},
        object::RecordSink,
        rows,
        skip::Skip,
        token::{after_space, name},
    },
};

/// Where in the document we are.
#[derive(Debug)]
pub(super) struct Reader {
    /// The way to the records.
    steps: Vec<RecordStep>,
    /// The containers that are open around the place: one for each step that was taken.
    open: Vec<Container>,
    /// Whether the innermost of them is an object.
    in_object: bool,
    /// Whether it holds the records, or the document itself is one.
    at_records: bool,
    place: Section,
    /// Whether the first record is the header of the others.
    header: bool,
    /// The name of the member that the record is, where it is wanted.
    name: Option<String>,
    pub(super) body: Option<Body>,
}

#[derive(Debug)]
struct Container {
    is_object: bool,
    /// Whether the member of the step was met.
    met: bool,
    /// Whether something of it is in the body.
    kept: bool,
}

#[derive(Debug)]
enum Section {
    /// Before a value on the way, or a record.
    Value,
    /// Behind a `[`.
    ValueOrEnd,
    /// Behind a `{`.
    NameOrEnd,
    Name,
    /// In a value that does not lead to records.
    Aside(Skip),
    AfterValue,
    End,
}

impl Reader {
    pub(super) fn new(steps: Vec<RecordStep>, header: bool) -> Self {
        Self {
            at_records: steps.is_empty(),
            steps,
            open: Vec::new(),
            in_object: false,
            place: Section::Value,
            header,
            name: None,
            body: None,
        }
    }

    /// Reads all the units that are whole, each of at most `limit` bytes. `pos` moves from one to the next.
    pub(super) fn advance(&mut self, bytes: &[u8], pos: &mut usize, limit: usize, sheet: &mut RecordSink) -> Step<()> {
        loop {
            if let Section::Aside(skip) = &mut self.place {
                let from = *pos;
                let read = skip.read(bytes, pos, limit);
                if let Some(body) = &mut self.body {
                    body.take(&bytes[from..*pos], from)?;
                }
                read?;
                self.after_value();
            }
            *pos = after_space(bytes, *pos);
            let Some(byte) = bytes.get(*pos) else {
                return if matches!(self.place, Section::End) { Ok(()) } else { Err(ended(self.expected(sheet))) };
            };
            let unit = &bytes[..bytes.len().min(pos.saturating_add(limit))];
            match (&self.place, byte) {
                (Section::Value | Section::ValueOrEnd, byte) if self.at_records && sheet.shape.begins_with(*byte) => {
                    *pos = self.record(unit, *pos, sheet)?;
                    self.after_value();
                }
                (Section::NameOrEnd | Section::Name, b'"') => self.member(unit, pos, sheet)?,
                (Section::AfterValue, b',') => {
                    self.place = if self.in_object { Section::Name } else { Section::Value };
                    *pos += 1;
                }
                (Section::AfterValue | Section::NameOrEnd, b'}') if self.in_object => self.close(pos)?,
                (Section::AfterValue | Section::ValueOrEnd, b']') if !self.in_object => self.close(pos)?,
                (Section::Value | Section::ValueOrEnd, byte) => self.step(*byte, unit, pos, sheet)?,
                _ => return Err(wrong(*pos, self.expected(sheet))),
            }
        }
    }

    /// Reads the record at `pos`, and says where it ends.
    #[inline(always)]
    fn record(&mut self, unit: &[u8], pos: usize, sheet: &mut RecordSink) -> Step<usize> {
        let depth = self.open.len();
        if self.header {
            let end = rows::header(unit, pos, depth, sheet)?;
            self.header = false;
            return Ok(end);
        }
        // A name is of the record before it where this one is in an array.
        let name = self.name.as_deref().filter(|_| self.in_object);
        let end = sheet.record(unit, pos, depth, name)?;
        sheet.add(pos)?;
        if let Some(capture) = &mut sheet.capture {
            capture.json(&unit[pos..end], name);
        }
        Ok(end)
    }

    /// Opens the container of the next step at `pos`.
    #[inline(never)]
    fn step(&mut self, byte: u8, unit: &[u8], pos: &mut usize, sheet: &RecordSink) -> Step<()> {
        let level = self.open.len();
        let each = self.steps.get(level) == Some(&RecordStep::Each);
        match byte {
            b'n' if level < self.steps.len() && self.is_lenient(level) => {
                self.keep_comma(*pos)?;
                self.place = Section::Aside(Skip::new(level));
                return Ok(());
            }
            b'[' if each => {}
            b'{' if each => self.check_first_member(unit, *pos, sheet)?,
            b'{' if level < self.steps.len() => {}
            _ => return Err(wrong(*pos, self.expected(sheet))),
        }
        self.keep_comma(*pos)?;
        self.keep(&unit[*pos..=*pos], *pos)?;
        let is_object = byte == b'{';
        self.open.push(Container { is_object, met: false, kept: false });
        self.moved();
        self.place = if is_object { Section::NameOrEnd } else { Section::ValueOrEnd };
        *pos += 1;
        Ok(())
    }

    /// Refuses an object in the place of an array, such as one that tells of an error: its members can be no records.
    fn check_first_member(&self, unit: &[u8], pos: usize, sheet: &RecordSink) -> Step<()> {
        let refused = || Err(wrong(pos, self.expected(sheet)));
        let first = after_space(unit, pos + 1);
        match unit.get(first) {
            // An empty answer is no list, but a list in it may be empty.
            Some(b'}') if self.open.is_empty() => return refused(),
            Some(b'"') => {}
            Some(_) => return Ok(()),
            None => return Err(ended(self.expected(sheet))),
        }
        let (_, end) = name(unit, first)?;
        let colon = after_space(unit, end);
        let value = after_space(unit, colon + 1);
        match (unit.get(colon), unit.get(value)) {
            (None, _) | (Some(b':'), None) => Err(ended(self.expected(sheet))),
            (Some(b':'), Some(byte)) if !self.can_begin(self.open.len() + 1, *byte, sheet) => refused(),
            _ => Ok(()),
        }
    }

    /// Whether what the steps below `level` want can begin with this byte.
    fn can_begin(&self, level: usize, byte: u8, sheet: &RecordSink) -> bool {
        match self.steps.get(level) {
            None => sheet.shape.begins_with(byte),
            Some(_) if byte == b'n' => self.is_lenient(level),
            Some(RecordStep::Member(_)) => byte == b'{',
            Some(RecordStep::Each) => matches!(byte, b'[' | b'{'),
        }
    }

    /// Whether a value at this level may lack what the steps below want.
    fn is_lenient(&self, level: usize) -> bool {
        self.steps[..level].contains(&RecordStep::Each)
    }

    /// A container was opened or closed.
    fn moved(&mut self) {
        self.in_object = self.open.last().is_some_and(|container| container.is_object);
        self.at_records = self.open.len() == self.steps.len();
    }

    fn after_value(&mut self) {
        self.place = if self.open.is_empty() { Section::End } else { Section::AfterValue };
    }

    /// Closes the innermost container, whose end is at `pos`.
    #[inline(never)]
    fn close(&mut self, pos: &mut usize) -> Step<()> {
        let Some(container) = self.open.last() else { return Ok(()) };
        let (level, is_object) = (self.open.len() - 1, container.is_object);
        if let (RecordStep::Member(member), false) = (&self.steps[level], container.met)
            && !self.is_lenient(level)
        {
            return Err(wrong(*pos, format!("the member `{member}`")));
        }
        self.keep(if is_object { b"}" } else { b"]" }, *pos)?;
        self.open.pop();
        self.moved();
        self.after_value();
        *pos += 1;
        Ok(())
    }

    /// Reads a name and its colon.
    #[inline(never)]
    fn member(&mut self, unit: &[u8], pos: &mut usize, sheet: &RecordSink) -> Step<()> {
        let (name, end) = name(unit, *pos)?;
        let colon = after_space(unit, end);
        if unit.get(colon) != Some(&b':') {
            return Err(missing(unit, colon, "`:`"));
        }
        let level = self.open.len() - 1;
        let leads = match &self.steps[level] {
            RecordStep::Each => true,
            RecordStep::Member(member) => *name == *member.as_bytes(),
        };
        if let (RecordStep::Member(member), true) = (&self.steps[level], leads) {
            let met = &mut self.open[level].met;
            if *met {
                return Err(wrong(*pos, format!("the member `{member}` once")));
            }
            *met = true;
        }
        let is_record = leads && level + 1 == self.steps.len();
        if !is_record {
            self.keep_comma(*pos)?;
            self.keep(&unit[*pos..end], *pos)?;
            self.keep(b":", colon)?;
        } else if sheet.shape.wants_name() && self.steps[level] == RecordStep::Each {
            self.name = Some(String::from_utf8_lossy(&name).into_owned());
        }
        self.place = if leads { Section::Value } else { Section::Aside(Skip::new(self.open.len())) };
        *pos = colon + 1;
        Ok(())
    }

    /// Takes bytes that were read at `pos` into the body.
    fn keep(&mut self, bytes: &[u8], pos: usize) -> Step<()> {
        self.body.as_mut().map_or(Ok(()), |body| body.take(bytes, pos))
    }

    /// Takes the comma before what is next in the innermost container, where one is due.
    fn keep_comma(&mut self, pos: usize) -> Step<()> {
        let in_member = matches!(self.place, Section::Value) && self.in_object;
        match self.open.last_mut() {
            Some(container) if !in_member => match std::mem::replace(&mut container.kept, true) {
                true => self.keep(b",", pos),
                false => Ok(()),
            },
            _ => Ok(()),
        }
    }

    fn expected(&self, sheet: &RecordSink) -> String {
        match self.place {
            Section::Value => self.expected_value(sheet),
            Section::ValueOrEnd => format!("{} or `]`", self.expected_value(sheet)),
            Section::NameOrEnd => "a name in quotes or `}`".into(),
            Section::Name => "a name in quotes".into(),
            Section::Aside(_) => "a value".into(),
            Section::AfterValue if self.in_object => "`,` or `}`".into(),
            Section::AfterValue => "`,` or `]`".into(),
            Section::End => "nothing more".into(),
        }
    }

    fn expected_value(&self, sheet: &RecordSink) -> String {
        match self.steps.get(self.open.len()..) {
            Some([RecordStep::Member(member), ..]) => format!("an object with the member `{member}`"),
            Some([RecordStep::Each]) => "an array of records".into(),
            Some([RecordStep::Each, ..]) => "an array".into(),
            _ => sheet.shape.expected().into(),
        }
    }
}
