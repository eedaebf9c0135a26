//! The model of `[[items]]` and of requests: item sets, the sources of their items, how an upstream is asked, and how
//! its answers follow each other.

use std::collections::BTreeMap;

use serde_json::Value as Json;

use crate::{
    FieldPath, FieldType, Method, RecordPath,
    definition::{
        plan::windows::Windows,
        template::{Template, expression::Expression},
    },
};

/// All levels, and the key of an item of the last.
#[derive(Debug)]
pub(crate) struct Items {
    pub(crate) levels: Vec<Level>,
    /// `None` where the items are made of an upload: what makes them makes their keys.
    pub(crate) key: Option<Template>,
}

impl Items {
    /// The windows that say how far a job goes: the first that are the same for all items above them.
    pub(crate) fn range(&self) -> Option<&Windows> {
        self.levels.iter().find_map(|level| match &level.origin {
            Origin::Dates(windows) if windows.is_of_job() => Some(&**windows),
            _ => None,
        })
    }
}

/// One `[[items]]`.
#[derive(Debug)]
pub(crate) struct Level {
    pub(crate) set: ItemSet,
    pub(crate) origin: Origin,
}

/// Where the items of a level come from.
#[derive(Debug)]
pub(crate) enum Origin {
    /// The upstream lists them.
    Listed(Box<Listing>),
    /// The definition names them: the values of each, by field.
    Fixed(Vec<BTreeMap<String, Json>>),
    /// They are windows of time.
    Dates(Box<Windows>),
    /// The client uploads them.
    Uploaded,
}

/// How an upstream is asked for items.
#[derive(Debug)]
pub(crate) struct Listing {
    pub(crate) request: RequestTemplate,
    pub(crate) records: RecordPath,
    pub(crate) pages: Pages,
}

/// How the answers to a request follow each other, and what says whether there are more.
#[derive(Debug)]
pub(crate) enum Pages {
    /// One answer, of which nothing is said: signs of more are a failure, and so are `full` records.
    One { full: Option<u64> },
    /// One answer, which is all there is: the definition says so.
    Only,
    /// Several.
    Several(Box<Pagination>),
}

/// `pagination`.
#[derive(Debug)]
pub(crate) struct Pagination {
    pub(crate) kind: PageKind,
    /// Whether the page was the last.
    pub(crate) stop: Option<Expression>,
    /// How many records all pages have.
    pub(crate) total: Option<Expression>,
    /// Reaching the last of them is a failure.
    pub(crate) max_pages: u64,
}

/// How one page leads to the next.
#[derive(Debug)]
pub(crate) enum PageKind {
    /// Pages have numbers.
    Page { start: i64, size: Option<u64> },
    /// Records have numbers: the next page begins `size` behind this one, or behind the records that came.
    Offset { start: i64, size: Option<u64> },
    /// An answer has what asks for the next one.
    Cursor { next: Expression },
    /// An answer has the address of the next one; in its header `Link` where nothing else is said.
    Link { next: Option<Expression> },
    /// What asks for each page is known before.
    List { of: Expression },
}

impl PageKind {
    /// What templates see of `page`.
    pub(crate) fn offered(&self) -> &'static [&'static str] {
        match self {
            Self::Page { size: Some(_), .. } => &["number", "size", "index"],
            Self::Page { size: None, .. } => &["number", "index"],
            Self::Offset { size: Some(_), .. } => &["offset", "size", "index"],
            Self::Offset { size: None, .. } => &["offset", "index"],
            Self::Cursor { .. } | Self::List { .. } => &["cursor", "index"],
            Self::Link { .. } => &[],
        }
    }

    /// What a template has to read, or every page would be the first.
    pub(crate) fn needed(&self) -> Option<&'static str> {
        match self {
            Self::Page { .. } => Some("page.number"),
            Self::Offset { .. } => Some("page.offset"),
            Self::Cursor { .. } | Self::List { .. } => Some("page.cursor"),
            Self::Link { .. } => None,
        }
    }

    pub(crate) fn size(&self) -> Option<u64> {
        match self {
            Self::Page { size, .. } | Self::Offset { size, .. } => *size,
            Self::Cursor { .. } | Self::Link { .. } | Self::List { .. } => None,
        }
    }
}

/// `auth`: what every request to the upstream's own origin is given.
#[derive(Debug)]
pub(crate) enum Auth {
    Bearer(Box<Template>),
    Basic(Box<[Template; 2]>),
    Headers(Vec<(String, Template)>),
    Query(Vec<(String, Template)>),
}

impl Auth {
    /// All its templates.
    pub(crate) fn templates(&self) -> Vec<&Template> {
        match self {
            Self::Bearer(token) => vec![&**token],
            Self::Basic(pair) => pair.iter().collect(),
            Self::Headers(pairs) | Self::Query(pairs) => pairs.iter().map(|(_, value)| value).collect(),
        }
    }
}

/// An item set's name and fields.
#[derive(Debug, Clone, Default)]
pub(crate) struct ItemSet {
    pub(crate) name: String,
    pub(crate) fields: Vec<(String, FieldType)>,
    /// Where in a listed element each of them is.
    pub(crate) paths: Vec<FieldPath>,
    /// Whether something of it was refused: then its types mean nothing.
    pub(crate) refused: bool,
    /// Whether it is the rows of an upload: then its fields are those of `[record]`.
    pub(crate) is_upload: bool,
}

/// A request whose values are not known yet.
#[derive(Debug)]
pub(crate) struct RequestTemplate {
    pub(crate) method: Method,
    /// A path below the base URL, or a whole address: its destination says which.
    pub(crate) path: Template,
    pub(crate) query: Vec<(String, Template)>,
    pub(crate) headers: Vec<(String, Template)>,
    pub(crate) body: Option<BodyTemplate>,
}

/// What a request carries.
#[derive(Debug)]
pub(crate) enum BodyTemplate {
    Json(JsonTemplate),
    Form(Vec<(String, Template)>),
    Text(Box<Template>),
}

/// A JSON value with templates in it.
#[derive(Debug)]
pub(crate) enum JsonTemplate {
    Literal(Json),
    Value(Box<Template>),
    List(Vec<Self>),
    Object(Vec<(String, Self)>),
}

impl RequestTemplate {
    /// All its templates.
    pub(crate) fn templates(&self) -> Vec<&Template> {
        let pairs = self.query.iter().chain(&self.headers).map(|(_, value)| value);
        let mut templates: Vec<_> = [&self.path].into_iter().chain(pairs).collect();
        match &self.body {
            Some(BodyTemplate::Json(json)) => json.collect(&mut templates),
            Some(BodyTemplate::Form(pairs)) => templates.extend(pairs.iter().map(|(_, value)| value)),
            Some(BodyTemplate::Text(text)) => templates.push(text),
            None => {}
        }
        templates
    }
}

impl JsonTemplate {
    fn collect<'a>(&'a self, templates: &mut Vec<&'a Template>) {
        match self {
            Self::Literal(_) => {}
            Self::Value(template) => templates.push(template),
            Self::List(values) => values.iter().for_each(|value| value.collect(templates)),
            Self::Object(members) => members.iter().for_each(|(_, value)| value.collect(templates)),
        }
    }
}
