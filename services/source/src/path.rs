//! Where the records of a document are, and where a value of a small answer is: parts of RFC 9535 (JSONPath).
//!
//! Filters, slices and descendants would need the document in memory; they are refused by name.

use std::{fmt, str::FromStr};

/// `$`, then member names, then `[*]` at the end: `$[*]`, `$.list[*]`, `$.data['bus stops'][*]`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RecordPath {
    /// The members to descend into before the array of records.
    pub members: Vec<String>,
}

/// Why a text is no [`RecordPath`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct RecordPathError {
    /// Which byte of the text, from 0.
    pub at: usize,
    /// What is wrong there.
    pub message: String,
}

impl FromStr for RecordPath {
    type Err = RecordPathError;

    fn from_str(text: &str) -> Result<Self, RecordPathError> {
        let fail = |rest: &str, message: &str| RecordPathError { at: text.len() - rest.len(), message: message.into() };
        let mut members = Vec::new();
        let mut rest = text.strip_prefix('$').ok_or_else(|| fail(text, "a record path begins with `$`"))?;
        loop {
            if rest == "[*]" {
                return Ok(Self { members });
            }
            let (member, after) = if rest.starts_with("['") || rest.starts_with("[\"") {
                quoted(&rest[1..])
                    .and_then(|(member, after)| Some((member, after.strip_prefix(']')?)))
                    .ok_or_else(|| fail(rest, "a quoted member is written `['name']`"))?
            } else if rest.starts_with("..") {
                return Err(fail(rest, "`..` would need the whole document in memory: name the members"));
            } else if let Some(after) = rest.strip_prefix('.') {
                let length = after.find(|c| !name_char(c)).unwrap_or(after.len());
                if length == 0 || after.starts_with(|c: char| c.is_ascii_digit()) {
                    return Err(fail(rest, "a member's name is expected after `.`; other names are quoted: `['1st']`"));
                }
                (after[..length].to_owned(), &after[length..])
            } else if rest.is_empty() {
                return Err(fail(rest, "a record path ends in `[*]`: the elements of an array"));
            } else if let Some(after) = rest.strip_prefix("[*]") {
                return Err(fail(after, "nothing can follow `[*]`: the records are the elements themselves"));
            } else {
                return Err(fail(rest, "expected `.name`, `['name']` or `[*]` at the end"));
            };
            members.push(member);
            rest = after;
        }
    }
}

/// `$`, then member names and indices: `$.id`, `$.items[0].id`, `$['post id']`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct ValuePath {
    pub(crate) segments: Vec<Segment>,
}

/// One step of a [`ValuePath`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Segment {
    Member(String),
    Index(usize),
}

impl FromStr for ValuePath {
    type Err = RecordPathError;

    fn from_str(text: &str) -> Result<Self, RecordPathError> {
        let fail = |rest: &str, message: &str| RecordPathError { at: text.len() - rest.len(), message: message.into() };
        let mut segments = Vec::new();
        let mut rest = text.strip_prefix('$').ok_or_else(|| fail(text, "a path begins with `$`"))?;
        while !rest.is_empty() {
            if rest.starts_with("..") || rest.starts_with("[*]") || rest.starts_with(".*") {
                return Err(fail(rest, "a path leads to one value: name members and indices"));
            }
            let bracketed = rest.strip_prefix('[').and_then(|inner| {
                if inner.starts_with(['\'', '"']) {
                    let (member, after) = quoted(inner)?;
                    return Some((Segment::Member(member), after.strip_prefix(']')?));
                }
                let (index, after) = inner.split_once(']')?;
                let is_index = index == "0" || !index.starts_with('0') && index.bytes().all(|b| b.is_ascii_digit());
                Some((Segment::Index(index.parse().ok().filter(|_| is_index)?), after))
            });
            let (segment, after) = match (bracketed, rest.strip_prefix('.')) {
                (Some(found), _) => found,
                (None, Some(after)) => {
                    let length = after.find(|c| !name_char(c)).unwrap_or(after.len());
                    if length == 0 || after.starts_with(|c: char| c.is_ascii_digit()) {
                        return Err(fail(
                            rest,
                            "a member's name is expected after `.`; other names are quoted: `['1st']`",
                        ));
                    }
                    (Segment::Member(after[..length].to_owned()), &after[length..])
                }
                (None, None) => return Err(fail(rest, "expected `.name`, `['name']` or `[0]`")),
            };
            segments.push(segment);
            rest = after;
        }
        Ok(Self { segments })
    }
}

