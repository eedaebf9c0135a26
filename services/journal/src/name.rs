//! Names of segments and snapshots, whose order is what keeps readers from missing anything.
//!
//! A reader lists in name order, page by page, while compactors write and delete. Were a snapshot's name before that of
//! one of its inputs, a reader could pass the snapshot's place before it is written and reach the input's after it is
//! deleted, and see neither. So **a snapshot's name sorts after the names of all its inputs**: whoever finds an input
//! gone has not yet passed the snapshot that replaced it. The time in a snapshot's name is therefore at least one
//! millisecond after the latest one in its inputs' names, whatever the clock says.

use uuid::{NoContext, Timestamp, Uuid};

/// The milliseconds of a UUIDv7 have 48 bits.
const LAST_MILLISECOND: u64 = (1 << 48) - 1;

/// Where an object lies below `journal/{source}/`. The order is that of the keys: segments before snapshots.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Name {
    /// `segments/{uuidv7}`
    Segment(Uuid),
    /// `snapshots/{uuidv7}-{tier}`; the tier says how large it is.
    Snapshot(Uuid, u8),
}

impl Name {
    /// A segment that is written now.
    pub(crate) fn segment(now: u64) -> Self {
        Self::Segment(uuid(now.min(LAST_MILLISECOND)))
    }

    /// A snapshot of `inputs`. `None` where one of them has the last name that there can be.
    pub(crate) fn snapshot(now: u64, tier: u8, inputs: &[Self]) -> Option<Self> {
        let snapshots = inputs.iter().filter(|name| matches!(name, Self::Snapshot(..)));
        let time = snapshots.map(|name| name.milliseconds() + 1).fold(now.min(LAST_MILLISECOND), u64::max);
        (time <= LAST_MILLISECOND).then(|| Self::Snapshot(uuid(time), tier))
    }

    /// Reads what [`Self`]'s `Display` wrote, and nothing else.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let name = if let Some(id) = text.strip_prefix("segments/") {
            Self::Segment(Uuid::try_parse(id).ok()?)
        } else {
            let (id, tier) = text.strip_prefix("snapshots/")?.rsplit_once('-')?;
            Self::Snapshot(Uuid::try_parse(id).ok()?, tier.parse().ok()?)
        };
        (name.id().get_version_num() == 7 && name.to_string() == text).then_some(name)
    }

    /// The time that the name carries: when it was written by its writer's clock, or later.
    pub(crate) fn milliseconds(self) -> u64 {
        let (high, low, ..) = self.id().as_fields();
        (u64::from(high) << 16) | u64::from(low)
    }

    fn id(&self) -> &Uuid {
        match self {
            Self::Segment(id) | Self::Snapshot(id, _) => id,
        }
    }
}

impl std::fmt::Display for Name {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Segment(id) => write!(f, "segments/{id}"),
            Self::Snapshot(id, tier) => write!(f, "snapshots/{id}-{tier:02}"),
        }
    }
}

fn uuid(milliseconds: u64) -> Uuid {
    let nanos = u32::try_from(milliseconds % 1_000 * 1_000_000).expect("less than a second");
    Uuid::new_v7(Timestamp::from_unix(NoContext, milliseconds / 1_000, nanos))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_snapshot_sorts_after_its_inputs(
            // Close together, so that times are equal and clocks are behind.
            times in proptest::collection::vec(0_u64..50, 0..20),
            segments in proptest::collection::vec(0..=LAST_MILLISECOND, 0..20),
            now in 0_u64..50,
            tiers: (u8, u8),
        ) {
            let snapshots = times.iter().map(|time| Name::Snapshot(uuid(*time), tiers.0));
            let inputs: Vec<_> = snapshots.chain(segments.iter().map(|time| Name::segment(*time))).collect();
            let output = Name::snapshot(now, tiers.1, &inputs).unwrap();
            for input in inputs {
                prop_assert!(output.to_string() > input.to_string());
                prop_assert_eq!(output.cmp(&input), output.to_string().cmp(&input.to_string()));
            }
        }

        #[test]
        fn names_are_read_back(time in 0..=LAST_MILLISECOND, tier: u8) {
            for name in [Name::segment(time), Name::Snapshot(uuid(time), tier)] {
                prop_assert_eq!(Name::parse(&name.to_string()), Some(name));
                prop_assert_eq!(name.milliseconds(), time);
            }
        }
    }

    #[test]
    fn other_names_are_not_ours() {
        let id = uuid(0).to_string();
        for text in [
            "",
            "segments/",
            "segments/readme",
            "segments/6f1b2c3d-4e5f-4a6b-8c7d-9e0f1a2b3c4d",
            &format!("segments/{}", id.to_uppercase()),
            &format!("segments/{id}.tmp"),
            &format!("snapshots/{id}"),
            &format!("snapshots/{id}-1"),
            &format!("snapshots/{id}-256"),
            &format!("snapshots/jobs/{id}-01"),
        ] {
            assert_eq!(Name::parse(text), None, "{text}");
        }
    }

    #[test]
    fn nothing_sorts_after_the_last_name() {
        assert_eq!(Name::snapshot(0, 0, &[Name::Snapshot(uuid(LAST_MILLISECOND), 0)]), None);
    }
}
