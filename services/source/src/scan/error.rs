//! Why reading stops: a mistake, or the end of what is there.

use std::borrow::Cow;

/// A result of the inner loops. The box keeps it in registers where all is well.
pub(super) type Step<T> = Result<T, Box<ScanError>>;

/// A mistake, or the end of the bytes at hand.
#[derive(Debug)]
pub(super) struct ScanError {
    /// Where in the bytes at hand; of no meaning with [`Found::End`].
    pub(super) at: usize,
    /// Index in the schema.
    pub(super) field: Option<usize>,
    pub(super) expected: Cow<'static, str>,
    pub(super) found: Found,
}

/// What there was instead.
#[derive(Debug)]
pub(super) enum Found {
    /// Nothing any more: the next piece may have it, or the file is truncated.
    End,
    /// What is written at the place.
    Here,
    /// The same, which is a string where something else should be.
    HereInQuotes,
    /// In words.
    Said(String),
}

impl ScanError {
    pub(super) fn at(mut self: Box<Self>, at: usize) -> Box<Self> {
        self.at = at;
        self
    }

    pub(super) fn expecting(mut self: Box<Self>, expected: &str) -> Box<Self> {
        self.expected = Cow::Owned(expected.to_owned());
        self
    }

    pub(super) fn in_field(mut self: Box<Self>, field: usize) -> Box<Self> {
        self.field = Some(field);
        self
    }

    pub(super) fn saying(mut self: Box<Self>, found: impl Into<String>) -> Box<Self> {
        self.found = Found::Said(found.into());
        self
    }
}

/// `expected` is not what is written at `at`.
#[cold]
#[inline(never)]
pub(super) fn wrong(at: usize, expected: impl Into<Cow<'static, str>>) -> Box<ScanError> {
    Box::new(ScanError { at, field: None, expected: expected.into(), found: Found::Here })
}

/// There are no more bytes where `expected` should be.
#[cold]
#[inline(never)]
pub(super) fn ended(expected: impl Into<Cow<'static, str>>) -> Box<ScanError> {
    Box::new(ScanError { at: 0, field: None, expected: expected.into(), found: Found::End })
}

/// [`wrong`], or [`ended`] where there is no byte at `at` at all.
#[cold]
#[inline(never)]
pub(super) fn missing(bytes: &[u8], at: usize, expected: impl Into<Cow<'static, str>>) -> Box<ScanError> {
    if at < bytes.len() { wrong(at, expected) } else { ended(expected) }
}
