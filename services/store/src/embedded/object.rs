//! An object's file: the body, then a footer with its headers, in one file, so that both appear at once.
//!
//! ```text
//! body │ footer: one line of JSON │ length of the footer, u32 little endian │ "waybill1"
//! ```
//! The body comes first, so a range of the object is the same range of the file, and the footer can hold
//! the hash of a body that was never in memory. A file is complete before it gets its name; nothing may
//! change it after.

use std::{
    collections::HashMap,
    fs::File,
    io::{self, Write},
    os::unix::fs::FileExt,
    path::Path,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use tempfile::{NamedTempFile, TempPath};
use uuid::Uuid;

const MAGIC: &[u8; 8] = b"waybill1";
const TAIL: usize = 4 + MAGIC.len();
/// Metadata has at most 2 KB; one read at the end of the file brings the whole footer.
const GUESS: u64 = 4 * 1024;
/// No footer is larger.
const MOST: usize = 64 * 1024;
/// Of files that have no name in a bucket yet. Whatever bears it when the store is opened is rubbish.
pub(super) const PREFIX: &str = "waybill-";

/// An object's headers, as its file holds them.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Footer {
    /// Bytes of the body.
    pub(super) size: u64,
    /// Another for every write, see [`new_etag`]; no quotes. Earlier releases took the MD5 of the body.
    pub(super) etag: String,
    /// Milliseconds since 1970.
    pub(super) modified: u64,
    #[serde(flatten)]
    pub(super) headers: Headers,
}

/// What the writer of an object says about it.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(super) struct Headers {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) content_type: Option<String>,
    #[serde(default, skip_serializing_if = "HashMap::is_empty")]
    pub(super) metadata: HashMap<String, String>,
}

impl Footer {
    pub(super) fn modified(&self) -> SystemTime {
        time(self.modified)
    }
}

/// Milliseconds since 1970 as a time.
pub(super) fn time(milliseconds: u64) -> SystemTime {
    UNIX_EPOCH + Duration::from_millis(milliseconds)
}

/// Now, in milliseconds since 1970.
pub(super) fn now() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

/// An object that is open: its body stays readable, and the same, whatever happens to its name.
#[derive(Debug)]
pub(super) struct Object {
    pub(super) file: File,
    pub(super) footer: Footer,
}

impl Object {
    pub(super) fn open(path: &Path) -> io::Result<Self> {
        let file = File::open(path)?;
        let len = file.metadata()?.len();
        let mut end = vec![0; usize::try_from(len.min(GUESS)).map_err(io::Error::other)?];
        let start = len - end.len() as u64;
        file.read_exact_at(&mut end, start)?;
        let damaged = || io::Error::new(io::ErrorKind::InvalidData, format!("{} is damaged", path.display()));
        let (before, tail) = end.split_last_chunk::<TAIL>().ok_or_else(damaged)?;
        let (footer_len, magic) = tail.split_first_chunk::<4>().ok_or_else(damaged)?;
        let footer_len = u32::from_le_bytes(*footer_len) as usize;
        if magic != MAGIC || footer_len > MOST || (footer_len + TAIL) as u64 > len {
            return Err(damaged());
        }
        let footer: Footer = if let Some(start) = before.len().checked_sub(footer_len) {
            serde_json::from_slice(&before[start..])
        } else {
            let mut whole = vec![0; footer_len];
            file.read_exact_at(&mut whole, len - (TAIL + footer_len) as u64)?;
            serde_json::from_slice(&whole)
        }
        .map_err(|_| damaged())?;
        if footer.size + (footer_len + TAIL) as u64 != len {
            return Err(damaged());
        }
        Ok(Self { file, footer })
    }
}

/// A body on its way to becoming an object: a file without a name in a bucket. Dropped, it is removed.
#[derive(Debug)]
pub(super) struct Draft {
    file: NamedTempFile,
    pub(super) size: u64,
}

