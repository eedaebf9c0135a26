//! Guesses how pages follow each other, from what was asked for and what came. The best guess comes first.

use std::collections::BTreeMap;

use serde_json::Value as Json;

use crate::{
    RecordPath,
    definition::plan::signs::{self, is_limit, is_more, is_total, next_link},
    draft::write::quoted,
    path::RecordStep,
};

/// How deep beside the records signs are looked for.
const DEPTH: usize = 3;
/// Requests that may be wasted on guesses.
const GUESSES: usize = 3;
/// A cursor is a short text.
const LONGEST_CURSOR: usize = 10_000;

const PAGES: [&str; 7] = ["page", "pageno", "pagenumber", "pagenum", "pageindex", "currentpage", "pg"];
const OFFSETS: [&str; 6] = ["offset", "skip", "start", "startindex", "startat", "pageoffset"];
const CURSORS: [&str; 14] = [
    "cursor",
    "after",
    "startingafter",
    "pagetoken",
    "nexttoken",
    "nextpagetoken",
    "continuation",
    "continuationtoken",
    "nextcursor",
    "pagecursor",
    "pageafter",
    "marker",
    "scrollid",
    "starttoken",
];
const PAGE_COUNTS: [&str; 5] = ["pages", "totalpages", "pagecount", "numpages", "lastpage"];

/// One way in which pages could follow each other.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Guess {
    /// The members of `pagination`, as TOML.
    pub(crate) pagination: Vec<(&'static str, String)>,
    /// Query parameters that are templates then, in the place of others of their names.
    pub(crate) query: Vec<(String, String)>,
    /// What it was made from, in words.
    pub(crate) why: String,
}

/// What guesses are made from.
#[derive(Debug)]
pub(crate) struct Evidence<'a> {
    pub(crate) query: &'a [(String, String)],
    /// By lower-case name.
    pub(crate) headers: &'a BTreeMap<String, String>,
    /// The whole answer, where it is JSON.
    pub(crate) document: Option<&'a Json>,
    pub(crate) records: &'a RecordPath,
    pub(crate) count: u64,
    /// The last record that was looked at.
    pub(crate) last: Option<&'a Json>,
}

/// A value beside the records: a member of the answer, or a header.
#[derive(Debug)]
struct Beside<'a> {
    /// Of a header, its name alone.
    path: Vec<&'a str>,
    is_header: bool,
    value: Json,
}

impl Beside<'_> {
    fn name(&self) -> String {
        let name = self.path.last().copied().unwrap_or_default();
        plain(if self.is_header { name.trim_start_matches("x-") } else { name })
    }

    /// `body.meta['next-page']`
    fn expression(&self) -> String {
        let root = if self.is_header { "headers" } else { "body" };
        self.path.iter().fold(root.to_owned(), |text, name| {
            let is_plain = name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
                && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
            match is_plain {
                true => format!("{text}.{name}"),
                false => format!("{text}['{}']", name.replace('\\', "\\\\").replace('\'', "\\'")),
            }
        })
    }

    fn shown(&self) -> String {
        let name = self.path.join(".");
        if self.is_header { format!("the header `{name}`") } else { format!("`{name}`") }
    }
}

/// As names are compared: `page[size]`, `$top` and `per_page` are `pagesize`, `top` and `perpage`.
pub(crate) fn plain(name: &str) -> String {
    signs::plain(name)
}

/// Whether a query parameter of this name says where a page begins.
pub(crate) fn is_cursor(name: &str) -> bool {
    CURSORS.contains(&plain(name).as_str())
}

