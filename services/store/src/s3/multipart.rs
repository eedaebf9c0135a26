//! Cuts a file into parts.

const MIB: u64 = 1024 * 1024;
/// Above this a file goes up in parts.
pub(super) const SINGLE: u64 = 16 * MIB;
/// A part of a stream is in memory. Larger ones are no faster.
pub(super) const PART: u64 = 8 * MIB;
/// S3's own limit.
const MOST_PARTS: u64 = 10_000;
/// Parts of one upload that are on their way at once.
pub(super) const AT_ONCE: usize = 4;

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
