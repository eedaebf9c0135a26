//! Reads TOML with spans: every value has its position, and a table records which of its keys were read. The other
//! keys are unknown, and are reported.
//!
//! Nothing stops at the first mistake: what cannot be read is reported and is `None`.

use toml::{
    Spanned,
    de::{DeTable, DeValue},
};

use crate::definition::parse::diagnostic::{Report, suggest};

/// Keys that are planned and not understood yet: whoever writes one has read of it somewhere.
const PLANNED: [&str; 6] = ["base", "on", "where", "steps", "dates", "token"];

/// A value and where it stands.
pub(crate) type Node<'a, 't> = &'a Spanned<DeValue<'t>>;

/// A table being read.
pub(crate) struct Table<'a, 't> {
    entries: &'a DeTable<'t>,
    at: usize,
    place: String,
    asked: Vec<&'static str>,
}

/// A string and where it stands.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Text<'a> {
    pub(crate) value: &'a str,
    pub(crate) at: usize,
    /// Whether a byte of the value is the byte of the file that many places after the opening quote.
    plain: bool,
}

impl<'a> Text<'a> {
    /// A part of it that begins at this byte.
    pub(crate) fn slice(&self, byte: usize, value: &'a str) -> Self {
        // One less, since `place` steps over an opening quote that a slice does not have.
        Self { value, at: if self.plain { self.at + byte } else { self.at }, plain: self.plain }
    }

    /// Where a byte of the value stands in the file; the string's beginning where escapes make that unclear.
    pub(crate) fn place(&self, byte: usize) -> usize {
        if self.plain { self.at + 1 + byte } else { self.at }
    }
}

impl<'a, 't> Table<'a, 't> {
    /// The document itself.
    pub(crate) fn root(entries: &'a DeTable<'t>) -> Self {
        Self { entries, at: 0, place: "a definition".into(), asked: Vec::new() }
    }

    /// Reads a value as a table; `place` names it in messages.
    pub(crate) fn open(report: &mut Report<'_>, node: Node<'a, 't>, place: impl Into<String>) -> Option<Self> {
        let place = place.into();
        match node.get_ref() {
            DeValue::Table(entries) => Some(Self { entries, at: node.span().start, place, asked: Vec::new() }),
            other => {
                wrong_type(report, node, &place, "a table", other);
                None
            }
        }
    }

    /// Where the table begins.
    pub(crate) fn at(&self) -> usize {
        self.at
    }

    /// A value that may be missing.
    pub(crate) fn optional(&mut self, key: &'static str) -> Option<Node<'a, 't>> {
        if !self.asked.contains(&key) {
            self.asked.push(key);
        }
        self.entries.get(key)
    }

    /// A value that must be there.
    pub(crate) fn required(&mut self, report: &mut Report<'_>, key: &'static str) -> Option<Node<'a, 't>> {
        let value = self.optional(key);
        if value.is_none() {
            report.add(self.at, format!("{} lacks `{key}`", self.place));
        }
        value
    }