impl Evidence<'_> {
    /// The guesses, the best first.
    pub(crate) fn guesses(&self) -> Vec<Guess> {
        let beside = self.beside();
        let mut guesses = Vec::new();
        if self.headers.get("link").is_some_and(|link| next_link(link).is_some()) {
            let why = "the header `Link` of the answer has a `rel=\"next\"`".to_owned();
            guesses.push(Guess { pagination: vec![("type", quoted("link"))], query: Vec::new(), why });
        }
        guesses.extend(beside.iter().filter(|it| is_next(it) && is_address(&it.value)).map(|next| Guess {
            pagination: vec![("type", quoted("link")), ("next", quoted(&next.expression()))],
            query: Vec::new(),
            why: format!("{} is the address of the next page", next.shown()),
        }));
        let numbered = |names: &[&str]| {
            self.query
                .iter()
                .find(|(name, value)| names.contains(&plain(name).as_str()) && value.parse::<u32>().is_ok())
        };
        let (page, offset) = (numbered(&PAGES), numbered(&OFFSETS));
        guesses.extend(page.map(|(name, value)| {
            self.by_number(
                "page",
                name,
                value.parse().unwrap_or(1),
                &beside,
                format!("`{name}` of the query is a number"),
            )
        }));
        guesses.extend(offset.map(|(name, value)| {
            let start = value.parse().unwrap_or_default();
            self.by_number("offset", name, start, &beside, format!("`{name}` of the query is a number"))
        }));
        if page.is_none() && offset.is_none() {
            self.by_cursor(&beside, &mut guesses);
            self.by_signs(&beside, &mut guesses);
        }
        guesses.truncate(GUESSES);
        guesses
    }

    /// Pages or offsets that are asked for by `parameter`.
    fn by_number(&self, kind: &'static str, parameter: &str, start: i64, beside: &[Beside<'_>], why: String) -> Guess {
        let mut pagination = vec![("type", quoted(kind))];
        if start != i64::from(kind == "page") {
            pagination.push(("start", start.to_string()));
        }
        let mut query = vec![(parameter.to_owned(), format!("{{{{ page.{} }}}}", number_of(kind)))];
        let limit = self.query.iter().find_map(|(name, value)| {
            Some((name, value.parse::<u64>().ok().filter(|size| (1..=1_000_000).contains(size) && is_limit(name))?))
        });
        if let Some((name, size)) = limit {
            pagination.push(("size", size.to_string()));
            query.push((name.clone(), "{{ page.size }}".to_owned()));
        }
        let flag = beside.iter().find(|it| is_more(&it.name()) && it.value == Json::Bool(true));
        let next = || beside.iter().find(|it| is_next(it) && !it.value.is_boolean());
        let last = || {
            let pages = beside.iter().find(|it| kind == "page" && PAGE_COUNTS.contains(&it.name().as_str()))?;
            signs::number(&pages.value)?;
            let number = if start == 0 { "page.number + 1" } else { "page.number" };
            Some(format!("{number} >= {}", pages.expression()))
        };
        let stop = flag.or_else(next).map(|more| format!("not {}", more.expression())).or_else(last);
        pagination.extend(stop.map(|stop| ("stop", quoted(&stop))));
        pagination.extend(self.total(beside).map(|total| ("total", quoted(&total.expression()))));
        Guess { pagination, query, why }
    }

    fn by_cursor(&self, beside: &[Beside<'_>], guesses: &mut Vec<Guess>) {
        let flag = beside.iter().find(|it| is_more(&it.name()) && it.value == Json::Bool(true));
        let stop = flag.map(|more| ("stop", quoted(&format!("not {}", more.expression()))));
        let own = self.query.iter().map(|(name, _)| name).find(|name| is_cursor(name));
        let guess = |parameter: String, next: String, why: String| Guess {
            pagination: [("type", quoted("cursor")), ("next", quoted(&next))].into_iter().chain(stop.clone()).collect(),
            query: vec![(parameter, "{{ page.cursor }}".to_owned())],
            why,
        };
        for next in beside.iter().filter(|it| is_next(it) && is_token(&it.value)) {
            let member = next.path.last().copied().unwrap_or_default();
            let parameters = match own {
                Some(own) => vec![own.clone()],
                // AWS calls both so: `nextToken`.
                None if without_next(member) == "token" => vec![member.to_owned(), "token".to_owned()],
                None => vec![without_next(member)],
            };
            let why = format!("{} asks for the next page", next.shown());
            guesses.extend(parameters.into_iter().map(|name| guess(name, next.expression(), why.clone())));
        }
        let has_id = self.last.is_some_and(|last| last.get("id").is_some_and(|id| id.is_string() || id.is_number()));
        if let Some(flag) = flag.filter(|_| has_id) {
            let parameter = own.map_or_else(|| "starting_after".to_owned(), Clone::clone);
            let why = format!("{} is true, and records have an `id`", flag.shown());
            guesses.push(guess(parameter, "last.id".to_owned(), why));
        }
    }

    /// There is more, and nothing says how to ask for it: the two commonest ways.
    fn by_signs(&self, beside: &[Beside<'_>], guesses: &mut Vec<Guess>) {
        let body = self.around();
        // Headers are guessed from by themselves.
        let more = signs::more(&BTreeMap::new(), self.query, body.as_ref(), self.count);
        // What a job does not look at may still be true.
        let total =
            || Some(format!("{} is more than the {} records that came", self.total(beside)?.shown(), self.count));
        let Some(seen) = more.or_else(total) else { return };
        let named = |names: &[&str]| {
            beside.iter().find(|it| names.contains(&it.name().as_str()) && it.value.is_u64()).map(|it| {
                let name = it.path.last().copied().unwrap_or_default();
                (if it.name() == "currentpage" { "page" } else { name }, it.value.as_i64().unwrap_or_default())
            })
        };
        let (page, offset) = (named(&PAGES), named(&OFFSETS));
        let mut add = |kind, (name, start): (&str, i64)| {
            guesses.push(self.by_number(kind, name, start, beside, format!("there is more: {seen}")));
        };
        match (page, offset) {
            (None, Some(offset)) => {
                add("offset", offset);
                add("page", ("page", 1));
            }
            (page, offset) => {
                add("page", page.unwrap_or(("page", 1)));
                add("offset", offset.unwrap_or(("offset", 0)));
            }
        }
    }

    fn total<'a, 'b>(&self, beside: &'a [Beside<'b>]) -> Option<&'a Beside<'b>> {
        let is_more = |it: &&Beside<'_>| signs::number(&it.value).is_some_and(|number| number > self.count);
        beside.iter().filter(|it| is_total(&it.name())).find(is_more)
    }

    /// The answer without its records.
    pub(crate) fn around(&self) -> Option<Json> {
        let mut document = self.document?.clone();
        let members = self.records.steps.iter().take_while(|step| **step != RecordStep::Each);
        let found = members.into_iter().try_fold(&mut document, |value, step| match step {
            RecordStep::Member(name) => value.get_mut(name),
            RecordStep::Each => None,
        });
        if let Some(found) = found {
            *found = Json::Null;
        }
        Some(document)
    }

    fn beside(&self) -> Vec<Beside<'_>> {
        let records: Vec<_> = self
            .records
            .steps
            .iter()
            .filter_map(|step| match step {
                RecordStep::Member(name) => Some(name.as_str()),
                RecordStep::Each => None,
            })
            .collect();
        let mut found = Vec::new();
        let headers = self.headers.iter().filter(|(name, _)| name.starts_with("x-") || name.starts_with("next"));
        found.extend(headers.map(|(name, value)| Beside {
            path: vec![name.as_str()],
            is_header: true,
            value: Json::from(value.clone()),
        }));
        if let Some(document) = self.document.filter(|_| !self.records.steps.is_empty()) {
            collect(document, &mut Vec::new(), &records, &mut found);
        }
        found
    }
}

