//! The day that is asked for.

use jiff::civil::Date;

/// A day of the calendar, spelled `2024-05-01`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Day {
    /// As it stands in records.
    pub(crate) text: [u8; 10],
    /// The same as a number, `20240501`.
    pub(crate) number: u64,
}

impl Day {
    /// No other spelling is taken: `20240501` and `2024-5-1` are mistakes of the client.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let date: Date = text.parse().ok()?;
        if date.to_string() != text {
            return None;
        }
        let number = text.replace('-', "").parse().ok()?;
        Some(Self { text: text.as_bytes().try_into().ok()?, number })
    }

    pub(crate) fn as_str(&self) -> &str {
        std::str::from_utf8(&self.text).expect("it was made from a str of ASCII")
    }
}

#[cfg(test)]
mod tests {
    use super::Day;

    #[test]
    fn only_days_of_the_calendar_in_one_spelling() {
        let day = Day::parse("2024-02-29").unwrap();
        assert_eq!((day.as_str(), day.number), ("2024-02-29", 20_240_229));
        for wrong in ["", "2024-02-30", "2023-02-29", "20240501", "2024-5-1", "01.05.2024", "2024-05-01T00:00:00"] {
            assert_eq!(Day::parse(wrong), None, "{wrong}");
        }
        assert_eq!(Day::parse("-002024-05-01"), None);
    }
}
