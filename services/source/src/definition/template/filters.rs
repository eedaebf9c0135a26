//! Filters beside those of the engine: other spellings of times and of texts.

use std::borrow::Cow;

use base64::{Engine, engine::general_purpose::STANDARD};
use jiff::{
    civil::DateTime,
    fmt::strtime,
    tz::{Offset, TimeZone},
};
use minijinja::{Environment, Error, ErrorKind, Value};
use sha1::{Digest, Sha1};

use crate::params::parse_instant;

pub(super) fn add(environment: &mut Environment<'_>) {
    environment.add_filter("date", |text: Cow<'_, str>, format: Cow<'_, str>| date(&text, &format));
    environment.add_filter("epoch", |text: Cow<'_, str>| milliseconds(&text).map(|time| time.div_euclid(1_000)));
    environment.add_filter("epoch_ms", |text: Cow<'_, str>| milliseconds(&text));
    environment.add_filter("base64", |text: Cow<'_, str>| STANDARD.encode(text.as_bytes()));
    environment.add_filter("sha1", |text: Cow<'_, str>| base16ct::lower::encode_string(&Sha1::digest(text.as_bytes())));
    environment.add_filter("json", |value: Value| {
        serde_json::to_string(&value).map_err(|_| wrong("this value cannot be written as JSON".into()))
    });
}

/// `{{ week.from | date("%d.%m.%Y") }}`.
fn date(text: &str, format: &str) -> Result<String, Error> {
    let at = TimeZone::fixed(Offset::UTC).to_zoned(time(text)?).map_err(|error| wrong(error.to_string()))?;
    strtime::format(format, &at).map_err(|error| wrong(format!("the format {format:?}: {error}")))
}

fn milliseconds(text: &str) -> Result<i64, Error> {
    let at = TimeZone::UTC.to_timestamp(time(text)?).map_err(|error| wrong(error.to_string()))?;
    Ok(at.as_millisecond())
}

fn time(text: &str) -> Result<DateTime, Error> {
    parse_instant(text).ok_or_else(|| {
        wrong(format!("expected a date such as 2024-05-01, or a time such as 2024-05-01T08:00:00Z, found {text:?}"))
    })
}

fn wrong(message: String) -> Error {
    Error::new(ErrorKind::InvalidOperation, message)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::definition::template::{Destination, Template};

    #[test]
    fn times_and_texts_are_spelled_otherwise() {
        let scope = Value::from_pairs([
            ("day", Value::from("2024-05-01")),
            ("time", Value::from("2024-05-01T08:30:00+02:00")),
            ("user", Value::from("a:b")),
            ("list", Value::from(vec!["x", "\"y\""])),
        ]);
        let said = |source: &str| match Template::compile(Destination::Text, source).unwrap().render(&scope) {
            Ok(text) => text,
            Err(error) => format!("error: {error}"),
        };
        insta::assert_snapshot!([
            "{{ day | date('%d.%m.%Y') }}",
            "{{ time | date('%Y/%m/%d %H:%M') }}",
            "{{ day | date('%Q') }}",
            "{{ user | date('%Y') }}",
            "{{ day | epoch }} {{ time | epoch }} {{ time | epoch_ms }}",
            "{{ user | base64 }}",
            "{{ list | json }}",
            "{{ user | sha1 }}",
        ].map(said).join("\n"), @r#"
        01.05.2024
        2024/05/01 06:30
        UTC
        error: expected a date such as 2024-05-01, or a time such as 2024-05-01T08:00:00Z, found "a:b"
        1714521600 1714545000 1714545000000
        YTpi
        ["x","\"y\""]
        dcea6d9ccd3d20ba1549f6d9b5dde60742158882
        "#);
    }
}