    /// A string that must be there.
    pub(crate) fn string(&mut self, report: &mut Report<'_>, key: &'static str) -> Option<Text<'a>> {
        let node = self.required(report, key)?;
        string(report, node, &format!("`{key}`"))
    }

    /// A string that may be missing.
    pub(crate) fn optional_string(&mut self, report: &mut Report<'_>, key: &'static str) -> Option<Text<'a>> {
        let node = self.optional(key)?;
        string(report, node, &format!("`{key}`"))
    }

    /// A table that must be there.
    pub(crate) fn table(&mut self, report: &mut Report<'_>, key: &'static str) -> Option<Self> {
        let node = self.required(report, key)?;
        Self::open(report, node, format!("[{key}]"))
    }

    /// A table that may be missing.
    pub(crate) fn optional_table(&mut self, report: &mut Report<'_>, key: &'static str) -> Option<Self> {
        let node = self.optional(key)?;
        Self::open(report, node, format!("`{key}`"))
    }

    /// A list that must be there and not be empty.
    pub(crate) fn list(&mut self, report: &mut Report<'_>, key: &'static str) -> Option<&'a [Spanned<DeValue<'t>>]> {
        let node = self.required(report, key)?;
        list(report, node, key)
    }

    /// All keys and values, in the order of the file; the table needs no [`Self::close`] then.
    pub(crate) fn entries(&self) -> Vec<(Text<'a>, Node<'a, 't>)> {
        let mut entries: Vec<_> = self
            .entries
            .iter()
            .map(|(key, node)| (Text { value: key.get_ref(), at: key.span().start, plain: false }, node))
            .collect();
        entries.sort_by_key(|(key, _)| key.at);
        entries
    }

    /// Reports every key that was not asked for.
    pub(crate) fn close(self, report: &mut Report<'_>) {
        for (key, _) in self.entries() {
            if self.asked.contains(&key.value) {
                continue;
            }
            let help = if PLANNED.contains(&key.value) {
                "it is planned, but this version does not understand it".into()
            } else {
                suggest(key.value, self.asked.iter().copied())
            };
            report.add_with_help(key.at, format!("unknown key `{}` in {}", key.value, self.place), help);
        }
    }
}

/// Reads a value as a string.
pub(crate) fn string<'a>(report: &mut Report<'_>, node: Node<'a, '_>, what: &str) -> Option<Text<'a>> {
    match node.get_ref() {
        DeValue::String(value) => {
            let span = node.span();
            let raw = report.text.get(span.clone()).unwrap_or_default();
            let plain = raw.len() == value.len() + 2 && raw.get(1..=value.len()) == Some(value);
            Some(Text { value, at: span.start, plain })
        }
        other => {
            wrong_type(report, node, what, "a string", other);
            None
        }
    }
}

/// Reads a value as a list that is not empty.
pub(crate) fn list<'a, 't>(
    report: &mut Report<'_>,
    node: Node<'a, 't>,
    key: &str,
) -> Option<&'a [Spanned<DeValue<'t>>]> {
    match node.get_ref() {
        DeValue::Array(list) if list.is_empty() => {
            report.add(node.span().start, format!("`{key}` is empty"));
            None
        }
        DeValue::Array(list) => Some(list),
        other => {
            wrong_type(report, node, &format!("`{key}`"), "a list", other);
            None
        }
    }
}

/// Reads a value as a whole number.
pub(crate) fn integer(report: &mut Report<'_>, node: Node<'_, '_>, key: &str) -> Option<i64> {
    match node.get_ref() {
        DeValue::Integer(number) => i64::from_str_radix(number.as_str(), number.radix()).ok().or_else(|| {
            report.add(node.span().start, format!("`{key}` is too large"));
            None
        }),
        other => {
            wrong_type(report, node, &format!("`{key}`"), "a whole number", other);
            None
        }
    }
}

/// Reads a value as `true` or `false`.
pub(crate) fn boolean(report: &mut Report<'_>, node: Node<'_, '_>, key: &str) -> Option<bool> {
    match node.get_ref() {
        DeValue::Boolean(value) => Some(*value),
        other => {
            wrong_type(report, node, &format!("`{key}`"), "true or false", other);
            None
        }
    }
}

/// Reports a value of another type than expected.
pub(crate) fn wrong_type(report: &mut Report<'_>, node: Node<'_, '_>, what: &str, expected: &str, found: &DeValue<'_>) {
    let found = match found {
        DeValue::String(_) => "a string",
        DeValue::Integer(_) => "an integer",
        DeValue::Float(_) => "a float",
        DeValue::Boolean(_) => "a boolean",
        DeValue::Datetime(_) => "a date or time",
        DeValue::Array(_) => "a list",
        DeValue::Table(_) => "a table",
    };
    report.add(node.span().start, format!("{what} must be {expected}, found {found}"));
}
