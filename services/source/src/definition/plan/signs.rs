//! Signs that an answer is not all there is: a part must not look like the whole.

use std::collections::BTreeMap;

use serde_json::Value as Json;

/// Members that say how many records there are, without `_` and `-`.
const TOTALS: [&str; 10] = [
    "total",
    "count",
    "totalcount",
    "totalresults",
    "totalrecords",
    "totalitems",
    "totalhits",
    "totalelements",
    "numfound",
    "resultcount",
];
/// Members that say that there are more.
const MORE: [&str; 3] = ["hasmore", "hasnext", "hasnextpage"];
/// Headers of the same meaning, without `X-`. Others that begin alike say other things: `X-Nextjs-Cache`, `X-Count`.
const HEADERS: [&str; 12] = [
    "total",
    "totalcount",
    "totalresults",
    "totalrecords",
    "totalitems",
    "nextpage",
    "nextcursor",
    "nexttoken",
    "nextlink",
    "nexturl",
    "hasmore",
    "hasnextpage",
];
/// Query parameters that say how many records an answer has at most.
const LIMITS: [&str; 16] = [
    "limit",
    "pagelimit",
    "perpage",
    "pagesize",
    "size",
    "count",
    "rows",
    "take",
    "top",
    "maxresults",
    "maxrecords",
    "maxitems",
    "resultsperpage",
    "itemsperpage",
    "hitsperpage",
    "recordsperpage",
];

/// Whether a query parameter of this name says how many records an answer has at most.
pub(crate) fn is_limit(name: &str) -> bool {
    LIMITS.contains(&plain(name).as_str())
}

/// Whether a member of this name, as names are compared, says that there are more.
pub(crate) fn is_more(plain: &str) -> bool {
    MORE.contains(&plain)
}

/// Whether a member of this name, as names are compared, says how many records there are.
pub(crate) fn is_total(plain: &str) -> bool {
    TOTALS.contains(&plain)
}

/// What says that there is more than these records, in words. `headers` have names in lower case; `body` is the answer
/// without its records: its members count, and theirs.
pub(crate) fn more(
    headers: &BTreeMap<String, String>,
    query: &[(String, String)],
    body: Option<&Json>,
    records: u64,
) -> Option<String> {
    if headers.get("link").is_some_and(|link| next_link(link).is_some()) {
        return Some("`Link` has a `rel=\"next\"`".to_owned());
    }
    let said = headers.iter().find_map(|(name, value)| header_says_more(name, value, records));
    if said.is_some() {
        return said;
    }
    let members = |value: &Json| value.as_object().cloned().unwrap_or_default();
    let outer = body.map(members).unwrap_or_default();
    let seen = outer.iter().find_map(|(name, value)| {
        let inner = members(value);
        let below =
            || inner.iter().find_map(|(below, value)| says_more(&format!("{name}.{below}"), below, value, records));
        says_more(name, name, value, records).or_else(below)
    });
    seen.or_else(|| {
        let cuts = |(name, value): &&(String, String)| is_limit(name) && records > 0 && value.parse() == Ok(records);
        query.iter().find(cuts).map(|(name, _)| format!("`{name}` asks for {records} records, and as many came"))
    })
}

fn says_more(shown: &str, name: &str, value: &Json, records: u64) -> Option<String> {
    // `@odata.nextLink`.
    let name = plain(name.rsplit('.').next().unwrap_or(name));
    if name.starts_with("next") && !is_empty(value) {
        return Some(format!("`{shown}` is not empty"));
    }
    if is_more(&name) && *value == Json::Bool(true) {
        return Some(format!("`{shown}` is true"));
    }
    let total = is_total(&name).then(|| number(value)).flatten();
    total.filter(|total| *total > records).map(|total| format!("`{shown}` is {total}, and {records} records came"))
}

fn header_says_more(name: &str, value: &str, records: u64) -> Option<String> {
    let meaning = plain(name.strip_prefix("x-").unwrap_or(name));
    if !HEADERS.contains(&meaning.as_str()) {
        return None;
    }
    // A header is a text: `false`, `null` and `0` are what they say.
    let value = serde_json::from_str(value).unwrap_or_else(|_| Json::from(value));
    says_more(&format!("{name}:"), &meaning, &value, records)
}

/// As it is compared: `page[size]`, `$top` and `per_page` are `pagesize`, `top` and `perpage`.
pub(crate) fn plain(name: &str) -> String {
    name.chars().filter(char::is_ascii_alphanumeric).map(|c| c.to_ascii_lowercase()).collect()
}

fn is_empty(value: &Json) -> bool {
    match value {
        Json::Null => true,
        Json::Bool(value) => !value,
        Json::Number(number) => number.as_f64() == Some(0.0),
        Json::String(text) => text.trim().is_empty(),
        Json::Array(values) => values.is_empty(),
        Json::Object(members) => members.values().all(is_empty),
    }
}

