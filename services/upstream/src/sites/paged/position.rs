//! Which page a request asks for.

use std::collections::HashMap;

use super::{
    collection::{Collection, LARGEST_PAGE, Paging, PagingFault},
    layout::Layout,
};
use crate::files::mix::{Use, mix};

/// What a cursor begins with where it is to be 1 MB long.
const PADDING: usize = 1 << 20;

/// A page: the slots from `start` on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Position {
    pub(crate) start: u64,
    pub(crate) limit: u64,
    /// Whether the request says where the answer before ended.
    pub(crate) by_cursor: bool,
}

impl Position {
    /// The page that is asked for, or which parameter is wrong.
    pub(crate) fn of(
        seed: u64,
        collection: &Collection,
        layout: &Layout,
        query: &HashMap<String, String>,
    ) -> Result<Self, &'static str> {
        let number = |name, least: u64| match query.get(name).map(|text| text.parse::<u64>()) {
            None => Ok(None),
            Some(Ok(number)) if number >= least => Ok(Some(number)),
            Some(_) => Err(name),
        };
        let most = if collection.paging == Paging::None { LARGEST_PAGE } else { collection.size };
        let most = most.clamp(1, LARGEST_PAGE);
        let limit = number("limit", 1)?.unwrap_or(most).min(most);
        let page = |name| Ok::<_, &str>(number(name, 1)?.map(|page| (page - 1).saturating_mul(limit)));
        let start = match collection.paging {
            Paging::Page => page("page")?,
            Paging::List => page("part")?,
            Paging::Offset => number("offset", 0)?,
            Paging::Cursor | Paging::Link | Paging::Next => {
                let read = |text: &String| read_cursor(seed, text).ok_or("cursor");
                query.get("cursor").map(read).transpose()?
            }
            Paging::LastId => {
                let after = number("starting_after", 1)?;
                after.map(|id| layout.slot(id - 1).ok_or("starting_after")).transpose()?.map(|slot| slot + 1)
            }
            Paging::None => None,
        };
        let cursors = [Paging::Cursor, Paging::Link, Paging::Next, Paging::LastId];
        let by_cursor = start.is_some() && cursors.contains(&collection.paging);
        let start = start.unwrap_or_default();
        let start = if repeats(collection) { start.min(last(layout, limit)) } else { start };
        Ok(Self { start, limit, by_cursor })
    }

    /// The page's number, from 1.
    pub(crate) fn number(&self) -> u64 {
        self.start / self.limit + 1
    }

    /// Where the next page starts.
    pub(crate) fn next(&self, collection: &Collection, layout: &Layout) -> Option<u64> {
        let next = self.start.saturating_add(self.limit);
        if repeats(collection) {
            return Some(next.min(last(layout, self.limit)));
        }
        (next < layout.slots()).then_some(next)
    }
}

/// Where the last page starts.
fn last(layout: &Layout, limit: u64) -> u64 {
    layout.slots().saturating_sub(1) / limit * limit
}

fn repeats(collection: &Collection) -> bool {
    collection.faults.contains(&PagingFault::RepeatLast)
}

/// A position as a text that only this upstream understands.
pub(crate) fn cursor(seed: u64, collection: &Collection, start: u64) -> String {
    let check = mix(Use::Cursor, &[seed, start]);
    let padding = if collection.faults.contains(&PagingFault::HugeCursor) { PADDING } else { 0 };
    format!("{check:016x}{:016x}{}", start ^ check, "0".repeat(padding))
}

fn read_cursor(seed: u64, text: &str) -> Option<u64> {
    let part = |range| u64::from_str_radix(text.get(range)?, 16).ok();
    let (check, hidden) = (part(0..16)?, part(16..32)?);
    let start = hidden ^ check;
    (check == mix(Use::Cursor, &[seed, start]) && text[32..].bytes().all(|byte| byte == b'0')).then_some(start)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cursors_are_read_by_the_upstream_that_made_them() {
        let collection = Collection::default();
        for start in [0, 1, 100, u64::MAX] {
            let text = cursor(1, &collection, start);
            assert_eq!(read_cursor(1, &text), Some(start));
            assert_eq!(read_cursor(2, &text), None);
            assert!(!text.contains("100"), "{text}");
        }
        for wrong in ["", "0", "2", &"0".repeat(32), &"é".repeat(16)] {
            assert_eq!(read_cursor(1, wrong), None, "{wrong}");
        }
        let huge = Collection { faults: vec![PagingFault::HugeCursor], ..collection };
        let text = cursor(1, &huge, 7);
        assert!(text.len() > PADDING && read_cursor(1, &text) == Some(7));
    }
}