fn collect<'a>(value: &'a Json, path: &mut Vec<&'a str>, records: &[&str], found: &mut Vec<Beside<'a>>) {
    let Some(members) = value.as_object().filter(|_| path.as_slice() != records) else { return };
    for (name, value) in members {
        path.push(name);
        match value {
            Json::Object(_) if path.len() < DEPTH => collect(value, path, records, found),
            Json::Object(_) | Json::Array(_) | Json::Null => {}
            value => found.push(Beside { path: path.clone(), is_header: false, value: value.clone() }),
        }
        path.pop();
    }
}

/// Whether it is about the next page: `next_cursor`, `links.next.href`, `@odata.nextLink`.
fn is_next(beside: &Beside<'_>) -> bool {
    let is_next = |name: &&str| plain(name.rsplit('.').next().unwrap_or(name)).starts_with("next");
    if beside.is_header { beside.name().starts_with("next") } else { beside.path.iter().any(is_next) }
}

fn is_address(value: &Json) -> bool {
    value.as_str().is_some_and(|text| ["http://", "https://", "/", "?"].iter().any(|start| text.starts_with(start)))
}

fn is_token(value: &Json) -> bool {
    match value {
        Json::String(text) => !text.is_empty() && text.len() <= LONGEST_CURSOR && !is_address(value),
        Json::Number(_) => true,
        _ => false,
    }
}

