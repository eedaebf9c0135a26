//! Files with a mistake in them, and files that only look like it.

use std::iter::repeat_n;

use bytes::Bytes;

use crate::{
    fault::CityFault,
    files::{content::Content, file::CityFile},
};

/// How deep [`CityFault::Deep`] goes.
const DEEP: usize = 10_000;

/// The file as a fault leaves it; one that does not touch the bytes leaves them as they are.
pub(crate) fn spoil(fault: &CityFault, file: CityFile) -> Content {
    let day = file.day();
    let day = day.as_str();
    let passengers = |value: &str| record(day, "BUS-1", value);
    match fault {
        CityFault::Body(bytes) => Content::Fixed(bytes.clone()),
        CityFault::Empty => Content::Fixed(Bytes::from_static(b"[]")),
        CityFault::Bom => Content::Spliced { file, at: 0, removed: 0, inserted: Bytes::from_static(b"\xEF\xBB\xBF") },
        CityFault::Truncated => {
            let file = file.at_least_one();
            let record = file.record(file.records() / 2);
            let at = record.start + (record.end - record.start) / 2;
            Content::Spliced { at, removed: file.len() - at, inserted: Bytes::new(), file }
        }
        CityFault::WrongField => in_the_middle(file, passengers(r#""seventy""#)),
        CityFault::Negative => in_the_middle(file, passengers("-5")),
        CityFault::HugeNumber => in_the_middle(file, passengers("123456789012345678901234567890")),
        CityFault::MissingField => in_the_middle(file, passengers("7").replace(r#""delay":"PT60S","#, "")),
        CityFault::ImpossibleDate => {
            let impossible = record(&format!("{}-02-30", &day[..4]), "BUS-1", "7");
            in_the_middle(file, impossible)
        }
        CityFault::InvalidUtf8 => {
            let mut bytes = record(day, "BUS-#", "7").into_bytes();
            bytes.iter_mut().filter(|byte| **byte == b'#').for_each(|byte| *byte = 0xFF);
            in_the_middle(file, bytes)
        }
        CityFault::Deep => {
            let nest: String = repeat_n('[', DEEP).chain(repeat_n(']', DEEP)).collect();
            in_the_middle(file, passengers(&format!(r#"7,"nest":{nest}"#)))
        }
        CityFault::Odd => {
            let odd = odd_records(day);
            in_the_middle(file, odd)
        }
        CityFault::Status(_) | CityFault::Html | CityFault::HangUp | CityFault::Stall | CityFault::First { .. } => {
            Content::File(file)
        }
    }
}

fn in_the_middle(file: CityFile, instead: impl Into<Bytes>) -> Content {
    let file = file.at_least_one();
    let record = file.record(file.records() / 2);
    Content::Spliced { file, at: record.start, removed: record.end - record.start, inserted: instead.into() }
}

fn record(day: &str, bus: &str, passengers: &str) -> String {
    format!(
        r#"{{"departure-time":"{day}T12:00:00","bus-type":"{bus}","passengers":{passengers},"delay":"PT60S","accident":false}}"#
    )
}

fn odd_records(day: &str) -> String {
    let reordered = format!(
        r#"{{"accident":true,"operator":{{"name":"Zoë \"Z\" \\ Söhne","lines":[1,2.5e3,null,[]]}},"delay":"P1DT2H","passengers":0,"bus-type":"N\u00efght \ud83d\ude8c","departure-time":"{day}T23:59:59"}}"#
    );
    let spaced = format!(
        "\t{{ \"departure-time\" :\r\n\"{day}T00:00:00\"\n,\t\"bus-type\" : \"\" , \"passengers\"\r:\t99 , \"delay\" : \"-PT0.5S\" , \"accident\" : false\r\n}}\n\n"
    );
    let escaped = format!(
        r#"{{"departure\u002dtime":"{day}T08:00:00Z","bus-type":"A\/B\t","passengers":1,"delay":"\u0050T1H30M","accident":false}}"#
    );
    [reordered, spaced, escaped].join(",")
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use serde_json::Value;

    use super::spoil;
    use crate::{
        fault::CityFault,
        files::{content::Content, file::CityFile, pool::Pool},
        sites::day::Day,
    };

    fn spoiled(fault: &CityFault, records: u64) -> Vec<u8> {
        let file = CityFile::new(Arc::new(Pool::new(1)), 1, 1, Day::parse("2024-05-01").unwrap(), 0, records);
        whole(&spoil(fault, file))
    }

    fn whole(content: &Content) -> Vec<u8> {
        let mut bytes = Vec::new();
        while (bytes.len() as u64) < content.len() {
            bytes.extend_from_slice(&content.read(bytes.len() as u64, 1_000));
        }
        assert!(content.read(content.len(), 10).is_empty());
        bytes
    }

    fn middle(fault: &CityFault) -> Value {
        let mut records: Vec<Value> = serde_json::from_slice(&spoiled(fault, 100)).unwrap();
        assert_eq!(records.len(), 100);
        records.swap_remove(50)
    }

    #[test]
    fn the_mistake_is_in_the_record_in_the_middle() {
        assert_eq!(middle(&CityFault::WrongField)["passengers"], "seventy");
        assert_eq!(middle(&CityFault::Negative)["passengers"], -5);
        assert!(middle(&CityFault::HugeNumber)["passengers"].as_f64().unwrap() > 1e29);
        assert_eq!(middle(&CityFault::ImpossibleDate)["departure-time"], "2024-02-30T12:00:00");
        assert_eq!(middle(&CityFault::MissingField).as_object().unwrap().len(), 4);
    }

    #[test]
    fn what_is_no_json_is_none() {
        for fault in [CityFault::Truncated, CityFault::InvalidUtf8, CityFault::Deep] {
            for records in [0, 1, 100] {
                let bytes = spoiled(&fault, records);
                assert!(serde_json::from_slice::<Value>(&bytes).is_err(), "{fault:?} {records}");
                assert!(bytes.starts_with(b"[\n{"));
            }
        }
        assert!(String::from_utf8(spoiled(&CityFault::InvalidUtf8, 1)).is_err());
    }

    #[test]
    fn what_only_looks_odd_is_json() {
        let odd: Vec<Value> = serde_json::from_slice(&spoiled(&CityFault::Odd, 100)).unwrap();
        assert_eq!(odd.len(), 102);
        assert!(odd.iter().all(|bus| bus["departure-time"].is_string() && bus["delay"].is_string()));
        assert_eq!(spoiled(&CityFault::Empty, 100), b"[]");
        let bom = spoiled(&CityFault::Bom, 100);
        assert_eq!(
            serde_json::from_slice::<Vec<Value>>(bom.strip_prefix(b"\xEF\xBB\xBF").unwrap()).unwrap().len(),
            100
        );
    }
}
