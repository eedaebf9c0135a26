//! Answers that are no file: what the upstream said, in few words and without secrets.

use std::{collections::BTreeSet, time::Duration};

use jiff::Timestamp;
use reqwest::{Response, StatusCode};
use waybill_source::{Definition, Env, PagingError, Rejection};

use crate::{
    context::Context,
    download::{
        client::{Target, refused},
        content_encoding::Decoder,
    },
    retry::Fault,
};

/// Bytes that are read of what an upstream says, and how long that may take.
const READ: usize = 16 << 10;
const WITHIN: Duration = Duration::from_secs(5);
/// Characters of it that are shown.
const SHOWN: usize = 200;
/// What stands for a secret.
const HIDDEN: &str = "hidden";
/// Members of a JSON object that say what went wrong, the best first.
const MESSAGES: [&str; 8] = ["message", "detail", "error_description", "error", "errors", "title", "msg", "reason"];

/// What an upstream said in the beginning of a body.
pub(crate) fn said_by(body: &[u8], definition: &Definition, env: &Env) -> String {
    said(&body[..body.len().min(READ)], &secrets(definition, env))
}

/// What was found in a file that is rejected, in the same way.
pub(crate) fn mask_rejection(rejection: Rejection, definition: &Definition, env: &Env) -> Rejection {
    Rejection { found: mask(&rejection.found, definition, env), ..rejection }
}

/// The same text with what the definition takes from the environment hidden.
pub(crate) fn mask(text: &str, definition: &Definition, env: &Env) -> String {
    masked(text, &secrets(definition, env))
}

/// The fault of an answer with another status than the one wanted, with what the upstream said.
pub(crate) async fn refusal(
    context: &Context,
    definition: &Definition,
    target: &Target,
    mut response: Response,
) -> Fault {
    let secrets = secrets(definition, &context.worker.env);
    let place = masked(&context.upstream.answered(target, response.url()), &secrets);
    let fault = refused(response.status(), response.headers(), &place, Timestamp::now());
    let more = if response.status() == StatusCode::NO_CONTENT {
        "no file. No definition can accept that yet; `on = [{ status = [204], action = \"absent\" }]` will".to_owned()
    } else {
        let body = tokio::time::timeout(WITHIN, begin(&mut response)).await.unwrap_or_default();
        said(&body, &secrets)
    };
    if more.is_empty() {
        return fault;
    }
    match fault {
        Fault::Permanent(reason) => Fault::Permanent(format!("{reason}: {more}")),
        Fault::Transient { err, retry_after } => Fault::Transient { err: format!("{err}: {more}"), retry_after },
    }
}

/// The fault of an answer that is not all there is.
pub(crate) fn incomplete(path: &str, error: &PagingError) -> Fault {
    Fault::permanent(format!("the upstream's answer for {path} {error}"))
}

/// The first bytes of a body, as far as they come and can be decoded.
async fn begin(response: &mut Response) -> Vec<u8> {
    let mut decoder = Decoder::new(response.headers());
    let mut body = Vec::new();
    let mut is_last = false;
    while !is_last && body.len() < READ {
        match response.chunk().await {
            Ok(Some(chunk)) => decoder.push(chunk),
            Ok(None) | Err(_) => {
                is_last = true;
                decoder.end();
            }
        }
        while let Ok(Some(piece)) = decoder.pull("")
            && body.len() < READ
        {
            body.extend_from_slice(&piece);
        }
    }
    body
}

/// What people are shown of a body: the message in a JSON document, or the text.
fn said(body: &[u8], secrets: &BTreeSet<String>) -> String {
    let json: Option<serde_json::Value> = serde_json::from_slice(body).ok();
    let text = json.as_ref().and_then(message).map_or_else(|| String::from_utf8_lossy(body), Into::into);
    let mut masked = masked(&text, secrets);
    if body.len() >= READ {
        // What was cut may have been a secret.
        let longest = secrets.iter().map(String::len).max().unwrap_or_default();
        masked.truncate(masked.floor_char_boundary(masked.len().saturating_sub(longest)));
    }
    let mut shown = String::new();
    let text = masked.split_whitespace().collect::<Vec<_>>().join(" ");
    for (at, c) in text.chars().enumerate() {
        if at == SHOWN {
            return shown + "…";
        }
        match c {
            '"' | '\'' | '\\' => shown.push(c),
            // What cannot be seen, or changes how the rest is seen.
            c => shown.extend(c.escape_debug()),
        }
    }
    shown
}

