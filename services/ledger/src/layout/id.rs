//! Job ids. An id contains the day on which the job was submitted: its folder is found without an index.

use std::{fmt, str::FromStr};

use jiff::{Timestamp, civil::Date};
use serde::{Deserialize, Serialize};
use uuid::{Uuid, Variant, Version};

/// A job's name: a UUIDv7, so that its day is in it and ids sort by age.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "Uuid", into = "Uuid")]
pub struct JobId(Uuid);

/// What is no job id, and what would be one.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("expected a job id, which is a UUID of version 7 such as 018f3253-7a40-7c21-9d5e-6b1f0a2c4e88, found {0}")]
pub struct JobIdError(String);

impl JobId {
    /// A job's name, from a UUIDv7 made when it was submitted.
    pub fn new(id: Uuid) -> Self {
        debug_assert_eq!(id.get_version(), Some(Version::SortRand), "{id} is no UUIDv7");
        Self(id)
    }

    /// The day it was made, in UTC: `jobs/{day}/{job}/`.
    pub fn day(self) -> Date {
        utc_day(self.submitted())
    }

    /// When it was submitted, to the millisecond, by the clock of whoever made it.
    pub fn submitted(self) -> Timestamp {
        let milliseconds = self.0.as_u128() >> 80;
        // 48 bits of milliseconds reach a little beyond the last year that a calendar here can name.
        i64::try_from(milliseconds).ok().and_then(|ms| Timestamp::from_millisecond(ms).ok()).unwrap_or(Timestamp::MAX)
    }
}

/// The day of a moment, in UTC.
pub(crate) fn utc_day(at: Timestamp) -> Date {
    jiff::tz::Offset::UTC.to_datetime(at).date()
}

impl TryFrom<Uuid> for JobId {
    type Error = JobIdError;

    fn try_from(id: Uuid) -> Result<Self, JobIdError> {
        match (id.get_version(), id.get_variant()) {
            (Some(Version::SortRand), Variant::RFC4122) => Ok(Self(id)),
            _ => Err(JobIdError(format!("{id}, which is a UUID of another version"))),
        }
    }
}

impl From<JobId> for Uuid {
    fn from(id: JobId) -> Self {
        id.0
    }
}

impl FromStr for JobId {
    type Err = JobIdError;

    /// Only the hyphenated spelling is an id: a job has one name, so that it has one address.
    fn from_str(text: &str) -> Result<Self, JobIdError> {
        match Uuid::try_parse(text) {
            Ok(id) if text.len() == 36 => Self::try_from(id),
            _ => Err(JobIdError(format!("{:?}", text.chars().take(64).collect::<String>()))),
        }
    }
}

impl fmt::Display for JobId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "018f3253-7a40-7c21-9d5e-6b1f0a2c4e88";

    #[test]
    fn an_id_carries_its_day() {
        let id: JobId = TEXT.parse().unwrap();
        assert_eq!(id.to_string(), TEXT);
        assert_eq!(id.day().to_string(), "2024-05-01");
        assert_eq!(serde_json::to_string(&id).unwrap(), format!("\"{TEXT}\""));
        assert_eq!(serde_json::from_str::<JobId>(&format!("\"{TEXT}\"")).unwrap(), id);
    }

    #[test]
    fn the_last_id_of_all_has_a_day() {
        let id: JobId = "ffffffff-ffff-7fff-bfff-ffffffffffff".parse().unwrap();
        assert_eq!(id.day().to_string(), "9999-12-30");
    }

    #[test]
    fn a_malformed_id_is_refused_with_an_example() {
        let of = |text: &str| text.parse::<JobId>().unwrap_err().to_string();
        insta::assert_snapshot!(of("last"), @r#"expected a job id, which is a UUID of version 7 such as 018f3253-7a40-7c21-9d5e-6b1f0a2c4e88, found "last""#);
        insta::assert_snapshot!(of("16fd2706-8baf-433b-82eb-8c7fada847da"), @"expected a job id, which is a UUID of version 7 such as 018f3253-7a40-7c21-9d5e-6b1f0a2c4e88, found 16fd2706-8baf-433b-82eb-8c7fada847da, which is a UUID of another version");
        of("018f32537a407c219d5e6b1f0a2c4e88");
        of("{018f3253-7a40-7c21-9d5e-6b1f0a2c4e88}");
        assert!(serde_json::from_str::<JobId>("\"16fd2706-8baf-433b-82eb-8c7fada847da\"").is_err());
    }

    #[test]
    fn ids_sort_by_age() {
        let at = |second| JobId::new(Uuid::new_v7(uuid::Timestamp::from_unix(uuid::NoContext, second, 0)));
        assert!(at(1) < at(2) && at(2) < at(1 << 32));
    }
}
