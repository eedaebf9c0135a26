//! One JSON document: down to the array of records, through it, and on to the last byte.

use crate::scan::{
    UNIT_BYTES,
    error::{Step, ended, missing, wrong},
    object::Sheet,
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
    place: Place,
}

#[derive(Debug)]
enum Place {
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
        Self { met: vec![false; members.len()], members, open: 0, place: Place::Way }
    }

    /// Reads all the units that are whole. `pos` moves from one to the next.
    pub(super) fn advance(&mut self, bytes: &[u8], pos: &mut usize, sheet: &mut Sheet) -> Step<()> {
        loop {
            if let Place::Aside(skip) = &mut self.place {
                skip.read(bytes, pos)?;
                self.place = Place::AfterMember;
            }
            *pos = after_space(bytes, *pos);
            let Some(byte) = bytes.get(*pos) else {
                return if matches!(self.place, Place::End) { Ok(()) } else { Err(ended(self.expected())) };
            };
            match (&self.place, byte) {
                (Place::Record | Place::RecordOrEnd, b'{') => {
                    let unit = &bytes[..bytes.len().min(*pos + UNIT_BYTES)];
                    let end = sheet.object(unit, *pos, self.open + 1)?;
                    sheet.add(*pos)?;
                    *pos = end;
                    self.place = Place::AfterRecord;
                    continue;
                }
                (Place::NameOrEnd | Place::Name, b'"') => {
                    self.member(bytes, pos)?;
                    continue;
                }
                (Place::AfterRecord, b',') => self.place = Place::Record,
                (Place::AfterRecord | Place::RecordOrEnd, b']') => self.close(),
                (Place::Way, b'[') if self.open == self.members.len() => self.place = Place::RecordOrEnd,
                (Place::Way, b'{') if self.open < self.members.len() => {
                    self.open += 1;
                    self.place = Place::NameOrEnd;
                }
                (Place::AfterMember, b',') => self.place = Place::Name,
                (Place::NameOrEnd | Place::AfterMember, b'}') => {
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
        self.place = if self.open == 0 { Place::End } else { Place::AfterMember };
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
            self.place = Place::Way;
        } else {
            self.place = Place::Aside(Skip::new(self.open));
        }
        *pos = colon + 1;
        Ok(())
    }

    fn expected(&self) -> String {
        match self.place {
            Place::Way => match self.members.get(self.open) {
                Some(member) => format!("an object with the member `{member}`"),
                None => "an array of records".into(),
            },
            Place::NameOrEnd => "a name in quotes or `}`".into(),
            Place::Name => "a name in quotes".into(),
            Place::Aside(_) => "a value".into(),
            Place::AfterMember => "`,` or `}`".into(),
            Place::RecordOrEnd => "an object or `]`".into(),
            Place::Record => "an object".into(),
            Place::AfterRecord => "`,` or `]`".into(),
            Place::End => "nothing more".into(),
        }
    }
}
