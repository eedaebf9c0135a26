//! Dates and times of ISO 8601, in the forms that public APIs use, checked against the calendar; and those of other
//! formats. No leap seconds: what upstreams write there is a mistake more often than one of the 27 there have been.

use jiff::{
    Timestamp,
    fmt::{rfc2822::DateTimeParser, strtime},
    tz::TimeZone,
};

use crate::TimeFormat;

/// `2024-05-01`, a day that there is.
pub(crate) fn is_date(text: &[u8]) -> bool {
    let [year @ .., b'-', m1, m2, b'-', d1, d2] = text else { return false };
    let (&[y1, y2, y3, y4], Some(month), Some(day)) = (year, pair(*m1, *m2), pair(*d1, *d2)) else { return false };
    let (Some(century), Some(of_century)) = (pair(y1, y2), pair(y3, y4)) else { return false };
    is_day(century * 100 + of_century, month, day)
}

/// A date, `T` or a space, a time, perhaps a fraction, perhaps an offset: `2024-05-01T08:44:00.5+02:00`. The seconds
/// and the minutes of the offset may be left out, and so may the marks between the numbers: `20240501T0844Z`.
pub(crate) fn is_datetime(text: &[u8]) -> bool {
    match text {
        [y1, y2, y3, y4, m1, m2, d1, d2, b'T', rest @ ..] if text[..8].iter().all(u8::is_ascii_digit) => {
            is_date(&[*y1, *y2, *y3, *y4, b'-', *m1, *m2, b'-', *d1, *d2]) && is_time(rest, false)
        }
        _ => match text.split_at_checked(10) {
            Some((date, [b'T' | b't' | b' ', rest @ ..])) => is_date(date) && is_time(rest, true),
            _ => false,
        },
    }
}

/// A time with its offset, with colons or without.
fn is_time(text: &[u8], colons: bool) -> bool {
    let (hour, minute, rest) = match text {
        [h1, h2, b':', m1, m2, rest @ ..] if colons => (pair(*h1, *h2), pair(*m1, *m2), rest),
        [h1, h2, m1, m2, rest @ ..] if !colons => (pair(*h1, *h2), pair(*m1, *m2), rest),
        _ => return false,
    };
    let (second, rest) = match rest {
        [b':', s1, s2, rest @ ..] if colons => (pair(*s1, *s2), after_fraction(rest)),
        [s1, s2, rest @ ..] if !colons && s1.is_ascii_digit() => (pair(*s1, *s2), after_fraction(rest)),
        rest => (Some(0), Some(rest)),
    };
    hour.is_some_and(|hour| hour < 24)
        && minute.is_some_and(|minute| minute < 60)
        && second.is_some_and(|second| second < 60)
        && rest.is_some_and(is_offset)
}

fn after_fraction(text: &[u8]) -> Option<&[u8]> {
    let [b'.' | b',', rest @ ..] = text else { return Some(text) };
    match rest.iter().take_while(|byte| byte.is_ascii_digit()).count() {
        0 => None,
        digits => Some(&rest[digits..]),
    }
}

/// `Z`, `+02:00`, `+0200`, `+02`, or nothing.
fn is_offset(text: &[u8]) -> bool {
    let (h1, h2, minutes) = match text {
        [] | [b'Z' | b'z'] => return true,
        [b'+' | b'-', h1, h2] => (h1, h2, Some(0)),
        [b'+' | b'-', h1, h2, b':', m1, m2] | [b'+' | b'-', h1, h2, m1, m2] => (h1, h2, pair(*m1, *m2)),
        _ => return false,
    };
    pair(*h1, *h2).is_some_and(|hours| hours < 24) && minutes.is_some_and(|minutes| minutes < 60)
}

/// Forms that mean one thing only, beside those of ISO 8601.
pub(crate) const COMMON: [&str; 12] = [
    "%Y-%m-%d %H:%M:%S %z",
    "%Y/%m/%d %H:%M:%S",
    "%Y/%m/%d %H:%M",
    "%Y/%m/%d",
    "%Y%m%d",
    "%a %b %d %H:%M:%S %Y",
    "%a %b %d %H:%M:%S %z %Y",
    "%d %b %Y %H:%M:%S",
    "%d %b %Y",
    "%d %B %Y",
    "%b %d, %Y",
    "%B %d, %Y",
];

/// A date, or a date and time, as the field's format says.
pub(super) fn has_format(text: &[u8], format: &TimeFormat, with_time: bool) -> bool {
    match format {
        TimeFormat::Iso if with_time => is_datetime(text),
        TimeFormat::Iso => is_date(text),
        TimeFormat::Any => {
            is_date(text)
                || is_datetime(text)
                || DateTimeParser::new().parse_timestamp(text).is_ok()
                || COMMON.iter().any(|pattern| has_pattern(text, pattern, with_time))
        }
        TimeFormat::Pattern(pattern) => has_pattern(text, pattern, with_time),
    }
}

