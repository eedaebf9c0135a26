//! What is done with a file's bytes as they arrive: each record is checked and added up, and the bytes
//! are spooled.
//!
//! The first bytes are taken where they arrive, because a hop to another thread costs more than a small
//! file; a file that turns out large moves to a thread of its own. At most a few pieces wait for it: a
//! slow disk slows the download, never fills the memory.

use std::{
    io,
    time::{Duration, Instant},
};

use bytes::Bytes;
use serde_json::Value as Json;
use tokio::{sync::mpsc, task::JoinHandle};
use waybill_source::{Definition, Rejection, Scanned, Scanner};

use crate::download::spool::Spool;

/// So many bytes are taken without a thread: a quarter of a millisecond of scanning.
const WITHOUT_A_THREAD: u64 = 256 << 10;

/// So many pieces wait for the thread. One is at most what the HTTP client hands out at once, 416 KiB.
const WAITING: usize = 2;

/// The checks and the spool of one file.
#[derive(Debug)]
struct ScanOutput {
    scanner: Scanner,
    rejection: Option<Rejection>,
    spool: Spool,
    /// Spent on checks so far.
    checking: Duration,
}

impl ScanOutput {
    fn push(&mut self, piece: &[u8]) -> io::Result<()> {
        // A file that is rejected is still kept whole, for whoever has to find out why.
        if self.rejection.is_none() {
            let began = Instant::now();
            self.rejection = self.scanner.push(piece).err();
            self.checking += began.elapsed();
        }
        self.spool.write(piece)
    }

    /// Says that the last byte was seen.
    fn end(self) -> io::Result<Scan> {
        let began = Instant::now();
        let ended = self.rejection.map_or_else(|| self.scanner.finish_with_body(), Err);
        let checking = self.checking + began.elapsed();
        let (scanned, body) = match ended {
            Err(rejection) => (Err(rejection.clone().after_lines(self.spool.lines(rejection.offset)?)), Json::Null),
            Ok((scanned, body)) => (Ok(scanned), body),
        };
        Ok(Scan { scanned, body, spool: self.spool, checking })
    }
}

/// What came of the bytes of one file.
#[derive(Debug)]
pub(crate) struct Scan {
    pub(crate) scanned: Result<Scanned, Rejection>,
    /// What is around the records.
    pub(crate) body: Json,
    pub(crate) spool: Spool,
    /// Spent on checks.
    pub(crate) checking: Duration,
}

/// The checks and the spool of one file, here or on its thread. Dropping it ends the thread.
#[derive(Debug)]
pub(crate) struct ScanSink {
    here: Option<ScanOutput>,
    thread: Option<Thread>,
}

#[derive(Debug)]
struct Thread {
    pieces: mpsc::Sender<Bytes>,
    intake: JoinHandle<io::Result<Scan>>,
}

impl ScanSink {
    /// For one file of this source.
    pub(crate) fn new(definition: &Definition) -> Self {
        let intake = ScanOutput {
            scanner: definition.scanner().with_body(),
            rejection: None,
            spool: Spool::default(),
            checking: Duration::ZERO,
        };
        Self { here: Some(intake), thread: None }
    }

    /// Takes the next bytes; waits where the thread is behind. After an error the sink is spent.
    pub(crate) async fn push(&mut self, piece: Bytes) -> io::Result<()> {
        if let Some(intake) = self.here.take_if(|it| it.spool.len() + piece.len() as u64 > WITHOUT_A_THREAD) {
            self.thread = Some(Thread::start(intake));
        }
        if let Some(intake) = &mut self.here {
            return intake.push(&piece);
        }
        let thread = self.thread.as_mut().ok_or_else(spent)?;
        if thread.pieces.send(piece).await.is_ok() {
            return Ok(());
        }
        // The thread takes pieces until there are no more, so it ended with an error.
        match self.thread.take() {
            Some(thread) => thread.join().await.and(Err(spent())),
            None => Err(spent()),
        }
    }

    /// Says that the last byte was pushed.
    pub(crate) async fn finish(self) -> io::Result<Scan> {
        match (self.here, self.thread) {
            (Some(intake), _) => intake.end(),
            (None, Some(thread)) => thread.join().await,
            (None, None) => Err(spent()),
        }
    }
}

impl Thread {
    fn start(mut intake: ScanOutput) -> Self {
        let (pieces, mut waiting) = mpsc::channel::<Bytes>(WAITING);
        let intake = tokio::task::spawn_blocking(move || {
            while let Some(piece) = waiting.blocking_recv() {
                intake.push(&piece)?;
            }
            intake.end()
        });
        Self { pieces, intake }
    }

    async fn join(self) -> io::Result<Scan> {
        drop(self.pieces);
        match self.intake.await {
            Ok(scan) => scan,
            // A panic is passed on to whoever runs the task, and counted there.
            Err(error) if error.is_panic() => std::panic::resume_unwind(error.into_panic()),
            Err(error) => Err(io::Error::other(error)),
        }
    }
}

fn spent() -> io::Error {
    io::Error::other("the intake of this file has ended")
}
