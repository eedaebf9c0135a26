//! Adds up the files of some days, and orders paths by count.

use futures::{StreamExt, TryStreamExt, stream};
use jiff::civil::Date;
use tokio::task::spawn_blocking;
use waybill_store::Store;

use crate::{
    HitsError, Ranking,
    files::{
        listing,
        open_file::OpenFile,
        visible::{Listed, Sorted},
    },
    totals::{Totals, rank},
};

/// Days listed side by side; and files whose ends are read side by side, 256 KiB each: a live process has some hundred and
/// fifty small ones a day.
const AT_ONCE: usize = 16;
/// How often a reader begins anew because a file was merged away. Covered files stay for minutes, so once is rare.
const TRIES: usize = 3;

/// What is asked for. The default is everything.
#[derive(Debug, Clone, Default)]
pub struct Query {
    /// The first day.
    pub from: Option<Date>,
    /// The last day, included.
    pub to: Option<Date>,
    /// Only paths that begin so.
    pub prefix: String,
    /// The most paths.
    pub limit: Option<usize>,
}

impl Query {
    fn has(&self, day: Date) -> bool {
        self.from.is_none_or(|from| from <= day) && self.to.is_none_or(|to| day <= to)
    }
}

/// What the bucket's files say.
pub(crate) async fn run(store: &Store, query: Query) -> Result<Ranking, HitsError> {
    let mut tries = 1;
    let totals = loop {
        match totals(store, &query).await {
            Err(HitsError::Gone { .. }) if tries < TRIES => tries += 1,
            other => break other?,
        }
    };
    blocking(move || Ok(rank(totals.finish()?, query.limit)?)).await
}

async fn totals(store: &Store, query: &Query) -> Result<Totals, HitsError> {
    let days = listing::days(store).await?.into_iter().filter(|day| query.has(*day));
    let listed = stream::iter(days).map(|day| listing::files(store, day)).buffered(AT_ONCE);
    let sorted: Vec<Sorted> = listed.try_collect().await?;
    let files: Vec<_> = sorted.into_iter().flat_map(|day| day.visible).collect();
    add_files(store, &files, &query.prefix, Totals::default()).await
}

/// Adds the counts of files to `totals`, of paths that begin with `prefix`.
pub(crate) async fn add_files(
    store: &Store,
    files: &[Listed],
    prefix: &str,
    mut totals: Totals,
) -> Result<Totals, HitsError> {
    let names: Vec<_> = files.iter().map(|file| (file.name, file.size)).collect();
    let opened = stream::iter(names).map(|(name, size)| OpenFile::open(store, name, size));
    let mut opened = opened.buffer_unordered(AT_ONCE);
    while let Some(file) = opened.try_next().await? {
        for group in 0..file.groups() {
            let (group, prefix) = (file.group(group).await?, prefix.to_owned());
            totals = blocking(move || {
                for row in group.decode()? {
                    if row.path.starts_with(&prefix) {
                        totals.add(row)?;
                    }
                }
                Ok(totals)
            })
            .await?;
        }
    }
    Ok(totals)
}

/// Runs what takes CPU or disk beside the runtime; a panic there is an error here.
pub(crate) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, HitsError> + Send + 'static,
) -> Result<T, HitsError> {
    spawn_blocking(work).await.unwrap_or(Err(HitsError::Panic))
}
