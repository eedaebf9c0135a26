//! Dates as days, and times as microseconds, since 1970. What lacks an offset is in UTC.

use jiff::{
    Timestamp,
    civil::DateTime,
    fmt::{rfc2822::DateTimeParser, strtime},
    tz::TimeZone,
};

use crate::{
    TimeFormat,
    scan::{COMMON, is_date, is_datetime},
};

const MICROS_OF_SECOND: i64 = 1_000_000;
const MICROS_OF_DAY: i64 = 24 * 60 * 60 * MICROS_OF_SECOND;

/// The day of a time in UTC.
pub(super) fn day_of(micros: i64) -> i32 {
    // The years have four digits, so the days are far from the limits.
    micros.div_euclid(MICROS_OF_DAY) as i32
}

/// The day of a date in this format.
pub(super) fn day(text: &[u8], format: &TimeFormat) -> Option<i32> {
    match format {
        TimeFormat::Iso | TimeFormat::Any if is_date(text) => Some(day_of_digits(text)),
        TimeFormat::Iso => None,
        TimeFormat::Any => COMMON.iter().find_map(|pattern| day_by(text, pattern)),
        TimeFormat::Pattern(pattern) => day_by(text, pattern),
    }
}

/// The microsecond of a time in this format; of a date, its beginning.
pub(super) fn instant(text: &[u8], format: &TimeFormat) -> Option<i64> {
    match format {
        TimeFormat::Iso | TimeFormat::Any if is_datetime(text) => Some(instant_of_digits(text)),
        TimeFormat::Iso | TimeFormat::Any if is_date(text) => Some(i64::from(day_of_digits(text)) * MICROS_OF_DAY),
        TimeFormat::Iso => None,
        TimeFormat::Any => {
            let mail = DateTimeParser::new().parse_timestamp(text).ok().map(micros);
            mail.or_else(|| COMMON.iter().find_map(|pattern| instant_by(text, pattern)))
        }
        TimeFormat::Pattern(pattern) => instant_by(text, pattern),
    }
}

fn day_by(text: &[u8], pattern: &str) -> Option<i32> {
    let date = strtime::parse(pattern, text).ok()?.to_date().ok()?;
    Some(day_of_civil(date.year().into(), date.month().into(), date.day().into()))
}

fn instant_by(text: &[u8], pattern: &str) -> Option<i64> {
    let parsed = strtime::parse(pattern, text).ok()?;
    if let Ok(at) = parsed.to_timestamp() {
        return Some(micros(at));
    }
    let at = parsed.to_datetime().or_else(|_| parsed.to_date().map(DateTime::from)).ok()?;
    TimeZone::UTC.to_timestamp(at).ok().map(micros)
}

fn micros(at: Timestamp) -> i64 {
    at.as_microsecond()
}

/// Of `2024-05-01`, or what begins so.
fn day_of_digits(text: &[u8]) -> i32 {
    day_of_civil(digits(&text[..4]) as i32, digits(&text[5..7]) as i32, digits(&text[8..10]) as i32)
}

/// Of what [`is_datetime`] accepts.
fn instant_of_digits(text: &[u8]) -> i64 {
    let (day, time) = match text {
        [_, _, _, _, b'-', ..] => (day_of_digits(text), &text[11..]),
        _ => {
            let [year, month, day] = [&text[..4], &text[4..6], &text[6..8]].map(|part| digits(part) as i32);
            (day_of_civil(year, month, day), &text[9..])
        }
    };
    // The offset begins at a sign or a `Z`, which no time has.
    let end = time.iter().position(|byte| matches!(byte, b'+' | b'-' | b'Z' | b'z')).unwrap_or(time.len());
    let (time, offset) = time.split_at(end);
    i64::from(day) * MICROS_OF_DAY + micros_of_time(time) - offset_micros(offset)
}

/// Of `08:44:00.5`, `084400.5`, `08:44`. Beyond microseconds the nearest.
fn micros_of_time(time: &[u8]) -> i64 {
    let mut halves = time.splitn(2, |byte| matches!(byte, b'.' | b','));
    let (whole, fraction) = (halves.next().unwrap_or_default(), halves.next().unwrap_or_default());
    let mut seconds = 0;
    let mut unit = 3_600;
    for pair in pairs(whole) {
        seconds += pair * unit;
        unit /= 60;
    }
    let shown = &fraction[..fraction.len().min(6)];
    let rounds = i64::from(fraction.get(6).is_some_and(|digit| *digit >= b'5'));
    seconds * MICROS_OF_SECOND + digits(shown) * 10_i64.pow(6 - shown.len() as u32) + rounds
}

/// Of `+02:00`, `+0200`, `+02`, `Z` or nothing.
fn offset_micros(offset: &[u8]) -> i64 {
    let mut pairs = pairs(offset.get(1..).unwrap_or_default());
    let (hours, minutes) = (pairs.next().unwrap_or_default(), pairs.next().unwrap_or_default());
    let magnitude = (hours * 3_600 + minutes * 60) * MICROS_OF_SECOND;
    if offset.first() == Some(&b'-') { -magnitude } else { magnitude }
}

