//! What an answer's body holds: a city's file, one that was tampered with, or fixed bytes.

use bytes::Bytes;

use crate::files::{
    file::CityFile,
    mix::{Use, mix, mix_bytes},
};

/// Bytes with a length, a tag, and reading at any offset.
#[derive(Debug, Clone)]
pub(crate) enum Content {
    File(CityFile),
    /// `file` with `removed` bytes at `at` replaced by `inserted`; one place is enough for every fault.
    Spliced {
        file: CityFile,
        at: u64,
        removed: u64,
        inserted: Bytes,
    },
    Fixed(Bytes),
}

impl Content {
    /// Length in bytes.
    pub(crate) fn len(&self) -> u64 {
        match self {
            Self::File(file) => file.len(),
            Self::Spliced { file, removed, inserted, .. } => file.len() - removed + inserted.len() as u64,
            Self::Fixed(bytes) => bytes.len() as u64,
        }
    }

    /// A strong entity tag, with its quotes: other bytes, another tag.
    pub(crate) fn etag(&self) -> String {
        let tag = match self {
            Self::File(file) => file.tag(),
            Self::Spliced { file, at, removed, inserted } => {
                mix(Use::Tag, &[file.tag(), *at, *removed, mix_bytes(Use::Tag, inserted)])
            }
            Self::Fixed(bytes) => mix_bytes(Use::Tag, bytes),
        };
        format!("\"{tag:016x}\"")
    }

    /// At most `limit` bytes from `offset` on, and at least one unless the content ends there.
    pub(crate) fn read(&self, offset: u64, limit: usize) -> Bytes {
        match self {
            Self::File(file) => file.read(offset, limit),
            Self::Spliced { file, at, removed, inserted } => {
                if offset < *at {
                    return file.read(offset, limit.min((at - offset) as usize));
                }
                let inside = offset - at;
                if inside < inserted.len() as u64 {
                    return slice(inserted, inside, limit);
                }
                file.read(offset - inserted.len() as u64 + removed, limit)
            }
            Self::Fixed(bytes) => slice(bytes, offset, limit),
        }
    }
}

fn slice(bytes: &Bytes, offset: u64, limit: usize) -> Bytes {
    let start = (offset as usize).min(bytes.len());
    bytes.slice(start..start.saturating_add(limit).min(bytes.len()))
}
