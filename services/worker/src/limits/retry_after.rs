//! The `Retry-After` header of a response (RFC 9110 §10.2.3).

use std::time::Duration;

use jiff::Timestamp;
use reqwest::{
    StatusCode,
    header::{HeaderMap, RETRY_AFTER},
};

/// How long an upstream that has too much to do wants to be left alone, where it says so.
pub(crate) fn asks_for_a_pause(status: StatusCode, headers: &HeaderMap, now: Timestamp) -> Option<Duration> {
    matches!(status, StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE)
        .then(|| retry_after(headers, now))
        .flatten()
}

/// Seconds, or a date in one of the three forms of RFC 9110. Fractions of a second, which some upstreams send, are
/// rounded up; more seconds than a number holds are as many as it holds; anything else counts as not sent.
pub(crate) fn retry_after(headers: &HeaderMap, now: Timestamp) -> Option<Duration> {
    let value = headers.get(RETRY_AFTER)?.to_str().ok()?.trim();
    let is_number = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let (whole, fraction) = value.split_once('.').unwrap_or((value, "0"));
    if is_number(whole) && is_number(fraction) {
        let more = u64::from(fraction.bytes().any(|digit| digit != b'0'));
        return Some(Duration::from_secs(whole.parse().unwrap_or(u64::MAX).saturating_add(more)));
    }
    let at = Timestamp::try_from(httpdate::parse_http_date(value).ok()?).ok()?;
    Some(Duration::try_from(at.duration_since(now)).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use reqwest::header::HeaderValue;

    use super::*;

    #[test]
    fn retry_after_is_seconds_or_a_date() {
        let now: Timestamp = "2024-05-01T08:00:00Z".parse().unwrap();
        for (value, seconds) in [
            ("7", Some(7)),
            ("2.5", Some(3)),
            ("2.0", Some(2)),
            ("18446744073709551615", Some(u64::MAX)),
            ("99999999999999999999999999", Some(u64::MAX)),
            ("Wed, 01 May 2024 08:01:00 GMT", Some(60)),
            ("Wednesday, 01-May-24 08:01:00 GMT", Some(60)),
            ("Wed May  1 08:01:00 2024", Some(60)),
            ("2.", None),
            ("Wed, 01 May 2024 07:00:00 GMT", Some(0)),
            ("soon", None),
            ("-3", None),
        ] {
            let headers = HeaderMap::from_iter([(RETRY_AFTER, HeaderValue::from_static(value))]);
            assert_eq!(retry_after(&headers, now), seconds.map(Duration::from_secs), "{value}");
        }
    }
}
