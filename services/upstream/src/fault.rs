//! What can go wrong, how often, and for whom.

use std::{collections::HashMap, str::FromStr};

use bytes::Bytes;
use serde::{Deserialize, Deserializer};

use crate::files::mix::{Use, mix};

/// What a fault calls a page in HTML.
pub(crate) const PAGE: &[u8] = b"<!DOCTYPE html>\n<html><head><title>Maintenance</title></head>\n\
    <body><h1>We will be back soon</h1></body></html>\n";

/// A probability, 0 to 1.
#[derive(Debug, Clone, Copy, PartialEq, PartialOrd, Default, Deserialize)]
#[serde(try_from = "f64")]
pub struct Chance(f64);

/// Not a number from 0 to 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NotAChance;

impl std::fmt::Display for NotAChance {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("expected a probability from 0 to 1, such as 0.25")
    }
}

impl std::error::Error for NotAChance {}

impl Chance {
    /// 0.
    pub const NEVER: Self = Self(0.0);
    /// 1.
    pub const ALWAYS: Self = Self(1.0);

    /// Whether a draw, evenly spread over all of `u64`, falls under this chance.
    fn strikes(self, draw: u64) -> bool {
        // The upper 53 bits: as many as an f64 holds exactly.
        ((draw >> 11) as f64) / ((1u64 << 53) as f64) < self.0
    }
}

impl TryFrom<f64> for Chance {
    type Error = NotAChance;
    fn try_from(value: f64) -> Result<Self, NotAChance> {
        if (0.0..=1.0).contains(&value) { Ok(Self(value)) } else { Err(NotAChance) }
    }
}

impl FromStr for Chance {
    type Err = NotAChance;
    fn from_str(text: &str) -> Result<Self, NotAChance> {
        text.parse::<f64>().map_err(|_| NotAChance)?.try_into()
    }
}

/// Faults in answering requests for files, and posts.
///
/// Whether a chance strikes is decided by the seed, the city and the date or the post, and how many
/// requests there were for this file or with this post since the faults were set: the same requests fail in
/// every run. Where several strike, the first in the order of the fields counts. `cities` outranks the chances,
/// and so do faults that the title of a post asks for.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Faults {
    /// 503; nothing is done with a post.
    pub server_error: Chance,
    /// 429 with `Retry-After`; nothing is done with a post.
    pub too_many: Chance,
    /// 200 with a page in HTML; 201 for a post.
    pub html: Chance,
    /// The connection drops in the middle of the body; for a post, once it is received, without an answer.
    pub hang_up: Chance,
    /// One record has a string where a number belongs; so has the answer to a post.
    pub wrong_field: Chance,
    /// The file ends in the middle of a record, and its length says so too; so does the answer to a post.
    pub truncated: Chance,
    /// What `Retry-After` says, in seconds.
    pub retry_after: u64,
    /// What every request for a city meets.
    pub cities: HashMap<u64, CityFault>,
}

impl Default for Faults {
    fn default() -> Self {
        Self {
            server_error: Chance::NEVER,
            too_many: Chance::NEVER,
            html: Chance::NEVER,
            hang_up: Chance::NEVER,
            wrong_field: Chance::NEVER,
            truncated: Chance::NEVER,
            retry_after: 1,
            cities: HashMap::new(),
        }
    }
}

impl Faults {
    fn chances(&self) -> [(Chance, CityFault); 6] {
        [
            (self.server_error, CityFault::Status(503)),
            (self.too_many, CityFault::Status(429)),
            (self.html, CityFault::Html),
            (self.hang_up, CityFault::HangUp),
            (self.wrong_field, CityFault::WrongField),
            (self.truncated, CityFault::Truncated),
        ]
    }

    /// Whether requests have to be counted at all.
    pub(crate) fn any(&self) -> bool {
        !self.cities.is_empty() || self.chances().iter().any(|(chance, _)| *chance > Chance::NEVER)
    }

    /// What the `n`th request, from 0, for a file meets.
    pub(crate) fn pick(&self, seed: u64, city: u64, day: u64, n: u64) -> Option<CityFault> {
        if let Some(fault) = self.cities.get(&city) {
            return fault.at(n).cloned();
        }
        self.by_chance(|kind| mix(Use::Fault, &[seed, city, day, n, kind]))
    }

