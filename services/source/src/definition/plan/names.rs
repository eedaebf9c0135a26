//! What a text is made of, and what it is made for.

use std::fmt;

use minijinja::Value;

use crate::{Item, item::Values, params::readable};

/// Names that templates see, and their values.
pub(crate) type Names<'a> = Vec<(&'a str, Value)>;

/// What a text is made for, as an error shows it: the upstream's own values, cut short.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Of<'a> {
    Values(&'a Values),
    Batch(&'a [Item]),
    /// A row of an upload.
    Line(u64),
}

impl fmt::Display for Of<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Values(values) => f.write_str(&readable(&serde_json::to_string(values).unwrap_or_default())),
            Self::Line(line) => write!(f, "line {line}"),
            Self::Batch(items) => {
                let first = items.first().map(|item| readable(&item.key)).unwrap_or_default();
                write!(f, "{} items from `{first}` on", items.len())
            }
        }
    }
}