/// A number of records, which some servers send in quotes.
pub(crate) fn number(value: &Json) -> Option<u64> {
    match value {
        Json::Number(number) => {
            let whole = |number: f64| (number >= 0.0 && number.fract() == 0.0).then_some(number as u64);
            number.as_u64().or_else(|| number.as_f64().and_then(whole))
        }
        Json::String(text) => text.trim().parse().ok(),
        _ => None,
    }
}

/// Where a `Link` header leads by the relation `next`. Grammar: RFC 8288.
pub(crate) fn next_link(mut links: &str) -> Option<&str> {
    while let Some((target, rest)) = links.split_once('<').and_then(|(_, rest)| rest.split_once('>')) {
        let (mut parameters, after) = split_unquoted(rest, b',');
        links = after;
        while !parameters.is_empty() {
            let (parameter, others) = split_unquoted(parameters, b';');
            parameters = others;
            let Some((name, relations)) = parameter.split_once('=') else { continue };
            if name.trim().eq_ignore_ascii_case("rel") {
                let mut relations = relations.trim().trim_matches('"').split_ascii_whitespace();
                if relations.any(|relation| relation.eq_ignore_ascii_case("next")) {
                    return Some(target);
                }
                // Only the first `rel` of a link counts.
                break;
            }
        }
    }
    None
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

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_next_page_is_found_in_any_spelling() {
        for (links, expected) in [
            (r#"<https://x/?page=2>; rel="next""#, Some("https://x/?page=2")),
            ("</?page=2>;REL=Next", Some("/?page=2")),
            (r#"</1>; rel="prev", </2>; title="a, b; rel=x \" <y>"; rel="last NEXT""#, Some("/2")),
            (r#"</1>; rel="prev"; rel="next""#, None),
            (r#"</2>; title="rel=next""#, None),
            (r#"</2?rel=next>; rel="nextcloud""#, None),
            (r#"</2>; rev="next""#, None),
            ("</2>", None),
            ("rel=next", None),
            ("", None),
        ] {
            assert_eq!(next_link(links), expected, "{links}");
        }
    }

    #[test]
    fn what_says_that_there_is_more_is_told() {
        let query = [("limit".to_owned(), "3".to_owned()), ("page[size]".to_owned(), "4".to_owned())];
        let none = BTreeMap::new();
        let said = |body: Json, records: u64| more(&none, &query, Some(&body), records).unwrap_or_default();
        insta::assert_snapshot!([
            said(json!({ "next": "/x" }), 2),
            said(json!({ "paging": { "nextCursor": 7 } }), 2),
            said(json!({ "@odata.nextLink": "https://x" }), 2),
            said(json!({ "has_more": true }), 2),
            said(json!({ "meta": { "hasNextPage": true } }), 2),
            said(json!({ "total": 3 }), 2),
            said(json!({ "meta": { "total_count": "12" } }), 2),
            said(json!({}), 3),
            said(Json::Null, 4),
        ].join("\n"), @r"
        `next` is not empty
        `paging.nextCursor` is not empty
        `@odata.nextLink` is not empty
        `has_more` is true
        `meta.hasNextPage` is true
        `total` is 3, and 2 records came
        `meta.total_count` is 12, and 2 records came
        `limit` asks for 3 records, and as many came
        `page[size]` asks for 4 records, and as many came
        ");
        for all in [
            json!({ "next": null, "links": { "next": "" }, "has_more": false, "total": 2, "count": "2", "nexus": 1 }),
            json!({ "next": [], "next_page": {}, "total": null, "a": { "b": { "next": "too deep" } } }),
            json!([]),
        ] {
            assert_eq!(said(all, 2), "");
        }
        assert_eq!(more(&none, &[("limit".to_owned(), "0".to_owned())], None, 0), None);
    }

    #[test]
    fn a_header_that_says_that_there_is_more_is_told() {
        let said = |name: &str, value: &str| {
            let headers = BTreeMap::from([(name.to_owned(), value.to_owned())]);
            more(&headers, &[], None, 2).unwrap_or_default()
        };
        insta::assert_snapshot!([
            said("x-total-count", "3"),
            said("x-total", " 12 "),
            said("x-next-page", "2"),
            said("next-cursor", "b2Zm"),
            said("x-has-more", "true"),
            said("link", "</2>; rel=next"),
        ].join("\n"), @r###"
        `x-total-count:` is 3, and 2 records came
        `x-total:` is 12, and 2 records came
        `x-next-page:` is not empty
        `next-cursor:` is not empty
        `x-has-more:` is true
        `Link` has a `rel="next"`
        "###);
        for (name, value) in [
            ("x-total-count", "2"),
            ("x-total-count", "*"),
            ("x-next-page", ""),
            ("x-next-page", "null"),
            ("x-has-more", "false"),
            ("x-nextjs-cache", "HIT"),
            ("x-count", "9"),
            ("x-ratelimit-total", "9"),
        ] {
            assert_eq!(said(name, value), "", "{name}: {value}");
        }
    }
}
