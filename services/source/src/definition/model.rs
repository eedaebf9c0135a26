//! The model of `[[items]]`: item sets, and the sources of their items.

use std::collections::BTreeMap;

use crate::{
    FieldType, RecordPath,
    definition::{parse::request::RequestTemplate, template::Template},
};

/// All levels, and the key of an item of the last.
#[derive(Debug)]
pub(crate) struct Items {
    pub(crate) levels: Vec<Level>,
    /// `None` where the items are made of an upload: what makes them makes their keys.
    pub(crate) key: Option<Template>,
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
    Fixed(Vec<BTreeMap<String, serde_json::Value>>),
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
