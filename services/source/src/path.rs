//! Where the records of a document are, where a field's value is in a record, and where a value of a small answer
//! is: parts of RFC 9535 (JSONPath).
//!
//! Filters, slices and descendants would need the document in memory; they are refused by name.

use std::{fmt, str::FromStr};

/// `$`, then member names and `[*]`: `$`, `$.data`, `$[*]`, `$.list[*]`, `$.data['bus stops'][*].times[*]`. `[*]` is
/// every element of an array, and every member of an object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RecordPath {
    pub(crate) steps: Vec<RecordStep>,
}

/// One step of a [`RecordPath`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum RecordStep {
    Member(String),
    Each,
}

/// Why a text is no path.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct RecordPathError {
    /// Which byte of the text, from 0.
    pub at: usize,
    /// What is wrong there.
    pub message: String,
}

impl Default for RecordPath {
    /// `$[*]`.
    fn default() -> Self {
        Self { steps: vec![RecordStep::Each] }
    }
}

impl RecordPath {
    /// Whether the records are the elements of arrays, or the members of objects.
    pub(crate) fn ends_in_each(&self) -> bool {
        self.steps.last() == Some(&RecordStep::Each)
    }
}

impl FromStr for RecordPath {
    type Err = RecordPathError;

    fn from_str(text: &str) -> Result<Self, RecordPathError> {
        let fail = |rest: &str, message: &str| error_at(text, rest, message);
        let mut steps = Vec::new();
        let mut rest = text.strip_prefix('$').ok_or_else(|| fail(text, "a record path begins with `$`"))?;
        while !rest.is_empty() {
            if rest.starts_with("..") {
                return Err(fail(rest, "`..` would need the whole document in memory: name the members"));
            }
            let (step, after) = if let Some(after) = rest.strip_prefix("[*]") {
                (RecordStep::Each, after)
            } else if let Some((member, after)) = member(text, rest)? {
                (RecordStep::Member(member), after)
            } else {
                return Err(fail(rest, unstreamable(rest)));
            };
            steps.push(step);
            rest = after;
        }
        Ok(Self { steps })
    }
}

/// What was meant by what begins with neither a member nor `[*]`.
fn unstreamable(rest: &str) -> &'static str {
    let inside = rest.strip_prefix('[').and_then(|inner| inner.split(']').next()).unwrap_or_default();
    match inside.trim() {
        "" => "expected `.name`, `['name']` or `[*]`",
        inside if inside.starts_with('?') => "a filter cannot be in a path: every record is read",
        inside if inside.contains(':') => "a slice cannot be in a path: `[*]` is every element",
        inside if inside.starts_with('-') => {
            "the end of an array is not known while it is read: `[*]` is every element"
        }
        inside if inside.bytes().all(|byte| byte.is_ascii_digit()) => {
            "one element cannot be picked: `[*]` is every element"
        }
        _ => "expected `.name`, `['name']` or `[*]`",
    }
}

/// Where in a record a field's value is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FieldPath {
    /// `~`: the name that the record has as a member of an object.
    Name,
    /// Below the record, which is `$`.
    Value(ValuePath),
}

impl FieldPath {
    /// The member that a field is where no path is said.
    pub fn member(name: &str) -> Self {
        Self::Value(ValuePath { segments: vec![Segment::Member(name.to_owned())] })
    }

    /// The member's name, where the path leads to a member of the record itself.
    pub(crate) fn as_member(&self) -> Option<&str> {
        match self {
            Self::Value(ValuePath { segments }) => match segments.as_slice() {
                [Segment::Member(name)] => Some(name),
                _ => None,
            },
            Self::Name => None,
        }
    }
}

impl FromStr for FieldPath {
    type Err = RecordPathError;

    fn from_str(text: &str) -> Result<Self, RecordPathError> {
        if text == "~" { Ok(Self::Name) } else { text.parse().map(Self::Value) }
    }
}

/// `$`, then member names and indices: `$.id`, `$.items[0].id`, `$['post id']`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ValuePath {
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
        let fail = |rest: &str, message: &str| error_at(text, rest, message);
        let mut segments = Vec::new();
        let mut rest = text.strip_prefix('$').ok_or_else(|| fail(text, "a path begins with `$`"))?;
        while !rest.is_empty() {
            if rest.starts_with("..") || rest.starts_with("[*]") || rest.starts_with(".*") {
                return Err(fail(rest, "a path leads to one value: name members and indices"));
            }
            let (segment, after) = if let Some((index, after)) = index(rest) {
                (Segment::Index(index), after)
            } else if let Some((member, after)) = member(text, rest)? {
                (Segment::Member(member), after)
            } else {
                return Err(fail(rest, "expected `.name`, `['name']` or `[0]`"));
            };
            segments.push(segment);
            rest = after;
        }
        Ok(Self { segments })
    }
}

