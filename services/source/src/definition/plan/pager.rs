//! From one page to the next: what is asked for, and when all have come. Pure: whoever asks gives the answers.
//!
//! A short page never ends it, and nothing that looks like a part ends it well. Memory: eight bytes a page.

use std::{
    collections::BTreeMap,
    hash::{DefaultHasher, Hasher as _},
    sync::Arc,
};

use minijinja::{
    Value,
    value::{Object, Serde, ValueKind},
};
use serde_json::Value as Json;
use url::Url;

use crate::{
    Env, ItemError, Request,
    definition::{
        Definition,
        model::{PageKind, Pages, Pagination, RequestTemplate},
        plan::{
            names::{Names, Of},
            signs,
        },
        template::{self, expression::Expression},
    },
};

/// What came of a request.
#[derive(Debug, Clone, Copy)]
pub struct PageAnswer<'a> {
    /// Of HTTP.
    pub status: u16,
    /// By lower-case name; several of one name are one, with commas.
    pub headers: &'a BTreeMap<String, String>,
    /// Where it came from: what addresses in it are relative to.
    pub url: &'a Url,
    /// Records in it.
    pub records: u64,
    /// The answer without its records, where it is JSON.
    pub body: Option<&'a Json>,
    /// The last of the records.
    pub last: Option<&'a Json>,
    /// Tells its records from others.
    pub digest: u64,
}

/// Why what came is not all, or cannot be known to be.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PagingError {
    /// Nothing is said of pages, and there are some.
    #[error(
        "is one page of several ({0}): say in `pagination` how they follow each other, or `{{ type = \"none\" }}` where \
         this is all"
    )]
    More(String),
    /// The definition says that so many records are a part.
    #[error("has {records} records, and `full = {full}` says that more of them were cut off")]
    Full {
        /// How many came.
        records: u64,
        /// How many mean that some are missing.
        full: u64,
    },
    /// A page that was fetched before.
    #[error("page {page} is page {before} again: say {advice}")]
    Again {
        /// From 1.
        page: u64,
        /// From 1.
        before: u64,
        /// What would end the pages before.
        advice: &'static str,
    },
    /// Fewer came than the last page announced.
    #[error("has {records} records on {pages} pages, though {total} were announced")]
    TooFew {
        /// That came.
        records: u64,
        /// That came.
        pages: u64,
        /// That were announced.
        total: u64,
    },
    /// A server has its own, smaller size of pages.
    #[error(
        "has at most {records} records a page where `size = {size}` asks for more: say the size that the upstream has, or \
         `total`"
    )]
    Capped {
        /// On each page.
        records: u64,
        /// That were asked for.
        size: u64,
    },
    /// So many pages, and more.
    #[error("has more than {0} pages, the most that `max_pages` allows")]
    TooMany(u64),
    /// What the definition says cannot be made of the answer.
    #[error("page {page}: `{key}` {reason}")]
    Unfit {
        /// From 1.
        page: u64,
        /// Of `pagination`.
        key: &'static str,
        /// What is wrong.
        reason: String,
    },
}

/// The pages of one request, one after the other.
#[derive(Debug)]
pub struct Pager<'a> {
    definition: &'a Definition,
    template: &'a RequestTemplate,
    pages: &'a Pages,
    what: String,
    of: Of<'a>,
    names: Names<'a>,
    /// Which page it is, from 0.
    index: u64,
    number: i64,
    cursor: Option<Value>,
    /// Where an answer led to.
    url: Option<Url>,
    /// What asks for each page, where that is known before.
    list: Vec<Value>,
    /// On all pages so far.
    records: u64,
    /// On the first page, and on the longest after it.
    lengths: (u64, u64),
    /// By the last page that said so.
    announced: Option<u64>,
    /// Of each page, what tells it from others.
    seen: Vec<u64>,
    /// Of the page before.
    digest: Option<u64>,
    /// Why it went on, or ended, after the last answer.
    why: &'static str,
}

