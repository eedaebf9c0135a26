//! What a rejection shows of the file: enough to recognise it, and nothing that could harm a terminal or a log.

/// Characters shown.
const SHOWN: usize = 40;

/// Bytes looked at: [`SHOWN`] of the widest characters.
pub(super) const EXCERPT_BYTES: usize = SHOWN * 4;

/// The token that `bytes` start with, or the text, or `end of file`.
pub(crate) fn excerpt(bytes: &[u8]) -> String {
    let bytes = &bytes[..bytes.len().min(EXCERPT_BYTES)];
    let until = |ends: &[u8]| bytes.split(|byte| ends.contains(byte)).next().unwrap_or_default().trim_ascii_end();
    match bytes {
        [] => "end of file".into(),
        [b'"', rest @ ..] => shown(&bytes[..1 + string_length(rest)]),
        [b'-' | b'+' | b'.' | b'0'..=b'9', ..] => shown(until(b" \t\r\n,:]}\"")),
        // A literal, or what looks like one: `NaN`.
        [b'a'..=b'z' | b'A'..=b'Z', ..] if until(b"\t\r\n,:]}\"").iter().all(u8::is_ascii_alphanumeric) => {
            shown(until(b"\t\r\n,:]}\""))
        }
        [b'}' | b']' | b',' | b':', ..] => shown(&bytes[..1]),
        [b'{' | b'[', ..] => shown(bytes),
        _ => quoted(bytes),
    }
}

/// What a file is that begins so, where it is one of the kinds that come in place of another.
pub(crate) fn file_kind(head: &[u8]) -> Option<&'static str> {
    let is_tag = |tag: &str| head.get(..tag.len()).is_some_and(|begin| begin.eq_ignore_ascii_case(tag.as_bytes()));
    match head {
        [0x1f, 0x8b, ..] => Some("gzip data"),
        [0x28, 0xb5, 0x2f, 0xfd, ..] => Some("zstd data"),
        [b'P', b'K', 3, 4, ..] => Some("a ZIP archive"),
        [0x89, b'P', b'N', b'G', ..] => Some("a PNG image"),
        [0xff, 0xd8, 0xff, ..] => Some("a JPEG image"),
        [b'%', b'P', b'D', b'F', b'-', ..] => Some("a PDF document"),
        [0xd0, 0xcf, 0x11, 0xe0, ..] => Some("an old Office document"),
        [0xfe, 0xff, ..] | [0xff, 0xfe, ..] | [b'[' | b'{', 0, ..] | [0, b'[' | b'{', ..] => Some("UTF-16 text"),
        _ if is_tag("<!doctype html") || is_tag("<html") => Some("an HTML page"),
        _ if is_tag("<?xml") => Some("XML"),
        _ => None,
    }
}

/// A text of the file as a rejection quotes it.
pub(crate) fn quoted(text: &[u8]) -> String {
    format!("\"{}\"", shown(text))
}

/// Up to the closing quote, and with it.
fn string_length(rest: &[u8]) -> usize {
    let mut escaped = false;
    let closing = rest.iter().position(|byte| {
        let closes = *byte == b'"' && !escaped;
        escaped = *byte == b'\\' && !escaped;
        closes
    });
    closing.map_or(rest.len(), |closing| closing + 1)
}

fn shown(bytes: &[u8]) -> String {
    let mut text = String::new();
    let mut left = SHOWN;
    for chunk in bytes.utf8_chunks() {
        let valid = chunk.valid().chars().map(|c| match c {
            '"' | '\'' | '\\' => c.into(),
            // What cannot be seen, or would change how the rest is seen, is escaped.
            c => c.escape_debug().to_string(),
        });
        let invalid = chunk.invalid().iter().map(|byte| format!("\\x{byte:02x}"));
        for piece in valid.chain(invalid) {
            if left == 0 {
                return text + "…";
            }
            left -= 1;
            text.push_str(&piece);
        }
    }
    text
}
