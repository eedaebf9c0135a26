//! Matches the records of a response to the items of a batch.
//!
//! No document is built: of every record one value is looked at, and forgotten.

use std::{collections::HashSet, fmt};

use serde::{
    Deserialize, Deserializer,
    de::{DeserializeSeed, IgnoredAny, MapAccess, SeqAccess, Visitor},
};
use serde_json::{Value, value::RawValue};

use crate::{
    FieldPath, FieldType, Format, Item,
    definition::{Definition, parse::batch::Batch},
    path::{RecordStep, Segment},
    scan::json_value,
};

impl Definition {
    /// Indices of the items that no record of `body` answers, ascending; none where there is no `match`. The
    /// body is one that [`Self::scanner`] accepted: of any other, what can be read of it counts.
    pub fn unanswered(&self, items: &[Item], body: &[u8]) -> Vec<usize> {
        let Some(fetch) = self.requests() else { return Vec::new() };
        let Some(Batch { record, item: (set, field), .. }) = &fetch.batch else { return Vec::new() };
        let values: Vec<_> = items.iter().map(|item| item.values.get(set).and_then(|set| set.get(field))).collect();
        let mut open: HashSet<&Value> = values.iter().copied().flatten().collect();
        let body = body.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(body);
        let FieldPath::Value(field) = record else { return Vec::new() };
        match self.format() {
            Format::Json | Format::Rows => {
                read(body, Seek { way: &fetch.records.steps, field: &field.segments, open: &mut open });
            }
            Format::Ndjson | Format::Csv => {
                for line in body.split(|byte| *byte == b'\n') {
                    read(line, Seek { way: &[], field: &field.segments, open: &mut open });
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
    /// The steps that are left to the records.
    way: &'a [RecordStep],
    /// Those that are left to the field, from a record on.
    field: &'a [Segment],
    open: &'a mut HashSet<&'v Value>,
}

impl<'v> Seek<'_, 'v> {
    /// The same, behind a step of the way, or one of the field.
    fn behind(&mut self) -> Seek<'_, 'v> {
        let (way, field) = match (self.way, self.field) {
            ([_, way @ ..], field) => (way, field),
            ([], field) => (&[][..], field.get(1..).unwrap_or_default()),
        };
        Seek { way, field, open: &mut *self.open }
    }

    fn wants_member(&self, name: &str) -> bool {
        match (self.way.first(), self.field.first()) {
            (Some(RecordStep::Member(member)), _) | (None, Some(Segment::Member(member))) => member == name,
            (Some(RecordStep::Each), _) => true,
            (None, _) => false,
        }
    }

    fn wants_element(&self, at: usize) -> bool {
        match (self.way.first(), self.field.first()) {
            (Some(RecordStep::Each), _) => true,
            (None, Some(Segment::Index(index))) => *index == at,
            _ => false,
        }
    }
}

impl<'de> DeserializeSeed<'de> for Seek<'_, '_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        if !self.way.is_empty() || !self.field.is_empty() {
            return deserializer.deserialize_any(self);
        }
        let value = <&RawValue>::deserialize(deserializer)?;
        if let Some(value) = json_value(FieldType::Integer, value.get().as_bytes()) {
            self.open.remove(&value);
        }
        Ok(())
    }
}

impl<'de> Visitor<'de> for Seek<'_, '_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("records")
    }

    fn visit_seq<A: SeqAccess<'de>>(mut self, mut elements: A) -> Result<(), A::Error> {
        for at in 0.. {
            let found = match self.wants_element(at) {
                true => elements.next_element_seed(self.behind())?.is_some(),
                false => elements.next_element::<IgnoredAny>()?.is_some(),
            };
            if !found {
                break;
            }
        }
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(mut self, mut members: A) -> Result<(), A::Error> {
        while let Some(name) = members.next_key::<String>()? {
            match self.wants_member(&name) {
                true => members.next_value_seed(self.behind())?,
                false => drop(members.next_value::<IgnoredAny>()?),
            }
        }
        Ok(())
    }

    // A path that leads nowhere answers nothing.
    fn visit_unit<E>(self) -> Result<(), E> {
        Ok(())
    }

    fn visit_bool<E>(self, _: bool) -> Result<(), E> {
        Ok(())
    }

    fn visit_i64<E>(self, _: i64) -> Result<(), E> {
        Ok(())
    }

    fn visit_u64<E>(self, _: u64) -> Result<(), E> {
        Ok(())
    }

    fn visit_f64<E>(self, _: f64) -> Result<(), E> {
        Ok(())
    }

    fn visit_str<E>(self, _: &str) -> Result<(), E> {
        Ok(())
    }
}