    /// What a post with this hash meets when it comes for the `n`th time, from 0.
    pub(crate) fn pick_for_post(&self, seed: u64, post: u64, n: u64) -> Option<CityFault> {
        self.by_chance(|kind| mix(Use::PostFault, &[seed, post, n, kind]))
    }

    fn by_chance(&self, draw: impl Fn(u64) -> u64) -> Option<CityFault> {
        let mut chances = self.chances().into_iter().enumerate();
        chances.find(|(kind, (chance, _))| chance.strikes(draw(*kind as u64))).map(|(_, (_, fault))| fault)
    }
}

/// What requests for one city meet. A fault in a record is in the one in the middle of the file; where
/// the file has none, one is made for it.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum CityFault {
    /// Always this status, 400 to 599 (any other number is answered with 500); 429 comes with
    /// `Retry-After`.
    Status(u16),
    /// 200 with a page in HTML.
    Html,
    /// The connection drops halfway through what was asked for.
    HangUp,
    /// Halfway through what was asked for, nothing more comes, and the connection stays open.
    Stall,
    /// The file ends in the middle of a record, and its length says so too.
    Truncated,
    /// `passengers` is a string.
    WrongField,
    /// There is no `delay`.
    MissingField,
    /// `passengers` is -5.
    Negative,
    /// `passengers` has 30 digits.
    HugeNumber,
    /// `departure-time` is on the 30th of February.
    ImpossibleDate,
    /// A byte in `bus-type` is not UTF-8.
    InvalidUtf8,
    /// An unknown field holds arrays 10,000 deep.
    Deep,
    /// Not a fault: a byte order mark before the file.
    Bom,
    /// Not a fault: `[]`.
    Empty,
    /// Not a fault: three records instead of one, with keys in another order, keys nobody asked for,
    /// escapes, and white space of every kind.
    Odd,
    /// These bytes are the file, with status 200 and every validator right; from JSON, the UTF-8 of a
    /// string.
    #[serde(deserialize_with = "bytes")]
    Body(Bytes),
    /// The first `requests` for each date meet `fault`, later ones the healthy file.
    First {
        /// How many, since the faults were set.
        requests: u64,
        /// What they meet.
        fault: Box<CityFault>,
    },
}

impl CityFault {
    fn at(&self, n: u64) -> Option<&Self> {
        match self {
            Self::First { requests, fault } if n < *requests => fault.at(n),
            Self::First { .. } => None,
            fault => Some(fault),
        }
    }
}

fn bytes<'de, D: Deserializer<'de>>(from: D) -> Result<Bytes, D::Error> {
    String::deserialize(from).map(Bytes::from)
}

#[cfg(test)]
mod tests {
    use super::{Chance, CityFault, Faults};

    #[test]
    fn a_chance_is_from_0_to_1() {
        assert_eq!("1".parse(), Ok(Chance::ALWAYS));
        for wrong in ["-0.1", "1.1", "NaN", "often", ""] {
            assert!(wrong.parse::<Chance>().is_err(), "{wrong}");
        }
        assert!(serde_json::from_str::<Faults>(r#"{"hang_up":2}"#).is_err());
    }

    #[test]
    fn chances_strike_as_often_as_they_say() {
        let chance: Chance = "0.25".parse().unwrap();
        let faults = Faults { server_error: chance, truncated: Chance::ALWAYS, ..Faults::default() };
        let errors = (0..10_000).filter(|n| faults.pick(1, 2, 20_240_501, *n) == Some(CityFault::Status(503))).count();
        assert!((2_300..2_700).contains(&errors), "{errors}");
        assert!((0..100).all(|n| faults.pick(1, 2, 20_240_501, n).is_some()));
        assert!((0..100).all(|n| Faults::default().pick(1, 2, 20_240_501, n).is_none()));
    }

    #[test]
    fn faults_can_be_written_in_json() {
        let text = r#"{"too_many":0.5,"retry_after":3,"cities":{"0":"html","1":{"status":404},"2":{"body":"{}"},
            "3":{"first":{"requests":2,"fault":"hang_up"}}}}"#;
        let faults: Faults = serde_json::from_str(text).unwrap();
        assert_eq!(faults.cities[&2], CityFault::Body("{}".into()));
        assert_eq!(faults.pick(0, 3, 0, 1), Some(CityFault::HangUp));
        assert_eq!(faults.pick(0, 3, 0, 2), None);
        assert!(serde_json::from_str::<Faults>(r#"{"hangup":1}"#).is_err());
    }
}