/// The parameter that a member is probably for: `page_token` of `next_page_token`.
fn without_next(member: &str) -> String {
    let rest = member.rsplit('.').next().unwrap_or(member);
    let rest = rest.strip_prefix("x-").unwrap_or(rest);
    let rest = rest.get(4..).unwrap_or_default().trim_start_matches(['_', '-']);
    match rest.chars().next() {
        None => "cursor".to_owned(),
        Some(first) => format!("{}{}", first.to_ascii_lowercase(), &rest[first.len_utf8()..]),
    }
}

fn number_of(kind: &str) -> &'static str {
    if kind == "page" { "number" } else { "offset" }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn best(query: &[(&str, &str)], link: Option<&str>, document: &Json) -> String {
        let query: Vec<_> = query.iter().map(|(name, value)| ((*name).into(), (*value).into())).collect();
        let headers = link.map(|link| ("link".to_owned(), link.to_owned())).into_iter().collect();
        let records = crate::draft::sample::find(document).0;
        let found = super::super::sample::at(document, &records.steps[..records.steps.len().saturating_sub(1)]);
        let found = found.and_then(Json::as_array).cloned().unwrap_or_default();
        let evidence = Evidence {
            query: &query,
            headers: &headers,
            document: Some(document),
            records: &records,
            count: found.len() as u64,
            last: found.last(),
        };
        let shown = |guess: Guess| {
            let pagination: Vec<_> = guess.pagination.iter().map(|(key, value)| format!("{key}={value}")).collect();
            let query: Vec<_> = guess.query.iter().map(|(name, value)| format!("{name}={value}")).collect();
            format!("{} | {} | {}", pagination.join(" "), query.join(" "), guess.why)
        };
        evidence.guesses().into_iter().map(shown).collect::<Vec<_>>().join("\n")
    }

    #[test]
    fn signs_say_how_pages_follow() {
        let two = json!([{ "id": 1 }, { "id": 2 }]);
        insta::assert_snapshot!([
            best(&[("per_page", "2")], Some(r#"<https://x/?page=2>; rel="next""#), &two),
            best(&[], None, &json!({ "results": two, "next": "https://x/?c=2" })),
            best(&[], None, &json!({ "value": two, "@odata.nextLink": "https://x/?c=2" })),
            best(&[], None, &json!({ "items": two, "_links": { "next": { "href": "/x?page=2" } } })),
            best(&[("page", "1"), ("page-size", "2")], None, &json!({ "response": { "results": two, "pages": 9, "total": 17 } })),
            best(&[("page", "0")], None, &json!({ "content": two, "totalPages": 3 })),
            best(&[("offset", "0"), ("limit", "2")], None, &json!({ "a": two, "meta": { "total_count": "40" } })),
            best(&[], None, &json!({ "data": two, "next_page_token": "abc" })),
            best(&[("cursor", "x")], None, &json!({ "data": two, "paging": { "next": "abc" }, "has_more": true })),
            best(&[("limit", "2")], None, &json!({ "data": two, "has_more": true })),
            best(&[], None, &json!({ "results": two, "meta": { "page": 1, "found": 100, "count": 100 } })),
            best(&[("limit", "2")], None, &two),
            best(&[("limit", "3")], None, &two),
        ].join("\n--\n"), @r#"
        type="link" |  | the header `Link` of the answer has a `rel="next"`
        type="page" size=2 | page={{ page.number }} per_page={{ page.size }} | there is more: `per_page` asks for 2 records, and as many came
        type="offset" size=2 | offset={{ page.offset }} per_page={{ page.size }} | there is more: `per_page` asks for 2 records, and as many came
        --
        type="link" next="body.next" |  | `next` is the address of the next page
        type="page" stop="not body.next" | page={{ page.number }} | there is more: `next` is not empty
        type="offset" stop="not body.next" | offset={{ page.offset }} | there is more: `next` is not empty
        --
        type="link" next="body['@odata.nextLink']" |  | `@odata.nextLink` is the address of the next page
        type="page" stop="not body['@odata.nextLink']" | page={{ page.number }} | there is more: `@odata.nextLink` is not empty
        type="offset" stop="not body['@odata.nextLink']" | offset={{ page.offset }} | there is more: `@odata.nextLink` is not empty
        --
        type="link" next="body._links.next.href" |  | `_links.next.href` is the address of the next page
        type="page" stop="not body._links.next.href" | page={{ page.number }} | there is more: `_links.next` is not empty
        type="offset" stop="not body._links.next.href" | offset={{ page.offset }} | there is more: `_links.next` is not empty
        --
        type="page" size=2 stop="page.number >= body.response.pages" total="body.response.total" | page={{ page.number }} page-size={{ page.size }} | `page` of the query is a number
        --
        type="page" start=0 stop="page.number + 1 >= body.totalPages" | page={{ page.number }} | `page` of the query is a number
        --
        type="offset" size=2 total="body.meta.total_count" | offset={{ page.offset }} limit={{ page.size }} | `offset` of the query is a number
        --
        type="cursor" next="body.next_page_token" | page_token={{ page.cursor }} | `next_page_token` asks for the next page
        type="page" stop="not body.next_page_token" | page={{ page.number }} | there is more: `next_page_token` is not empty
        type="offset" stop="not body.next_page_token" | offset={{ page.offset }} | there is more: `next_page_token` is not empty
        --
        type="cursor" next="body.paging.next" stop="not body.has_more" | cursor={{ page.cursor }} | `paging.next` asks for the next page
        type="cursor" next="last.id" stop="not body.has_more" | cursor={{ page.cursor }} | `has_more` is true, and records have an `id`
        type="page" stop="not body.has_more" | page={{ page.number }} | there is more: `has_more` is true
        --
        type="cursor" next="last.id" stop="not body.has_more" | starting_after={{ page.cursor }} | `has_more` is true, and records have an `id`
        type="page" size=2 stop="not body.has_more" | page={{ page.number }} limit={{ page.size }} | there is more: `has_more` is true
        type="offset" size=2 stop="not body.has_more" | offset={{ page.offset }} limit={{ page.size }} | there is more: `has_more` is true
        --
        type="page" total="body.meta.count" | page={{ page.number }} | there is more: `meta.count` is 100, and 2 records came
        type="offset" total="body.meta.count" | offset={{ page.offset }} | there is more: `meta.count` is 100, and 2 records came
        --
        type="page" size=2 | page={{ page.number }} limit={{ page.size }} | there is more: `limit` asks for 2 records, and as many came
        type="offset" size=2 | offset={{ page.offset }} limit={{ page.size }} | there is more: `limit` asks for 2 records, and as many came
        --
        "#);
    }
}
