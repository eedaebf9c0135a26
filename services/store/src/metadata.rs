//! User metadata on the wire: US-ASCII, 2 KB in all, names in lower case.
//!
//! No other file knows how a value is encoded in a header.

use std::collections::HashMap;

use percent_encoding::percent_decode_str;

/// What S3 allows for all names and values together, in bytes as sent.
pub(crate) const LIMIT: usize = 2 * 1024;

/// Names in lower case, as S3 keeps them, and values in printable ASCII; `Err` is their size in bytes
/// where that is over [`LIMIT`].
pub(crate) fn encode(metadata: &[(String, String)]) -> Result<HashMap<String, String>, usize> {
    let encoded: HashMap<_, _> =
        metadata.iter().map(|(name, value)| (name.to_ascii_lowercase(), encode_value(value))).collect();
    let size = encoded.iter().map(|(name, value)| name.len() + value.len()).sum();
    if size > LIMIT { Err(size) } else { Ok(encoded) }
}

/// Undoes [`encode`]. A value that somebody else wrote and that is no valid encoding stays as it is.
pub(crate) fn decode(metadata: HashMap<String, String>) -> HashMap<String, String> {
    let decode_value = |value: String| match percent_decode_str(&value).decode_utf8() {
        Ok(decoded) => decoded.into_owned(),
        Err(_) => value,
    };
    metadata.into_iter().map(|(name, value)| (name, decode_value(value))).collect()
}

/// Percent-encodes what a header cannot carry, `%` itself, and what servers are known to change: spaces
/// at an end or in a run are trimmed or folded, and `=?` begins an RFC 2047 word, which is decoded.
fn encode_value(value: &str) -> String {
    let bytes = value.as_bytes();
    let mut encoded = String::with_capacity(bytes.len());
    for (at, &byte) in bytes.iter().enumerate() {
        let next = bytes.get(at + 1);
        let plain = match byte {
            b'%' => false,
            b' ' => at > 0 && bytes[at - 1] != b' ' && next.is_some(),
            b'=' => next != Some(&b'?'),
            other => other.is_ascii_graphic(),
        };
        if plain {
            encoded.push(char::from(byte));
        } else {
            encoded.push_str(percent_encoding::percent_encode_byte(byte));
        }
    }
    encoded
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_survive_the_wire() {
        for value in
            ["", "plain", "50 % off", " ends ", "a  b", "=?UTF-8?Q?x?=", "新加坡 🚌", "tab\tnewline\n", "\"q\"/"]
        {
            let encoded = encode(&[("City".to_owned(), value.to_owned())]).unwrap();
            assert!(encoded["city"].bytes().all(|b| b.is_ascii_graphic() || b == b' '), "{encoded:?}");
            assert_eq!(encoded["city"].trim(), encoded["city"]);
            assert_eq!(decode(encoded)["city"], value);
        }
    }

    #[test]
    fn what_is_too_big_is_refused_with_its_size() {
        assert_eq!(encode(&[("n".to_owned(), "é".repeat(400))]), Err(1 + 400 * 6));
        assert!(encode(&[("n".to_owned(), "x".repeat(LIMIT - 1))]).is_ok());
    }

    #[test]
    fn a_stranger_s_value_is_kept() {
        let stranger = HashMap::from([("n".to_owned(), "%ff".to_owned())]);
        assert_eq!(decode(stranger.clone()), stranger);
    }
}
