//! The names of objects in data/: `data/{source}/{partition}/{item key}.{fetched at}-{hash}.{ext}`.
//!
//! A new fetch is a new name, and of two names of one item the greater is the newer fetch: the
//! timestamp has a fixed width, and equal timestamps are decided by the hash, the same way by
//! every reader.

use jiff::{Timestamp, civil, tz::Offset};

use crate::Format;

/// One object's name, taken apart.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ObjectName {
    /// `data/buses/country=singapore/date=2024-05-01`.
    pub folder: String,
    /// The item's key.
    pub item: String,
    /// When the fetch began, in microseconds.
    pub fetched_at: Timestamp,
    /// The first 12 hex digits of the SHA-256 of the bytes.
    pub hash: String,
    /// `json`, `ndjson` or `csv`.
    pub extension: String,
}

/// How many hex digits of the hash a name carries.
const HASH_DIGITS: usize = 12;
/// The length of `YYYYMMDDTHHMMSS.ffffffZ`.
const TIME_LENGTH: usize = 23;

/// What all fetches of one item begin with: `data/{source}/{partition}/{item key}.` An item whose key
/// goes on with a dot (`1.5` after `1`) begins so too: whoever lists by it compares [`ObjectName::item`].
pub fn item_prefix(source: &str, partition: &str, item: &str) -> String {
    format!("data/{source}/{partition}/{item}.")
}

impl ObjectName {
    /// Names a fetch. `sha256` is the bytes' whole hash in hex; the time is cut to microseconds and lies
    /// in the years 0 to 9999.
    pub fn new(source: &str, partition: &str, item: &str, fetched_at: Timestamp, sha256: &str, format: Format) -> Self {
        let micros = fetched_at.as_nanosecond().div_euclid(1_000) * 1_000;
        Self {
            folder: format!("data/{source}/{partition}"),
            item: item.into(),
            fetched_at: Timestamp::from_nanosecond(micros).unwrap_or(fetched_at),
            hash: sha256.chars().take(HASH_DIGITS).collect(),
            extension: format.extension().into(),
        }
    }

    /// Takes a key apart; `None` where it is not one of ours.
    pub fn parse(key: &str) -> Option<Self> {
        let (folder, file) = key.rsplit_once('/')?;
        let parts: Vec<_> = folder.split('/').collect();
        let partitioned = parts.len() >= 3 && parts[2..].iter().all(|part| part.contains('='));
        if parts[0] != "data" || !partitioned || parts[1].is_empty() {
            return None;
        }
        // From the right, since an item's key may have dots and dashes of its own.
        let (rest, extension) = file.rsplit_once('.')?;
        let (rest, hash) = rest.rsplit_once('-')?;
        let (item, time) = rest.split_at_checked(rest.len().checked_sub(TIME_LENGTH)?)?;
        let item = item.strip_suffix('.').filter(|item| !item.is_empty())?;
        let hex = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
        if hash.len() != HASH_DIGITS
            || !hash.bytes().all(hex)
            || !Format::ALL.iter().any(|f| f.extension() == extension)
        {
            return None;
        }
        Some(Self {
            folder: folder.into(),
            item: item.into(),
            fetched_at: parse_time(time)?,
            hash: hash.into(),
            extension: extension.into(),
        })
    }

    /// The key, whole.
    pub fn key(&self) -> String {
        let at = Offset::UTC.to_datetime(self.fetched_at);
        format!(
            "{}/{}.{:04}{:02}{:02}T{:02}{:02}{:02}.{:06}Z-{}.{}",
            self.folder,
            self.item,
            at.year(),
            at.month(),
            at.day(),
            at.hour(),
            at.minute(),
            at.second(),
            at.subsec_nanosecond() / 1_000,
            self.hash,
            self.extension
        )
    }

    /// The value of a part of the partition: `date` → `2024-05-01`.
    pub fn part(&self, name: &str) -> Option<&str> {
        self.folder
            .split('/')
            .skip(2)
            .filter_map(|part| part.split_once('='))
            .find(|(key, _)| *key == name)
            .map(|(_, value)| value)
    }
}

