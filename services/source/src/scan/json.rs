//! One JSON document: down to the array of records, through it, and on to the last byte.

use crate::scan::{
    UNIT_BYTES,
    error::{Step, ended, missing, wrong},
    object::RecordSink,
    skip::Skip,
    token::{after_space, name},
};

/// Where in the document we are.
#[derive(Debug)]
pub(super) struct Reader {
    /// The members that lead to the array, the outermost first.
    members: Vec<String>,
    /// Which of them were met.
    met: Vec<bool>,
    /// How many objects are open around the place.
    open: usize,
    place: Section,
}

#[derive(Debug)]
enum Section {
    /// Before an object that leads to the records, or before their array.
    Way,
    NameOrEnd,
    Name,
    /// In the value of a member that does not lead to the records.
    Aside(Skip),
    AfterMember,
    RecordOrEnd,
    Record,
    AfterRecord,
    End,
}

impl Reader {
    pub(super) fn new(members: Vec<String>) -> Self {
        Self { met: vec![false; members.len()], members, open: 0, place: Section::Way }
    }

    /// Reads all the units that are whole. `pos` moves from one to the next.
    pub(super) fn advance(&mut self, bytes: &[u8], pos: &mut usize, sheet: &mut RecordSink) -> Step<()> {
        loop {
            if let Section::Aside(skip) = &mut self.place {
                skip.read(bytes, pos)?;
                self.place = Section::AfterMember;
            }
            *pos = after_space(bytes, *pos);
            let Some(byte) = bytes.get(*pos) else {
                return if matches!(self.place, Section::End) { Ok(()) } else { Err(ended(self.expected())) };
            };
            match (&self.place, byte) {
                (Section::Record | Section::RecordOrEnd, b'{') => {
                    let unit = &bytes[..bytes.len().min(*pos + UNIT_BYTES)];
                    let end = sheet.object(unit, *pos, self.open + 1)?;
                    sheet.add(*pos)?;
                    *pos = end;
                    self.place = Section::AfterRecord;
                    continue;
                }
                (Section::NameOrEnd | Section::Name, b'"') => {
                    self.member(bytes, pos)?;
                    continue;
                }
                (Section::AfterRecord, b',') => self.place = Section::Record,
                (Section::AfterRecord | Section::RecordOrEnd, b']') => self.close(),
                (Section::Way, b'[') if self.open == self.members.len() => self.place = Section::RecordOrEnd,
                (Section::Way, b'{') if self.open < self.members.len() => {
                    self.open += 1;
                    self.place = Section::NameOrEnd;
                }
                (Section::AfterMember, b',') => self.place = Section::Name,
                (Section::NameOrEnd | Section::AfterMember, b'}') => {
                    if !self.met[self.open - 1] {
                        return Err(wrong(*pos, format!("the member `{}`", self.members[self.open - 1])));
                    }
                    self.open -= 1;
                    self.close();
                }
                _ => return Err(wrong(*pos, self.expected())),
            }
            *pos += 1;
        }
    }

    /// Behind the array of records, or an object around it.
    fn close(&mut self) {
        self.place = if self.open == 0 { Section::End } else { Section::AfterMember };
    }

    /// Reads a name and its colon.
    fn member(&mut self, bytes: &[u8], pos: &mut usize) -> Step<()> {
        let unit = &bytes[..bytes.len().min(*pos + UNIT_BYTES)];
        let (name, end) = name(unit, *pos)?;
        let colon = after_space(unit, end);
        if unit.get(colon) != Some(&b':') {
            return Err(missing(unit, colon, "`:`"));
        }
        let level = self.open - 1;
        if *name == *self.members[level].as_bytes() {
            if self.met[level] {
                return Err(wrong(*pos, format!("the member `{}` once", self.members[level])));
            }
            self.met[level] = true;
            self.place = Section::Way;
        } else {
            self.place = Section::Aside(Skip::new(self.open));
        }
        *pos = colon + 1;
        Ok(())
    }

    fn expected(&self) -> String {
        match self.place {
            Section::Way => match self.members.get(self.open) {
                Some(member) => format!("an object with the member `{member}`"),
                None => "an array of records".into(),
            },
            Section::NameOrEnd => "a name in quotes or `}`".into(),
            Section::Name => "a name in quotes".into(),
            Section::Aside(_) => "a value".into(),
            Section::AfterMember => "`,` or `}`".into(),
            Section::RecordOrEnd => "an object or `]`".into(),
            Section::Record => "an object".into(),
            Section::AfterRecord => "`,` or `]`".into(),
            Section::End => "nothing more".into(),
        }
    }
}
