//! Cuts a file into parts, and reads them into memory, a bounded number at a time.

use std::{fs::File, os::unix::fs::FileExt, sync::Arc};

use bytes::Bytes;
use memmap2::MmapMut;
use tokio::sync::OwnedSemaphorePermit;

use crate::{StoreError, s3::Store};

const MIB: u64 = 1024 * 1024;
/// Above this a file goes up in parts.
pub(super) const SINGLE: u64 = 16 * MIB;
/// Four of these fill the buffers: larger parts are no faster, and cost memory.
pub(super) const PART: u64 = 8 * MIB;
/// S3's own limit.
const MOST_PARTS: u64 = 10_000;
/// Parts of one upload that are on their way at once.
pub(super) const AT_ONCE: usize = 4;
/// MiB of files in memory at once, over all uploads of a store.
pub(super) const BUFFERS_MIB: u32 = 32;

/// A range of a file: its place in the upload, from 1, its offset and its length in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Part {
    pub(super) number: i32,
    pub(super) offset: u64,
    pub(super) len: u64,
}

/// Cuts a file of `len` bytes into at most 10,000 parts of equal size, the last one shorter.
pub(super) fn cut(len: u64) -> impl Iterator<Item = Part> {
    let size = PART.max(len.div_ceil(MOST_PARTS).next_multiple_of(MIB));
    (1..)
        .zip((0..len).step_by(usize::try_from(size).expect("an object has at most 5 TB, so a part 500 MB")))
        .map(move |(number, offset)| Part { number, offset, len: size.min(len - offset) })
}

impl Store {
    /// Reads a range into memory once there is room for it. The permit is given back when the bytes are sent.
    pub(super) async fn read_range(
        &self,
        key: &str,
        file: &Arc<File>,
        offset: u64,
        len: u64,
    ) -> Result<(Bytes, OwnedSemaphorePermit), StoreError> {
        // A part that is larger than all buffers together goes alone.
        let room = u32::try_from(len.div_ceil(MIB)).unwrap_or(u32::MAX).min(BUFFERS_MIB);
        let buffers = Arc::clone(&self.inner.buffers);
        let permit = buffers.acquire_many_owned(room).await.expect("the semaphore is never closed");
        let file = Arc::clone(file);
        let read = tokio::task::spawn_blocking(move || {
            // Not from the allocator: glibc keeps blocks of this size in the heap of each thread that had one.
            let mut buffer = MmapMut::map_anon(usize::try_from(len).map_err(std::io::Error::other)?)?;
            file.read_exact_at(&mut buffer, offset)?;
            Ok::<_, std::io::Error>(Bytes::from_owner(buffer))
        });
        let failed = |reason: String| StoreError::Unavailable {
            operation: "PutObject",
            key: key.to_owned(),
            reason: format!("the file to upload cannot be read: {reason}"),
        };
        let bytes = read.await.map_err(|error| failed(error.to_string()))?;
        Ok((bytes.map_err(|error| failed(error.to_string()))?, permit))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_cover_the_file_and_are_at_most_ten_thousand() {
        for len in [SINGLE + 1, 270 * MIB + 3, 80_000 * MIB, 5 * MIB * MIB] {
            let mut end = 0;
            let mut count = 0;
            for part in cut(len) {
                count += 1;
                assert_eq!((part.number, part.offset), (count, end));
                assert!(part.len >= 5 * MIB || end + part.len == len, "S3 takes no smaller part but the last");
                end += part.len;
            }
            assert_eq!(end, len);
            assert!(count <= 10_000);
        }
    }
}
