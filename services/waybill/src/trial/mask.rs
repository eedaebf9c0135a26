//! Takes credentials out of what is printed and saved, however they are written there: plain, percent-encoded, escaped
//! in JSON, or in Base64.

use base64::{Engine as _, engine::general_purpose::STANDARD as BASE64};

/// What stands for a credential.
pub(crate) const HIDDEN: &str = "***";
/// Fewer characters of Base64 are found everywhere.
const LEAST_ENCODED: usize = 4;

/// The credentials of one run.
#[derive(Debug, Clone, Default)]
pub(crate) struct Mask {
    /// The longest first, so that none is cut in two.
    secrets: Vec<Vec<u8>>,
    encoded: Vec<Vec<u8>>,
}

impl Mask {
    pub(crate) fn new<'a>(secrets: impl IntoIterator<Item = &'a str>) -> Self {
        let mut mask = Self::default();
        for secret in secrets.into_iter().filter(|secret| !secret.is_empty()) {
            mask.secrets.push(secret.as_bytes().to_vec());
            mask.encoded.extend((0..3).filter_map(|before| within_base64(secret.as_bytes(), before)));
        }
        mask.secrets.sort_by_key(|secret| std::cmp::Reverse(secret.len()));
        mask
    }

    pub(crate) fn text(&self, text: &str) -> String {
        String::from_utf8_lossy(&self.bytes(text.as_bytes())).into_owned()
    }

    pub(crate) fn bytes(&self, bytes: &[u8]) -> Vec<u8> {
        let mut masked = Vec::with_capacity(bytes.len());
        let mut at = 0;
        while let Some(byte) = bytes.get(at) {
            let rest = &bytes[at..];
            let secret = self.secrets.iter().find_map(|secret| written(rest, secret));
            let encoded = || self.encoded.iter().find(|encoded| rest.starts_with(encoded)).map(Vec::len);
            match secret.or_else(encoded) {
                Some(length) => {
                    masked.extend_from_slice(HIDDEN.as_bytes());
                    at += length;
                }
                None => {
                    masked.push(*byte);
                    at += 1;
                }
            }
        }
        masked
    }
}

/// How many bytes of `text` write the secret, if it begins with it.
fn written(text: &[u8], secret: &[u8]) -> Option<usize> {
    let (mut at, mut rest) = (0, secret);
    while let Some((wanted, after)) = rest.split_first() {
        at += character(&text[at..], *wanted)?;
        rest = after;
    }
    Some(at)
}

/// How many bytes write the byte `wanted`: `%2F`, `+`, `\/`, `\u002f`, or the byte itself.
fn character(text: &[u8], wanted: u8) -> Option<usize> {
    let hex = |digits: &[u8]| str::from_utf8(digits).ok().and_then(|digits| u32::from_str_radix(digits, 16).ok());
    let is_hex = |digits: &[u8]| hex(digits) == Some(u32::from(wanted));
    match text {
        [b'%', high, low, ..] if is_hex(&[*high, *low]) => Some(3),
        [b'\\', b'u', a, b, c, d, ..] if is_hex(&[*a, *b, *c, *d]) => Some(6),
        [b'\\', escaped @ (b'/' | b'"' | b'\\'), ..] if *escaped == wanted => Some(2),
        [b'+', ..] if wanted == b' ' => Some(1),
        [byte, ..] if *byte == wanted => Some(1),
        _ => None,
    }
}

/// What Base64 makes of the secret behind so many other bytes, without the characters that those and what follows have
/// a part in.
fn within_base64(secret: &[u8], before: usize) -> Option<Vec<u8>> {
    let padded = [&[0; 3][..before], secret].concat();
    let encoded = BASE64.encode(&padded);
    let start = (before * 8).div_ceil(6);
    let end = padded.len() * 8 / 6;
    let inner = encoded.get(start..end)?;
    (inner.len() >= LEAST_ENCODED).then(|| inner.as_bytes().to_vec())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_is_hidden_however_it_is_written() {
        let secret = "p%a/s \"x+";
        let mask = Mask::new([secret, ""]);
        for written in [
            "p%a/s \"x+".to_owned(),
            "p%25a%2Fs%20%22x%2B".to_owned(),
            "p%25a%2fs+%22x%2b".to_owned(),
            r#"p%a\/s \"x+"#.to_owned(),
            r#"\u0070%a\u002Fs \"x+"#.to_owned(),
        ] {
            assert_eq!(mask.text(&format!("a={written}&b")), "a=***&b", "{written}");
        }
        for user in ["", "u:", "us:", "user:"] {
            let masked = mask.text(&BASE64.encode(format!("{user}{secret}")));
            assert!(masked.contains(HIDDEN) && masked.len() < 14, "{masked}");
        }
        assert_eq!(mask.text("passwords"), "passwords");
        assert_eq!(Mask::default().text("as it is"), "as it is");
    }

    #[test]
    fn the_longer_of_two_secrets_is_hidden_whole() {
        assert_eq!(Mask::new(["key", "key-of-mine"]).text("key-of-mine, key"), "***, ***");
    }
}
