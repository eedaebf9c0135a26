//! Stateless randomness: numbers to one well-spread number, the same on every machine.
//!
//! What is drawn here must not depend on what was drawn before, so that the last record of a huge file
//! costs as little as the first.

/// What a number is drawn for; it goes in first, so that no two uses share their numbers.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Use {
    Name,
    Count,
    File,
    Block,
    Tag,
    Fault,
    Reading,
    Weather,
    PostFault,
    Paged,
    Cursor,
    Token,
    Article,
    Measurement,
    Rate,
    Contact,
    Transaction,
}

/// Folds `parts` with the finalizer of SplitMix64.
pub(crate) fn mix(purpose: Use, parts: &[u64]) -> u64 {
    parts.iter().fold(purpose as u64, |state, part| scramble(scramble(state) ^ part))
}

/// The same for bytes.
pub(crate) fn mix_bytes(purpose: Use, bytes: &[u8]) -> u64 {
    let words = bytes.chunks(8).map(|chunk| {
        let mut word = [0; 8];
        word[..chunk.len()].copy_from_slice(chunk);
        u64::from_le_bytes(word)
    });
    words.fold(mix(purpose, &[bytes.len() as u64]), |state, word| scramble(scramble(state) ^ word))
}

fn scramble(state: u64) -> u64 {
    let z = state.wrapping_add(0x9E37_79B9_7F4A_7C15);
    let z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    let z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^ (z >> 31)
}
