//! Drafts a definition from an answer of an upstream, for somebody to go on with. Pure: whoever asks gives the answers.
//!
//! Every draft is one that [`Definition::parse`] takes, and one whose schema reads the answers that it was made from. A
//! guess that no second page confirmed stands in a comment, with the reason. No value of a credential is in a draft.

mod asked;
mod fields;
mod guess;
mod look;
mod sample;
mod write;

use std::collections::BTreeMap;

use serde_json::Value as Json;

pub use self::{
    asked::{Asked, AskedError},
    fields::{Inference, InferredField},
    look::{Looked, LookedRecord},
};
use self::{
    guess::{Evidence, Guess},
    sample::Record,
};
use crate::{Definition, Diagnostics, FieldType, Format, RecordPath, Rejection, definition::plan::signs, scan};

/// An answer to draft from.
#[derive(Debug, Clone, Copy)]
pub struct DraftAnswer<'a> {
    /// By lower-case name.
    pub headers: &'a BTreeMap<String, String>,
    /// Without any encoding of its content.
    pub body: &'a [u8],
}

/// Why nothing can be drafted.
#[derive(Debug, thiserror::Error)]
pub enum DraftError {
    /// A format that definitions do not have.
    #[error("the answer is no JSON, NDJSON or CSV, but {0}")]
    Format(String),
    /// An answer that cannot be read to its end.
    #[error("the answer cannot be read: {0}")]
    Unreadable(#[from] Rejection),
    /// A draft that is wrong.
    #[error("no definition can be made of this request: {0}")]
    Definition(#[from] Diagnostics),
}

/// A definition in the making.
#[derive(Debug)]
pub struct Draft {
    asked: Asked,
    format: Format,
    records: RecordPath,
    /// Records of the first answer.
    count: u64,
    inference: Inference,
    fields: Vec<InferredField>,
    /// How many fields there would be.
    all_fields: usize,
    /// The guesses that were not refuted, the best first.
    guesses: Vec<Guess>,
    /// Those that were, and why.
    refuted: Vec<(Guess, String)>,
    is_confirmed: bool,
    /// What says that the answer is not all.
    more: Option<String>,
}

impl Draft {
    /// Drafts from the first answer.
    pub fn new(asked: Asked, answer: &DraftAnswer<'_>) -> Result<Self, DraftError> {
        let body = answer.body;
        let (format, document) = format(answer)?;
        let (records, is_table) = document.as_ref().map_or_else(Default::default, sample::find);
        let format = if is_table { Format::Rows } else { format };
        let mut draft = Self {
            asked,
            format,
            records,
            count: 0,
            inference: Inference::default(),
            fields: Vec::new(),
            all_fields: 0,
            guesses: Vec::new(),
            refuted: Vec::new(),
            is_confirmed: false,
            more: None,
        };
        draft.learn(body, &[])?;
        draft.count = draft.check(body)?;
        let (sampled, _) = sample::records(format, &draft.records, body);
        let evidence = Evidence {
            query: &draft.asked.query,
            headers: answer.headers,
            document: document.as_ref(),
            records: &draft.records,
            count: draft.count,
            last: sampled.last().map(|record: &Record| &record.value),
        };
        let more = signs::more(answer.headers, &draft.asked.query, evidence.around().as_ref(), draft.count);
        let guesses = evidence.guesses();
        (draft.guesses, draft.more) = (guesses, more);
        Ok(draft)
    }

    /// What was asked for.
    pub fn asked(&self) -> &Asked {
        &self.asked
    }

    /// How many records the first answer has.
    pub fn records(&self) -> u64 {
        self.count
    }

    /// Where the guess comes from that a second page is to confirm, in words; `None` where there is none.
    pub fn guess(&self) -> Option<&str> {
        self.guesses.first().map(|guess| guess.why.as_str())
    }

    /// What says that the answer is not all there is, in words.
    pub fn more(&self) -> Option<&str> {
        self.more.as_deref()
    }

    /// Takes the second page, which has other records: the guess was right.
    pub fn confirm(&mut self, first: &[u8], second: &[u8]) -> Result<(), DraftError> {
        if let Err(error) = self.learn(first, &[second]) {
            self.learn(first, &[])?;
            return Err(error);
        }
        self.is_confirmed = true;
        Ok(())
    }

    /// The guess was wrong. There may be another one.
    pub fn refute(&mut self, reason: String) {
        if !self.guesses.is_empty() {
            let guess = self.guesses.remove(0);
            self.refuted.push((guess, reason));
        }
    }

    /// Makes fields that read all of these answers.
    fn learn(&mut self, first: &[u8], others: &[&[u8]]) -> Result<(), DraftError> {
        self.inference = Inference::default();
        for body in [first].iter().chain(others) {
            self.inference.add(self.format, &self.records, body);
        }
        (self.fields, self.all_fields) = self.inference.fields();
        [first].iter().chain(others).try_for_each(|body| self.check(body).map(drop))
    }

    /// How many records an answer has. A field that does not read one of its values is made one that does.
    fn check(&mut self, body: &[u8]) -> Result<u64, DraftError> {
        loop {
            let definition = Definition::parse("the draft", &self.to_toml())?;
            let mut scanner = definition.scanner();
            let read = scanner.push(body).and_then(|()| scanner.finish());
            let rejection = match read {
                Ok(scanned) => return Ok(scanned.records),
                Err(rejection) => rejection,
            };
            let widest = if self.format == Format::Csv { FieldType::String } else { FieldType::Any };
            let whole = InferredField::whole(self.inference.records());
            let is_whole = self.fields == [whole.clone()];
            let field = self.fields.iter_mut().find(|field| rejection.field.as_ref() == Some(&field.name));
            match field {
                // A record that was not looked at may lack it.
                Some(field) if field.required => field.required = false,
                Some(field) if field.kind != widest => field.kind = widest,
                // Not all records are objects.
                None if matches!(self.format, Format::Json | Format::Ndjson) && !is_whole => {
                    (self.fields, self.all_fields) = (vec![whole], 1);
                }
                _ => return Err(rejection.into()),
            }
        }
    }

    /// The definition, with a comment to every part.
    pub fn to_toml(&self) -> String {
        write::to_toml(self)
    }
}

/// How an answer is written, and the whole of it where it is one JSON document.
fn format(answer: &DraftAnswer<'_>) -> Result<(Format, Option<Json>), DraftError> {
    let body = answer.body.strip_prefix(scan::BYTE_ORDER_MARK).unwrap_or(answer.body);
    let kind = answer.headers.get("content-type").map(|kind| kind.to_ascii_lowercase()).unwrap_or_default();
    let lines = body.split(|byte| *byte == b'\n').filter(|line| !line.trim_ascii().is_empty());
    let is_object = |line: &[u8]| serde_json::from_slice::<Json>(line).is_ok_and(|value| value.is_object());
    let is_lines = || body.starts_with(b"{") && lines.clone().take(sample::SAMPLE).all(is_object);
    if (kind.contains("ndjson") || kind.contains("jsonl")) && is_lines() {
        return Ok((Format::Ndjson, None));
    }
    if let Ok(document) = serde_json::from_slice::<Json>(body)
        && (document.is_array() || document.is_object())
    {
        return Ok((Format::Json, Some(document)));
    }
    if is_lines() {
        return Ok((Format::Ndjson, None));
    }
    let rows = scan::first_rows(body, sample::SAMPLE);
    let width = rows.first().map_or(0, Vec::len);
    let is_table = rows.len() > 1 && rows.iter().all(|row| row.len() == width) && !body.starts_with(b"<");
    if is_table && (width > 1 || kind.contains("csv")) || kind.contains("csv") && rows.len() == 1 {
        return Ok((Format::Csv, None));
    }
    if body.is_empty() {
        return Err(DraftError::Format("empty".to_owned()));
    }
    let what = scan::file_kind(body).map_or_else(|| scan::shown(body), str::to_owned);
    Err(DraftError::Format(what))
}

#[cfg(test)]
mod tests;
