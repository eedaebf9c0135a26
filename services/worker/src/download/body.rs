//! A file of which not all has come yet.

use std::{io, sync::Arc};

use bytes::{Bytes, BytesMut};
use reqwest::{
    Response,
    header::{ACCEPT_RANGES, CONTENT_RANGE, HeaderMap, HeaderValue, IF_RANGE, RANGE},
};
use sha2::{Digest, Sha256};
use tracing::{
    Span,
    field::{Empty, display},
};
use waybill_source::{Definition, Format, Rejection};

use crate::{
    download::{
        client::dropped,
        content_encoding::Decoder,
        model::{Fetched, Validators},
        pages::answer::Contents,
        scan_sink::{Scan, ScanSink},
    },
    metrics::Counts,
    retry::Fault,
};

/// Bytes are handed on in pieces of at least so many, where the network's are smaller.
const PIECE: usize = 64 << 10;

/// The bytes that came so far, hashed, and checked on their way into the spool.
#[derive(Debug)]
pub(crate) struct PartialBody {
    sink: ScanSink,
    // Hashed here and not in the sink, so that both cores have their share of a large file.
    hash: Sha256,
    format: Format,
    decoder: Decoder,
    /// Too few yet to be handed on.
    pending: BytesMut,
    /// As they came.
    received: u64,
    decoded: u64,
    /// As announced; unknown where the upstream did not say.
    total: Option<u64>,
    validators: Validators,
    ranges: bool,
    counts: Arc<Counts>,
    /// Of the checks, which go on while the bytes arrive.
    checking: Span,
}

/// Why a body did not come whole.
#[derive(Debug)]
pub(crate) enum Broken {
    /// It broke off.
    Download { fault: Fault, partial: Box<PartialBody> },
    /// It is not encoded as it says, so that nothing can be done with what came.
    Encoding(Fault),
    /// The spool failed, and what came is lost.
    Spool(io::Error),
}

impl PartialBody {
    /// A file of which only the head of the answer has come.
    pub(crate) fn begin(definition: &Definition, response: &Response, counts: Arc<Counts>) -> Self {
        let headers = response.headers();
        Self {
            sink: ScanSink::new(definition),
            hash: Sha256::new(),
            format: definition.format(),
            decoder: Decoder::new(headers),
            pending: BytesMut::new(),
            received: 0,
            decoded: 0,
            total: response.content_length(),
            validators: Validators::of(headers),
            ranges: headers.get(ACCEPT_RANGES).is_none_or(|ranges| ranges != "none"),
            counts,
            checking: tracing::info_span!("check", size_bytes = Empty, records = Empty, error = Empty),
        }
    }

    /// Whether the rest can be asked for. Only a strong validator says that the bytes are the same ones;
    /// an upstream that has it but no ranges answers with the whole file.
    pub(crate) fn can_resume(&self) -> bool {
        self.received > 0
            && self.ranges
            && self.validators.etag.as_ref().is_some_and(|etag| etag.starts_with('"') && etag.ends_with('"'))
    }

    /// The headers that ask for the rest, and for the whole file if it is another one by now.
    pub(crate) fn ask_for_the_rest(&self) -> HeaderMap {
        let etag = self.validators.etag.as_deref().and_then(|etag| HeaderValue::from_str(etag).ok());
        let range = HeaderValue::from_str(&format!("bytes={}-", self.received)).ok();
        [(RANGE, range), (IF_RANGE, etag)].into_iter().filter_map(|(name, value)| Some((name, value?))).collect()
    }

    /// Whether a 206 is the rest that was asked for, of the very same file; `None` where it is not.
    pub(crate) fn go_on(mut self, headers: &HeaderMap) -> Option<Self> {
        let range = headers.get(CONTENT_RANGE)?.to_str().ok()?.strip_prefix("bytes ")?;
        let (range, total) = range.split_once('/')?;
        let (start, _) = range.split_once('-')?;
        let total: u64 = total.parse().ok()?;
        let right = start.parse() == Ok(self.received)
            && self.total.is_none_or(|known| known == total)
            && Validators::of(headers).etag == self.validators.etag
            && self.decoder.can_go_on(headers);
        tracing::debug!(right, offset = self.received, total, "resuming a download");
        self.total = Some(total);
        right.then_some(self)
    }

