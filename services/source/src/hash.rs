//! Content hashes in hex. Nothing else is ever used to name content in this program.

use sha2::{Digest, Sha256};

/// SHA-256 in 64 lower-case hex digits.
pub(crate) fn sha256_hex(bytes: &[u8]) -> String {
    base16ct::lower::encode_string(&Sha256::digest(bytes))
}
