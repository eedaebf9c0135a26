//! Whether a client wants a page or JSON: `Accept` (RFC 9110 §12.5.1).

use poem::{Request, http::header};

/// How much a client wants a media type: its quality, and how exactly the client named it.
type Wish = (f32, u8);

/// Whether the client wants HTML rather than JSON. Who has no preference gets HTML: pages are for people.
pub fn prefers_html(request: &Request) -> bool {
    let values = request.headers().get_all(header::ACCEPT).iter().filter_map(|value| value.to_str().ok());
    let accept = values.collect::<Vec<_>>().join(",");
    if accept.trim().is_empty() {
        return true;
    }
    let (html, json) = (wish(&accept, "text", "html"), wish(&accept, "application", "json"));
    // `application/json, */*` wants both alike, but names one.
    html >= json
}

/// The most exact range that includes a type says how much it is wanted; none: not at all.
fn wish(accept: &str, kind: &str, subtype: &str) -> Wish {
    let ranges = accept.split(',').filter_map(|range| {
        let mut parts = range.split(';');
        let (range_kind, range_subtype) = parts.next()?.trim().split_once('/')?;
        let exactness = match (range_kind.eq_ignore_ascii_case(kind), range_subtype.eq_ignore_ascii_case(subtype)) {
            (true, true) => 2,
            (true, false) if range_subtype == "*" => 1,
            _ if (range_kind, range_subtype) == ("*", "*") => 0,
            _ => return None,
        };
        let quality = parts.find_map(|part| {
            let (name, value) = part.split_once('=')?;
            name.trim().eq_ignore_ascii_case("q").then(|| value.trim().parse::<f32>().ok())
        });
        // A quality that cannot be read is as if none were given.
        let quality = quality.flatten().filter(|quality| (0.0..=1.0).contains(quality)).unwrap_or(1.0);
        Some((exactness, quality))
    });
    match ranges.max_by_key(|(exactness, _)| *exactness) {
        Some((exactness, quality)) if quality > 0.0 => (quality, exactness),
        _ => (0.0, 0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn browsers_and_who_does_not_care_get_a_page() {
        let of = |accept: &str| prefers_html(&Request::builder().header("Accept", accept).finish());
        for html in [
            "text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,*/*;q=0.8",
            "*/*",
            "",
            "text/html, application/json",
            "text/*",
            "text/html;q=0.9, application/json;q=0.8",
            "application/json;q=0, */*",
            "image/png",
            "text/html, image/gif, image/jpeg, *; q=.2, */*; q=.2",
        ] {
            assert!(of(html), "{html}");
        }
        for json in [
            "application/json",
            "Application/JSON; charset=utf-8",
            "application/json, text/plain, */*",
            "application/*, text/html;q=0.1",
            "text/html;q=0, */*",
            "application/json, */*;q=0.8",
            "text/html;q=0.5,application/json;q=0.6",
        ] {
            assert!(!of(json), "{json}");
        }
        assert!(prefers_html(&Request::default()));
    }
}