fn has_pattern(text: &[u8], pattern: &str, with_time: bool) -> bool {
    strtime::parse(pattern, text).is_ok_and(|parsed| {
        if with_time { parsed.to_datetime().is_ok() || parsed.to_timestamp().is_ok() } else { parsed.to_date().is_ok() }
    })
}

/// Refuses a pattern by which no day can be read, with the reason.
pub(crate) fn check_pattern(pattern: &str, with_time: bool) -> Result<(), String> {
    let sample = Timestamp::UNIX_EPOCH.to_zoned(TimeZone::UTC);
    let text = strtime::format(pattern, &sample).map_err(|error| error.to_string())?;
    let parsed = strtime::parse(pattern, &text).map_err(|error| error.to_string())?;
    if with_time && parsed.to_timestamp().is_ok() {
        return Ok(());
    }
    let read = if with_time { parsed.to_datetime().map(drop) } else { parsed.to_date().map(drop) };
    read.map_err(|error| error.to_string())
}

/// Two digits.
fn pair(tens: u8, ones: u8) -> Option<u32> {
    let number = u32::from(tens.wrapping_sub(b'0')) * 10 + u32::from(ones.wrapping_sub(b'0'));
    (tens.is_ascii_digit() && ones.is_ascii_digit()).then_some(number)
}

/// Whether the Gregorian calendar, continued to the year 0, has this day.
#[inline(always)]
fn is_day(year: u32, month: u32, day: u32) -> bool {
    /// The days of a month in a leap year; none in months that there are not.
    const DAYS: [u8; 16] = [0, 31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31, 0, 0, 0];
    let days = DAYS.get(month as usize).copied().unwrap_or_default();
    day >= 1 && day <= u32::from(days) && (month != 2 || day < 29 || is_leap(year))
}

fn is_leap(year: u32) -> bool {
    year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400))
}

/// Whether a text starts with a datetime of the commonest form, `2024-05-01T08:44:00`, and then a quote; eight
/// bytes at a time, since this is most of what a record of buses costs. `false` says nothing.
#[inline(always)]
pub(super) fn starts_with_plain_datetime(text: &[u8; PLAIN_DATETIME + 1]) -> bool {
    let word = |at: usize| u64::from_le_bytes(*text[at..].first_chunk().expect("it is within the twenty bytes"));
    // Digits become their numbers and what stands between them nought, if all is well.
    let (date, time) = (word(0) ^ shape(b"0000-00-"), word(8) ^ shape(b"00T00:00"));
    let [.., colon, tens, ones, quote] = *text;
    let last = u32::from_le_bytes([colon, tens, ones, quote]) ^ u32::from_le_bytes(*b":00\"");
    let over = (date.wrapping_add(shape(b"\x76\x76\x76\x76\x7f\x76\x76\x7f")) | date)
        | (time.wrapping_add(shape(b"\x76\x76\x7f\x76\x76\x7f\x76\x76")) | time)
        | u64::from(last.wrapping_add(u32::from_le_bytes(*b"\x7f\x76\x76\x7f")) | last);
    let at = |word: u64, byte: u32| (word >> (8 * byte)) as u32 & 0xf;
    let two = |word: u64, byte: u32| at(word, byte) * 10 + at(word, byte + 1);
    over & 0x8080_8080_8080_8080 == 0
        && (two(time, 3) < 24) & (two(time, 6) < 60) & (two(u64::from(last), 1) < 60)
        && is_day(two(date, 0) * 100 + two(date, 2), two(date, 5), two(time, 0))
}

/// The length of a datetime of the commonest form.
pub(super) const PLAIN_DATETIME: usize = 19;