impl<'a> Pager<'a> {
    pub(crate) fn new(
        definition: &'a Definition,
        (template, pages): (&'a RequestTemplate, &'a Pages),
        (what, of): (String, Of<'a>),
        names: Names<'a>,
    ) -> Result<Self, ItemError> {
        let mut pager = Self {
            definition,
            template,
            pages,
            what,
            of,
            names,
            index: 0,
            number: 0,
            cursor: None,
            url: None,
            list: Vec::new(),
            records: 0,
            lengths: (0, 0),
            announced: None,
            seen: Vec::new(),
            digest: None,
            why: "nothing is said of pages, and the answer shows no sign of more",
        };
        if let Pages::Several(pagination) = pages {
            match &pagination.kind {
                PageKind::Page { start, .. } | PageKind::Offset { start, .. } => pager.number = *start,
                PageKind::List { of } => pager.list = pager.read_list(of)?,
                PageKind::Cursor { .. } | PageKind::Link { .. } => {}
            }
            pager.cursor = pager.list.first().cloned();
        }
        Ok(pager)
    }

    /// Whether several answers may come.
    pub fn has_pages(&self) -> bool {
        matches!(self.pages, Pages::Several(_))
    }

    /// Pages that were asked for, this one included.
    pub fn page(&self) -> u64 {
        self.index + 1
    }

    /// What asks for this page.
    pub fn request(&self, env: &Env) -> Result<Request, ItemError> {
        let mut names = self.names.clone();
        if let Pages::Several(pagination) = self.pages {
            names.push(("page", self.page_value(pagination, None)));
        }
        let mut request = self.definition.request(&self.what, self.of, names, self.template, env)?;
        if let Some(url) = &self.url {
            // The address has a query of its own.
            request.query.clear();
            request.shown = url.path().to_owned();
            request.url = Some(url.to_string());
        }
        Ok(request)
    }

    /// Whether there is another page after this one, which came so; or why what came is not all there is. `query` is
    /// that of the request.
    pub fn next(&mut self, query: &[(String, String)], answer: &PageAnswer<'_>) -> Result<bool, PagingError> {
        match self.pages {
            Pages::Several(pagination) => self.next_of(pagination, answer),
            pages => {
                self.why = match pages {
                    Pages::One { full: Some(_) } => "fewer than `full` records came, and there is no sign of more",
                    Pages::Only => "`pagination` says that there is one page",
                    _ => self.why,
                };
                check_whole(pages, query, answer).map(|()| false)
            }
        }
    }

    /// Why there is another page, or none, in words, once [`Self::next`] has said so.
    pub fn why(&self) -> &'static str {
        self.why
    }

    fn next_of(&mut self, pagination: &Pagination, answer: &PageAnswer<'_>) -> Result<bool, PagingError> {
        self.records += answer.records;
        let (first, longest) = &mut self.lengths;
        if self.index == 0 {
            *first = answer.records;
        } else {
            *longest = answer.records.max(*longest);
        }
        let scope = self.answer_scope(pagination, answer, false);
        if let Some(total) = &pagination.total
            && let Some(total) = self.value(total, "total", &scope)?
        {
            self.announced = Some(self.count(&total)?);
        }
        let stops = match &pagination.stop {
            Some(stop) => {
                let known = self.answer_scope(pagination, answer, true);
                stop.holds(&scope, &known).map_err(|error| self.unfit("stop", template::reason(&error)))?
            }
            None => false,
        };
        self.check_bytes(pagination, answer)?;
        let goes_on = !stops && self.goes_on(pagination, answer, &scope)?;
        self.why = if stops { "`stop` holds" } else { why(&pagination.kind, goes_on, answer) };
        if !goes_on {
            return match self.announced {
                Some(total) if total > self.records => {
                    Err(PagingError::TooFew { records: self.records, pages: self.page(), total })
                }
                Some(_) => Ok(false),
                None => self.check_longest(pagination).map(|()| false),
            };
        }
        self.index += 1;
        if self.index >= pagination.max_pages {
            return Err(PagingError::TooMany(pagination.max_pages));
        }
        Ok(true)
    }

    /// Whether there is another page, which is then what is asked for next.
    fn goes_on(
        &mut self,
        pagination: &Pagination,
        answer: &PageAnswer<'_>,
        scope: &Value,
    ) -> Result<bool, PagingError> {
        let is_all = self.announced.is_some_and(|total| self.records >= total);
        match &pagination.kind {
            PageKind::Page { .. } | PageKind::Offset { .. } if answer.records == 0 || is_all => Ok(false),
            PageKind::Page { .. } => {
                self.number = self.number.saturating_add(1);
                Ok(true)
            }
            PageKind::Offset { size, .. } => {
                self.check_size(*size, answer.records)?;
                self.number = self.number.saturating_add_unsigned(size.unwrap_or(answer.records));
                Ok(true)
            }
            PageKind::List { .. } => {
                self.cursor = self.list.get(self.index as usize + 1).cloned();
                Ok(self.cursor.is_some())
            }
            PageKind::Cursor { next } => {
                let next = self.value(next, "next", scope)?.filter(leads_on);
                if let Some(next) = &next {
                    self.check_new(hash(&next.to_string()), hash(&""))?;
                }
                self.cursor = next;
                Ok(self.cursor.is_some())
            }
            PageKind::Link { next } => {
                let next = match next {
                    Some(next) => self.value(next, "next", scope)?.filter(leads_on).map(|next| next.to_string()),
                    None => answer.headers.get("link").and_then(|links| signs::next_link(links)).map(str::to_owned),
                };
                let Some(next) = next else { return Ok(false) };
                let url =
                    answer.url.join(&next).map_err(|error| self.unfit("next", format!("is no address: {error}")))?;
                self.check_new(hash(&url), hash(answer.url))?;
                self.url = Some(url);
                Ok(true)
            }
        }
    }

