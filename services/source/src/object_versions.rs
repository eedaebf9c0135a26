//! Which fetch of an item or batch counts: the newest complete one. No other file says so again.
//!
//! A fetch is one object, or the pieces of a batch, which count only once all of them are there. Of two fetches the
//! one counts whose job was submitted later; of the same job, or where neither says, the one that began later by its
//! worker's clock, which is the time in its name. A fetch that began after it had seen another one stands above it,
//! however old its job: it takes over the other's submission time if that is later ([`as_of`](ObjectVersions::judge)),
//! and a time after the other's. So a clock that is hours off decides nothing between jobs, and all readers agree.
//!
//! An object whose metadata cannot be read supersedes nothing, and is not superseded.

use std::collections::BTreeMap;

use jiff::Timestamp;

use crate::ObjectName;

/// The objects of one fetch: one, or all pieces of a batch in order.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Fetch {
    /// When it began, by the clock of its worker.
    pub fetched_at: Timestamp,
    /// Its objects' keys; at least one.
    pub keys: Vec<String>,
}

/// All objects of one item or batch that a LIST shows.
#[derive(Debug, Clone, Default)]
pub struct ObjectVersions(Vec<ObjectName>);

/// What follows from the names and the metadata of an item's objects.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Verdict {
    /// The fetch that counts.
    pub newest: Option<Fetch>,
    /// Keys of readable objects that it supersedes: garbage.
    pub superseded: Vec<String>,
    /// Keys of objects whose metadata cannot be read.
    pub unreadable: Vec<String>,
    /// Keys of pieces newer than what counts, of which others are not there: not yet, or not any more.
    pub incomplete: Vec<String>,
}

impl ObjectVersions {
    /// Objects by folder and item.
    pub fn by_item(names: impl IntoIterator<Item = ObjectName>) -> BTreeMap<(String, String), Self> {
        let mut items: BTreeMap<_, Self> = BTreeMap::new();
        for name in names {
            items.entry((name.folder.clone(), name.item.clone())).or_default().add(name);
        }
        items
    }

    /// Adds an object of the same item.
    pub fn add(&mut self, name: ObjectName) {
        self.0.push(name);
    }

    /// Every object's key.
    pub fn keys(&self) -> impl Iterator<Item = String> {
        self.0.iter().map(ObjectName::key)
    }

    /// When the last of them began, complete or not.
    pub fn latest(&self) -> Option<Timestamp> {
        self.0.iter().map(|name| name.fetched_at).max()
    }

    /// The only fetch there is, if it is complete: it counts if its metadata can be read.
    pub fn only(&self) -> Option<Fetch> {
        let mut fetches = self.fetches();
        let (fetch, complete) = fetches.pop()?;
        (complete && fetches.is_empty()).then_some(fetch)
    }

    /// Decides between the fetches. `as_of` says of a key when what it holds was asked for: its job's submission, or
    /// the `as_of` of the fetch that its worker saw when it began, if that is later; `None` where its metadata cannot
    /// be read.
    pub fn judge(&self, as_of: impl Fn(&str) -> Option<Timestamp>) -> Verdict {
        let mut verdict = Verdict::default();
        let mut ranked = Vec::new();
        for (fetch, complete) in self.fetches() {
            match fetch.keys.iter().map(|key| as_of(key)).collect::<Option<Vec<_>>>() {
                Some(times) => ranked.push((times.into_iter().min(), fetch, complete)),
                None => verdict.unreadable.extend(fetch.keys.into_iter().filter(|key| as_of(key).is_none())),
            }
        }
        ranked.sort();
        while let Some((_, fetch, complete)) = ranked.pop() {
            if complete {
                verdict.newest = Some(fetch);
                break;
            }
            verdict.incomplete.extend(fetch.keys);
        }
        // What is not complete by now would be superseded if it were.
        verdict.superseded = ranked.into_iter().flat_map(|(_, fetch, _)| fetch.keys).collect();
        verdict
    }

    /// Every fetch, and whether all of its objects are there.
    fn fetches(&self) -> Vec<(Fetch, bool)> {
        let mut pieces: BTreeMap<(Timestamp, u16), BTreeMap<u16, String>> = BTreeMap::new();
        let mut fetches = Vec::new();
        for name in &self.0 {
            match name.piece {
                None => fetches.push((Fetch { fetched_at: name.fetched_at, keys: vec![name.key()] }, true)),
                Some(piece) => {
                    pieces.entry((name.fetched_at, piece.of)).or_default().insert(piece.number, name.key());
                }
            }
        }
        fetches.extend(pieces.into_iter().map(|((fetched_at, of), pieces)| {
            let complete = pieces.len() == usize::from(of);
            (Fetch { fetched_at, keys: pieces.into_values().collect() }, complete)
        }));
        fetches
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::{Format, Piece};

    const NOON: i64 = 1_714_564_800;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(NOON + second).unwrap()
    }

