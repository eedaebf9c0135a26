//! Removes objects in data/ that a newer fetch of the same item has superseded, and that a worker which died left behind;
//! before that, enters into the index what a worker stored that died before it could.
//!
//! Each turn lists a bounded number of keys, from where the last turn ended.

use jiff::Timestamp;
use waybill_ledger::index::{Index, RebuildError, Reconciled};
use waybill_source::ObjectName;
use waybill_store::Store;

/// Keys looked at in one turn: three LISTs.
const STRETCH: usize = 3_000;

/// Where the way through data/ stands. The default is at its beginning.
#[derive(Debug, Default)]
pub(crate) struct Sweep {
    after: Option<String>,
}

/// What a turn did.
#[derive(Debug)]
pub(crate) struct Swept {
    /// Objects that were removed.
    pub(crate) superseded: u64,
    /// Fetches that were entered into the index.
    pub(crate) entered: u64,
}

impl Sweep {
    /// Removes what is superseded in the next stretch of keys, and says what it did. Where an item's
    /// objects are cut in two, less is removed, and nothing wrong.
    pub(crate) async fn turn(&mut self, store: &Store, index: &Index) -> Result<Swept, RebuildError> {
        let keys: Vec<_> =
            store.list("data/", self.after.as_deref(), STRETCH).await?.into_iter().map(|entry| entry.key).collect();
        let names = keys.iter().filter_map(|key| ObjectName::parse(key)).collect();
        let Reconciled { entered, superseded } = index.reconcile(names, Timestamp::now()).await?;
        if !superseded.is_empty() {
            store.delete(&superseded).await?;
        }
        self.after = if keys.len() < STRETCH { None } else { next(&keys) };
        Ok(Swept { superseded: superseded.len() as u64, entered })
    }
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
    fn an_item_is_not_cut_in_two() {
        let keys = [key("a", 1), key("b", 1), key("b", 2)];
        assert_eq!(next(&keys), Some(key("a", 1)));
        assert_eq!(next(&keys[1..]), Some(key("b", 2)));
        assert_eq!(next(&["data/strange".to_owned(), key("b", 2)]), Some("data/strange".to_owned()));
        assert_eq!(next(&[]), None);
    }
}
