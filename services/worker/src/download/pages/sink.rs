//! What is done with the bytes of a file's pages: each record is checked and added up, and its own bytes are spooled.
//!
//! What a page changes is known when it begins: a page that is tried again rolls back to it, so that nothing is counted
//! twice. Small pages are taken where they arrive, larger ones on threads for blocking work.

use std::{
    hash::{DefaultHasher, Hasher as _},
    io,
    time::{Duration, Instant},
};

use bytes::Bytes;
use sha2::{Digest, Sha256};
use waybill_source::{Definition, Format, PageParts, Rejection, Scanned, Scanner, Totals};

use crate::{
    blocking,
    download::{
        model::{Fetched, Validators},
        pages::answer::Contents,
        spool::Spool,
    },
};

/// What the page that is read has in memory, as it came: of one that is rejected, all is kept. The object has the rest of a
/// mebibyte.
const PAGE_IN_MEMORY: usize = 256 << 10;
const OBJECT_IN_MEMORY: usize = 768 << 10;

/// All pages so far, and the one that is read. `None` while a thread has it.
#[derive(Debug)]
pub(crate) struct PagesSink(Option<Box<Pages>>);

#[derive(Debug)]
struct Pages {
    object: Spool,
    hash: Sha256,
    totals: Totals,
    records: u64,
    /// Of CSV, which the object has once.
    header: Option<Vec<u8>>,
    /// Spent on checks.
    checking: Duration,
    page: Option<Page>,
}

#[derive(Debug)]
struct Page {
    scanner: Scanner,
    rejection: Option<Rejection>,
    /// As it came.
    raw: Spool,
    raw_hash: Sha256,
    digest: DefaultHasher,
    /// What the page began with.
    before: Before,
    is_header_seen: bool,
    is_header_other: bool,
}

/// Where a page begins.
#[derive(Debug)]
struct Before {
    len: u64,
    hash: Sha256,
    header: Option<Vec<u8>>,
}

/// How a page ended.
#[derive(Debug)]
pub(crate) enum Ended {
    Whole(Contents),
    /// The page as it came, and why it is not accepted.
    Rejected(Box<Fetched>),
    /// Its header is another one than that of the pages before.
    OtherHeader,
    /// A statistic of all pages is too large.
    TooLarge(String),
}

impl PagesSink {
    pub(crate) fn new(definition: &Definition) -> Self {
        Self(Some(Box::new(Pages {
            object: Spool::with_room(OBJECT_IN_MEMORY),
            hash: Sha256::new(),
            totals: definition.statistics().zero(),
            records: 0,
            header: None,
            checking: Duration::ZERO,
            page: None,
        })))
    }

    /// Begins a page, and forgets what came of one that did not end.
    pub(crate) async fn begin(&mut self, definition: &Definition) -> io::Result<()> {
        let scanner = definition.scanner().for_page(PageParts { body: true, last: true, lines: true });
        self.with(0, move |pages| pages.begin(scanner)).await
    }

    /// Takes the next bytes of the page. After an error the sink is spent.
    pub(crate) async fn push(&mut self, piece: Bytes) -> io::Result<()> {
        self.with(piece.len(), move |pages| pages.push(&piece)).await
    }

    /// Says that the page's last byte was pushed. It is the `number`th.
    pub(crate) async fn end(&mut self, definition: &Definition, number: u64) -> io::Result<Ended> {
        let statistics = definition.statistics().clone();
        let format = definition.answer_format();
        let merge = move |left: &mut Totals, right: &Totals| statistics.merge(left, right);
        self.with(0, move |pages| pages.end(merge, format, number)).await
    }

    /// The object, and how long its checks took.
    pub(crate) fn finish(self, definition: &Definition, pages: u64) -> io::Result<(Fetched, Duration)> {
        let Pages { object, hash, totals, records, checking, .. } = *self.0.ok_or_else(spent)?;
        let fetched = Fetched {
            bytes: object.len(),
            body: object.into_body(),
            scanned: Ok(Scanned { records, totals }),
            sha256: base16ct::lower::encode_string(&hash.finalize()),
            validators: Validators::default(),
            format: definition.format(),
            pages: Some(pages),
        };
        Ok((fetched, checking))
    }

