//! Maps keys to paths on disk, and paths to keys.
//!
//! A segment of a key is a folder, its last one a file. No two keys may share a path, and no key may lead
//! out of its bucket, whatever is in it:
//! - A segment is percent-encoded outside `A-Za-z0-9-_.=,`; the empty one is `%`; `.` and `..` are encoded.
//! - A file's name ends in `@`, which no encoding contains, so `a` and `a/b` can both be objects.
//! - A segment longer than [`PIECE`] once encoded is split over nested folders whose names end in `+`,
//!   because file systems end a name at 255 bytes.
//!
//! A file system that ignores case holds keys that differ in nothing else as one.

use std::path::{Path, PathBuf};

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};

const ENCODED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.').remove(b'=').remove(b',');
const ENCODED_WITH_DOTS: &AsciiSet = &ENCODED.add(b'.');
/// Bytes of an encoded segment in one name.
const PIECE: usize = 240;
const FILE: char = '@';
const CONTINUED: char = '+';

/// What a name in a bucket's folder stands for; segments are still encoded.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Name<'a> {
    Object(&'a str),
    Folder(&'a str),
    /// The beginning of longer segments, which go on in this folder.
    Continued(&'a str),
}

impl<'a> Name<'a> {
    pub(super) fn of(name: &'a str, is_folder: bool) -> Option<Self> {
        match (name.strip_suffix(FILE), name.strip_suffix(CONTINUED), is_folder) {
            (Some(segment), _, false) => Some(Self::Object(segment)),
            (None, Some(beginning), true) => Some(Self::Continued(beginning)),
            (None, None, true) => Some(Self::Folder(name)),
            _ => None,
        }
    }
}

/// The folder of a key, empty or with `/` at its end, and the segment behind it.
pub(super) fn split(key: &str) -> (&str, &str) {
    key.split_at(key.rfind('/').map_or(0, |slash| slash + 1))
}

/// A folder's own folder and segment; `None` for the root.
pub(super) fn parent(folder: &str) -> Option<(&str, &str)> {
    folder.strip_suffix('/').map(split)
}

/// The path of a folder of keys below its bucket's.
pub(super) fn folder(bucket: &Path, folder: &str) -> PathBuf {
    let mut path = bucket.to_owned();
    // Every segment ends with a slash, so the last piece of the split is no segment.
    let segments = folder.split('/').count() - 1;
    folder.split('/').take(segments).for_each(|segment| push(&mut path, segment));
    path
}

/// The path of an object in the folder at `folder`.
pub(super) fn object(folder: &Path, segment: &str) -> PathBuf {
    let mut path = folder.to_owned();
    push(&mut path, segment);
    path.as_mut_os_string().push("@");
    path
}

/// The segment that an encoding stands for; `None` where this store would not have written it so.
pub(super) fn decode(encoded: &str) -> Option<String> {
    if encoded == "%" {
        return Some(String::new());
    }
    let segment = percent_decode_str(encoded).decode_utf8().ok()?;
    (encode(&segment) == encoded).then(|| segment.into_owned())
}

fn encode(segment: &str) -> String {
    if segment.is_empty() {
        return "%".to_owned();
    }
    let encoded: String = utf8_percent_encode(segment, ENCODED).collect();
    // A piece of a split segment could be `..` too.
    if encoded == "." || encoded == ".." || encoded.len() > PIECE {
        return utf8_percent_encode(segment, ENCODED_WITH_DOTS).collect();
    }
    encoded
}

fn push(path: &mut PathBuf, segment: &str) {
    let encoded = encode(segment);
    let mut rest = encoded.as_str();
    while rest.len() > PIECE {
        let (piece, key_after) = rest.split_at(PIECE);
        path.push(format!("{piece}{CONTINUED}"));
        rest = key_after;
    }
    path.push(rest);
}

#[cfg(test)]
mod tests {
    use std::{
        collections::HashMap,
        path::{Component, Path},
    };

    use super::*;

    fn path_of(key: &str) -> PathBuf {
        let (key_after, segment) = split(key);
        object(&folder(Path::new("/b"), key_after), segment)
    }

    #[test]
    fn no_key_escapes_or_meets_another() {
        let long = "🚌".repeat(255);
        let dots = ".".repeat(1_000);
        let keys = [
            "a",
            "a/",
            "a//",
            "a/b",
            "/a",
            "//a",
            "a@",
            "a+",
            "a+/b",
            "%",
            "%/b",
            "%25",
            ".",
            "..",
            "../a",
            "a/../b",
            "./a",
            "a b",
            "a%20b",
            "\0",
            "a\nb",
            "\"",
            "\\",
            "é",
            "e\u{301}",
            "新加坡/x",
            "A",
            &long,
            &dots,
        ];
        let mut seen = HashMap::new();
        for key in keys {
            let path = path_of(key);
            assert!(path.starts_with("/b") && path != Path::new("/b"), "{key:?}");
            for part in path.components().skip(1) {
                let Component::Normal(name) = part else { panic!("{key:?} leads through {part:?}") };
                assert!(name.len() <= 255 && !name.is_empty(), "{key:?}");
            }
            assert_eq!(seen.insert(path, key), None, "{key:?}");
        }
    }

    #[test]
    fn names_lead_back_to_segments() {
        for segment in ["", "a", ".", "..", "a.json", "country=x,y", "a@b+c%d", "新加坡", &"é".repeat(300)] {
            assert_eq!(decode(&encode(segment)).as_deref(), Some(segment));
        }
        for stranger in ["%2e", "%zz", "%ff", "%41", "a b"] {
            assert_eq!(decode(stranger), None, "{stranger}");
        }
        assert_eq!(Name::of("a@", false), Some(Name::Object("a")));
        assert_eq!(Name::of("a@", true), None);
        assert_eq!(Name::of("a", false), None);
        assert_eq!(Name::of("a+", true), Some(Name::Continued("a")));
    }
}
