//! A page as it is answered: its records in their shape, and what is said beside them.

use serde_json::{Value, json};

use super::{
    collection::{LARGEST_PAGE, Lead, Paging, PagingFault, Shape, Total},
    links::{ELSEWHERE, other_origin},
    position::cursor,
    record::{COLUMNS, Record},
    rules::PageTurn,
};

/// Where a page was asked for.
#[derive(Debug)]
pub(crate) struct Address {
    pub(crate) host: String,
    pub(crate) path: String,
    /// With its query.
    pub(crate) whole: String,
}

/// A page.
#[derive(Debug)]
pub(crate) struct Page {
    pub(crate) media_type: &'static str,
    pub(crate) body: String,
    pub(crate) headers: Vec<(&'static str, String)>,
}

/// What is said beside the records: members of the body, and the address of the next page in `Link`.
#[derive(Debug, Default)]
struct Beside {
    members: Vec<(&'static str, Value)>,
    link: Option<String>,
}

impl Page {
    /// None for a list of more than 10,000 pages.
    pub(crate) fn of(seed: u64, turn: &PageTurn, address: &Address) -> Option<Self> {
        let mut beside = Beside::of(seed, turn, address);
        if turn.number == 0 {
            beside.set("urls", urls(turn, address)?.into());
            return Some(Self::json(format!("{{{}}}", beside.members()), Vec::new()));
        }
        let shape = turn.collection.shape;
        let records = records(seed, turn);
        let headers = beside.headers(matches!(shape, Shape::Results | Shape::Members));
        let members = beside.members();
        let comma = if members.is_empty() { "" } else { "," };
        Some(match shape {
            Shape::Results => Self::json(format!(r#"{{{members}{comma}"results":[{records}]}}"#), headers),
            Shape::Members => Self::json(format!(r#"{{{members}{comma}"rates":{{{records}}}}}"#), headers),
            Shape::Array => Self::json(format!("[{records}]"), headers),
            Shape::Rows => {
                let comma = if records.is_empty() { "" } else { "," };
                Self::json(format!("[{}{comma}{records}]", json!(COLUMNS)), headers)
            }
            Shape::Lines => Self { media_type: "application/x-ndjson", body: records, headers },
            Shape::Csv => {
                let body = format!("{}\n{records}", COLUMNS.join(","));
                Self { media_type: "text/csv; charset=utf-8", body, headers }
            }
        })
    }

    fn json(body: String, headers: Vec<(&'static str, String)>) -> Self {
        Self { media_type: "application/json", body, headers }
    }
}

fn records(seed: u64, turn: &PageTurn) -> String {
    let (shape, position) = (turn.collection.shape, &turn.position);
    let mut text = String::new();
    for number in turn.layout.records(position.start..position.start.saturating_add(position.limit)) {
        if !text.is_empty() && !matches!(shape, Shape::Lines | Shape::Csv) {
            text.push(',');
        }
        let record = Record::new(seed, number);
        match shape {
            Shape::Results | Shape::Array => record.write_object(&mut text),
            Shape::Members => record.write_member(&mut text),
            Shape::Lines => {
                record.write_object(&mut text);
                text.push('\n');
            }
            Shape::Csv => record.write_line(&mut text),
            Shape::Rows => record.write_row(&mut text),
        }
    }
    text
}

/// The addresses of all pages.
fn urls(turn: &PageTurn, address: &Address) -> Option<Vec<String>> {
    let limit = turn.position.limit;
    let pages = turn.layout.slots().div_ceil(limit);
    let url = |page| {
        let query = format!("part={page}&limit={limit}");
        lead(turn, page).map_or_else(|| address.at(&query), |lead| address.lead(lead, &query))
    };
    (pages <= LARGEST_PAGE).then(|| (1..=pages).map(url).collect())
}

impl Beside {
    fn of(seed: u64, turn: &PageTurn, address: &Address) -> Self {
        let (collection, position) = (&*turn.collection, &turn.position);
        let next = position.next(collection, &turn.layout);
        let url = |start| format!("cursor={}&limit={}", cursor(seed, collection, start), position.limit);
        let lead = lead(turn, turn.number);
        // Where a fault leads, it leads there from the last page, too.
        let next_url = match lead {
            Some(lead) => Some(address.lead(lead, &url(next.unwrap_or(position.start)))),
            None => next.map(|next| address.at(&url(next))),
        };
        let mut beside = Self::default();
        match collection.paging {
            Paging::Page => {
                beside.set("page", position.number().into());
                beside.set("pages", turn.layout.slots().div_ceil(position.limit).into());
            }
            Paging::Offset => beside.set("offset", position.start.into()),
            Paging::Cursor => {
                let next = match lead {
                    Some(Lead::Itself) => Some(cursor(seed, collection, position.start)),
                    Some(_) => next_url,
                    None => next.map(|next| cursor(seed, collection, next)),
                };
                beside.set("next_cursor", next.into());
            }
            Paging::LastId => beside.set("has_more", next.is_some().into()),
            Paging::Link => beside.link = next_url,
            Paging::Next => beside.set("next", next_url.into()),
            Paging::List | Paging::None => {}
        }
        beside.set("total", total(turn).into());
        if collection.faults.contains(&PagingFault::Unasked) {
            let next = address.at(&url(position.start.saturating_add(position.limit)));
            beside.set("has_more", true.into());
            beside.set("next", next.clone().into());
            beside.link = Some(next);
        }
        beside
    }

    fn set(&mut self, name: &'static str, value: Value) {
        self.members.retain(|(known, _)| *known != name);
        self.members.push((name, value));
    }

    fn members(&self) -> String {
        let members: Vec<_> = self.members.iter().map(|(name, value)| format!("{}:{value}", json!(name))).collect();
        members.join(",")
    }

    fn headers(&self, room_in_body: bool) -> Vec<(&'static str, String)> {
        let mut headers = Vec::new();
        for (name, value) in self.members.iter().filter(|(_, value)| !room_in_body && !value.is_null()) {
            let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
            match *name {
                "total" => headers.push(("x-total-count", text)),
                "next_cursor" => headers.push(("x-next-cursor", text)),
                "has_more" => headers.push(("x-has-more", text)),
                "next" => headers.push(("link", link(&text))),
                _ => {}
            }
        }
        headers.extend(self.link.iter().map(|next| ("link", link(next))));
        headers
    }
}

impl Address {
    fn at(&self, query: &str) -> String {
        format!("http://{}{}?{query}", self.host, self.path)
    }

    fn lead(&self, lead: Lead, query: &str) -> String {
        match lead {
            Lead::OtherOrigin => format!("{}{ELSEWHERE}{}?{query}", other_origin(&self.host), self.path),
            Lead::Itself => format!("http://{}{}", self.host, self.whole),
            Lead::File => "file:///etc/hostname".to_owned(),
        }
    }
}

fn link(next: &str) -> String {
    format!("<{next}>; rel=\"next\"")
}

fn lead(turn: &PageTurn, number: u64) -> Option<Lead> {
    turn.collection.faults.iter().find_map(|fault| match fault {
        PagingFault::Next { page, to } if *page == number => Some(*to),
        _ => None,
    })
}

fn total(turn: &PageTurn) -> Option<u64> {
    let records = turn.layout.total();
    let lie = turn.collection.faults.iter().find_map(|fault| match fault {
        PagingFault::Total(lie) => Some(*lie),
        _ => None,
    });
    match lie {
        None => Some(records),
        Some(Total::Greater) => Some(records.saturating_add(turn.position.limit)),
        Some(Total::Smaller) => Some(records / 2),
        Some(Total::Null) => None,
    }
}
