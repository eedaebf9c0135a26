//! Answers that are no file: what the upstream said, in few words and without secrets.

use std::{collections::BTreeSet, time::Duration};

use jiff::Timestamp;
use reqwest::{
    Response, StatusCode, Url,
    header::{HeaderMap, LINK},
};
use waybill_source::{Definition, Env};

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

/// A fault where the answer is one page of several: a part must not look like all.
pub(crate) fn more_pages(headers: &HeaderMap, path: &str) -> Result<(), Fault> {
    let values = headers.get_all(LINK).iter();
    if values.filter_map(|value| value.to_str().ok()).any(has_next) {
        return Err(Fault::permanent(format!(
            "the upstream's answer for {path} is one page of several (`Link` has a `rel=\"next\"`), and definitions \
             cannot follow pages yet: ask for all at once, such as with a larger page"
        )));
    }
    Ok(())
}

/// Whether a `Link` header has the relation `next`. Grammar: RFC 8288.
fn has_next(mut links: &str) -> bool {
    while let Some((_, rest)) = links.split_once('<').and_then(|(_, rest)| rest.split_once('>')) {
        let (mut parameters, after) = split_unquoted(rest, b',');
        links = after;
        while !parameters.is_empty() {
            let (parameter, others) = split_unquoted(parameters, b';');
            parameters = others;
            let Some((name, relations)) = parameter.split_once('=') else { continue };
            if name.trim().eq_ignore_ascii_case("rel") {
                let mut relations = relations.trim().trim_matches('"').split_ascii_whitespace();
                if relations.any(|relation| relation.eq_ignore_ascii_case("next")) {
                    return true;
                }
                // Only the first `rel` of a link counts.
                break;
            }
        }
    }
    false
}

/// What is before and behind the first `separator` outside of quotes.
fn split_unquoted(text: &str, separator: u8) -> (&str, &str) {
    let (mut quoted, mut escaped) = (false, false);
    for (at, byte) in text.bytes().enumerate() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if quoted => escaped = true,
            b'"' => quoted = !quoted,
            _ if byte == separator && !quoted => return (&text[..at], &text[at + 1..]),
            _ => {}
        }
    }
    (text, "")
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

/// The values that the definition takes from the environment, as they are and as a URL or JSON has them.
fn secrets(definition: &Definition, env: &Env) -> BTreeSet<String> {
    let values = definition.env_names().iter().filter_map(|name| env.get(name)).filter(|value| !value.is_empty());
    let spelled = values.flat_map(|value| {
        let mut url = Url::parse("x://x/").expect("it is one");
        url.path_segments_mut().expect("it has a path").push(value);
        let in_path = url.path().trim_start_matches('/').to_owned();
        url.query_pairs_mut().append_key_only(value);
        let in_query = url.query().unwrap_or_default().to_owned();
        let in_json = serde_json::Value::from(value.as_str()).to_string().trim_matches('"').to_owned();
        [value.clone(), in_path, in_query, in_json]
    });
    spelled.collect()
}

fn masked(text: &str, secrets: &BTreeSet<String>) -> String {
    // Longer ones first: one may be in another.
    let mut secrets: Vec<_> = secrets.iter().filter(|secret| !secret.is_empty()).collect();
    secrets.sort_by_key(|secret| std::cmp::Reverse(secret.len()));
    secrets.into_iter().fold(text.to_owned(), |text, secret| text.replace(secret.as_str(), HIDDEN))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_next_page_is_found_in_any_spelling() {
        for (links, expected) in [
            (r#"<https://x/?page=2>; rel="next""#, true),
            ("</?page=2>;REL=Next", true),
            (r#"</1>; rel="prev", </2>; title="a, b; rel=x \" <y>"; rel="last NEXT""#, true),
            (r#"</1>; rel="prev"; rel="next""#, false),
            (r#"</2>; title="rel=next""#, false),
            (r#"</2?rel=next>; rel="nextcloud""#, false),
            (r#"</2>; rev="next""#, false),
            ("</2>", false),
            ("rel=next", false),
            ("", false),
        ] {
            assert_eq!(has_next(links), expected, "{links}");
        }
    }

    #[test]
    fn what_was_said_is_short_plain_and_without_secrets() {
        let secrets = BTreeSet::from(["s3cret+key".to_owned(), "s3cret%2Bkey".to_owned()]);
        let said = |body: &str| said(body.as_bytes(), &secrets);
        for (body, expected) in [
            (r#"{"code": 7, "message": "Invalid\nkey s3cret+key"}"#, "Invalid key hidden"),
            (r#"{"errors": [{"detail": "\u001b[31mno\u202e"}]}"#, "\\u{1b}[31mno\\u{202e}"),
            (r#"{"error": {"code": 401, "message": "No key"}}"#, "No key"),
            (r#"{"message": "", "error": "bad"}"#, "bad"),
            (r#"{"code": 7}"#, r#"{"code": 7}"#),
            ("<h1>\r\n Bad  Gateway</h1> ?appid=s3cret%2Bkey", "<h1> Bad Gateway</h1> ?appid=hidden"),
            (" \n", ""),
        ] {
            assert_eq!(said(body), expected, "{body}");
        }
        assert_eq!(said(&"ü".repeat(500)), "ü".repeat(200) + "…");
        let cut = format!("{}s3cret+k", " ".repeat(READ - 8));
        assert_eq!(said(&cut), "", "a part of a secret may be one");
    }
}