fn error_at(text: &str, rest: &str, message: &str) -> RecordPathError {
    RecordPathError { at: text.len() - rest.len(), message: message.into() }
}

/// The member that `rest`, the end of `text`, begins with, and what follows it.
fn member<'a>(text: &str, rest: &'a str) -> Result<Option<(String, &'a str)>, RecordPathError> {
    if rest.starts_with("['") || rest.starts_with("[\"") {
        let read = quoted(&rest[1..]).and_then(|(member, after)| Some((member, after.strip_prefix(']')?)));
        return read.map(Some).ok_or_else(|| error_at(text, rest, "a quoted member is written `['name']`"));
    }
    let Some(after) = rest.strip_prefix('.') else { return Ok(None) };
    let length = after.find(|c| !name_char(c)).unwrap_or(after.len());
    if length == 0 || after.starts_with(|c: char| c.is_ascii_digit()) {
        let message = match after.starts_with('*') {
            true => "every element is written `[*]`",
            false => "a member's name is expected after `.`; other names are quoted: `['1st']`",
        };
        return Err(error_at(text, rest, message));
    }
    Ok(Some((after[..length].to_owned(), &after[length..])))
}

/// The index in brackets that `rest` begins with, and what follows it.
fn index(rest: &str) -> Option<(usize, &str)> {
    let (index, after) = rest.strip_prefix('[')?.split_once(']')?;
    let is_index = index == "0" || !index.starts_with('0') && index.bytes().all(|b| b.is_ascii_digit());
    Some((index.parse().ok().filter(|_| is_index)?, after))
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
        for step in &self.steps {
            let RecordStep::Member(member) = step else {
                f.write_str("[*]")?;
                continue;
            };
            let plain = !member.is_empty()
                && member.chars().all(name_char)
                && !member.starts_with(|c: char| c.is_ascii_digit());
            if plain {
                write!(f, ".{member}")?;
            } else {
                write!(f, "[{}]", serde_json::Value::from(member.as_str()))?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn steps(text: &str) -> Vec<String> {
        let shown = |step| match step {
            RecordStep::Member(member) => member,
            RecordStep::Each => "*".to_owned(),
        };
        text.parse::<RecordPath>().unwrap().steps.into_iter().map(shown).collect()
    }

    #[test]
    fn names_may_be_plain_or_quoted() {
        assert_eq!(steps("$"), [""; 0]);
        assert_eq!(steps("$.a"), ["a"]);
        assert_eq!(steps("$[*]"), ["*"]);
        assert_eq!(steps("$.list[*].times[*]"), ["list", "*", "times", "*"]);
        assert_eq!(
            steps("$.data['bus stops'][\"it's\"]['it\\'s'].名[*]"),
            ["data", "bus stops", "it's", "it's", "名", "*"]
        );
    }

    #[test]
    fn what_a_stream_cannot_follow_is_refused() {
        let said = |text: &str| {
            let error = text.parse::<RecordPath>().unwrap_err();
            format!("{}: {}", error.at, error.message)
        };
        insta::assert_snapshot!(
            ["", "list[*]", "$..list[*]", "$.list[0]", "$.list[-1]", "$.list[1:2]", "$.list[?@.a]", "$.list.*", "$.bus-stops[*]", "$['x[*]", "$.[*]"]
                .map(said).join("\n"), @r#"
        0: a record path begins with `$`
        0: a record path begins with `$`
        1: `..` would need the whole document in memory: name the members
        6: one element cannot be picked: `[*]` is every element
        6: the end of an array is not known while it is read: `[*]` is every element
        6: a slice cannot be in a path: `[*]` is every element
        6: a filter cannot be in a path: every record is read
        6: every element is written `[*]`
        5: expected `.name`, `['name']` or `[*]`
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
        fn what_is_displayed_is_read_back(members in proptest::collection::vec(proptest::option::of(".{0,8}"), 0..5)) {
            let step = |member: Option<String>| member.map_or(RecordStep::Each, RecordStep::Member);
            let path = RecordPath { steps: members.into_iter().map(step).collect() };
            prop_assert_eq!(path.to_string().parse::<RecordPath>().unwrap(), path);
        }
    }
}
