//! Content hashes in hex. Nothing else is ever used to name content in this program.

use std::fmt::Write;

use sha2::{Digest, Sha256};

/// SHA-256 in 64 lower-case hex digits.
pub(crate) fn sha256_hex(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().fold(String::with_capacity(64), |mut hex, byte| {
        write!(hex, "{byte:02x}").expect("writing to a String cannot fail");
        hex
    })
}
