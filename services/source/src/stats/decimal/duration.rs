//! Durations as ISO 8601 spells them, in 10⁻⁹ seconds. Years and months are never guessed at.

use crate::stats::decimal::{LIMIT, ONE};

/// The parts in the order in which they must come, and their seconds. `T` stands between the second and
/// the third.
const PARTS: [(u8, i128); 5] = [(b'W', 604_800), (b'D', 86_400), (b'H', 3_600), (b'M', 60), (b'S', 1)];

/// Digits of a fraction that are looked at. With the largest unit, 20 of them stay within an `i128`.
const FRACTION_DIGITS: usize = 20;

/// See [`crate::stats::decimal::Decimal::from_iso_duration`].
pub(crate) fn iso_duration(text: &[u8]) -> Option<i128> {
    let (negative, rest) = match text {
        [b'-', b'P', rest @ ..] => (true, rest),
        [b'+', b'P', rest @ ..] | [b'P', rest @ ..] => (false, rest),
        _ => return None,
    };
    let magnitude = magnitude(rest)?;
    Some(if negative { -magnitude } else { magnitude })
}

/// What comes after the `P`.
fn magnitude(mut rest: &[u8]) -> Option<i128> {
    let mut total = 0_i128;
    let mut next_part = 0;
    let mut in_time = false;
    loop {
        if let [b'T', time @ ..] = rest {
            if in_time {
                return None;
            }
            in_time = true;
            next_part = 2;
            rest = time;
        }
        let (whole, after) = digits(rest)?;
        let mut nanos = whole.checked_mul(ONE)?;
        let fraction = match after {
            [b'.' | b',', after @ ..] => {
                let length = after.iter().take_while(|byte| byte.is_ascii_digit()).count();
                (length > 0).then_some(&after[..length])?
            }
            _ => &[],
        };
        // A fraction takes its mark with it.
        let taken = if fraction.is_empty() { 0 } else { fraction.len() + 1 };
        let (&letter, after) = after[taken..].split_first()?;
        let allowed = if in_time { next_part..PARTS.len() } else { next_part..2 };
        let part = PARTS.get(allowed.clone())?.iter().position(|(name, _)| *name == letter)? + allowed.start;
        let seconds = PARTS[part].1;
        nanos = nanos.checked_mul(seconds)?.checked_add(fraction_of(fraction, seconds))?;
        total = total.checked_add(nanos)?;
        if total >= LIMIT {
            return None;
        }
        if after.is_empty() {
            return Some(total);
        }
        if !fraction.is_empty() {
            return None;
        }
        next_part = part + 1;
        rest = after;
    }
}

/// The number that `text` starts with, and what follows it.
fn digits(text: &[u8]) -> Option<(i128, &[u8])> {
    let length = text.iter().take_while(|byte| byte.is_ascii_digit()).count();
    let (digits, after) = text.split_at(length);
    if digits.is_empty() {
        return None;
    }
    let value = digits.iter().try_fold(0_i128, |value, digit| {
        let value = value * 10 + i128::from(digit - b'0');
        (value < LIMIT).then_some(value)
    })?;
    Some((value, after))
}

/// `0.fraction` times `seconds`, in 10⁻⁹, half rounded up.
fn fraction_of(fraction: &[u8], seconds: i128) -> i128 {
    let looked_at = &fraction[..fraction.len().min(FRACTION_DIGITS)];
    let numerator = looked_at.iter().fold(0_i128, |value, digit| value * 10 + i128::from(digit - b'0'));
    let denominator = 10_i128.pow(looked_at.len() as u32);
    (numerator * seconds * ONE + denominator / 2) / denominator
}

#[cfg(test)]
mod tests {
    use crate::Decimal;

    #[test]
    fn reads_durations() {
        for (text, seconds) in [
            ("PT1980S", "1980"),
            ("PT1H30M", "5400"),
            ("P1DT2H", "93600"),
            ("-P1DT2H", "-93600"),
            ("P2W", "1209600"),
            ("P1W1D", "691200"),
            ("PT0.5S", "0.5"),
            ("PT0,5S", "0.5"),
            ("PT1.5H", "5400"),
            ("PT0.0000000005S", "0.000000001"),
            ("PT0.00000000049S", "0"),
            ("PT0.333333333333333333333333333333H", "1200"),
            ("P0D", "0"),
            ("-PT0S", "0"),
            ("-PT30S", "-30"),
            ("+PT5S", "5"),
            ("PT007S", "7"),
            ("P1DT1H1M1.000000001S", "90061.000000001"),
            ("PT999999999999999999S", "999999999999999999"),
        ] {
            let found = Decimal::from_iso_duration(text).map(|found| found.to_string());
            assert_eq!(found.as_deref(), Some(seconds), "{text}");
        }
    }

    #[test]
    fn refuses_what_is_no_duration() {
        for text in [
            "",
            "P",
            "PT",
            "-",
            "+",
            "T5S",
            "5S",
            "P1M",
            "P1Y",
            "P1Y2M",
            "P1DT",
            "PT1S ",
            " PT1S",
            "PT1",
            "P1S",
            "PT1D",
            "PTS",
            "PT.5S",
            "PT5.S",
            "PT1.5H30M",
            "PT1M1H",
            "PT1S1S",
            "P1D1W",
            "PT-5S",
            "pt5s",
            "P1DTT1S",
            "PT1ST1S",
            "PT1H2T3S",
            "--PT1S",
            "PT1000000000000000000S",
            "P99999999999999999W",
            "PT99999999999999999999999999999999999999999S",
            "PT٣S",
        ] {
            assert_eq!(Decimal::from_iso_duration(text), None, "{text}");
        }
    }
}
