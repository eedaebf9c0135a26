//! `Prefer: wait=N` (RFC 7240): how long a client would wait for the end of what it asks for.

use std::time::Duration;

use poem::Request;

/// The longest that an answer is held back.
pub const LONGEST_WAIT: Duration = Duration::from_secs(5 * 60);

/// What the client prefers, at most [`LONGEST_WAIT`]; `None` where it says nothing, or nothing that can be read, which
/// is as if it said nothing.
pub fn preferred_wait(request: &Request) -> Option<Duration> {
    let values = request.headers().get_all("Prefer").iter().filter_map(|value| value.to_str().ok());
    let mut waits = values.flat_map(|value| value.split(',')).filter_map(|preference| {
        let (name, value) = preference.split(';').next()?.split_once('=')?;
        name.trim().eq_ignore_ascii_case("wait").then(|| value.trim().trim_matches('"').parse::<u64>().ok())
    });
    // The first counts.
    let seconds = waits.next()??;
    Some(Duration::from_secs(seconds).min(LONGEST_WAIT))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_wait_counts_and_what_cannot_be_read_is_nothing() {
        let of = |value: &str| preferred_wait(&Request::builder().header("Prefer", value).finish());
        let seconds = |seconds| Some(Duration::from_secs(seconds));
        for (value, expected) in [
            ("wait=10", seconds(10)),
            ("respond-async, Wait = \"20\"; x=y", seconds(20)),
            ("wait=5, wait=9", seconds(5)),
            ("wait=0", seconds(0)),
            ("wait=1000000", Some(LONGEST_WAIT)),
            ("wait=-1", None),
            ("wait", None),
            ("wait=soon", None),
            ("handling=lenient", None),
            ("", None),
        ] {
            assert_eq!(of(value), expected, "{value}");
        }
        assert_eq!(preferred_wait(&Request::default()), None);
    }
}