/// The numbers of two digits each in a text, with colons between them or without.
fn pairs(text: &[u8]) -> impl Iterator<Item = i64> {
    let step = if text.get(2) == Some(&b':') { 3 } else { 2 };
    text.chunks(step).map(|chunk| digits(&chunk[..chunk.len().min(2)]))
}

/// The number that digits are.
fn digits(digits: &[u8]) -> i64 {
    digits.iter().fold(0, |number, digit| number * 10 + i64::from(digit - b'0'))
}

/// Days from 1970-01-01 to a day of the Gregorian calendar, in which years begin in March: then the days before a month
/// do not depend on the year.
fn day_of_civil(year: i32, month: i32, day: i32) -> i32 {
    /// From 0000-03-01 to 1970-01-01.
    const TO_1970: i32 = 719_468;
    let year = if month > 2 { year } else { year - 1 };
    let month = (month + 9) % 12;
    let leaps = year.div_euclid(4) - year.div_euclid(100) + year.div_euclid(400);
    year * 365 + leaps + (month * 153 + 2) / 5 + day - 1 - TO_1970
}

#[cfg(test)]
mod tests {
    use jiff::civil::Date;
    use proptest::prelude::*;

    use super::*;

    fn shown(text: &str, format: &TimeFormat) -> Option<String> {
        let at = instant(text.as_bytes(), format)?;
        Some(Timestamp::from_microsecond(at).unwrap().to_string())
    }

    #[test]
    fn times_are_in_utc() {
        for (text, expected) in [
            ("2021-12-06T19:30:19.099+0100", "2021-12-06T18:30:19.099Z"),
            ("2021-12-06 19:30:19.099+01", "2021-12-06T18:30:19.099Z"),
            ("2021-12-06T19:30:19.099+01:00", "2021-12-06T18:30:19.099Z"),
            ("2021-12-06t19:30:19z", "2021-12-06T19:30:19Z"),
            ("2021-12-06T19:30", "2021-12-06T19:30:00Z"),
            ("2021-12-06T19:30-05:30", "2021-12-07T01:00:00Z"),
            ("20211206T193019,5-0530", "2021-12-07T01:00:19.5Z"),
            ("20211206T1930", "2021-12-06T19:30:00Z"),
            ("2021-12-31T23:59:59.9999996", "2022-01-01T00:00:00Z"),
            ("2021-12-31T23:59:59.9999994", "2021-12-31T23:59:59.999999Z"),
            ("1969-12-31T23:59:59.5Z", "1969-12-31T23:59:59.5Z"),
            ("2021-12-06", "2021-12-06T00:00:00Z"),
        ] {
            assert_eq!(shown(text, &TimeFormat::Iso).as_deref(), Some(expected), "{text}");
        }
        assert_eq!(shown("2021-12-06T25:00", &TimeFormat::Iso), None);
        assert_eq!(shown("Mon, 06 Dec 2021 19:30:19 +0100", &TimeFormat::Iso), None);
    }

    #[test]
    fn other_formats() {
        let pattern = |pattern: &str| TimeFormat::Pattern(pattern.to_owned());
        for (text, format, expected) in [
            ("Mon, 06 Dec 2021 19:30:19 +0100", TimeFormat::Any, "2021-12-06T18:30:19Z"),
            ("2021/12/06 19:30", TimeFormat::Any, "2021-12-06T19:30:00Z"),
            ("06.12.2021 19:30", pattern("%d.%m.%Y %H:%M"), "2021-12-06T19:30:00Z"),
            ("06.12.2021 19:30 +0100", pattern("%d.%m.%Y %H:%M %z"), "2021-12-06T18:30:00Z"),
            ("1638815419", pattern("%s"), "2021-12-06T18:30:19Z"),
            ("06.12.2021", pattern("%d.%m.%Y"), "2021-12-06T00:00:00Z"),
        ] {
            assert_eq!(shown(text, &format).as_deref(), Some(expected), "{text}");
        }
        assert_eq!(day(b"06.12.2021", &pattern("%d.%m.%Y")), Some(18_967));
        assert_eq!(day(b"Dec 6, 2021", &TimeFormat::Any), Some(18_967));
        assert_eq!(day(b"2021-12-06", &TimeFormat::Iso), Some(18_967));
        assert_eq!(day(b"06.12.2021", &TimeFormat::Iso), None);
    }

    proptest! {
        #[test]
        fn the_calendar_is_jiffs(micros in -62_000_000_000_000_000_i64..253_000_000_000_000_000) {
            let at = Timestamp::from_microsecond(micros).unwrap();
            prop_assert_eq!(instant(at.to_string().as_bytes(), &TimeFormat::Iso), Some(micros));
            let date: Date = at.to_zoned(TimeZone::UTC).date();
            prop_assert_eq!(day(date.to_string().as_bytes(), &TimeFormat::Iso), Some(day_of(micros)));
        }
    }
}