fn message(value: &serde_json::Value) -> Option<&str> {
    match value {
        serde_json::Value::String(text) => Some(text.as_str()).filter(|text| !text.trim().is_empty()),
        serde_json::Value::Array(values) => message(values.first()?),
        serde_json::Value::Object(members) => MESSAGES.iter().find_map(|name| message(members.get(*name)?)),
        _ => None,
    }
}

/// The values that the definition takes from the environment, as they are and as JSON has them.
fn secrets(definition: &Definition, env: &Env) -> BTreeSet<String> {
    let values = definition.env_names().iter().filter_map(|name| env.get(name)).filter(|value| !value.is_empty());
    let spelled = values.flat_map(|value| {
        let in_json = serde_json::Value::from(value.as_str()).to_string().trim_matches('"').to_owned();
        [value.clone(), in_json]
    });
    spelled.chain(definition.encoded_secret(env)).collect()
}

fn masked(text: &str, secrets: &BTreeSet<String>) -> String {
    // Longer ones first: one may be in another.
    let mut secrets: Vec<_> = secrets.iter().filter(|secret| !secret.is_empty()).collect();
    secrets.sort_by_key(|secret| std::cmp::Reverse(secret.len()));
    secrets.into_iter().fold(text.to_owned(), |text, secret| {
        // One that looks encoded itself is found as it is.
        without(&text, secret).replace(secret.as_str(), HIDDEN)
    })
}

fn without(text: &str, secret: &str) -> String {
    let (mut shown, mut rest) = (String::with_capacity(text.len()), text);
    while let Some(c) = rest.chars().next() {
        let spelled = spelled(rest.as_bytes(), secret.as_bytes()).and_then(|len| rest.get(len..));
        if spelled.is_some() {
            shown.push_str(HIDDEN);
        } else {
            shown.push(c);
        }
        rest = spelled.unwrap_or(&rest[c.len_utf8()..]);
    }
    shown
}

/// How many bytes of the beginning of `text` are the secret, as it is or as a URL has it: servers and libraries differ in
/// which bytes they encode, and in the case of the digits.
fn spelled(text: &[u8], secret: &[u8]) -> Option<usize> {
    let mut len = 0;
    for byte in secret {
        let rest = &text[len..];
        let encoded = match rest {
            [b'%', high, low, ..] => {
                std::str::from_utf8(&[*high, *low]).ok().and_then(|digits| u8::from_str_radix(digits, 16).ok())
            }
            _ => None,
        };
        len += match rest.first()? {
            b'%' if encoded == Some(*byte) => 3,
            b'+' if *byte == b' ' => 1,
            first if first == byte => 1,
            _ => return None,
        };
    }
    Some(len)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_said_is_short_plain_and_without_secrets() {
        let secrets = BTreeSet::from(["s3cret+key".to_owned(), "100%".to_owned()]);
        let said = |body: &str| said(body.as_bytes(), &secrets);
        for (body, expected) in [
            (r#"{"code": 7, "message": "Invalid\nkey s3cret+key"}"#, "Invalid key hidden"),
            (r#"{"errors": [{"detail": "\u001b[31mno\u202e"}]}"#, "\\u{1b}[31mno\\u{202e}"),
            (r#"{"error": {"code": 401, "message": "No key"}}"#, "No key"),
            (r#"{"message": "", "error": "bad"}"#, "bad"),
            (r#"{"code": 7}"#, r#"{"code": 7}"#),
            ("<h1>\r\n Bad  Gateway</h1> ?appid=s3cret%2Bkey", "<h1> Bad Gateway</h1> ?appid=hidden"),
            ("/s3cret%2bkey?%733cret+key&s3cret%2key", "/hidden?hidden&s3cret%2key"),
            ("100%25, 100%", "hidden, hidden"),
            (" \n", ""),
        ] {
            assert_eq!(said(body), expected, "{body}");
        }
        assert_eq!(said(&"ü".repeat(500)), "ü".repeat(200) + "…");
        let cut = format!("{}s3cret+k", " ".repeat(READ - 8));
        assert_eq!(said(&cut), "", "a part of a secret may be one");
    }
}