fn name_char(c: char) -> bool {
    c == '_' || c.is_ascii_alphanumeric() || !c.is_ascii()
}

/// A string literal at the start of `text`, in either quote, and what follows it. The escapes are JSON's.
fn quoted(text: &str) -> Option<(String, &str)> {
    let quote = text.chars().next()?;
    let mut json = String::from('"');
    let mut chars = text.char_indices().skip(1);
    while let Some((at, c)) = chars.next() {
        match c {
            '\\' => match chars.next()?.1 {
                '\'' => json.push('\''),
                escaped => json.extend(['\\', escaped]),
            },
            c if c == quote => {
                json.push('"');
                return Some((serde_json::from_str(&json).ok()?, &text[at + 1..]));
            }
            '"' => json.push_str("\\\""),
            c => json.push(c),
        }
    }
    None
}

impl fmt::Display for RecordPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("$")?;
        for member in &self.members {
            let plain = !member.is_empty()
                && member.chars().all(name_char)
                && !member.starts_with(|c: char| c.is_ascii_digit());
            if plain {
                write!(f, ".{member}")?;
            } else {
                write!(f, "[{}]", serde_json::Value::from(member.as_str()))?;
            }
        }
        f.write_str("[*]")
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn members(text: &str) -> Vec<String> {
        text.parse::<RecordPath>().unwrap().members
    }

    #[test]
    fn names_may_be_plain_or_quoted() {
        assert_eq!(members("$[*]"), [""; 0]);
        assert_eq!(members("$.list[*]"), ["list"]);
        assert_eq!(
            members("$.data['bus stops'][\"it's\"]['it\\'s'].名[*]"),
            ["data", "bus stops", "it's", "it's", "名"]
        );
    }

    #[test]
    fn what_a_stream_cannot_follow_is_refused() {
        let said = |text: &str| {
            let error = text.parse::<RecordPath>().unwrap_err();
            format!("{}: {}", error.at, error.message)
        };
        insta::assert_snapshot!(
            ["", "list[*]", "$", "$.list", "$..list[*]", "$.list[*].name", "$.list[0]", "$.bus-stops[*]", "$['x[*]", "$.[*]"]
                .map(said).join("\n"), @r#"
        0: a record path begins with `$`
        0: a record path begins with `$`
        1: a record path ends in `[*]`: the elements of an array
        6: a record path ends in `[*]`: the elements of an array
        1: `..` would need the whole document in memory: name the members
        9: nothing can follow `[*]`: the records are the elements themselves
        6: expected `.name`, `['name']` or `[*]` at the end
        5: expected `.name`, `['name']` or `[*]` at the end
        1: a quoted member is written `['name']`
        1: a member's name is expected after `.`; other names are quoted: `['1st']`
        "#);
    }

    #[test]
    fn a_value_is_reached_by_members_and_indices() {
        let path: ValuePath = "$.list[0]['post id'].id[12]".parse().unwrap();
        let member = |name: &str| Segment::Member(name.to_owned());
        let expected = [member("list"), Segment::Index(0), member("post id"), member("id"), Segment::Index(12)];
        assert_eq!(path.segments, expected);
        assert_eq!("$".parse(), Ok(ValuePath::default()));
        let said = |text: &str| {
            let error = text.parse::<ValuePath>().unwrap_err();
            format!("{}: {}", error.at, error.message)
        };
        insta::assert_snapshot!(["", "id", "$id", "$.", "$.a[*]", "$..a", "$.*", "$.a[-1]", "$.a[01]", "$.a[", "$.post-id"].map(said).join("\n"), @r#"
        0: a path begins with `$`
        0: a path begins with `$`
        1: expected `.name`, `['name']` or `[0]`
        1: a member's name is expected after `.`; other names are quoted: `['1st']`
        3: a path leads to one value: name members and indices
        1: a path leads to one value: name members and indices
        1: a path leads to one value: name members and indices
        3: expected `.name`, `['name']` or `[0]`
        3: expected `.name`, `['name']` or `[0]`
        3: expected `.name`, `['name']` or `[0]`
        6: expected `.name`, `['name']` or `[0]`
        "#);
    }

    proptest! {
        #[test]
        fn what_is_displayed_is_read_back(members in proptest::collection::vec(".{0,8}", 0..4)) {
            let path = RecordPath { members };
            prop_assert_eq!(path.to_string().parse::<RecordPath>().unwrap(), path);
        }
    }
}
