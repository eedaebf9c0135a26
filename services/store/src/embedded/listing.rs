//! A page of a listing: keys in byte order, from a key on, from the folders of its prefix alone.
//!
//! A page never looks at a folder outside its prefix, nor at one that lies before where it begins.

use std::io;

use crate::embedded::{
    dir_index::{Child, Facts},
    path,
    tree::Tree,
};

/// Which keys.
#[derive(Debug)]
pub(super) struct Query<'a> {
    pub(super) bucket: &'a str,
    pub(super) prefix: &'a str,
    /// The first key that may be in the page; everything before it is left out.
    pub(super) from: &'a str,
    /// Whether what lies below a `/` behind the prefix is one item.
    pub(super) folders: bool,
    pub(super) limit: usize,
}

#[derive(Debug)]
pub(super) enum Item {
    Object(String, Facts),
    /// With its slash.
    Folder(String),
}

impl Item {
    pub(super) fn key(&self) -> &str {
        match self {
            Self::Object(key, _) | Self::Folder(key) => key,
        }
    }
}

#[derive(Debug, Default)]
pub(super) struct Page {
    pub(super) items: Vec<Item>,
    /// Where the next page begins, where there is more.
    pub(super) next: Option<String>,
}

/// The first key behind all that lie below `folder`, which ends with `/`: `0` is the character after it.
pub(super) fn key_after_folder(folder: &str) -> String {
    format!("{}0", folder.strip_suffix('/').unwrap_or(folder))
}

/// Lists a page. Everything that was acknowledged before the call is in it.
pub(super) fn page(tree: &Tree, query: &Query<'_>) -> io::Result<Page> {
    if query.limit == 0 {
        return Ok(Page::default());
    }
    let mut walk = Walk { tree, query, items: Vec::new() };
    let (folder, beginning) = path::split(query.prefix);
    walk.folder(folder, beginning)?;
    let mut items = walk.items;
    let next = (items.len() > query.limit).then(|| items.pop()).flatten().map(|item| item.key().to_owned());
    Ok(Page { items, next })
}

struct Walk<'a> {
    tree: &'a Tree,
    query: &'a Query<'a>,
    items: Vec<Item>,
}