/// `YYYYMMDDTHHMMSS.ffffffZ`, every digit there.
fn parse_time(text: &str) -> Option<Timestamp> {
    let shape = text.bytes().zip(b"00000000T000000.000000Z").all(|(byte, pattern)| match pattern {
        b'0' => byte.is_ascii_digit(),
        other => byte == *other,
    });
    if text.len() != TIME_LENGTH || !shape {
        return None;
    }
    let number = |from: usize, to: usize| text[from..to].parse::<i32>().ok();
    let small = |from: usize| text[from..from + 2].parse::<i8>().ok();
    let year = i16::try_from(number(0, 4)?).ok()?;
    let at =
        civil::DateTime::new(year, small(4)?, small(6)?, small(9)?, small(11)?, small(13)?, number(16, 22)? * 1_000);
    Offset::UTC.to_timestamp(at.ok()?).ok()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn name(item: &str, micros: i64, hash: &str) -> ObjectName {
        let at = Timestamp::from_microsecond(micros).unwrap();
        ObjectName::new("buses", "country=singapore/date=2024-05-01", item, at, hash, Format::Json)
    }

    #[test]
    fn a_key_reads_as_documented() {
        let name = name("0-south-stephen", 1_714_550_400_000_001, &"ab".repeat(32));
        insta::assert_snapshot!(name.key(), @"data/buses/country=singapore/date=2024-05-01/0-south-stephen.20240501T080000.000001Z-abababababab.json");
        assert_eq!(name.part("date"), Some("2024-05-01"));
        assert_eq!(name.part("country"), Some("singapore"));
        assert_eq!(name.part("buses"), None);
        assert!(name.key().starts_with(&item_prefix("buses", "country=singapore/date=2024-05-01", "0-south-stephen")));
    }

    #[test]
    fn nanoseconds_are_cut() {
        let at: Timestamp = "2024-05-01T08:00:00.123456789Z".parse().unwrap();
        let name = ObjectName::new("s", "a=b", "i", at, &"0".repeat(64), Format::Csv);
        assert_eq!(ObjectName::parse(&name.key()), Some(name));
    }

    #[test]
    fn other_keys_are_not_ours() {
        let good = "data/buses/a=b/x.20240501T080000.000001Z-abababababab.json";
        assert!(ObjectName::parse(good).is_some());
        let bad = [
            "",
            "x",
            "data/buses/x.20240501T080000.000001Z-abababababab.json",
            &good.replacen("data", "stats", 1),
            &good.replace("a=b", "ab"),
            &good.replace("buses", ""),
            &good.replace(".json", ".txt"),
            &good.replace("/x.", "/."),
            &good.replace("0501T", "0231T"),
            &good.replace("T08", "T25"),
            &good.replace("ababab.", "abABab."),
            &good.replace("-ab", "-a"),
            &good.replace("000001Z", "00000éZ"),
            &good.replace("20240501T", "é0240501T"),
        ];
        for key in bad {
            assert_eq!(ObjectName::parse(key), None, "{key}");
        }
    }

    proptest! {
        #[test]
        fn names_survive_being_keys(
            item in "[A-Za-z0-9_~=%.-]{1,60}", micros in 0i64..200_000_000_000_000_000, hash in "[0-9a-f]{64}",
        ) {
            let name = name(&item, micros, &hash);
            prop_assert_eq!(ObjectName::parse(&name.key()), Some(name));
        }

        #[test]
        fn the_greater_key_is_the_newer_fetch(
            a in 0i64..200_000_000_000_000_000, b in 0i64..200_000_000_000_000_000, x in "[0-9a-f]{64}", y in "[0-9a-f]{64}",
        ) {
            let (left, right) = (name("1.5", a, &x), name("1.5", b, &y));
            prop_assert_eq!(left.key().cmp(&right.key()), (a, &left.hash).cmp(&(b, &right.hash)));
        }

        #[test]
        fn no_text_makes_the_parser_panic(key in "(data/)?.*") {
            let _ = ObjectName::parse(&key);
        }
    }
}
