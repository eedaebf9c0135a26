//! What serde_json does with a file of bus departures, for those who measure the scanner beside it: records are read
//! typed and borrowed, only their JSON types are checked, and nothing is kept.

use std::{fmt, hint::black_box};

use serde::de::{Deserialize, Deserializer, SeqAccess, Visitor};

/// A record as serde_json reads it without a copy.
#[derive(serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) struct Departure<'a> {
    departure_time: &'a str,
    bus_type: &'a str,
    passengers: i64,
    delay: &'a str,
    accident: bool,
}

/// What is added up.
#[derive(Default)]
pub(crate) struct Counted {
    pub(crate) records: u64,
    pub(crate) passengers: i64,
    pub(crate) accident: bool,
}

impl Counted {
    pub(crate) fn add(&mut self, record: &Departure<'_>) {
        black_box((record.departure_time, record.bus_type, record.delay));
        self.records += 1;
        self.passengers += record.passengers;
        self.accident |= record.accident;
    }
}

/// An array is visited record by record: no vector of all of them is made.
impl<'de> Deserialize<'de> for Counted {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Records;
        impl<'de> Visitor<'de> for Records {
            type Value = Counted;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an array of records")
            }
            fn visit_seq<A: SeqAccess<'de>>(self, mut records: A) -> Result<Counted, A::Error> {
                let mut counted = Counted::default();
                while let Some(record) = records.next_element::<Departure<'de>>()? {
                    counted.add(&record);
                }
                Ok(counted)
            }
        }
        deserializer.deserialize_seq(Records)
    }
}