const fn shape(text: &[u8; 8]) -> u64 {
    u64::from_le_bytes(*text)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn days_that_there_are() {
        for (text, right) in [
            ("2024-02-29", true),
            ("2023-02-29", false),
            ("1900-02-29", false),
            ("2000-02-29", true),
            ("2024-02-30", false),
            ("2024-04-31", false),
            ("2024-13-01", false),
            ("2024-00-01", false),
            ("2024-01-00", false),
            ("0000-01-01", true),
            ("12024-01-01", false),
            ("2024-1-01", false),
            ("2024/01/01", false),
            ("", false),
        ] {
            assert_eq!(is_date(text.as_bytes()), right, "{text}");
        }
    }

    #[test]
    fn times_that_there_are() {
        for (text, right) in [
            ("2024-05-01T08:44:00", true),
            ("2024-05-01 08:44:00", true),
            ("2024-05-01T08:44:00Z", true),
            ("2024-05-01T08:44:00.123456789123+02:00", true),
            ("2024-05-01T08:44:00-23:59", true),
            ("2024-05-01T24:00:00", false),
            ("2024-05-01T23:60:00", false),
            ("2024-05-01T23:59:60", false),
            ("2024-05-01T08:44", true),
            ("2024-05-01T08:44Z", true),
            ("2024-05-01T08:44+02", true),
            ("2024-05-01T08:44:00.123-0400", true),
            ("2024-05-01T08:44:00+04", true),
            ("2024-05-01T08:44:00,5Z", true),
            ("20240501T084400Z", true),
            ("20240501T0844", true),
            ("20240501T084400.5+0200", true),
            ("2024-05-01T08", false),
            ("2024-05-01T08:", false),
            ("2024-05-01T08:44:", false),
            ("2024-05-01T08:4", false),
            ("2024-05-01T0844", false),
            ("20240501T08:44", false),
            ("20240501T084", false),
            ("20240501T08440", false),
            ("20240231T0844", false),
            ("2024-05-01T08:44:00+", false),
            ("2024-05-01T08:44:00+040", false),
            ("2024-05-01T08:44:00+0460", false),
            ("2024-05-01T08:44:00.", false),
            ("2024-05-01T08:44:00+2:00", false),
            ("2024-05-01T08:44:00+24:00", false),
            ("2024-05-01T08:44:00 Z", false),
            ("2024-05-01_08:44:00", false),
            ("2023-02-29T08:44:00", false),
            ("2024-05-01", false),
        ] {
            assert_eq!(is_datetime(text.as_bytes()), right, "{text}");
        }
    }

    #[test]
    fn formats_beside_iso_8601() {
        let pattern = |pattern: &str| TimeFormat::Pattern(pattern.to_owned());
        for (text, format, with_time, right) in [
            ("31/12/2024", pattern("%d/%m/%Y"), false, true),
            ("12/31/2024", pattern("%d/%m/%Y"), false, false),
            ("2024-12-31", pattern("%d/%m/%Y"), false, false),
            ("31.02.2024 10:00", pattern("%d.%m.%Y %H:%M"), true, false),
            ("31.01.2024 10:00", pattern("%d.%m.%Y %H:%M"), true, true),
            ("01 May 2024 08:44:00 PM", pattern("%d %b %Y %I:%M:%S %p"), true, true),
            ("1714550400", pattern("%s"), true, true),
            ("Wed, 01 May 2024 08:44:00 GMT", TimeFormat::Any, true, true),
            ("2024-05-01 08:44:00 +0200", TimeFormat::Any, true, true),
            ("2024/05/01", TimeFormat::Any, false, true),
            ("May 1, 2024", TimeFormat::Any, false, true),
            ("2024-05-01T08:44Z", TimeFormat::Any, true, true),
            ("01/05/2024", TimeFormat::Any, false, false),
            ("yesterday", TimeFormat::Any, true, false),
        ] {
            assert_eq!(has_format(text.as_bytes(), &format, with_time), right, "{text}");
        }
        for (pattern, with_time, right) in [
            ("%d/%m/%Y", false, true),
            ("%d/%m/%Y", true, true),
            ("%s", true, true),
            ("%m/%Y", false, false),
            ("%H:%M", true, false),
            ("%Q1", false, false),
            ("day", false, false),
        ] {
            assert_eq!(check_pattern(pattern, with_time).is_ok(), right, "{pattern}");
        }
    }

    proptest! {
        #[test]
        fn the_calendar_is_jiffs(year in 0_i16..=9999, month in 0_i8..=20, day in 0_i8..=40) {
            let text = format!("{year:04}-{month:02}-{day:02}");
            prop_assert_eq!(is_date(text.as_bytes()), jiff::civil::Date::new(year, month, day).is_ok());
        }

        #[test]
        fn the_short_cut_agrees(
            text in "[0-9]{3}[0-9:/][-.][0-3][0-9][-,][0-3][0-9][T ][0-2][0-9]:[0-6][0-9]:[0-6][0-9\"][\"Z]",
            changed in proptest::option::of((0..20_usize, any::<u8>())),
        ) {
            let mut text: [u8; 20] = text.as_bytes().try_into().unwrap();
            if let Some((at, byte)) = changed {
                text[at] = byte;
            }
            let expected = is_datetime(&text[..19]) && text[10] == b'T' && text[19] == b'"';
            prop_assert_eq!(starts_with_plain_datetime(&text), expected);
        }
    }
}