impl Walk<'_> {
    /// One more than the page has, to know whether there is more.
    fn room(&self) -> usize {
        self.query.limit + 1 - self.items.len()
    }

    /// Adds what is in `key`, a folder with its slash, as far as names begin with `beginning`.
    fn folder(&mut self, key: &str, beginning: &str) -> io::Result<()> {
        let mut from = match self.query.from.strip_prefix(key) {
            // A first segment with its slash is a folder that the page begins in.
            Some(rest) => rest.find('/').map_or(rest, |slash| &rest[..=slash]).to_owned(),
            None if self.query.from <= key => String::new(),
            None => return Ok(()),
        };
        let folder = self.tree.folder(self.query.bucket, key);
        loop {
            let (children, next) = folder.children(&from, beginning, self.room())?;
            for (name, child) in children {
                if self.room() == 0 {
                    return Ok(());
                }
                let child_key = format!("{key}{name}");
                match child {
                    Child::Object(Some(facts)) => self.items.push(Item::Object(child_key, facts)),
                    Child::Object(None) => {
                        let facts = folder.read_facts(&name)?;
                        self.items.extend(facts.map(|facts| Item::Object(child_key, facts)));
                    }
                    Child::Folder if !self.query.folders => self.folder(&child_key, "")?,
                    Child::Folder => {
                        if self.is_there(&child_key)? {
                            self.items.push(Item::Folder(child_key));
                        }
                    }
                }
            }
            match next {
                Some(next) if self.room() > 0 => from = next,
                _ => return Ok(()),
            }
        }
    }

    /// Whether a folder has anything in it that the page may show. Folders stay when they are emptied.
    fn is_there(&self, key: &str) -> io::Result<bool> {
        if self.query.from.len() > key.len() && self.query.from.starts_with(key) {
            let query = Query { prefix: key, folders: false, limit: 1, ..*self.query };
            return Ok(!page(self.tree, &query)?.items.is_empty());
        }
        self.tree.holds_object(self.query.bucket, key)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use bytes::Bytes;

    use super::*;
    use crate::embedded::dir_index::key_after;
    use crate::embedded::object::{Draft, Headers};

    fn open(folder: &std::path::Path) -> Tree {
        Tree::open(folder, tempfile::tempfile().unwrap()).unwrap()
    }

    fn put(tree: &Tree, key: &str) {
        let mut draft = Draft::begin(&tree.drafts).unwrap();
        draft.append(&[Bytes::from(key.to_owned())]).unwrap();
        let (file, footer) = draft.finish(Headers::default(), 1).unwrap();
        assert!(tree.publish("bucket", key, (file, &footer), true).unwrap());
    }

    /// What S3 says a listing is, over the whole set of keys.
    fn expected(keys: &BTreeSet<String>, query: &Query<'_>) -> Vec<String> {
        let mut items: Vec<String> = Vec::new();
        for key in keys.iter().filter(|key| key.starts_with(query.prefix) && key.as_str() >= query.from) {
            let slash = key[query.prefix.len()..].find('/').filter(|_| query.folders);
            let item = slash.map_or(key.as_str(), |slash| &key[..=query.prefix.len() + slash]);
            if items.last().is_none_or(|last| last != item) {
                items.push(item.to_owned());
            }
        }
        items
    }

    #[test]
    fn every_page_is_what_s3_says() {
        let folder = tempfile::tempdir().unwrap();
        let mut tree = open(folder.path());
        tree.make_bucket("bucket").unwrap();
        let mut keys = BTreeSet::new();
        let long = "🚌".repeat(100);
        let mut random = fastrand::Rng::with_seed(7);
        let segments = ["", "a", "a.json", "a-b", "a0", "b", "ü", " ", "%", &long, &long[..396], "z"];
        while keys.len() < 120 {
            let depth = random.usize(1..4);
            let key = (0..depth).map(|_| segments[random.usize(..segments.len())]).collect::<Vec<_>>().join("/");
            if !key.is_empty() && keys.insert(key.clone()) {
                put(&tree, &key);
            }
        }
        for round in 0..2 {
            let all: Vec<String> = keys.iter().cloned().collect();
            for _ in 0..400 {
                let some = &all[random.usize(..all.len())];
                let cut = (0..=some.len()).filter(|at| some.is_char_boundary(*at)).collect::<Vec<_>>();
                let prefix = &some[..cut[random.usize(..cut.len())]];
                let from = match random.u8(..4) {
                    0 => String::new(),
                    1 => all[random.usize(..all.len())].clone(),
                    2 => key_after(&all[random.usize(..all.len())]),
                    _ => some[..cut[random.usize(..cut.len())]].to_owned(),
                };
                let (folders, limit) = (random.bool(), random.usize(1..20));
                let query = Query { bucket: "bucket", prefix, from: &from, folders, limit };
                let mut found = Vec::new();
                let mut next = Some(from.clone());
                while let Some(from) = next {
                    let page = page(&tree, &Query { from: &from, ..query }).unwrap();
                    assert!(page.items.len() <= limit);
                    found.extend(page.items.iter().map(|item| item.key().to_owned()));
                    next = page.next;
                }
                assert_eq!(found, expected(&keys, &query), "{query:?}");
            }
            // Once more with some of them gone, and then with nothing in memory.
            if round == 0 {
                for key in all.iter().step_by(2) {
                    tree.remove("bucket", &[key]).unwrap();
                    keys.remove(key);
                }
                put(&tree, "new/folder/x");
                keys.insert("new/folder/x".to_owned());
            }
        }
        tree = open(folder.path());
        let query = Query { bucket: "bucket", prefix: "", from: "", folders: false, limit: 1_000 };
        let found: Vec<String> = page(&tree, &query).unwrap().items.iter().map(|item| item.key().to_owned()).collect();
        assert_eq!(found, expected(&keys, &query));
    }
}
