//! Where a file's bytes wait for its upload: in memory while small, else in a file with no name.
//!
//! A file with no name goes away with the process, however it dies. Writing blocks once the bytes are in
//! a file, so that from then on it must never be done on a thread of the async runtime.

use std::{
    fs::File,
    io::{self, Seek, SeekFrom, Write},
    os::unix::fs::FileExt,
    sync::Arc,
};

use bytes::Bytes;
use waybill_store::UploadBody;

/// What one spool keeps in memory. Sixteen of them run at once, within 64 MiB together with all else.
const IN_MEMORY: usize = 1 << 20;

/// The bytes of one file, as they came.
#[derive(Debug)]
pub(crate) struct Spool {
    memory: Vec<u8>,
    /// The most bytes in memory.
    room: usize,
    file: Option<File>,
    len: u64,
}

impl Default for Spool {
    fn default() -> Self {
        Self::with_room(IN_MEMORY)
    }
}

impl Spool {
    /// A spool that has at most so many bytes in memory.
    pub(crate) fn with_room(room: usize) -> Self {
        Self { memory: Vec::new(), room: room.min(IN_MEMORY), file: None, len: 0 }
    }

    /// Whether all is in memory still: then nothing blocks.
    pub(crate) fn is_in_memory(&self) -> bool {
        self.file.is_none()
    }

    /// Forgets what came after so many bytes.
    pub(crate) fn truncate(&mut self, len: u64) -> io::Result<()> {
        match &mut self.file {
            None => self.memory.truncate(usize::try_from(len).unwrap_or(usize::MAX)),
            Some(file) => {
                file.set_len(len)?;
                file.seek(SeekFrom::Start(len))?;
            }
        }
        self.len = self.len.min(len);
        Ok(())
    }

    /// How many bytes came so far.
    pub(crate) fn len(&self) -> u64 {
        self.len
    }

    /// Takes the next bytes.
    pub(crate) fn write(&mut self, piece: &[u8]) -> io::Result<()> {
        match &mut self.file {
            None if self.memory.len() + piece.len() <= self.room => self.memory.extend_from_slice(piece),
            None => {
                let mut file = tempfile::tempfile()?;
                file.write_all(&std::mem::take(&mut self.memory))?;
                file.write_all(piece)?;
                self.file = Some(file);
            }
            Some(file) => file.write_all(piece)?,
        }
        self.len += piece.len() as u64;
        Ok(())
    }

    /// How many lines end within so many bytes.
    pub(crate) fn lines(&self, within: u64) -> io::Result<u64> {
        let count = |bytes: &[u8]| bytes.iter().filter(|byte| **byte == b'\n').count() as u64;
        let Some(file) = &self.file else { return Ok(count(&self.memory[..self.memory.len().min(within as usize)])) };
        let (mut at, within) = (0, within.min(self.len));
        let mut buffer = vec![0; IN_MEMORY];
        let mut lines = 0;
        while at < within {
            let piece = &mut buffer[..IN_MEMORY.min((within - at) as usize)];
            file.read_exact_at(piece, at)?;
            lines += count(piece);
            at += piece.len() as u64;
        }
        Ok(lines)
    }

    /// All bytes, to be uploaded.
    pub(crate) fn into_body(self) -> UploadBody {
        match self.file {
            None => UploadBody::Bytes(Bytes::from(self.memory)),
            Some(file) => UploadBody::File { file: Arc::new(file), len: self.len },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_forgotten_is_written_anew() {
        for (before, room) in [(5, 100), (5, 10), (20, 10)] {
            let mut spool = Spool::with_room(room);
            spool.write(&vec![b'a'; before]).unwrap();
            let len = spool.len();
            spool.write(&[b'x'; 30]).unwrap();
            spool.truncate(len).unwrap();
            assert_eq!(spool.len(), before as u64);
            spool.write(b"bcd").unwrap();
            let expected = ["a".repeat(before), "bcd".to_owned()].concat();
            let found = match spool.into_body() {
                UploadBody::Bytes(bytes) | UploadBody::Hashed { bytes, .. } => bytes.to_vec(),
                UploadBody::File { file, len } => {
                    assert_eq!(file.metadata().unwrap().len(), len);
                    let mut found = vec![0; len as usize];
                    file.read_exact_at(&mut found, 0).unwrap();
                    found
                }
            };
            assert_eq!(found, expected.as_bytes(), "{before} {room}");
        }
    }

    #[test]
    fn what_is_written_is_there_in_memory_and_in_a_file() {
        for size in [0, 1, IN_MEMORY - 1, IN_MEMORY, IN_MEMORY + 1, 3 * IN_MEMORY + 7] {
            let bytes: Vec<u8> = (0..size).map(|i| (i % 251) as u8).collect();
            let mut spool = Spool::default();
            for piece in bytes.chunks(100_000) {
                spool.write(piece).unwrap();
            }
            assert_eq!(spool.len(), size as u64);
            for within in [0, 11, size, size + 1] {
                let lines = bytes[..within.min(size)].iter().filter(|byte| **byte == b'\n').count();
                assert_eq!(spool.lines(within as u64).unwrap(), lines as u64);
            }
            match spool.into_body() {
                UploadBody::Bytes(found) | UploadBody::Hashed { bytes: found, .. } => {
                    assert!(size <= IN_MEMORY && found == bytes);
                }
                UploadBody::File { file, len } => {
                    assert!(size > IN_MEMORY && len == size as u64);
                    let mut found = vec![0; size];
                    file.read_exact_at(&mut found, 0).unwrap();
                    assert_eq!(file.metadata().unwrap().len(), len);
                    assert!(found == bytes);
                }
            }
        }
    }
}
