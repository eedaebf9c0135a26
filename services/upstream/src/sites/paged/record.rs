//! One record of a collection, in each way of writing it.

use std::fmt::Write;

use jiff::Timestamp;

use crate::files::mix::{Use, mix};

/// The columns of records that are written as rows.
pub(crate) const COLUMNS: [&str; 3] = ["id", "value", "from"];
/// Periods begin an hour apart, from 2024-01-01T00:00:00Z on.
const FIRST: i64 = 1_704_067_200;
/// As many hours as fit into the calendar; then they begin again.
const HOURS: i64 = 1_000_000;

/// `{"id":1,"value":12.5,"period":{"from":"2024-01-01T00:00:00Z"}}`.
#[derive(Debug)]
pub(crate) struct Record {
    pub(crate) id: u64,
    /// In tenths, 0 to 1,000.
    value: u64,
    from: Timestamp,
}

impl Record {
    /// The record with this number, from 0; the same for the same seed.
    pub(crate) fn new(seed: u64, number: u64) -> Self {
        let value = mix(Use::Paged, &[seed, number]) % 10_001;
        let hours = (number % HOURS.unsigned_abs()) as i64;
        let from = Timestamp::from_second(FIRST + hours * 3_600).expect("a million hours are in the calendar");
        Self { id: number.saturating_add(1), value, from }
    }

    pub(crate) fn write_object(&self, text: &mut String) {
        let Self { id, from, .. } = self;
        write!(text, r#"{{"id":{id},"value":{},"period":{{"from":"{from}"}}}}"#, self.value())
            .expect("writing to a String does not fail");
    }

    pub(crate) fn write_member(&self, text: &mut String) {
        write!(text, r#""{}":"#, self.id).expect("writing to a String does not fail");
        self.write_object(text);
    }

    pub(crate) fn write_line(&self, text: &mut String) {
        let Self { id, from, .. } = self;
        writeln!(text, "{id},{},{from}", self.value()).expect("writing to a String does not fail");
    }

    pub(crate) fn write_row(&self, text: &mut String) {
        let Self { id, from, .. } = self;
        write!(text, r#"[{id},{},"{from}"]"#, self.value()).expect("writing to a String does not fail");
    }

    /// Digits, not a float, so that a sum can be compared exactly.
    fn value(&self) -> String {
        format!("{}.{}", self.value / 10, self.value % 10)
    }
}

#[cfg(test)]
mod tests {
    use super::Record;

    #[test]
    fn a_record_in_each_way() {
        let (mut object, mut line, mut row) = (String::new(), String::new(), String::new());
        let record = Record::new(1, 25);
        record.write_object(&mut object);
        record.write_line(&mut line);
        record.write_row(&mut row);
        let value = record.value();
        assert_eq!(object, format!(r#"{{"id":26,"value":{value},"period":{{"from":"2024-01-02T01:00:00Z"}}}}"#));
        assert_eq!(line, format!("26,{value},2024-01-02T01:00:00Z\n"));
        assert_eq!(row, format!(r#"[26,{value},"2024-01-02T01:00:00Z"]"#));
        Record::new(1, u64::MAX).write_object(&mut object);
    }
}
