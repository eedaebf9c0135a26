//! Conditional and partial requests, RFC 9110 §13 and §14: the part that strong tags and one range need.

use std::ops::Range;

use poem::http::{HeaderMap, HeaderName, header};

/// Which part of a file an answer holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Part {
    /// All of it.
    Whole,
    /// These bytes of it: 206.
    Some(Range<u64>),
    /// None, since it ends before: 416.
    Beyond,
}

/// Whether the client has what `etag` stands for.
pub(crate) fn not_modified(headers: &HeaderMap, etag: &str) -> bool {
    // None of our tags holds a comma, so the list can be cut there.
    let tags = text(headers, header::IF_NONE_MATCH).unwrap_or_default().split(',').map(str::trim);
    tags.into_iter().any(|tag| tag == "*" || tag.strip_prefix("W/").unwrap_or(tag) == etag)
}

/// The part that is asked for. A range that cannot be understood, or several of them, is ignored, which
/// a server may do; so is one whose `If-Range` names anything but `etag`.
pub(crate) fn part(headers: &HeaderMap, etag: Option<&str>, length: u64) -> Part {
    if headers.contains_key(header::IF_RANGE) && text(headers, header::IF_RANGE) != etag {
        return Part::Whole;
    }
    text(headers, header::RANGE).and_then(|range| parse(range, length)).unwrap_or(Part::Whole)
}

fn parse(range: &str, length: u64) -> Option<Part> {
    let (unit, range) = range.split_once('=')?;
    let (first, last) = range.trim().split_once('-')?;
    if !unit.eq_ignore_ascii_case("bytes") {
        return None;
    }
    let range = match (first, last) {
        ("", suffix) => length.saturating_sub(number(suffix)?)..length,
        (first, "") => number(first)?..length,
        (first, last) => {
            let (first, last) = (number(first)?, number(last)?);
            if first > last {
                return None;
            }
            first..length.min(last.saturating_add(1))
        }
    };
    Some(if range.is_empty() { Part::Beyond } else { Part::Some(range) })
}

/// Digits, however many: what is larger than any file only has to stay so.
fn number(text: &str) -> Option<u64> {
    let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    digits.then(|| text.parse().unwrap_or(u64::MAX))
}

fn text(headers: &HeaderMap, name: HeaderName) -> Option<&str> {
    headers.get(name)?.to_str().ok()
}

#[cfg(test)]
mod tests {
    use super::{Part, parse};

    #[test]
    fn ranges_as_the_rfc_has_them() {
        let cases = [
            ("bytes=0-0", Some(Part::Some(0..1))),
            ("Bytes=0-99", Some(Part::Some(0..10))),
            ("bytes=3-", Some(Part::Some(3..10))),
            ("bytes=-3", Some(Part::Some(7..10))),
            ("bytes=-30", Some(Part::Some(0..10))),
            ("bytes=9-99999999999999999999999", Some(Part::Some(9..10))),
            ("bytes=10-", Some(Part::Beyond)),
            ("bytes=10-12", Some(Part::Beyond)),
            ("bytes=-0", Some(Part::Beyond)),
            ("bytes=5-4", None),
            ("bytes=-", None),
            ("bytes=+1-2", None),
            ("bytes=0-1,3-4", None),
            ("lines=0-1", None),
            ("bytes", None),
        ];
        for (header, part) in cases {
            assert_eq!(parse(header, 10), part, "{header}");
        }
        assert_eq!(parse("bytes=0-", 0), Some(Part::Beyond));
    }
}
