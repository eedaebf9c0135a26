//! Matches the records of a response to the items of a batch.
//!
//! No document is built: of every record one value is looked at, and forgotten.

use std::{collections::HashSet, fmt};

use serde::{
    Deserializer,
    de::{DeserializeSeed, IgnoredAny, MapAccess, SeqAccess, Visitor},
};
use serde_json::{Value, value::RawValue};

use crate::{
    FieldType, Format, Item,
    definition::{Definition, parse::batch::Batch},
    scan::json_value,
};

impl Definition {
    /// Indices of the items that no record of `body` answers, ascending; none where there is no `match`. The
    /// body is one that [`Self::scanner`] accepted: of any other, what can be read of it counts.
    pub fn unanswered(&self, items: &[Item], body: &[u8]) -> Vec<usize> {
        let Some(Batch { record, item: (set, field), .. }) = &self.fetch.batch else { return Vec::new() };
        let values: Vec<_> = items.iter().map(|item| item.values.get(set).and_then(|set| set.get(field))).collect();
        let mut open: HashSet<&Value> = values.iter().copied().flatten().collect();
        let body = body.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(body);
        match self.format() {
            Format::Json => {
                let members = &self.fetch.records.members;
                read(body, Seek { members: Some(members), field: record, open: &mut open });
            }
            Format::Ndjson | Format::Csv => {
                for line in body.split(|byte| *byte == b'\n') {
                    read(line, Seek { members: None, field: record, open: &mut open });
                }
            }
        }
        let missing = |value: &Option<&Value>| value.is_none_or(|value| open.contains(value));
        values.iter().enumerate().filter(|(_, value)| missing(value)).map(|(index, _)| index).collect()
    }
}

fn read(text: &[u8], seek: Seek<'_, '_>) {
    // Where it breaks off, what was seen so far counts.
    let _ = seek.deserialize(&mut serde_json::Deserializer::from_slice(text));
}

/// Looks for records, and takes what they answer from `open`.
struct Seek<'a, 'v> {
    /// The members that lead to the array of records; `None` in a record.
    members: Option<&'a [String]>,
    field: &'a str,
    open: &'a mut HashSet<&'v Value>,
}

impl<'de> DeserializeSeed<'de> for Seek<'_, '_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        match self.members {
            Some([]) => deserializer.deserialize_seq(self),
            Some(_) | None => deserializer.deserialize_map(self),
        }
    }
}

impl<'de> Visitor<'de> for Seek<'_, '_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("records")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut records: A) -> Result<(), A::Error> {
        while records.next_element_seed(Seek { members: None, field: self.field, open: &mut *self.open })?.is_some() {}
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<(), A::Error> {
        while let Some(name) = members.next_key::<String>()? {
            match self.members {
                Some([next, rest @ ..]) if *next == name => {
                    members.next_value_seed(Seek { members: Some(rest), field: self.field, open: &mut *self.open })?;
                }
                None if self.field == name => {
                    let value: &RawValue = members.next_value()?;
                    if let Some(value) = json_value(FieldType::Integer, value.get().as_bytes()) {
                        self.open.remove(&value);
                    }
                }
                Some(_) | None => drop(members.next_value::<IgnoredAny>()?),
            }
        }
        Ok(())
    }
}