    /// Reads the body to its end, or up to `max_bytes` decoded ones: beyond that the file is rejected.
    pub(crate) async fn read(
        mut self,
        response: &mut Response,
        path: &str,
        max_bytes: u64,
    ) -> Result<(Fetched, Contents), Broken> {
        let mut too_large = false;
        let mut is_last = false;
        while !too_large && !is_last {
            match response.chunk().await {
                Ok(Some(chunk)) => {
                    self.received += chunk.len() as u64;
                    self.decoder.push(chunk);
                }
                Ok(None) => {
                    let received = self.received;
                    if let Some(total) = self.total.filter(|total| *total != received) {
                        let reason = format!("{path} ended after {received} bytes, though {total} were announced");
                        return Err(Broken::Download { fault: Fault::transient(reason), partial: Box::new(self) });
                    }
                    is_last = true;
                    self.decoder.end();
                }
                Err(error) => {
                    let fault = dropped(&error, path, self.received);
                    return Err(Broken::Download { fault, partial: Box::new(self) });
                }
            }
            while let Some(mut piece) = self.decoder.pull(path).map_err(Broken::Encoding)? {
                let room = max_bytes.saturating_sub(self.decoded);
                too_large = piece.len() as u64 > room;
                if too_large {
                    piece.truncate(room as usize);
                }
                self.take(piece).await.map_err(Broken::Spool)?;
                if too_large {
                    break;
                }
            }
        }
        self.finish(too_large.then_some(max_bytes)).await.map_err(Broken::Spool)
    }

    async fn take(&mut self, chunk: Bytes) -> io::Result<()> {
        self.decoded += chunk.len() as u64;
        if self.pending.is_empty() && chunk.len() >= PIECE {
            return self.requeue(chunk).await;
        }
        self.pending.extend_from_slice(&chunk);
        if self.pending.len() < PIECE {
            return Ok(());
        }
        let piece = self.pending.split().freeze();
        self.requeue(piece).await
    }

    async fn requeue(&mut self, piece: Bytes) -> io::Result<()> {
        self.hash.update(&piece);
        self.counts.fetched.inc_by(piece.len() as u64);
        self.sink.push(piece).await
    }

    async fn finish(mut self, limit: Option<u64>) -> io::Result<(Fetched, Contents)> {
        let last = self.pending.split().freeze();
        self.requeue(last).await?;
        let Scan { mut scanned, body, spool, checking } = self.sink.finish().await?;
        self.counts.check.observe(checking.as_secs_f64());
        if let Some(limit) = limit {
            let record = match &scanned {
                Ok(scanned) => scanned.records + 1,
                Err(rejection) => rejection.record,
            };
            let (expected, found) = (format!("at most {limit} bytes"), "more".to_owned());
            scanned = Err(Rejection { record, line: None, offset: limit, field: None, expected, found });
        }
        if let Err(rejection) = &mut scanned
            && spool.len() == 0
        {
            rejection.found = "an empty body, which an `on` rule with the action `absent` will accept".to_owned();
        }
        if let Ok(scanned) = &scanned {
            self.counts.records.inc_by(scanned.records);
        }
        self.checking.record("size_bytes", spool.len());
        match &scanned {
            Ok(scanned) => self.checking.record("records", scanned.records),
            Err(rejection) => self.checking.record("error", display(rejection)),
        };
        let sha256 = base16ct::lower::encode_string(&self.hash.finalize());
        let records = scanned.as_ref().map_or(0, |scanned| scanned.records);
        let fetched = Fetched {
            bytes: spool.len(),
            body: spool.into_body(),
            scanned,
            sha256,
            validators: self.validators,
            format: self.format,
            pages: None,
        };
        Ok((fetched, Contents { records, body, ..Contents::default() }))
    }
}
