//! The records that all files of a seed are cut from.
//!
//! Every record has the same width, padded with white space, which JSON allows between tokens: so the
//! n-th record of any file is found by arithmetic. The day is left open; a file writes its own into it.

use std::{fmt::Write, ops::Range};

/// Bytes of one record with its separator (`,\n`): the longest record there is, and no more.
pub(crate) const WIDTH: usize = 114;
/// Records in the pool: a little under 1 MB.
pub(crate) const RECORDS: usize = 8_192;
/// Where the day stands in a record.
pub(crate) const DAY: Range<usize> = 19..29;

/// The records of one seed.
pub(crate) struct Pool(Vec<u8>);

impl Pool {
    pub(crate) fn new(seed: u64) -> Self {
        let mut random = fastrand::Rng::with_seed(seed);
        let mut bytes = String::with_capacity(RECORDS * WIDTH);
        for record in 1..=RECORDS {
            push_record(&mut bytes, &mut random);
            let padding = (record * WIDTH).checked_sub(bytes.len() + 2).expect("WIDTH is that of the longest record");
            bytes.extend(std::iter::repeat_n(' ', padding));
            bytes.push_str(",\n");
        }
        Self(bytes.into_bytes())
    }

    /// `count` records from `first` on, with their separators.
    pub(crate) fn records(&self, first: usize, count: usize) -> &[u8] {
        &self.0[first * WIDTH..(first + count) * WIDTH]
    }
}

impl std::fmt::Debug for Pool {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Pool").finish_non_exhaustive()
    }
}

fn push_record(bytes: &mut String, random: &mut fastrand::Rng) {
    let second = random.u32(0..86_400);
    let bus = match random.u32(0..20) {
        0 => format!("NIGHT-{}", random.u32(1..10)),
        _ => format!("BUS-{}", random.u32(100..400)),
    };
    let passengers = random.u32(0..100);
    let delay = match random.u32(0..100) {
        0..10 => format!("-PT{}S", random.u32(1..11) * 30),
        10..14 => format!("PT1H{}M", random.u32(1..60)),
        14..18 => format!("PT{}M", random.u32(1..60)),
        18 => "P1DT2H".to_owned(),
        19 => "PT0.5S".to_owned(),
        20..25 => "PT0S".to_owned(),
        _ => format!("PT{}S", random.u32(1..3_600)),
    };
    // Rare enough that many a city file has none.
    let accident = random.u32(0..1_000) == 0;
    let (hour, minute, second) = (second / 3_600, second / 60 % 60, second % 60);
    write!(
        bytes,
        r#"{{"departure-time":"0000-00-00T{hour:02}:{minute:02}:{second:02}","bus-type":"{bus}","passengers":{passengers},"delay":"{delay}","accident":{accident}}}"#
    )
    .expect("writing to a String does not fail");
}

#[cfg(test)]
mod tests {
    use super::{DAY, Pool, RECORDS, WIDTH};

    #[test]
    fn every_record_is_json_with_room_for_the_day() {
        let pool = Pool::new(7);
        for record in 0..RECORDS {
            let bytes = pool.records(record, 1);
            assert_eq!((bytes.len(), &bytes[DAY], &bytes[WIDTH - 2..]), (WIDTH, &b"0000-00-00"[..], &b",\n"[..]));
            let value: serde_json::Value = serde_json::from_slice(&bytes[..WIDTH - 2]).unwrap();
            assert_eq!(value.as_object().unwrap().len(), 5);
        }
    }

    #[test]
    fn the_variety_is_there() {
        let text = String::from_utf8(Pool::new(7).records(0, RECORDS).to_vec()).unwrap();
        for part in
            ["\"-PT30S\"", "\"PT1H30M\"", "\"P1DT2H\"", "\"PT0.5S\"", "NIGHT-", ":99,", ":0,", "\"accident\":true"]
        {
            assert!(text.contains(part), "{part}");
        }
    }
}
