//! What an answer means for the row that was sent.

use std::time::Duration;

use crate::{Definition, definition::parse::rows::Action};

/// What an answer means for the row that was sent. Reasons have the status, and no word of the answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Judgement {
    /// The API has it.
    Done,
    /// The API refused it.
    Error(String),
    /// It was not taken, and can be sent again.
    Retry {
        /// After how long, where the definition says so.
        wait: Option<Duration>,
        /// Why.
        reason: String,
    },
    /// Nobody knows whether the API has it.
    Unknown(String),
}

impl Definition {
    /// What an answer means: as the first rule of `on` says that has its status; otherwise 2xx is done, 408, 425, 429 and
    /// 503 are tried again, 303 and other 5xx are unknown, and all else is an error. No rule looks at `body` yet.
    pub fn judge(&self, status: u16, _body: &[u8]) -> Judgement {
        let rules = self.upload().map_or(&[][..], |upload| &upload.rules.on);
        if let Some(rule) = rules.iter().find(|rule| rule.statuses.contains(&status)) {
            let reason = match &rule.reason {
                Some(reason) => format!("status {status}: {reason}"),
                None => format!("status {status}"),
            };
            return match rule.action {
                Action::Fail => Judgement::Error(reason),
                Action::Unknown => Judgement::Unknown(reason),
                Action::Done => Judgement::Done,
                Action::Retry(wait) => Judgement::Retry { wait, reason },
            };
        }
        let reason = format!("status {status}");
        match status {
            200..=299 => Judgement::Done,
            408 | 425 | 429 | 503 => Judgement::Retry { wait: None, reason },
            // See Other is also how an API says that it has taken something.
            303 | 500..=599 => Judgement::Unknown(reason),
            _ => Judgement::Error(reason),
        }
    }
}