    fn name(second: i64, piece: Option<(u16, u16)>) -> ObjectName {
        let mut name = ObjectName::new("s", "p=1", "k", at(second), &"a".repeat(64), Format::Json);
        name.piece = piece.map(|(number, of)| Piece { number, of });
        name
    }

    fn whole(second: i64) -> ObjectName {
        name(second, None)
    }

    /// `as_of` by the time in the name.
    fn judged(names: &[ObjectName], as_of: impl Fn(&ObjectName) -> Option<i64>) -> Verdict {
        let versions = ObjectVersions(names.to_vec());
        versions.judge(|key| as_of(&ObjectName::parse(key).unwrap()).map(at))
    }

    #[test]
    fn pieces_count_once_all_of_them_are_there() {
        let half = [whole(1), name(2, Some((1, 2)))];
        let verdict = judged(&half, |_| Some(0));
        assert_eq!(verdict.newest.unwrap().keys, [half[0].key()]);
        assert_eq!((verdict.superseded, verdict.incomplete), (vec![], vec![half[1].key()]));

        let both = [whole(1), name(2, Some((2, 2))), name(2, Some((1, 2)))];
        let verdict = judged(&both, |_| Some(0));
        assert_eq!(verdict.newest.unwrap().keys, [both[2].key(), both[1].key()]);
        assert_eq!((verdict.superseded, verdict.incomplete), (vec![both[0].key()], vec![]));
    }

    #[test]
    fn pieces_that_a_worker_left_behind_go_with_the_next_fetch() {
        let names = [name(2, Some((1, 2))), whole(3)];
        assert_eq!(judged(&names, |_| Some(0)).superseded, [names[0].key()]);
    }

    #[test]
    fn the_later_job_wins_whatever_the_clocks_say() {
        let two_hours = 2 * 60 * 60;
        // The worker of the later job is two hours behind; then the one of the earlier job is two hours ahead.
        for (earlier, later) in [(10, 11 - two_hours), (10 + two_hours, 11)] {
            let names = [whole(earlier), whole(later)];
            let verdict = judged(&names, |name| Some(i64::from(name.fetched_at == at(later))));
            assert_eq!(verdict.newest.unwrap().keys, [names[1].key()]);
            assert_eq!(verdict.superseded, [names[0].key()]);
        }
    }

    #[test]
    fn of_one_job_the_fetch_that_began_later_wins() {
        let names = [whole(2), whole(1)];
        assert_eq!(judged(&names, |_| Some(0)).newest.unwrap().keys, [names[0].key()]);
    }

    #[test]
    fn what_cannot_be_read_supersedes_nothing_and_stays() {
        let names = [whole(1), whole(2), whole(3)];
        let verdict = judged(&names, |name| (name.fetched_at < at(3)).then_some(0));
        assert_eq!(verdict.newest.unwrap().keys, [names[1].key()]);
        assert_eq!((verdict.superseded, verdict.unreadable), (vec![names[0].key()], vec![names[2].key()]));
        let verdict = judged(&names[2..], |_| None);
        assert_eq!((verdict.newest, verdict.superseded), (None, vec![]));
    }

    #[test]
    fn the_only_fetch_is_told_from_several() {
        assert_eq!(ObjectVersions(vec![whole(1)]).only().unwrap().keys, [whole(1).key()]);
        let pieces = vec![name(1, Some((1, 2))), name(1, Some((2, 2)))];
        assert_eq!(ObjectVersions(pieces.clone()).only().unwrap().keys.len(), 2);
        assert_eq!(ObjectVersions(pieces[..1].to_vec()).only(), None);
        assert_eq!(ObjectVersions(vec![whole(1), whole(2)]).only(), None);
    }

    proptest! {
        /// Workers that see any part of the objects and remove what they find superseded, in any order, leave what
        /// counts of all of them.
        #[test]
        fn whoever_removes_what_is_superseded_keeps_what_counts(
            fetches in prop::collection::btree_map(0..50_i64, (0..5_i64, 1..4_u16), 1..8),
            views in prop::collection::vec(any::<u32>(), 1..12),
        ) {
            let mut there: Vec<ObjectName> = Vec::new();
            for (second, (_, of)) in &fetches {
                match of {
                    1 => there.push(whole(*second)),
                    of => there.extend((1..=*of).map(|number| name(*second, Some((number, *of))))),
                }
            }
            let as_of = |name: &ObjectName| {
                let second = name.fetched_at.as_second() - NOON;
                fetches.get(&second).map(|(as_of, _)| *as_of)
            };
            let expected = judged(&there, as_of).newest;
            for view in views {
                let seen: Vec<_> =
                    there.iter().enumerate().filter(|(n, _)| view >> (n % 32) & 1 == 1).map(|(_, name)| name.clone()).collect();
                let gone = judged(&seen, as_of).superseded;
                there.retain(|name| !gone.contains(&name.key()));
            }
            let verdict = judged(&there, as_of);
            prop_assert_eq!(&verdict.newest, &expected);
            there.retain(|name| !verdict.superseded.contains(&name.key()));
            prop_assert_eq!(there.len(), expected.unwrap().keys.len());
        }
    }
}
