//! The model of `[[items]]` and of requests: item sets, the sources of their items, and how an upstream is asked.

use std::collections::BTreeMap;

use serde_json::Value as Json;

use crate::{
    FieldType, Method, RecordPath,
    definition::{plan::windows::Windows, template::Template},
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
}

/// An item set's name and fields.
#[derive(Debug, Clone, Default)]
pub(crate) struct ItemSet {
    pub(crate) name: String,
    pub(crate) fields: Vec<(String, FieldType)>,
    /// Whether something of it was refused: then its types mean nothing.
    pub(crate) refused: bool,
    /// Whether it is the rows of an upload: then its fields are those of `[record]`.
    pub(crate) is_upload: bool,
}

/// A request whose values are not known yet.
#[derive(Debug)]
pub(crate) struct RequestTemplate {
    pub(crate) method: Method,
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
