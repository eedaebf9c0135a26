//! The inner loops: white space, strings, numbers, and eight bytes at a time.
//!
//! Each reads from a position and returns the next, or stops; none keeps anything, so each can be begun
//! again with more bytes and comes to the same end.

use std::{borrow::Cow, str};

use crate::{
    scan::error::{Step, ended, missing, wrong},
    stats::decimal::number_end,
};

const ONES: u64 = u64::from_ne_bytes([0x01; 8]);
const HIGHS: u64 = u64::from_ne_bytes([0x80; 8]);

/// Eight bytes, the first lowest; `None` within eight bytes of the end.
#[inline(always)]
pub(super) fn word(bytes: &[u8], pos: usize) -> Option<u64> {
    bytes.get(pos..)?.first_chunk().map(|chunk| u64::from_le_bytes(*chunk))
}

/// The next byte that is no white space.
#[inline(always)]
pub(super) fn after_space(bytes: &[u8], pos: usize) -> usize {
    match bytes.get(pos) {
        Some(byte) if *byte > b' ' => pos,
        _ => after_more_space(bytes, pos),
    }
}

#[inline(never)]
fn after_more_space(bytes: &[u8], mut pos: usize) -> usize {
    while let Some(b' ' | b'\n' | b'\r' | b'\t') = bytes.get(pos) {
        pos += 1;
    }
    pos
}

/// The first byte from `pos` on that is not plain text inside a string: a quote, a backslash, a control
/// character or the beginning of a non-ASCII character; the length of `bytes` if there is none.
#[inline(always)]
pub(super) fn plain_end(bytes: &[u8], mut pos: usize) -> usize {
    while let Some(word) = word(bytes, pos) {
        // The lowest bit found is right; those above it may be borrowed from it.
        let quote = word ^ (ONES * u64::from(b'"'));
        let backslash = word ^ (ONES * u64::from(b'\\'));
        let zeros = (quote.wrapping_sub(ONES) & !quote) | (backslash.wrapping_sub(ONES) & !backslash);
        let control = word.wrapping_sub(ONES * 0x20) & !word;
        let special = (zeros | control | word) & HIGHS;
        if special != 0 {
            return pos + special.trailing_zeros() as usize / 8;
        }
        pos += 8;
    }
    while bytes.get(pos).is_some_and(|byte| matches!(byte, 0x20..0x80) && *byte != b'"' && *byte != b'\\') {
        pos += 1;
    }
    pos
}

/// Reads the string whose text begins at `pos`, behind the quote, and moves `pos` on as far as all is well, so
/// that a long one can be continued there. Returns whether there were escapes.
pub(super) fn string_rest(bytes: &[u8], pos: &mut usize) -> Step<bool> {
    let mut escaped = false;
    loop {
        *pos = plain_end(bytes, *pos);
        match bytes.get(*pos) {
            Some(b'"') => {
                *pos += 1;
                return Ok(escaped);
            }
            Some(b'\\') => {
                *pos = escape_end(bytes, *pos)?;
                escaped = true;
            }
            Some(0x80..) => wide_end(bytes, pos)?,
            Some(_) => return Err(wrong(*pos, "a control character to be escaped")),
            None => return Err(ended("a closing quote")),
        }
    }
}

/// Reads the string whose opening quote is at `pos`: where it ends, and whether there are escapes in it.
#[inline]
pub(super) fn string(bytes: &[u8], pos: usize) -> Step<(usize, bool)> {
    let end = plain_end(bytes, pos + 1);
    if bytes.get(end) == Some(&b'"') {
        return Ok((end + 1, false));
    }
    let mut end = pos + 1;
    let escaped = string_rest(bytes, &mut end)?;
    Ok((end, escaped))
}

/// The end of the characters beyond ASCII that begin at `pos`.
fn wide_end(bytes: &[u8], pos: &mut usize) -> Step<()> {
    let rest = &bytes[*pos..];
    let length = rest.iter().position(u8::is_ascii).unwrap_or(rest.len());
    match str::from_utf8(&rest[..length]) {
        Ok(_) => {
            *pos += length;
            Ok(())
        }
        Err(error) => {
            *pos += error.valid_up_to();
            let cut = error.error_len().is_none() && length == rest.len();
            Err(if cut { ended("a closing quote") } else { wrong(*pos, "UTF-8") })
        }
    }
}