    /// Refuses to step over records: a server that has fewer in each page than it is asked for gives the others at offsets
    /// that nobody asks for. A page that is short by itself is followed by one that is not as short.
    fn check_size(&mut self, size: Option<u64>, records: u64) -> Result<(), PagingError> {
        let Some(size) = size.filter(|size| *size > records) else { return Ok(()) };
        if self.index == 1 && self.records == 2 * records {
            return Err(PagingError::Capped { records, size });
        }
        Ok(())
    }

    /// Refuses what looks as if records were stepped over: more than one page, and none as long as it was asked for, or
    /// longer than the first.
    fn check_longest(&self, pagination: &Pagination) -> Result<(), PagingError> {
        let PageKind::Offset { size: Some(size), .. } = pagination.kind else { return Ok(()) };
        match self.lengths {
            (records, longest) if longest > 0 && longest <= records && records < size => {
                Err(PagingError::Capped { records, size })
            }
            _ => Ok(()),
        }
    }

    /// Refuses to ask for a page once more. `first` asked for the first.
    fn check_new(&mut self, next: u64, first: u64) -> Result<(), PagingError> {
        if self.seen.is_empty() {
            self.seen.push(first);
        }
        if let Some(before) = self.seen.iter().position(|seen| *seen == next) {
            return Err(PagingError::Again { page: self.page() + 1, before: before as u64 + 1, advice: "`stop`" });
        }
        self.seen.push(next);
        Ok(())
    }

    /// Refuses records that came before. Where the answers say what comes next, only the page before could be this one:
    /// a list says which pages there are.
    fn check_bytes(&mut self, pagination: &Pagination, answer: &PageAnswer<'_>) -> Result<(), PagingError> {
        let before = match pagination.kind {
            PageKind::List { .. } => return Ok(()),
            PageKind::Page { .. } | PageKind::Offset { .. } => {
                self.seen.push(answer.digest);
                self.seen[..self.seen.len() - 1].iter().position(|seen| *seen == answer.digest)
            }
            PageKind::Cursor { .. } | PageKind::Link { .. } => {
                let before = self.digest.replace(answer.digest);
                before.filter(|before| *before == answer.digest).map(|_| self.index as usize - 1)
            }
        };
        match before.filter(|_| answer.records > 0) {
            Some(before) => {
                Err(PagingError::Again { page: self.page(), before: before as u64 + 1, advice: ends(&pagination.kind) })
            }
            None => Ok(()),
        }
    }

    fn read_list(&self, of: &Expression) -> Result<Vec<Value>, ItemError> {
        let wrong = |reason: String| ItemError(format!("{} cannot be made for {}: `of` {reason}", self.what, self.of));
        let scope = Value::from_pairs(self.names.clone());
        let list = of.value(&scope).map_err(|error| wrong(template::reason(&error)))?;
        let list = list.ok_or_else(|| wrong("gives nothing".to_owned()))?;
        let values = list.try_iter().ok().filter(|_| list.as_str().is_none());
        let values: Vec<_> = values.ok_or_else(|| wrong("gives no list".to_owned()))?.collect();
        if values.is_empty() { Err(wrong("gives an empty list".to_owned())) } else { Ok(values) }
    }

    fn value(&self, expression: &Expression, key: &'static str, scope: &Value) -> Result<Option<Value>, PagingError> {
        expression.value(scope).map_err(|error| self.unfit(key, template::reason(&error)))
    }

    fn count(&self, total: &Value) -> Result<u64, PagingError> {
        let json = serde_json::to_value(total).ok();
        let count = json.as_ref().and_then(signs::number);
        count.ok_or_else(|| self.unfit("total", "gives no number of records".to_owned()))
    }

    fn unfit(&self, key: &'static str, reason: String) -> PagingError {
        PagingError::Unfit { page: self.page(), key, reason }
    }

