//! Numbers as JSON spells them. The grammar is RFC 8259's to the letter: no sign `+`, no leading zeros, no
//! bare point.

/// The end of the number that starts at `pos`, or where it breaks off: at the length of `bytes` if that is
/// only because there are no more of them.
pub(crate) fn number_end(bytes: &[u8], mut pos: usize) -> Result<usize, usize> {
    if bytes.get(pos) == Some(&b'-') {
        pos += 1;
    }
    if bytes.get(pos) == Some(&b'0') {
        pos += 1;
        if bytes.get(pos).is_some_and(u8::is_ascii_digit) {
            return Err(pos);
        }
    } else {
        pos = digits_end(bytes, pos)?;
    }
    if bytes.get(pos) == Some(&b'.') {
        pos = digits_end(bytes, pos + 1)?;
    }
    if let Some(b'e' | b'E') = bytes.get(pos) {
        pos += 1;
        if let Some(b'+' | b'-') = bytes.get(pos) {
            pos += 1;
        }
        pos = digits_end(bytes, pos)?;
    }
    Ok(pos)
}

/// The end of the digits at `pos`, of which there must be one.
fn digits_end(bytes: &[u8], pos: usize) -> Result<usize, usize> {
    let rest = bytes.get(pos..).unwrap_or_default();
    match rest.iter().take_while(|byte| byte.is_ascii_digit()).count() {
        0 => Err(pos),
        count => Ok(pos + count),
    }
}

/// The value of a number that has the grammar, in 10⁻⁹, half rounded away from zero. `None` where it does
/// not fit.
pub(crate) fn parse(number: &[u8]) -> Option<i128> {
    let (negative, unsigned) = match number.strip_prefix(b"-") {
        Some(rest) => (true, rest),
        None => (false, number),
    };
    let mantissa = unsigned.split(|byte| matches!(byte, b'e' | b'E')).next().unwrap_or_default();
    let exponent = exponent(unsigned.get(mantissa.len() + 1..).unwrap_or_default());
    let whole = mantissa.iter().take_while(|byte| **byte != b'.').count() as i64;
    let digits = mantissa.iter().filter(|byte| **byte != b'.').map(|byte| i128::from(byte - b'0'));

    // So many digits are left of the point once it is moved nine places to the right; the next one rounds.
    let mut keep = whole + exponent + 9;
    let mut magnitude = 0_i128;
    for digit in digits {
        if keep <= 0 {
            magnitude = magnitude.checked_sub(i128::from(keep == 0 && digit >= 5))?;
            keep = i64::MIN;
            break;
        }
        // Downwards, since the type reaches one further there.
        magnitude = magnitude.checked_mul(10)?.checked_sub(digit)?;
        keep -= 1;
    }
    while keep > 0 && magnitude != 0 {
        magnitude = magnitude.checked_mul(10)?;
        keep -= 1;
    }
    if negative { Some(magnitude) } else { magnitude.checked_neg() }
}

/// What a number that has the grammar comes to as a whole one, however it is written: `7`, `7.0`, `70e-1`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Whole {
    Value(i128),
    /// Beyond an `i128`.
    TooLarge,
    /// It has a fraction.
    Fraction,
}

pub(crate) fn whole(number: &[u8]) -> Whole {
    scaled(number, 0)
}

/// The same of the number times 10 to the power of `places`.
pub(crate) fn scaled(number: &[u8], places: u32) -> Whole {
    let (negative, unsigned) = match number.strip_prefix(b"-") {
        Some(rest) => (true, rest),
        None => (false, number),
    };
    let mantissa = unsigned.split(|byte| matches!(byte, b'e' | b'E')).next().unwrap_or_default();
    let exponent = exponent(unsigned.get(mantissa.len() + 1..).unwrap_or_default());
    // So many digits are left of the point.
    let mut left = mantissa.iter().take_while(|byte| **byte != b'.').count() as i64 + exponent + i64::from(places);
    let mut magnitude = Some(0_i128);
    for digit in mantissa.iter().filter(|byte| **byte != b'.').map(|byte| i128::from(byte - b'0')) {
        if left > 0 {
            magnitude = magnitude.and_then(|magnitude| magnitude.checked_mul(10)?.checked_add(digit));
        } else if digit != 0 {
            return Whole::Fraction;
        }
        left -= 1;
    }
    while left > 0 && magnitude.is_some_and(|magnitude| magnitude != 0) {
        magnitude = magnitude.and_then(|magnitude| magnitude.checked_mul(10));
        left -= 1;
    }
    magnitude.map_or(Whole::TooLarge, |magnitude| Whole::Value(if negative { -magnitude } else { magnitude }))
}

/// An exponent, bounded to what makes a difference to any number that fits into memory.
fn exponent(text: &[u8]) -> i64 {
    const FAR: i64 = 1 << 40;
    let (negative, digits) = match text {
        [b'-', rest @ ..] => (true, rest),
        [b'+', rest @ ..] => (false, rest),
        rest => (false, rest),
    };
    let value = digits.iter().fold(0_i64, |value, digit| (value * 10 + i64::from(digit - b'0')).min(FAR));
    if negative { -value } else { value }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whole_numbers_are_exact_however_they_are_written() {
        for (text, expected) in [
            ("7", Whole::Value(7)),
            ("-7.0", Whole::Value(-7)),
            ("7e0", Whole::Value(7)),
            ("70E-1", Whole::Value(7)),
            ("0.07e2", Whole::Value(7)),
            ("-0.000", Whole::Value(0)),
            ("0e999999999999999999999", Whole::Value(0)),
            ("9007199254740993.0", Whole::Value(9_007_199_254_740_993)),
            ("9.223372036854775807e18", Whole::Value(9_223_372_036_854_775_807)),
            ("7.1", Whole::Fraction),
            ("7.00000000000000000000000000001", Whole::Fraction),
            ("9007199254740993.5", Whole::Fraction),
            ("7e-1", Whole::Fraction),
            ("1e-999999999999999999999", Whole::Fraction),
            ("1e400", Whole::TooLarge),
            ("1000000000000000000000000000000000000000000", Whole::TooLarge),
        ] {
            assert_eq!(whole(text.as_bytes()), expected, "{text}");
        }
    }

    #[test]
    fn places_move_the_point() {
        for (text, places, expected) in [
            ("1.25", 2, Whole::Value(125)),
            ("-1.2", 2, Whole::Value(-120)),
            ("1.250", 2, Whole::Value(125)),
            ("1.255", 2, Whole::Fraction),
            ("125e-2", 2, Whole::Value(125)),
            ("1e3", 2, Whole::Value(100_000)),
            ("0.00", 38, Whole::Value(0)),
            ("1e38", 2, Whole::TooLarge),
        ] {
            assert_eq!(scaled(text.as_bytes(), places), expected, "{text}");
        }
    }
}
