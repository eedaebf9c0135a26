//! One city's file of one day, as a function from offsets to bytes.
//!
//! The file is `[`, then records of one width, then `]`. It is made of blocks, each a run of the pool
//! from a place that a hash decides; so no byte of it has to be kept, and none computed before it is
//! wanted.

use std::{ops::Range, sync::Arc};

use bytes::Bytes;

use crate::{
    files::{
        mix::{Use, mix},
        pool::{DAY, Pool, RECORDS, WIDTH},
    },
    sites::day::Day,
};

const OPEN: &[u8] = b"[\n";
const EMPTY: &[u8] = b"[]";
/// Records in a block.
const BLOCK: u64 = 256;
/// Places in the pool where a block can start.
const STARTS: u64 = RECORDS as u64 - BLOCK + 1;
/// How far a block moves in the pool with each version. `STARTS` is a prime, so the first record
/// comes from the same place again only after `STARTS` versions.
const STEP: u64 = 97;

/// A file that can be read anywhere.
#[derive(Debug, Clone)]
pub(crate) struct CityFile {
    pool: Arc<Pool>,
    key: u64,
    version: u64,
    records: u64,
    day: Day,
}

impl CityFile {
    pub(crate) fn new(pool: Arc<Pool>, seed: u64, city: u64, day: Day, version: u64, records: u64) -> Self {
        Self { pool, key: mix(Use::File, &[seed, city, day.number]), version, records, day }
    }

    pub(crate) fn day(&self) -> Day {
        self.day
    }

    pub(crate) fn records(&self) -> u64 {
        self.records
    }

    /// The same file, with one record where there was none: faults need one to spoil.
    pub(crate) fn at_least_one(self) -> Self {
        Self { records: self.records.max(1), ..self }
    }

    /// Length in bytes.
    pub(crate) fn len(&self) -> u64 {
        if self.records == 0 { EMPTY.len() as u64 } else { self.record(self.records).start }
    }

    /// A number that changes with any byte of the file.
    pub(crate) fn tag(&self) -> u64 {
        mix(Use::Tag, &[self.key, self.version, self.records])
    }

    /// Where a record stands, without its separator.
    pub(crate) fn record(&self, index: u64) -> Range<u64> {
        let start = OPEN.len() as u64 + index * WIDTH as u64;
        start..start + WIDTH as u64 - 2
    }

    /// At most `limit` bytes from `offset` on, and at least one unless the file ends there.
    pub(crate) fn read(&self, offset: u64, limit: usize) -> Bytes {
        let open = if self.records == 0 { EMPTY } else { OPEN };
        if offset < open.len() as u64 || self.records == 0 {
            let rest = &open[(offset as usize).min(open.len())..];
            return Bytes::from_static(&rest[..rest.len().min(limit)]);
        }
        // Whole records are written, and the ends that nobody asked for cut off without a copy.
        let width = WIDTH as u64;
        let offset = offset - OPEN.len() as u64;
        let first = (offset / width).min(self.records);
        let end = (offset + limit as u64).div_ceil(width).clamp(first, self.records);
        let bytes = Bytes::from(self.write(first..end));
        let skip = ((offset - first * width) as usize).min(bytes.len());
        bytes.slice(skip..skip.saturating_add(limit).min(bytes.len()))
    }

    fn write(&self, records: Range<u64>) -> Vec<u8> {
        let mut bytes = Vec::with_capacity((records.end - records.start) as usize * WIDTH);
        let mut next = records.start;
        while next < records.end {
            let inside = next % BLOCK;
            let count = (BLOCK - inside).min(records.end - next);
            let first = self.start(next / BLOCK) + inside;
            bytes.extend_from_slice(self.pool.records(first as usize, count as usize));
            next += count;
        }
        for record in bytes.chunks_exact_mut(WIDTH) {
            record[DAY].copy_from_slice(&self.day.text);
        }
        if records.end == self.records
            && let Some(separator) = bytes.iter_mut().nth_back(1)
        {
            *separator = b']';
        }
        bytes
    }

    fn start(&self, block: u64) -> u64 {
        (mix(Use::Block, &[self.key, block]) % STARTS + self.version % STARTS * STEP) % STARTS
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, LazyLock};

    use proptest::prelude::*;

    use super::CityFile;
    use crate::{files::pool::Pool, sites::day::Day};

    static POOL: LazyLock<Arc<Pool>> = LazyLock::new(|| Arc::new(Pool::new(1)));

    fn file(records: u64, version: u64) -> CityFile {
        CityFile::new(POOL.clone(), 1, 5, Day::parse("2024-05-01").unwrap(), version, records)
    }

    fn read(file: &CityFile, mut offset: u64, end: u64, step: usize) -> Vec<u8> {
        let mut bytes = Vec::new();
        while offset < end {
            let part = file.read(offset, step.min((end - offset) as usize));
            assert!(!part.is_empty() && part.len() <= step);
            offset += part.len() as u64;
            bytes.extend_from_slice(&part);
        }
        bytes
    }

    #[test]
    fn every_length_is_json_with_that_many_records() {
        for records in [0, 1, 2, 255, 256, 257, 1_000] {
            let file = file(records, 0);
            let bytes = read(&file, 0, file.len(), 65_536);
            assert_eq!(bytes.len() as u64, file.len());
            let value: Vec<serde_json::Value> = serde_json::from_slice(&bytes).unwrap();
            assert_eq!(value.len() as u64, records);
            assert!(value.iter().all(|bus| bus["departure-time"].as_str().unwrap().starts_with("2024-05-01T")));
            assert!(file.read(file.len(), 10).is_empty() && file.read(file.len() + 1_000, 10).is_empty());
        }
    }

    #[test]
    fn versions_differ_from_the_first_record_on() {
        let first = |version| read(&file(300, version), 2, 100, 1_000);
        let versions: std::collections::HashSet<_> = (0..100).map(first).collect();
        assert_eq!(versions.len(), 100);
        assert_ne!(file(300, 0).tag(), file(300, 1).tag());
    }

    #[test]
    fn the_bytes_of_a_seed_are_the_same_everywhere() {
        let file = file(1, 0);
        let text = String::from_utf8(read(&file, 0, file.len(), 1_000)).unwrap();
        let bus = r#"{"departure-time":"2024-05-01T09:50:12","bus-type":"BUS-226","passengers":29,"delay":"PT336S","accident":false}"#;
        assert_eq!(text, format!("[\n{bus} ]\n"));
        assert_eq!(file.tag(), 6_332_654_987_710_527_644);
    }

    proptest! {
        #[test]
        fn a_part_is_a_slice_of_the_whole(records in 0u64..700, at in 0u64..90_000, length in 0u64..90_000, step in 1usize..40_000) {
            let file = file(records, 3);
            let whole = read(&file, 0, file.len(), 65_536);
            let (start, end) = (at.min(file.len()), (at + length).min(file.len()));
            prop_assert_eq!(read(&file, start, end, step), &whole[start as usize..end as usize]);
        }
    }
}
