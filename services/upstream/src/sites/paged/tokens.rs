//! Tokens (RFC 6749): which were given, and which are still good.

use std::{collections::VecDeque, time::Duration};

use serde::Deserialize;
use tokio::time::Instant;

use crate::files::mix::{Use, mix};

/// So many tokens are known; a further one ends the oldest.
const MOST: usize = 1_000;

/// What `POST /paged/token` gives to the client `test` with the secret `secret`, in the body or by basic
/// authentication, for `grant_type=client_credentials`, `refresh_token` (`refresh_token=test`) or `password`
/// (`username=test`, `password=secret`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct TokenEndpoint {
    /// How long a token is good, in seconds; the answer says so in `expires_in`.
    pub expires_in: u64,
    /// How many requests a token is good for; the answer does not say so. 0 is no limit.
    pub requests: u64,
    /// What every request for a token meets.
    pub fault: Option<TokenFault>,
}

impl Default for TokenEndpoint {
    fn default() -> Self {
        Self { expires_in: 3_600, requests: 0, fault: None }
    }
}

/// What a request for a token meets.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TokenFault {
    /// The token comes after 5 s.
    Slow,
    /// 503.
    Down,
    /// 200 with `{"error": "temporarily_unavailable"}`.
    Error,
}

/// The tokens that were given.
#[derive(Debug, Default)]
pub(crate) struct Tokens {
    given: u64,
    tokens: VecDeque<Token>,
}

#[derive(Debug)]
struct Token {
    text: String,
    until: Option<Instant>,
    /// Requests that it is still good for; none is no limit.
    left: Option<u64>,
}

impl Tokens {
    pub(crate) fn give(&mut self, seed: u64, endpoint: TokenEndpoint, now: Instant) -> String {
        self.given += 1;
        let text = format!("{:016x}", mix(Use::Token, &[seed, self.given]));
        // A moment that the clock cannot say never comes.
        let until = now.checked_add(Duration::from_secs(endpoint.expires_in));
        let left = (endpoint.requests > 0).then_some(endpoint.requests);
        self.tokens.truncate(MOST - 1);
        self.tokens.push_front(Token { text: text.clone(), until, left });
        text
    }

    /// Counts a request with this token; false where it is not good.
    pub(crate) fn take(&mut self, text: &str, now: Instant) -> bool {
        let Some(token) = self.tokens.iter_mut().find(|token| token.text == text) else { return false };
        if token.until.is_some_and(|until| now >= until) || token.left == Some(0) {
            return false;
        }
        token.left = token.left.map(|left| left - 1);
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_ends_after_its_time_and_after_its_requests() {
        let (mut tokens, now) = (Tokens::default(), Instant::now());
        let endpoint = TokenEndpoint { expires_in: 60, requests: 2, fault: None };
        let token = tokens.give(1, endpoint, now);
        assert_eq!([0, 1, 2].map(|_| tokens.take(&token, now)), [true, true, false]);
        let token = tokens.give(1, endpoint, now);
        assert!(tokens.take(&token, now + Duration::from_secs(59)));
        assert!(!tokens.take(&token, now + Duration::from_secs(60)));
        assert!(!tokens.take("made up", now));
    }

    #[test]
    fn the_newest_thousand_are_known() {
        let (mut tokens, now) = (Tokens::default(), Instant::now());
        let given: Vec<_> = (0..=MOST).map(|_| tokens.give(1, TokenEndpoint::default(), now)).collect();
        assert!(!tokens.take(&given[0], now) && given[1..].iter().all(|token| tokens.take(token, now)));
    }
}
