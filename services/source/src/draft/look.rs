//! A look at an answer that is held whole: what a definition reads of it, for people.

use std::hash::{DefaultHasher, Hasher as _};

use serde_json::Value as Json;

use crate::{
    Definition, Page, PageParts, Rejection, Scanned,
    draft::sample::{self, Record},
};

/// What a definition reads of an answer.
#[derive(Debug)]
pub struct Looked {
    /// The records and what is around them, or why the answer is refused.
    pub page: Result<Page, Rejection>,
    /// Tells its records from others.
    pub digest: u64,
}

/// One record.
#[derive(Debug, Clone, PartialEq)]
pub struct LookedRecord {
    /// As it came.
    pub value: Json,
    /// By the fields of the schema, in their order; `None` where there is no value.
    pub fields: Vec<(String, Option<Json>)>,
}

impl Definition {
    /// Reads an answer as a job does. Of one that is cut off only what came is read.
    pub fn look(&self, body: &[u8], is_cut: bool) -> Looked {
        let parts = PageParts { body: true, last: true, lines: true };
        let mut scanner = self.scanner().for_page(parts);
        let pushed = scanner.push(body);
        let lines = scanner.take_lines();
        let page = match pushed {
            Ok(()) if is_cut => {
                let records = memchr::memchr_iter(b'\n', &lines).count() as u64;
                Ok(Page { scanned: Scanned { records, ..Scanned::default() }, ..Page::default() })
            }
            Ok(()) => scanner.finish_page(),
            Err(rejection) => Err(rejection),
        };
        let page = page.map_err(|rejection| {
            let before = &body[..body.len().min(usize::try_from(rejection.offset).unwrap_or(usize::MAX))];
            rejection.after_lines(memchr::memchr_iter(b'\n', before).count() as u64)
        });
        let mut hasher = DefaultHasher::new();
        hasher.write(&lines);
        if let Ok(page) = &page {
            hasher.write(&page.lines);
        }
        Looked { page, digest: hasher.finish() }
    }

    /// The first records of an answer, at most 100.
    pub fn first_records(&self, body: &[u8]) -> Vec<LookedRecord> {
        let (records, _) = sample::records(self.answer_format(), self.record_path(), body);
        records.into_iter().map(|record| self.looked(record)).collect()
    }

    /// Record `number` of an answer, from 1.
    pub fn record(&self, body: &[u8], number: u64) -> Option<LookedRecord> {
        sample::record(self.answer_format(), self.record_path(), body, number).map(|record| self.looked(record))
    }

    fn looked(&self, record: Record) -> LookedRecord {
        LookedRecord { fields: sample::values(&record, self.schema()), value: record.value }
    }
}
