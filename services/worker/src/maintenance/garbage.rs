//! What a worker that died left behind in data/: fetches that a newer one of the same item has superseded.
//!
//! A bounded stretch of keys at a time, from where the last one ended.

use std::collections::HashMap;

use waybill_source::ObjectName;
use waybill_store::{Store, StoreError};

/// Keys looked at in one turn: three LISTs.
const STRETCH: usize = 3_000;

/// Where the way through data/ stands. The default is at its beginning.
#[derive(Debug, Default)]
pub(crate) struct Sweep {
    after: Option<String>,
}

impl Sweep {
    /// Removes what is superseded in the next stretch of keys, and says how many objects that were.
    pub(crate) async fn turn(&mut self, store: &Store) -> Result<usize, StoreError> {
        let keys: Vec<_> =
            store.list("data/", self.after.as_deref(), STRETCH).await?.into_iter().map(|entry| entry.key).collect();
        let names: Vec<_> = keys.iter().filter_map(|key| ObjectName::parse(key)).collect();
        let superseded = superseded(&names);
        if !superseded.is_empty() {
            store.delete(&superseded).await?;
        }
        self.after = if keys.len() < STRETCH { None } else { next(&keys) };
        Ok(superseded.len())
    }
}

/// All but the newest of each item.
fn superseded(names: &[ObjectName]) -> Vec<String> {
    let mut newest: HashMap<(&str, &str), String> = HashMap::new();
    let mut superseded = Vec::new();
    for name in names {
        let mut older = name.key();
        let newest = newest.entry((&name.folder, &name.item)).or_default();
        if older > *newest {
            std::mem::swap(&mut older, newest);
        }
        if !older.is_empty() {
            superseded.push(older);
        }
    }
    superseded
}

/// After which key the next stretch begins: before the last item, of which there may be more; but on, where
/// there is nothing else.
fn next(keys: &[String]) -> Option<String> {
    let last = ObjectName::parse(keys.last()?);
    let is_last = |key: &String| {
        let (Some(last), Some(name)) = (&last, ObjectName::parse(key)) else { return false };
        last.folder == name.folder && last.item == name.item
    };
    keys.iter().rev().find(|key| !is_last(key)).or(keys.last()).cloned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(item: &str, second: u32) -> String {
        format!("data/s/p=1/{item}.20240501T0800{second:02}.000000Z-0123456789ab.json")
    }

    #[test]
    fn all_but_the_newest_of_each_item_go() {
        let keys = [key("a", 3), key("a", 1), key("b", 1), key("a.b", 2), key("a", 2)];
        let names: Vec<_> = keys.iter().filter_map(|key| ObjectName::parse(key)).collect();
        let mut gone = superseded(&names);
        gone.sort();
        assert_eq!(gone, [key("a", 1), key("a", 2)]);
    }

    #[test]
    fn an_item_is_not_cut_in_two() {
        let keys = [key("a", 1), key("b", 1), key("b", 2)];
        assert_eq!(next(&keys), Some(key("a", 1)));
        assert_eq!(next(&keys[1..]), Some(key("b", 2)));
        assert_eq!(next(&["data/strange".to_owned(), key("b", 2)]), Some("data/strange".to_owned()));
        assert_eq!(next(&[]), None);
    }
}
