//! Exact fixed-point numbers: what statistics are made of.
//!
//! A float sum depends on the order of its terms; a fixed-point sum does not. So every number, and
//! every duration (in seconds), is kept as a whole count of 10⁻⁹ in an `i128`. No float is ever added
//! up here.

mod duration;
mod number;

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

pub(crate) use self::duration::iso_duration;
pub(crate) use self::number::{Whole, number_end, parse, scaled, whole};

/// How many parts a whole has: nine decimals.
pub(crate) const ONE: i128 = 1_000_000_000;

/// A single number or duration of a record stays below 10¹⁸ in magnitude (an integer is an `i64`), so that
/// the sum of 10¹⁰ of them still fits the `i128`: 10¹⁰ · 2⁶³ · 10⁹ < 2¹²⁷.
pub(crate) const LIMIT: i128 = ONE * 1_000_000_000_000_000_000;

/// A number with nine decimals, exact under addition in any order.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Decimal(pub(crate) i128);

impl Decimal {
    /// Nought.
    pub const ZERO: Self = Self(0);

    /// The length in seconds of an ISO 8601 duration: weeks, days, hours, minutes and seconds in this order,
    /// a sign before the `P`, a fraction (`.` or `,`) in the last part: `PT1980S`, `-P1DT2H`, `PT0,5S`.
    /// `None` for anything else, for years and months, which have no length, and from 10¹⁸ seconds on.
    pub fn from_iso_duration(text: &str) -> Option<Self> {
        iso_duration(text.as_bytes()).map(Self)
    }

    /// The exact sum, or `None` beyond ±1.7·10²⁹.
    pub fn checked_add(self, other: Self) -> Option<Self> {
        self.0.checked_add(other.0).map(Self)
    }

    /// `self / count` with so many decimals (at most 9), half rounded away from zero; nought where `count` is.
    pub fn mean(self, count: u64, decimals: u8) -> Self {
        if count == 0 {
            return Self::ZERO;
        }
        let unit = 10_u128.pow(9 - u32::from(decimals.min(9)));
        let divisor = unit * u128::from(count);
        let (whole, rest) = (self.0.unsigned_abs() / divisor, self.0.unsigned_abs() % divisor);
        let magnitude = (whole + u128::from(rest >= divisor - rest)) * unit;
        // Only the outermost numbers of the type could be rounded out of it.
        let magnitude = i128::try_from(magnitude).unwrap_or(i128::MAX);
        Self(if self.0 < 0 { -magnitude } else { magnitude })
    }
}

impl From<i64> for Decimal {
    fn from(whole: i64) -> Self {
        Self(i128::from(whole) * ONE)
    }
}

/// Plain, without an exponent and without trailing zeros: `-12500`, `0.5`.
impl fmt::Display for Decimal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let magnitude = self.0.unsigned_abs();
        let (whole, mut fraction) = (magnitude / ONE.unsigned_abs(), magnitude % ONE.unsigned_abs());
        let mut text = whole.to_string();
        if fraction > 0 {
            let mut width = 9;
            while fraction % 10 == 0 {
                fraction /= 10;
                width -= 1;
            }
            text.push_str(&format!(".{fraction:0width$}"));
        }
        f.pad_integral(self.0 >= 0, "", &text)
    }
}

/// Reads what JSON calls a number: `-12.5e3`. Decimals from the tenth on are rounded, half away from zero.
impl FromStr for Decimal {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match number_end(text.as_bytes(), 0) {
            Ok(end) if end == text.len() => {}
            _ => return Err(format!("expected a number such as -12.5, found {text:?}")),
        }
        let nanos = parse(text.as_bytes());
        nanos.map(Self).ok_or_else(|| format!("expected a number within ±1.7e29, found {text}"))
    }
}

impl TryFrom<String> for Decimal {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

impl From<Decimal> for String {
    fn from(decimal: Decimal) -> Self {
        decimal.to_string()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn reads_and_shows() {
        for (text, shown) in [
            ("0", "0"),
            ("-0", "0"),
            ("-12.5e3", "-12500"),
            ("1.25E+2", "125"),
            ("0.1", "0.1"),
            ("1e-9", "0.000000001"),
            ("0.0000000005", "0.000000001"),
            ("-0.0000000005", "-0.000000001"),
            ("0.00000000049999999999999999999999999999999999999999999", "0"),
            ("5e-10", "0.000000001"),
            ("9e-11", "0"),
            ("0.9999999995", "1"),
            ("0e999999999999999999999999", "0"),
            ("1e-999999999999999999999999", "0"),
            ("123456789012345678901234567", "123456789012345678901234567"),
            ("100000000000000000000000000000000000000000e-30", "100000000000"),
        ] {
            assert_eq!(text.parse::<Decimal>().unwrap().to_string(), shown, "{text}");
        }
        assert_eq!(format!("{:>6}", Decimal(-ONE / 2)), "  -0.5");
    }

    #[test]
    fn refuses_what_is_no_number() {
        for text in
            ["", "-", "+1", "01", "1.", ".5", "1e", "1e+", "NaN", "1 ", "0x1", "1e30", "170141183460469231731687303716"]
        {
            assert!(text.parse::<Decimal>().is_err(), "{text}");
        }
    }

    #[test]
    fn means_round_half_away_from_zero() {
        let mean = |text: &str, count, decimals| text.parse::<Decimal>().unwrap().mean(count, decimals).to_string();
        assert_eq!(mean("5", 2, 0), "3");
        assert_eq!(mean("-5", 2, 0), "-3");
        assert_eq!(mean("10", 3, 0), "3");
        assert_eq!(mean("20", 3, 2), "6.67");
        assert_eq!(mean("1", 3, 9), "0.333333333");
        assert_eq!(mean("1", 3, 200), "0.333333333");
        assert_eq!(mean("7", 0, 3), "0");
        assert_eq!(Decimal(i128::MIN).mean(1, 0), Decimal(-i128::MAX));
        assert_eq!(Decimal(i128::MAX).mean(u64::MAX, 0).to_string(), "9223372037");
    }

    proptest! {
        #[test]
        fn text_is_exact(nanos: i128) {
            let decimal = Decimal(nanos);
            prop_assert_eq!(decimal.to_string().parse::<Decimal>(), Ok(decimal));
            let json = serde_json::to_string(&decimal).unwrap();
            prop_assert_eq!(serde_json::from_str::<Decimal>(&json).unwrap(), decimal);
        }

        #[test]
        fn the_exponent_only_moves_the_point(digits in 0_u64..1_000_000_000_000, exponent in -9_i32..9) {
            let expected = i128::from(digits) * 10_i128.pow((9 + exponent) as u32);
            prop_assert_eq!(format!("{digits}e{exponent}").parse::<Decimal>(), Ok(Decimal(expected)));
        }
    }
}
