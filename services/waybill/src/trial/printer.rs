//! What is printed while a definition is tried: never a credential, and what is wrong once more at the end.

use std::cell::RefCell;

use serde_json::Value as Json;

use crate::trial::{client::Answer, mask::Mask};

/// Characters of a value that are shown.
const SHOWN: usize = 60;
/// Characters of an answer that is not the one asked for.
const SHOWN_ANSWER: usize = 300;
/// Headers of limits.
const LIMITS: [&str; 3] = ["x-ratelimit", "ratelimit", "retry-after"];

/// Standard output.
#[derive(Debug)]
pub(crate) struct Printer {
    mask: Mask,
    problems: RefCell<Vec<String>>,
}

impl Printer {
    pub(crate) fn new(mask: Mask) -> Self {
        Self { mask, problems: RefCell::default() }
    }

    /// A heading.
    pub(crate) fn section(&self, title: &str) {
        println!("\n{}", self.mask.text(title));
    }

    /// A line below a heading.
    pub(crate) fn line(&self, text: &str) {
        println!("  {}", self.mask.text(text));
    }

    /// A line below that.
    pub(crate) fn detail(&self, text: &str) {
        println!("    {}", self.mask.text(text));
    }

    /// Something that is wrong: the exit status is not 0 then.
    pub(crate) fn problem(&self, text: &str) {
        let text = self.mask.text(text);
        println!("    wrong: {text}");
        self.problems.borrow_mut().push(text);
    }

    pub(crate) fn problems(&self) -> usize {
        self.problems.borrow().len()
    }

    /// Status, time, size, and what the answer says of limits.
    pub(crate) fn answer(&self, answer: &Answer) {
        let is_limit = |name: &str| LIMITS.iter().any(|prefix| name.starts_with(prefix));
        let limits = answer.headers.iter().filter(|(name, _)| is_limit(name));
        let limits: String = limits.map(|(name, value)| format!(", {name}: {value}")).collect();
        let reason = reqwest::StatusCode::from_u16(answer.status).ok().and_then(|status| status.canonical_reason());
        let more = if answer.is_cut { " and more, which are not looked at" } else { "" };
        self.detail(&format!(
            "{} {}, {} ms, {} bytes{more}{limits}",
            answer.status,
            reason.unwrap_or_default(),
            answer.took.as_millis(),
            answer.body.len()
        ));
    }

    /// An answer with another status, and what probably helps.
    pub(crate) fn refusal(&self, answer: &Answer, env: &[String]) {
        let text = String::from_utf8_lossy(&answer.body);
        let help = match answer.status {
            401 | 403 if env.is_empty() => "it wants credentials: add `auth`".to_owned(),
            401 | 403 => format!("are the credentials right? They come from {}", env.join(", ")),
            404 => "is the path right? It stands behind `base_url`".to_owned(),
            429 => "it was asked too often: add a `rate`, and wait before you try again".to_owned(),
            500..=599 => "the server failed: try again later; a job does so by itself".to_owned(),
            300..=399 => "it leads elsewhere: name the address that it leads to".to_owned(),
            _ => "what is wrong with the request?".to_owned(),
        };
        self.problem(&format!("the API answers {}: {help}", answer.status));
        if !text.trim().is_empty() {
            self.detail(&format!("it says: {}", shortened(text.trim(), SHOWN_ANSWER)));
        }
    }
}

/// `id = 7, name = "x"`; what has no value is left out.
pub(crate) fn values<'a>(values: impl IntoIterator<Item = (&'a String, Option<&'a Json>)>) -> String {
    let shown = values.into_iter().filter_map(|(name, value)| Some(format!("{name} = {}", value_text(value?))));
    let shown: Vec<_> = shown.collect();
    if shown.is_empty() { "no values".to_owned() } else { shown.join(", ") }
}

pub(crate) fn value_text(value: &Json) -> String {
    shortened(&value.to_string(), SHOWN)
}

fn shortened(text: &str, most: usize) -> String {
    let mut shown: String = text.chars().map(|c| if c.is_control() { ' ' } else { c }).take(most).collect();
    if text.chars().nth(most).is_some() {
        shown.push('…');
    }
    shown
}

/// `1 record`, `2 records`.
pub(crate) fn count(number: u64, what: &str) -> String {
    format!("{number} {what}{}", if number == 1 { "" } else { "s" })
}
