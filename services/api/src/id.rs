//! Makes job ids.

use std::sync::Mutex;

use jiff::Timestamp;
use uuid::{ContextV7, Uuid};

/// Makes UUIDv7s that only grow within this process, also within one millisecond.
#[derive(Debug, Default)]
pub(crate) struct Ids {
    sequence: Mutex<ContextV7>,
}

impl Ids {
    /// A name for a job that is made `now`.
    pub(crate) fn fresh(&self, now: Timestamp) -> Uuid {
        // A clock before 1970 is a broken clock; the name is unique all the same.
        let seconds = u64::try_from(now.as_second()).unwrap_or(0);
        let nanoseconds = u32::try_from(now.subsec_nanosecond()).unwrap_or(0);
        Uuid::new_v7(uuid::Timestamp::from_unix(&self.sequence, seconds, nanoseconds))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_increase_when_the_clock_goes_back() {
        let ids = Ids::default();
        let clock = [5, 5, 5, 4, 6, 6].map(|second| Timestamp::new(1_714_550_400 + second, 999_999_999).unwrap());
        let names: Vec<_> =
            clock.into_iter().flat_map(|now| (0..1000).map(move |_| now)).map(|now| ids.fresh(now)).collect();
        assert!(names.is_sorted_by(|left, right| left < right));
        assert_eq!(names[0].get_timestamp().unwrap().to_unix(), (1_714_550_405, 999_000_000));
    }
}
