//! Runs: sorted paths and counts in a temporary file, and the merge of many.

use std::{
    cmp::Ordering,
    collections::BinaryHeap,
    fs::File,
    io::{self, BufReader, BufWriter, Read, Seek, Write},
    marker::PhantomData,
    vec,
};

use crate::PathCount;

/// What is read ahead of each run, in bytes.
const READ_AHEAD: usize = 64 * 1024;

/// In which order a run is.
pub(crate) trait Order {
    fn compare(a: &PathCount, b: &PathCount) -> Ordering;
}

/// By path.
#[derive(Debug)]
pub(crate) struct ByPath;

impl Order for ByPath {
    fn compare(a: &PathCount, b: &PathCount) -> Ordering {
        a.path.cmp(&b.path)
    }
}

/// The most requested first; of equally many the lesser path.
#[derive(Debug)]
pub(crate) struct ByCount;

impl Order for ByCount {
    fn compare(a: &PathCount, b: &PathCount) -> Ordering {
        b.count.cmp(&a.count).then_with(|| a.path.cmp(&b.path))
    }
}

/// Writes a run, and returns its file at its beginning.
pub(crate) fn write(rows: &[PathCount]) -> io::Result<File> {
    let mut out = BufWriter::new(tempfile::tempfile()?);
    for PathCount { path, count } in rows {
        out.write_all(&count.to_le_bytes())?;
        out.write_all(&(path.len() as u64).to_le_bytes())?;
        out.write_all(path.as_bytes())?;
    }
    let mut file = out.into_inner()?;
    file.rewind()?;
    Ok(file)
}

/// Sorted rows, in memory or in a file.
#[derive(Debug)]
enum Source {
    Rows(vec::IntoIter<PathCount>),
    Run(BufReader<File>),
}

impl Source {
    fn next(&mut self) -> io::Result<Option<PathCount>> {
        match self {
            Self::Rows(rows) => Ok(rows.next()),
            Self::Run(run) => read(run),
        }
    }
}

fn read(run: &mut BufReader<File>) -> io::Result<Option<PathCount>> {
    let mut numbers = [0; 16];
    match run.read_exact(&mut numbers) {
        Ok(()) => {}
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(None),
        Err(error) => return Err(error),
    }
    let (count, len) = numbers.split_at(8);
    let number = |bytes: &[u8]| bytes.iter().rev().fold(0, |number, byte| number << 8 | u64::from(*byte));
    let mut path = vec![0; usize::try_from(number(len)).map_err(io::Error::other)?];
    run.read_exact(&mut path)?;
    let path = String::from_utf8(path).map_err(io::Error::other)?;
    Ok(Some(PathCount { path: path.into(), count: number(count) }))
}

/// The rows of all sources, in order.
#[derive(Debug)]
pub(crate) struct Merge<O> {
    sources: Vec<Source>,
    heads: BinaryHeap<Head<O>>,
}

impl<O: Order> Merge<O> {
    /// Merges runs, and rows that are in order, too.
    pub(crate) fn new(runs: Vec<File>, rows: Vec<PathCount>) -> io::Result<Self> {
        let runs = runs.into_iter().map(|run| Source::Run(BufReader::with_capacity(READ_AHEAD, run)));
        let sources = runs.chain([Source::Rows(rows.into_iter())]).collect();
        let mut merge = Self { sources, heads: BinaryHeap::new() };
        for source in 0..merge.sources.len() {
            merge.advance(source)?;
        }
        Ok(merge)
    }

    fn advance(&mut self, source: usize) -> io::Result<()> {
        if let Some(row) = self.sources[source].next()? {
            self.heads.push(Head { row, source, order: PhantomData });
        }
        Ok(())
    }
}

impl<O: Order> Iterator for Merge<O> {
    type Item = io::Result<PathCount>;

    fn next(&mut self) -> Option<Self::Item> {
        let Head { row, source, .. } = self.heads.pop()?;
        Some(self.advance(source).map(|()| row))
    }
}

/// The next row of a source. The heap gives its greatest, so the order is turned round.
#[derive(Debug)]
struct Head<O> {
    row: PathCount,
    source: usize,
    order: PhantomData<O>,
}

impl<O: Order> Ord for Head<O> {
    fn cmp(&self, other: &Self) -> Ordering {
        O::compare(&other.row, &self.row).then(other.source.cmp(&self.source))
    }
}

impl<O: Order> PartialOrd for Head<O> {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl<O: Order> PartialEq for Head<O> {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl<O: Order> Eq for Head<O> {}
