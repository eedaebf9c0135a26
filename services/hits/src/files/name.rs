//! Names of files: `hits/day=2024-05-01/{boot id}/{from}-{to}.parquet`, of a process's batches `from` to `to`, and
//! `hits/day=2024-05-01/all/{generation}-{id}.parquet`, of all processes.

use std::fmt;

use jiff::{Timestamp, civil::Date, tz::TimeZone};
use uuid::Uuid;

use crate::files::ROOT;

/// Where the files of all processes lie. It sorts after every boot id of this age, which begins with a zero.
const ALL: &str = "all";

/// A file's name, which says what is in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct FileName {
    pub(crate) day: Date,
    pub(crate) kind: Kind,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Kind {
    /// What a process counted. Batches are numbered, not dated: a clock that is set back makes no name twice.
    Process {
        /// Of the process; another after every start.
        boot: Uuid,
        /// The first batch.
        from: u64,
        /// The last batch.
        to: u64,
    },
    /// What all processes counted; the footer says which batches.
    All {
        /// One more than that of the file which it replaces.
        generation: u32,
        /// Two that are made at once differ in it.
        id: Uuid,
    },
}

impl FileName {
    /// The name that a key is, if it is one.
    pub(crate) fn parse(key: &str) -> Option<Self> {
        let (day, rest) = key.strip_prefix(ROOT)?.strip_prefix("day=")?.split_once('/')?;
        let (folder, rest) = rest.split_once('/')?;
        let (first, second) = rest.strip_suffix(".parquet")?.split_once('-')?;
        let kind = if folder == ALL {
            Kind::All { generation: first.parse().ok()?, id: second.parse().ok()? }
        } else {
            Kind::Process { boot: folder.parse().ok()?, from: first.parse().ok()?, to: second.parse().ok()? }
        };
        let name = Self { day: day.parse().ok()?, kind };
        let is_range = !matches!(kind, Kind::Process { from, to, .. } if to < from);
        // Another spelling would be the same file twice.
        (is_range && name.to_string() == key).then_some(name)
    }
}

impl fmt::Display for FileName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", folder(self.day))?;
        match self.kind {
            Kind::Process { boot, from, to } => write!(f, "{boot}/{from:010}-{to:010}.parquet"),
            Kind::All { generation, id } => write!(f, "{ALL}/{generation:06}-{id}.parquet"),
        }
    }
}

/// The day of a time, in UTC.
pub(crate) fn utc_day(at: Timestamp) -> Date {
    at.to_zoned(TimeZone::UTC).date()
}

/// Where a day's files lie.
pub(crate) fn folder(day: Date) -> String {
    format!("{ROOT}day={day}/")
}

/// Where a day's files of all processes lie.
pub(crate) fn folder_of_all(day: Date) -> String {
    format!("{}{ALL}/", folder(day))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_read_as_it_is_written_and_nothing_else_is() {
        let day = "2024-05-01".parse().unwrap();
        let boot = Uuid::from_u128(7);
        for kind in [Kind::Process { boot, from: 3, to: 66 }, Kind::All { generation: 2, id: boot }] {
            let name = FileName { day, kind };
            assert_eq!(FileName::parse(&name.to_string()), Some(name));
        }
        for other in [
            "hits/day=2024-05-01/all/1-2.parquet",
            "hits/day=2024-05-01/00000000-0000-0000-0000-000000000007/0000000009-0000000008.parquet",
            "hits/day=2024-05-01/00000000-0000-0000-0000-000000000007/3-66.parquet",
            "hits/day=2024-05-01/00000000-0000-0000-0000-000000000007/0000000003-0000000066.csv",
            "hits/day=2024-5-1/00000000-0000-0000-0000-000000000007/0000000003-0000000066.parquet",
            "hits/",
            "data/x",
        ] {
            assert_eq!(FileName::parse(other), None, "{other}");
        }
    }
}