    /// Works with so many bytes more: here while all is small, or on a thread.
    async fn with<T: Send + 'static>(
        &mut self,
        more: usize,
        work: impl FnOnce(&mut Pages) -> io::Result<T> + Send + 'static,
    ) -> io::Result<T> {
        let mut pages = self.0.take().ok_or_else(spent)?;
        let (pages, done) = if pages.is_small(more) {
            let done = work(&mut pages);
            (pages, done)
        } else {
            let worked = blocking::compute(move || {
                let done = work(&mut pages);
                (pages, done)
            });
            worked.await.ok_or_else(spent)?
        };
        if done.is_ok() {
            self.0 = Some(pages);
        }
        done
    }
}

impl Pages {
    /// Whether nothing blocks, and nothing takes long.
    fn is_small(&self, more: usize) -> bool {
        let page = self.page.as_ref().map_or(0, |page| page.raw.len());
        let has_room =
            |spool: &Spool, most: usize| spool.is_in_memory() && spool.len() + page + (more as u64) < most as u64;
        has_room(&self.object, OBJECT_IN_MEMORY)
            && page + (more as u64) < PAGE_IN_MEMORY as u64
            && self.page.as_ref().is_none_or(|page| page.raw.is_in_memory())
    }

    fn begin(&mut self, scanner: Scanner) -> io::Result<()> {
        if let Some(Page { before, .. }) = self.page.take() {
            self.object.truncate(before.len)?;
            (self.hash, self.header) = (before.hash, before.header);
        }
        let before = Before { len: self.object.len(), hash: self.hash.clone(), header: self.header.clone() };
        self.page = Some(Page {
            scanner,
            rejection: None,
            raw: Spool::with_room(PAGE_IN_MEMORY),
            raw_hash: Sha256::new(),
            digest: DefaultHasher::new(),
            before,
            is_header_seen: false,
            is_header_other: false,
        });
        Ok(())
    }

    fn push(&mut self, piece: &[u8]) -> io::Result<()> {
        let page = self.page.as_mut().ok_or_else(spent)?;
        page.raw.write(piece)?;
        page.raw_hash.update(piece);
        if page.rejection.is_none() {
            let began = Instant::now();
            page.rejection = page.scanner.push(piece).err();
            self.checking += began.elapsed();
            let lines = page.scanner.take_lines();
            self.write(&lines)?;
        }
        Ok(())
    }

    /// Writes whole records, and before the first of all the header, where there is one.
    fn write(&mut self, lines: &[u8]) -> io::Result<()> {
        let page = self.page.as_mut().ok_or_else(spent)?;
        if !page.is_header_seen
            && let Some(header) = page.scanner.header()
        {
            page.is_header_seen = true;
            match &self.header {
                None => {
                    let line = [header, b"\n"].concat();
                    self.hash.update(&line);
                    self.object.write(&line)?;
                    self.header = Some(header.to_vec());
                }
                Some(first) => page.is_header_other = first != header,
            }
        }
        page.digest.write(lines);
        self.hash.update(lines);
        self.object.write(lines)
    }

    fn end(
        &mut self,
        merge: impl FnOnce(&mut Totals, &Totals) -> Result<(), String>,
        format: Format,
        number: u64,
    ) -> io::Result<Ended> {
        let began = Instant::now();
        let page = self.page.as_mut().ok_or_else(spent)?;
        let ended = match page.rejection.take() {
            Some(rejection) => Err(rejection),
            None => page.scanner.end_page(),
        };
        self.checking += began.elapsed();
        let whole = match ended {
            Ok(whole) => whole,
            Err(rejection) => return self.reject(rejection, format, number),
        };
        self.write(&whole.lines)?;
        let page = self.page.take().ok_or_else(spent)?;
        if page.is_header_other {
            return Ok(Ended::OtherHeader);
        }
        if let Err(reason) = merge(&mut self.totals, &whole.scanned.totals) {
            return Ok(Ended::TooLarge(reason));
        }
        self.records += whole.scanned.records;
        Ok(Ended::Whole(Contents {
            records: whole.scanned.records,
            body: whole.body,
            last: whole.last,
            digest: page.digest.finish(),
        }))
    }