/// The end of the escape whose backslash is at `pos`; both halves of a surrogate pair are one escape.
fn escape_end(bytes: &[u8], pos: usize) -> Step<usize> {
    match bytes.get(pos + 1) {
        Some(b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't') => return Ok(pos + 2),
        Some(b'u') => {}
        _ => return Err(missing(bytes, pos + 1, "an escape such as \\n or \\u00e9").at(pos)),
    }
    match code_unit(bytes, pos)? {
        0xd800..0xdc00 => match code_unit(bytes, pos + 6)? {
            0xdc00..0xe000 => Ok(pos + 12),
            _ => Err(wrong(pos, "the second half of a surrogate pair to follow")),
        },
        0xdc00..0xe000 => Err(wrong(pos, "the first half of a surrogate pair before the second")),
        _ => Ok(pos + 6),
    }
}

/// The number in the escape `\u00e9` at `pos`.
fn code_unit(bytes: &[u8], pos: usize) -> Step<u16> {
    let mut unit = 0;
    for at in pos..pos + 6 {
        let Some(byte) = bytes.get(at) else { return Err(ended("a closing quote")) };
        match (at - pos, byte) {
            (0, b'\\') | (1, b'u') => {}
            (2.., b'0'..=b'9' | b'a'..=b'f' | b'A'..=b'F') => {
                let digit = (*byte as char).to_digit(16).expect("it is one of the digits above");
                unit = unit << 4 | digit as u16;
            }
            (0 | 1, _) => return Err(wrong(at, "the second half of a surrogate pair")),
            _ => return Err(wrong(pos, "four hexadecimal digits after \\u")),
        }
    }
    Ok(unit)
}

/// The text of a string that was read: without its quotes, its escapes resolved.
pub(super) fn unescaped(string: &[u8]) -> String {
    serde_json::from_slice(string).expect("the string was read, so it is valid JSON")
}

/// The member name at `pos`, without quotes and escapes, and where it ends.
pub(super) fn name(bytes: &[u8], pos: usize) -> Step<(Cow<'_, [u8]>, usize)> {
    if bytes.get(pos) != Some(&b'"') {
        return Err(missing(bytes, pos, "a name in quotes"));
    }
    let (end, escaped) = string(bytes, pos)?;
    let text = &bytes[pos..end];
    Ok((if escaped { unescaped(text).into_bytes().into() } else { text[1..text.len() - 1].into() }, end))
}

/// The end of the number at `pos`. It needs a byte behind it, which every number in a container has.
pub(super) fn number(bytes: &[u8], pos: usize) -> Step<usize> {
    match number_end(bytes, pos) {
        Ok(end) if end < bytes.len() => Ok(end),
        Ok(_) => Err(ended("the end of a number")),
        Err(at) if at >= bytes.len() => Err(ended("a digit")),
        Err(_) => Err(wrong(pos, "a number")),
    }
}

/// The end of `literal`, which should be at `pos`.
pub(super) fn literal(bytes: &[u8], pos: usize, literal: &'static str) -> Step<usize> {
    let rest = &bytes[pos..];
    if rest.starts_with(literal.as_bytes()) {
        Ok(pos + literal.len())
    } else if literal.as_bytes().starts_with(rest) {
        Err(ended(literal))
    } else {
        Err(wrong(pos, literal))
    }
}

/// One to seven digits and how many they are; `None` for none, for more, and near the end of `bytes`.
#[inline(always)]
pub(super) fn few_digits(bytes: &[u8], pos: usize) -> Option<(u32, usize)> {
    let digits = word(bytes, pos)? ^ (ONES * u64::from(b'0'));
    let others = (digits.wrapping_add(ONES * 0x76) | digits) & HIGHS;
    let count = others.trailing_zeros() as usize / 8;
    if others == 0 || count == 0 {
        return None;
    }
    // The digits to the top, noughts before them, then pairs, fours and all eight at once.
    let digits = digits << (64 - 8 * count);
    let pairs = digits.wrapping_mul(10).wrapping_add(digits >> 8) & 0x00ff_00ff_00ff_00ff;
    let fours = pairs.wrapping_mul(100).wrapping_add(pairs >> 16) & 0x0000_ffff_0000_ffff;
    let value = fours.wrapping_mul(10_000).wrapping_add(fours >> 32) as u32;
    Some((value, count))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn digits_are_read_like_anywhere(text in "[0-9]{0,9}[^0-9].{8}") {
            let count = text.bytes().take_while(u8::is_ascii_digit).count();
            let expected = (1..8).contains(&count).then(|| (text[..count].parse().unwrap(), count));
            prop_assert_eq!(few_digits(text.as_bytes(), 0), expected);
        }

        #[test]
        fn plain_text_ends_where_it_should(bytes: Vec<u8>, mostly in "[ -~]{0,30}") {
            let bytes = [mostly.into_bytes(), bytes].concat();
            let special = |byte: &u8| matches!(byte, b'"' | b'\\' | 0..0x20 | 0x80..);
            let expected = bytes.iter().position(special).unwrap_or(bytes.len());
            prop_assert_eq!(plain_end(&bytes, 0), expected);
        }
    }
}