/// An ETag that no other write has. Like those of S3's multipart uploads it ends in the number of its parts, which tells
/// clients that it is no MD5: that one was a fifth of the CPU of storing a file, and all who write here hash it anyway.
pub(super) fn new_etag(parts: usize) -> String {
    format!("{}-{parts}", Uuid::now_v7().simple())
}

impl Draft {
    pub(super) fn begin(folder: &Path) -> io::Result<Self> {
        let file = tempfile::Builder::new().prefix(PREFIX).tempfile_in(folder)?;
        Ok(Self { file, size: 0 })
    }

    pub(super) fn append(&mut self, chunks: &[Bytes]) -> io::Result<()> {
        for chunk in chunks {
            self.file.as_file_mut().write_all(chunk)?;
            self.size += chunk.len() as u64;
        }
        Ok(())
    }

    /// Appends the bytes of another file, within the kernel where the file system can.
    pub(super) fn append_file(&mut self, path: &Path) -> io::Result<()> {
        let mut part = File::open(path)?;
        self.size += io::copy(&mut part, self.file.as_file_mut())?;
        Ok(())
    }

    /// The body alone, as a part of an upload: its file and its size. Not made durable: an upload does not outlive the
    /// process.
    pub(super) fn into_part(self) -> (TempPath, u64) {
        (self.file.into_temp_path(), self.size)
    }

    /// Adds the footer and makes the file durable; all that is left to do is to give it its name.
    /// It was sent in so many parts.
    pub(super) fn finish(mut self, headers: Headers, parts: usize) -> io::Result<(TempPath, Footer)> {
        let footer = Footer { size: self.size, etag: new_etag(parts), modified: now(), headers };
        let mut bytes = serde_json::to_vec(&footer)?;
        let footer_len = u32::try_from(bytes.len()).map_err(io::Error::other)?;
        if bytes.len() > MOST {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "the headers are too large"));
        }
        bytes.extend_from_slice(&footer_len.to_le_bytes());
        bytes.extend_from_slice(MAGIC);
        self.file.as_file_mut().write_all(&bytes)?;
        self.file.as_file().sync_data()?;
        Ok((self.file.into_temp_path(), footer))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(folder: &Path, body: &'static [u8], headers: Headers) -> TempPath {
        let mut draft = Draft::begin(folder).unwrap();
        draft.append(&[Bytes::from_static(body)]).unwrap();
        draft.finish(headers, 1).unwrap().0
    }

    #[test]
    fn body_and_headers_come_back() {
        let folder = tempfile::tempdir().unwrap();
        let big = ["n".to_owned(), "x".repeat(6_000)];
        let metadata = HashMap::from([big.into()]);
        for (body, metadata) in [(&b"hello"[..], HashMap::new()), (b"", HashMap::new()), (b"hello", metadata)] {
            let headers = Headers { content_type: Some("text/plain".to_owned()), metadata: metadata.clone() };
            let object = Object::open(&written(folder.path(), body, headers)).unwrap();
            assert_eq!(object.footer.size, body.len() as u64);
            assert_eq!(object.footer.headers.metadata, metadata);
            assert!(object.footer.etag.ends_with("-1"), "{}", object.footer.etag);
        }
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0, "what has no name is removed");
    }

    #[test]
    fn a_file_that_is_cut_or_grown_is_damaged() {
        let folder = tempfile::tempdir().unwrap();
        let path = written(folder.path(), b"some bytes", Headers::default());
        let whole = std::fs::read(&path).unwrap();
        for len in 0..whole.len() {
            std::fs::write(&path, &whole[..len]).unwrap();
            assert_eq!(Object::open(&path).unwrap_err().kind(), io::ErrorKind::InvalidData, "{len}");
        }
        std::fs::write(&path, [b"x", &whole[..]].concat()).unwrap();
        assert_eq!(Object::open(&path).unwrap_err().kind(), io::ErrorKind::InvalidData);
    }
}
