//! Conditional requests: answers 304 where the client's copy is current.

/// Whether `If-None-Match` names `etag`, so that the answer is 304. `etag` comes with its quotes.
///
/// The comparison is the weak one that RFC 9110 §13.1.2 asks for: a proxy that compresses turns `"a"`
/// into `W/"a"`, and the client still has what it stands for. A malformed header matches nothing.
pub fn matches(if_none_match: Option<&str>, etag: &str) -> bool {
    let Some(mut rest) = if_none_match.map(str::trim) else { return false };
    if rest == "*" {
        return true;
    }
    let wanted = etag.strip_prefix("W/").unwrap_or(etag);
    loop {
        rest = rest.trim_start_matches([' ', '\t', ',']);
        rest = rest.strip_prefix("W/").unwrap_or(rest);
        // A tag may hold commas, so the list is walked tag by tag and not split.
        let Some(end) = rest.strip_prefix('"').and_then(|tag| tag.find('"')).map(|end| end + 2) else { return false };
        if &rest[..end] == wanted {
            return true;
        }
        rest = &rest[end..];
    }
}

#[cfg(test)]
mod tests {
    use super::matches;

    #[test]
    fn the_tag_is_found_wherever_it_stands() {
        for header in [r#""a""#, r#" "a" "#, r#"W/"a""#, r#""x", "a""#, r#""x,y",W/"z" ,, "a""#, "*", " * "] {
            assert!(matches(Some(header), r#""a""#), "{header}");
        }
        assert!(matches(Some(r#""a""#), r#"W/"a""#));
    }

    #[test]
    fn anything_else_is_no_match() {
        for header in ["", "a", r#""b""#, r#""a"#, r#"a""#, r#""A""#, r#""x" a"#, "\"*\"", ",", r#"w/"a""#, r#""é"#] {
            assert!(!matches(Some(header), r#""a""#), "{header}");
        }
        assert!(!matches(None, r#""a""#));
    }
}
