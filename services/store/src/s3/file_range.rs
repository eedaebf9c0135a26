//! A range of a file as the body of a request: read as it is sent, so that memory does not grow with it.

use std::{
    fs::File,
    io,
    os::unix::fs::FileExt,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use aws_sdk_s3::primitives::{ByteStream, SdkBody};
use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use memmap2::MmapMut;
use sha2::{Digest, Sha256};
use tokio::task::JoinHandle;

/// Bytes that are read at once: what a part has in memory, twice at most. Less is more turns of a thread.
const CHUNK: usize = 256 * 1024;

/// A range of a file.
#[derive(Debug, Clone)]
pub(super) struct FileRange {
    pub(super) file: Arc<File>,
    pub(super) offset: u64,
    pub(super) len: u64,
}

impl FileRange {
    /// Its SHA-256 in hexadecimal digits, by which a request is signed.
    pub(super) async fn sha256(&self) -> io::Result<String> {
        let mut range = self.clone();
        let hashed = tokio::task::spawn_blocking(move || {
            let (mut sha256, mut buffer) = (Sha256::new(), vec![0; CHUNK]);
            while range.len > 0 {
                let chunk = &mut buffer[..range.next_len()];
                range.read(chunk)?;
                sha256.update(chunk);
            }
            Ok(base16ct::lower::encode_string(&sha256.finalize()))
        });
        hashed.await.map_err(io::Error::other)?
    }

    /// A body that can be sent again from its beginning.
    pub(super) fn into_body(self) -> ByteStream {
        let body = move || SdkBody::from_body_1_x(Reading { range: self.clone(), next: None });
        ByteStream::new(SdkBody::retryable(body))
    }

    fn next_len(&self) -> usize {
        usize::try_from(self.len).unwrap_or(CHUNK).min(CHUNK)
    }

    fn read(&mut self, chunk: &mut [u8]) -> io::Result<()> {
        self.file.read_exact_at(chunk, self.offset)?;
        self.offset += chunk.len() as u64;
        self.len -= chunk.len() as u64;
        Ok(())
    }

    fn read_next(mut self) -> io::Result<(Bytes, Self)> {
        // Not from the allocator: glibc keeps blocks of this size in the heap of each thread that had one.
        let mut chunk = MmapMut::map_anon(self.next_len())?;
        self.read(&mut chunk)?;
        Ok((Bytes::from_owner(chunk), self))
    }
}

/// A range on its way: files are read on a thread that may wait for a disk.
struct Reading {
    range: FileRange,
    next: Option<JoinHandle<io::Result<(Bytes, FileRange)>>>,
}

impl Body for Reading {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        let Self { range, next } = &mut *self;
        if range.len == 0 {
            return Poll::Ready(None);
        }
        let reading = next.get_or_insert_with(|| {
            let range = range.clone();
            tokio::task::spawn_blocking(move || range.read_next())
        });
        let read = ready!(Pin::new(reading).poll(context));
        *next = None;
        let (chunk, rest) = read.map_err(io::Error::other).flatten()?;
        *range = rest;
        Poll::Ready(Some(Ok(Frame::data(chunk))))
    }

    fn is_end_stream(&self) -> bool {
        self.range.len == 0
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.range.len)
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    const CHUNK: u64 = super::CHUNK as u64;

    fn range(offset: u64, len: u64) -> (FileRange, Vec<u8>) {
        let bytes: Vec<u8> = (0..3 * CHUNK + 5).map(|at| (at % 251) as u8).collect();
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(&bytes).unwrap();
        (FileRange { file: Arc::new(file), offset, len }, bytes)
    }

    #[tokio::test]
    async fn a_range_is_read_whole_and_hashed_as_it_is_and_can_be_sent_again() {
        for (offset, len) in [(0, 0), (7, 1), (1, CHUNK), (5, CHUNK * 2 + 9), (0, CHUNK * 3 + 5)] {
            let (range, bytes) = range(offset, len);
            let expected = &bytes[usize::try_from(offset).unwrap()..usize::try_from(offset + len).unwrap()];
            assert_eq!(range.sha256().await.unwrap(), base16ct::lower::encode_string(&Sha256::digest(expected)));
            let body = range.into_body().into_inner();
            assert_eq!(body.content_length(), Some(len));
            for body in [body.try_clone().unwrap(), body] {
                assert_eq!(ByteStream::new(body).collect().await.unwrap().into_bytes(), expected);
            }
        }
    }

    #[tokio::test]
    async fn a_file_that_is_too_short_is_an_error() {
        let (range, _) = range(CHUNK * 3, 6);
        assert_eq!(range.sha256().await.unwrap_err().kind(), io::ErrorKind::UnexpectedEof);
        ByteStream::collect(range.into_body()).await.unwrap_err();
    }
}
