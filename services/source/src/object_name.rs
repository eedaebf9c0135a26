//! The names of objects in data/: `data/{source}/{partition}/{item key}.{fetched at}-{hash}.{ext}`, and
//! `….{fetched at}-{number}of{of}-{hash}.{ext}` for a piece of a batch.
//!
//! A new fetch is a new name. Names of one item sort by time: the timestamp has a fixed width. Which fetch
//! counts is decided by [`crate::ObjectVersions`].

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
    /// Which piece of the fetch it is, where a batch came in several.
    pub piece: Option<Piece>,
    /// The first 12 hex digits of the SHA-256 of the bytes.
    pub hash: String,
    /// `json`, `ndjson` or `csv`.
    pub extension: String,
}

/// A piece of a fetch, and how many there are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Piece {
    /// From 1.
    pub number: u16,
    /// How many pieces the fetch has.
    pub of: u16,
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
            piece: None,
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
        let (rest, piece) = match rest.rsplit_once('-').map(|(rest, piece)| (rest, parse_piece(piece))) {
            Some((rest, Some(piece))) => (rest, Some(piece)),
            _ => (rest, None),
        };
        let (item, time) = rest.split_at_checked(rest.len().checked_sub(TIME_LENGTH)?)?;
        let item = item.strip_suffix('.').filter(|item| !item.is_empty() && !is_old_piece(item))?;
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
            piece,
            hash: hash.into(),
            extension: extension.into(),
        })
    }

    /// The key, whole.
    pub fn key(&self) -> String {
        let at = Offset::UTC.to_datetime(self.fetched_at);
        let piece = self.piece.map(|piece| format!("-{}of{}", piece.number, piece.of)).unwrap_or_default();
        format!(
            "{}/{}.{:04}{:02}{:02}T{:02}{:02}{:02}.{:06}Z{piece}-{}.{}",
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

/// `2of3`. A number has one spelling, so that no two names are one piece.
fn parse_piece(text: &str) -> Option<Piece> {
    let (number, of) = text.split_once("of")?;
    let piece = Piece { number: number.parse().ok()?, of: of.parse().ok()? };
    let is_one = (1..=piece.of).contains(&piece.number) && format!("{}of{}", piece.number, piece.of) == text;
    is_one.then_some(piece)
}

/// `0-and-19-more-0123456789ab~0-10`: pieces were named so before they said how many they are. Whether all of a
/// fetch are there cannot be known, so they are left alone.
fn is_old_piece(item: &str) -> bool {
    let Some((batch, range)) = item.rsplit_once('~') else { return false };
    let is_range =
        range.split_once('-').is_some_and(|(from, to)| from.parse::<u16>().is_ok() && to.parse::<u16>().is_ok());
    let is_batch = batch.rsplit_once("-more-").is_some_and(|(_, hash)| hash.len() == HASH_DIGITS);
    is_range && is_batch
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
    fn a_piece_says_how_many_there_are() {
        let whole = name("0-and-19-more-0123456789ab", 1_714_550_400_000_001, &"ab".repeat(32));
        let piece = ObjectName { piece: Some(Piece { number: 2, of: 10 }), ..whole.clone() };
        assert_eq!(piece.key(), whole.key().replace("Z-", "Z-2of10-"));
        assert_eq!(ObjectName::parse(&piece.key()), Some(piece.clone()));
        for other in ["-0of10-", "-11of10-", "-02of10-", "-2of-", "-of-", "-2of10-2of10-"] {
            assert_eq!(ObjectName::parse(&piece.key().replace("-2of10-", other)), None, "{other}");
        }
    }

    #[test]
    fn pieces_of_the_old_naming_are_not_ours() {
        let key = |item: &str| name(item, 0, &"ab".repeat(32)).key();
        assert_eq!(ObjectName::parse(&key("0-and-19-more-0123456789ab~0-10")), None);
        for item in ["0-and-19-more-0123456789ab", "a~0-10", "0-and-19-more-0123456789ab~x-y"] {
            assert!(ObjectName::parse(&key(item)).is_some(), "{item}");
        }
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
        fn names_of_an_item_sort_by_time(
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
