//! Diagnostics of a definition: every mistake, its line and column, and the likely intention.

use std::fmt;

/// One mistake in a definition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Diagnostic {
    /// The file as it was named by the caller.
    pub file: String,
    /// Line, from 1.
    pub line: usize,
    /// Column, from 1.
    pub column: usize,
    /// What is wrong.
    pub message: String,
    /// What was probably meant, or what would be right.
    pub help: Option<String>,
}

/// All mistakes found in a definition; displayed as `file:line:column: message`, one per line, each
/// followed by its help.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{}", .0.iter().map(Diagnostic::to_string).collect::<Vec<_>>().join("\n"))]
pub struct Diagnostics(pub Vec<Diagnostic>);

impl fmt::Display for Diagnostic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}:{}: {}", self.file, self.line, self.column, self.message)?;
        self.help.iter().try_for_each(|help| write!(f, "\n  help: {help}"))
    }
}

/// Collects mistakes while a definition is read, so that one look finds them all.
#[derive(Debug)]
pub(crate) struct Report<'t> {
    file: &'t str,
    pub(crate) text: &'t str,
    found: Vec<Found>,
    warnings: Vec<Found>,
}

type Found = (usize, String, Option<String>);

impl<'t> Report<'t> {
    pub(crate) fn new(file: &'t str, text: &'t str) -> Self {
        Self { file, text, found: Vec::new(), warnings: Vec::new() }
    }

    /// A mistake at a byte of the text.
    pub(crate) fn add(&mut self, at: usize, message: impl Into<String>) {
        self.found.push((at, message.into(), None));
    }

    /// A mistake, and what would be right.
    pub(crate) fn add_with_help(&mut self, at: usize, message: impl Into<String>, help: impl Into<String>) {
        self.found.push((at, message.into(), Some(help.into())));
    }

    /// What may be meant, but rarely is, and what would be better.
    pub(crate) fn warn_with_help(&mut self, at: usize, message: impl Into<String>, help: impl Into<String>) {
        self.warnings.push((at, message.into(), Some(help.into())));
    }

    /// How many mistakes were found so far.
    pub(crate) fn len(&self) -> usize {
        self.found.len()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.found.is_empty()
    }

    /// All mistakes, in the order of the text.
    pub(crate) fn finish(mut self) -> Diagnostics {
        let found = std::mem::take(&mut self.found);
        Diagnostics(self.place(found))
    }

    /// All warnings, in the order of the text.
    pub(crate) fn take_warnings(&mut self) -> Vec<Diagnostic> {
        let warnings = std::mem::take(&mut self.warnings);
        self.place(warnings)
    }

    fn place(&self, mut found: Vec<Found>) -> Vec<Diagnostic> {
        // Stable: what stands at one place stays in the order in which it was looked for.
        found.sort_by_key(|(at, ..)| *at);
        found.dedup();
        let place = |(at, message, help): Found| {
            let before = &self.text[..self.text.floor_char_boundary(at)];
            let line_start = before.rfind('\n').map_or(0, |newline| newline + 1);
            Diagnostic {
                file: self.file.into(),
                line: before.matches('\n').count() + 1,
                column: before[line_start..].chars().count() + 1,
                message,
                help,
            }
        };
        found.into_iter().map(place).collect()
    }
}

/// `did you mean …?` where one of `known` is close to `name`, otherwise what there is.
pub(crate) fn suggest<'a>(name: &str, known: impl IntoIterator<Item = &'a str>) -> String {
    let known: Vec<_> = known.into_iter().collect();
    let close = known
        .iter()
        .map(|candidate| (strsim::damerau_levenshtein(name, candidate), *candidate))
        .filter(|(distance, candidate)| {
            let typing = *distance <= (candidate.chars().count().max(name.chars().count()) / 3).max(1);
            typing || name.starts_with(candidate) || (name.len() > 1 && candidate.starts_with(name))
        })
        .min();
    match close {
        Some((_, candidate)) => format!("did you mean `{candidate}`?"),
        None if known.is_empty() => "there are none".into(),
        None => format!("known: {}", quote_all(known)),
    }
}

/// `` `a`, `b` ``
pub(crate) fn quote_all<'a>(names: impl IntoIterator<Item = &'a str>) -> String {
    names.into_iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ")
}
