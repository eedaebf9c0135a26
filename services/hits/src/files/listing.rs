//! Lists the days that have files, and a day's files with what they cover.

use futures::TryStreamExt;
use jiff::civil::Date;
use waybill_store::{Entry, Store};

use crate::{
    HitsError,
    files::{
        ROOT,
        covers::Covers,
        name::{FileName, Kind, folder},
        open_file::OpenFile,
        visible::{Listed, Sorted},
    },
};

/// Days that are listed in a call.
const DAYS: usize = 1_000;

/// All days that have files, in order.
pub(crate) async fn days(store: &Store) -> Result<Vec<Date>, HitsError> {
    let mut days: Vec<Date> = Vec::new();
    let mut after: Option<String> = None;
    loop {
        let names = store.folders(ROOT, after.as_deref(), DAYS).await?;
        days.extend(names.iter().filter_map(|name| name.strip_prefix("day=")?.parse::<Date>().ok()));
        match names.last() {
            Some(last) if names.len() == DAYS => after = Some(last.clone()),
            _ => return Ok(days),
        }
    }
}

/// A day's files. What else lies there is left alone.
pub(crate) async fn files(store: &Store, day: Date) -> Result<Sorted, HitsError> {
    let pages: Vec<Vec<Entry>> = store.pages(&folder(day)).try_collect().await?;
    let mut files = Vec::new();
    for Entry { key, size, .. } in pages.into_iter().flatten() {
        let Some(name) = FileName::parse(&key) else { continue };
        let covers = match name.kind {
            Kind::Process { boot, from, to } => Covers::of(boot, from, to),
            Kind::All { .. } => OpenFile::open(store, name, size).await?.covers()?,
        };
        files.push(Listed { name, size, covers });
    }
    Ok(Sorted::of(files))
}