    /// What templates and expressions see of a page.
    fn page_value(&self, pagination: &Pagination, records: Option<u64>) -> Value {
        let mut pairs = vec![("index", Value::from(self.index))];
        pairs.extend(records.map(|records| ("records", records.into())));
        pairs.extend(pagination.kind.size().map(|size| ("size", size.into())));
        match pagination.kind {
            PageKind::Page { .. } => pairs.push(("number", self.number.into())),
            PageKind::Offset { .. } => pairs.push(("offset", self.number.into())),
            PageKind::Cursor { .. } | PageKind::List { .. } => {
                pairs.push(("cursor", self.cursor.clone().unwrap_or_else(|| Value::from(()))));
            }
            PageKind::Link { .. } => {}
        }
        Value::from_pairs(pairs)
    }

    /// What expressions see; where `is_known`, without what is null.
    fn answer_scope(&self, pagination: &Pagination, answer: &PageAnswer<'_>, is_known: bool) -> Value {
        let json = |value: Option<&Json>| match value {
            Some(value) if is_known => Value::from(Serde(without_nulls(value))),
            Some(value) => Value::from(Serde(value)),
            None => Value::UNDEFINED,
        };
        let mut names = self.names.clone();
        names.push(("page", self.page_value(pagination, Some(answer.records))));
        names.push(("body", json(answer.body)));
        names.push(("last", json(answer.last)));
        names.push(("status", answer.status.into()));
        names.push(("headers", Value::from_object(Headers(answer.headers.clone()))));
        Value::from_pairs(names)
    }
}

impl Definition {
    /// Why the only answer to a fetch without pages is not all there is. `query` is that of the request.
    pub fn check_whole(&self, query: &[(String, String)], answer: &PageAnswer<'_>) -> Result<(), PagingError> {
        self.requests().map_or(Ok(()), |fetch| check_whole(&fetch.pages, query, answer))
    }
}

/// What ends pages of this kind. Where `next` leads on, a `total` that is reached does not end them.
fn ends(kind: &PageKind) -> &'static str {
    match kind {
        PageKind::Page { .. } | PageKind::Offset { .. } => "`stop` or `total`",
        PageKind::Cursor { .. } | PageKind::Link { .. } | PageKind::List { .. } => "`stop`",
    }
}

fn why(kind: &PageKind, goes_on: bool, answer: &PageAnswer<'_>) -> &'static str {
    match (kind, goes_on) {
        (PageKind::Page { .. } | PageKind::Offset { .. }, true) => {
            "there were records, and neither `stop` nor `total` ends it"
        }
        (PageKind::Page { .. } | PageKind::Offset { .. }, false) if answer.records == 0 => "the page has no records",
        (PageKind::Page { .. } | PageKind::Offset { .. }, false) => "as many records came as `total` says",
        (PageKind::Cursor { .. } | PageKind::Link { next: Some(_) }, true) => "`next` says what follows",
        (PageKind::Cursor { .. } | PageKind::Link { next: Some(_) }, false) => "`next` is empty",
        (PageKind::Link { next: None }, true) => "the header `Link` says what follows",
        (PageKind::Link { next: None }, false) => "the answer has no header `Link` with rel=\"next\"",
        (PageKind::List { .. }, true) => "there are more in the list `of`",
        (PageKind::List { .. }, false) => "that was the last in the list `of`",
    }
}

fn check_whole(pages: &Pages, query: &[(String, String)], answer: &PageAnswer<'_>) -> Result<(), PagingError> {
    let Pages::One { full } = pages else { return Ok(()) };
    if let Some(full) = full.filter(|full| answer.records >= *full) {
        return Err(PagingError::Full { records: answer.records, full });
    }
    // Where it is said what a cut answer has, the query says nothing more.
    let query = if full.is_some() { &[] } else { query };
    signs::more(answer.headers, query, answer.body, answer.records).map_or(Ok(()), |seen| Err(PagingError::More(seen)))
}

/// Whether a value of `next` leads to another page. A record's id may be 0.
fn leads_on(next: &Value) -> bool {
    next.kind() == ValueKind::Number || next.is_true()
}

fn hash(value: &(impl std::hash::Hash + ?Sized)) -> u64 {
    let mut hasher = DefaultHasher::new();
    value.hash(&mut hasher);
    hasher.finish()
}

fn without_nulls(value: &Json) -> Json {
    match value {
        Json::Array(values) => values.iter().map(without_nulls).collect(),
        Json::Object(members) => {
            let known = members.iter().filter(|(_, value)| !value.is_null());
            Json::Object(known.map(|(name, value)| (name.clone(), without_nulls(value))).collect())
        }
        other => other.clone(),
    }
}

/// Headers, found in any case.
#[derive(Debug)]
struct Headers(BTreeMap<String, String>);

impl Object for Headers {
    fn get_value(self: &Arc<Self>, key: &Value) -> Option<Value> {
        self.0.get(&key.as_str()?.to_ascii_lowercase()).map(|value| value.as_str().into())
    }
}