    fn reject(&mut self, rejection: Rejection, format: Format, number: u64) -> io::Result<Ended> {
        let Page { raw, raw_hash, .. } = self.page.take().ok_or_else(spent)?;
        let rejection = rejection.clone().after_lines(raw.lines(rejection.offset)?);
        Ok(Ended::Rejected(Box::new(Fetched {
            bytes: raw.len(),
            body: raw.into_body(),
            scanned: Err(rejection),
            sha256: base16ct::lower::encode_string(&raw_hash.finalize()),
            validators: Validators::default(),
            format,
            pages: Some(number),
        })))
    }
}

fn spent() -> io::Error {
    io::Error::other("the spool of these pages has ended")
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::FileExt;

    use waybill_store::UploadBody;

    use super::*;

    const THINGS: &str = r#"
name     = "things"
title    = "Things"
base_url = "http://127.0.0.1:1"

[[items]]
name   = "list"
key    = "{{ list.id }}"
fields = [{ name = "id", type = "integer" }]
list   = [1]

[fetch]
path       = "/things"
query      = { page = "{{ page.number }}" }
records    = "$.data[*]"
pagination = { type = "page" }

[record]
fields = [{ name = "id", type = "integer", constraints = { required = true } }]

[stats]
sum = { sum = "id" }

[store]
partition = ["date={{ job.date }}"]
"#;

    fn bytes(body: &UploadBody) -> Vec<u8> {
        match body {
            UploadBody::Bytes(bytes) | UploadBody::Hashed { bytes, .. } => bytes.to_vec(),
            UploadBody::File { file, len } => {
                let mut all = vec![0; *len as usize];
                file.read_exact_at(&mut all, 0).unwrap();
                all
            }
        }
    }

    /// However pages are cut, and however often one of them breaks off: each record is there once.
    #[tokio::test]
    async fn what_breaks_off_leaves_no_trace() {
        let definition = Definition::parse("x.toml", THINGS).unwrap();
        for seed in 0..30 {
            let mut random = fastrand::Rng::with_seed(seed);
            let (mut sink, mut expected, mut sum, mut id) = (PagesSink::new(&definition), String::new(), 0, 0);
            // Some stay in memory, some do not.
            let most = if seed % 3 == 0 { 20_000 } else { 20 };
            let pages = random.u64(1..5);
            for number in 1..=pages {
                let ids: Vec<u64> = (0..random.u64(0..most)).map(|at| id + at).collect();
                id += ids.len() as u64;
                let records: Vec<_> =
                    ids.iter().map(|id| format!("{{\"id\":\r\n{id}, \"text\": \"thing\"}}")).collect();
                let page = format!("{{\"page\": {number}, \"data\": [{}]}}", records.join(",\n"));
                for _ in 0..random.usize(0..3) {
                    sink.begin(&definition).await.unwrap();
                    let cut = random.usize(0..page.len());
                    sink.push(Bytes::copy_from_slice(&page.as_bytes()[..cut])).await.unwrap();
                }
                sink.begin(&definition).await.unwrap();
                let size = random.usize(1..100_000).max(page.len() / 50);
                for piece in page.as_bytes().chunks(size) {
                    sink.push(Bytes::copy_from_slice(piece)).await.unwrap();
                }
                let Ended::Whole(contents) = sink.end(&definition, number).await.unwrap() else { panic!("{seed}") };
                assert_eq!((contents.records, &contents.body["page"]), (ids.len() as u64, &number.into()));
                assert_eq!(contents.last.map(|last| last["id"].as_u64()), ids.last().map(|id| Some(*id)));
                expected.extend(records.iter().map(|record| record.replace("\r\n", "  ") + "\n"));
                sum += ids.iter().sum::<u64>();
            }
            let (file, _) = sink.finish(&definition, pages).unwrap();
            assert!(bytes(&file.body) == expected.as_bytes(), "{seed}");
            assert_eq!(file.sha256, base16ct::lower::encode_string(&Sha256::digest(expected.as_bytes())));
            let scanned = file.scanned.unwrap();
            assert_eq!((scanned.records, file.pages), (id, Some(pages)));
            let pairs = definition.statistics().to_metadata(&scanned.totals);
            assert_eq!(pairs, [("sum".to_owned(), sum.to_string())]);
        }
    }
}
