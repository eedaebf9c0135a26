//! What a collection is: its records, how it is paged, what its pages look like, and what goes wrong with it.

use std::collections::BTreeMap;

use serde::Deserialize;

/// The most records of one page, so that a page is made in about 1 MB.
pub(crate) const LARGEST_PAGE: u64 = 10_000;

/// Records with ids from 1, in pages.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Collection {
    /// How many records; at most 2^40.
    pub records: u64,
    /// Records of a page, where the query's `limit` does not ask for fewer. At most 10,000.
    pub size: u64,
    /// How a client comes to the next page.
    pub paging: Paging,
    /// How a page is written.
    pub shape: Shape,
    /// Which credentials it expects.
    pub auth: Auth,
    /// What goes wrong. Each fault strikes on its own; those that stand for an answer, in this order.
    pub faults: Vec<PagingFault>,
}

impl Default for Collection {
    fn default() -> Self {
        Self {
            records: 250,
            size: 100,
            paging: Paging::Page,
            shape: Shape::Results,
            auth: Auth::None,
            faults: Vec::new(),
        }
    }
}

/// How a client comes to the next page. What an answer says of it stands in the body beside the records; where a
/// shape has no room there, in the headers `X-Total-Count`, `X-Next-Cursor` and `X-Has-More`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Paging {
    /// `page=1`, `page=2`, … The answer says `page` and `pages`.
    Page,
    /// `offset=0`, `offset=100`, …
    Offset,
    /// `cursor=`, with what the answer before said in `next_cursor`; null on the last page.
    Cursor,
    /// As Stripe: `starting_after=`, with the id of the last record; the answer says `has_more`.
    LastId,
    /// The header `Link` with `rel="next"`.
    Link,
    /// The whole address of the next page in `next`; null on the last page.
    Next,
    /// The first answer is `{"urls": […]}`: the addresses of all pages.
    List,
    /// One page, of at most 10,000 records.
    None,
}

/// How a page is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Shape {
    /// `{"results": [{…}, …]}`.
    Results,
    /// `[{…}, …]`.
    Array,
    /// `{"rates": {"1": {…}, …}}`, by id.
    Members,
    /// NDJSON: `{…}` on every line.
    Lines,
    /// CSV, with a header on every page.
    Csv,
    /// `[["id", …], [1, …], …]`: the first names the columns, on every page.
    Rows,
}

/// Which credentials are expected.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Auth {
    /// None; those that come are ignored.
    None,
    /// `Authorization: Bearer test`.
    Bearer,
    /// `Authorization: Basic`, user `test`, password `secret`.
    Basic,
    /// `X-Api-Key: test`.
    Header,
    /// `key=test` in the query.
    Query,
    /// `Authorization: Bearer`, with a token of `POST /paged/token`.
    Token,
}

/// What goes wrong with the pages of a collection. Pages count from 1, in pages as large as the request asks for.
/// `times` is how often, since the collection was set; once where it is not said.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum PagingFault {
    /// The connection drops in the middle of a page.
    Cut {
        /// Which page.
        page: u64,
        /// How often.
        #[serde(default = "once")]
        times: u64,
    },
    /// A page is answered with a status, 400 to 599.
    Status {
        /// Which page.
        page: u64,
        /// Which status; 429 comes with `Retry-After`.
        status: u16,
        /// What `Retry-After` says, in seconds.
        #[serde(default = "once")]
        retry_after: u64,
        /// How often.
        #[serde(default = "once")]
        times: u64,
    },
    /// All cursors expire after so many uses. They are refused until a request comes without one.
    ExpiredCursors {
        /// How many uses, since the last request without a cursor.
        after: u64,
        /// What they are refused with, such as 410 or 400.
        status: u16,
        /// How often they expire.
        #[serde(default = "once")]
        times: u64,
    },
    /// A page in the middle has half its records; the others come on the next. It counts in pages of
    /// [`Collection::size`].
    Short {
        /// Which page.
        page: u64,
    },
    /// A page in the middle has no records; those come on the next. It counts in pages of [`Collection::size`].
    Empty {
        /// Which page.
        page: u64,
    },
    /// The last page comes again for ever: past the end, and as what follows itself.
    RepeatLast,
    /// `total` lies.
    Total(Total),
    /// What leads to the page after this one leads elsewhere: the address, or the cursor. With
    /// [`Paging::List`] it is this page's own address.
    Next {
        /// Which page.
        page: u64,
        /// Where it leads.
        to: Lead,
    },
    /// Cursors, and those in addresses, have 1 MB.
    HugeCursor,
    /// Every answer has `has_more`, `next` and `Link: rel=next`, although there is nothing more.
    Unasked,
}

/// What `total` says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Total {
    /// A page more than there is.
    Greater,
    /// Half of what there is.
    Smaller,
    /// null; as a header, nothing.
    Null,
}

/// Where an address leads instead of the next page.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Lead {
    /// To the next page at another origin, which asks for no credentials, and counts those that come.
    OtherOrigin,
    /// To this page again.
    Itself,
    /// To a file of the client.
    File,
}

fn once() -> u64 {
    1
}

/// What there is unless something else is said: a collection of each paging, shape and authentication, by its name.
pub fn collections() -> BTreeMap<String, Collection> {
    let plain = Collection::default;
    let pagings = [
        ("page", Paging::Page),
        ("offset", Paging::Offset),
        ("cursor", Paging::Cursor),
        ("last-id", Paging::LastId),
        ("link", Paging::Link),
        ("next", Paging::Next),
        ("list", Paging::List),
        ("none", Paging::None),
    ];
    let shapes = [
        ("array", Shape::Array),
        ("rates", Shape::Members),
        ("lines", Shape::Lines),
        ("csv", Shape::Csv),
        ("rows", Shape::Rows),
    ];
    let auths = [
        ("bearer", Auth::Bearer),
        ("basic", Auth::Basic),
        ("header", Auth::Header),
        ("query", Auth::Query),
        ("oauth", Auth::Token),
    ];
    let pagings = pagings.map(|(name, paging)| (name, Collection { paging, ..plain() }));
    let shapes = shapes.map(|(name, shape)| (name, Collection { shape, ..plain() }));
    let auths = auths.map(|(name, auth)| (name, Collection { auth, ..plain() }));
    pagings.into_iter().chain(shapes).chain(auths).map(|(name, collection)| (name.to_owned(), collection)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn collections_can_be_written_in_json() {
        let text = r#"{"records":30,"size":10,"paging":"last_id","shape":"csv","auth":"token","faults":[
            {"cut":{"page":2}},{"status":{"page":3,"status":429,"retry_after":7,"times":2}},
            {"expired_cursors":{"after":1,"status":410}},{"short":{"page":2}},{"empty":{"page":2}},"repeat_last",
            {"total":"null"},{"next":{"page":1,"to":"other_origin"}},"huge_cursor","unasked"]}"#;
        let collection: Collection = serde_json::from_str(text).unwrap();
        assert_eq!((collection.paging, collection.faults.len()), (Paging::LastId, 10));
        assert_eq!(collection.faults[0], PagingFault::Cut { page: 2, times: 1 });
        assert!(serde_json::from_str::<Collection>(r#"{"faults":[{"cut":{"pages":2}}]}"#).is_err());
    }
}
