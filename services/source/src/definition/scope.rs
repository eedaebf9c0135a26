//! What a template may name, and the check of a template against it.
//!
//! A template that passes here can fail at run time only through a value (an empty one, say), never
//! through a name.

use std::collections::BTreeMap;

use minijinja::{ErrorKind, Value};

use super::{
    diagnostic::{Report, quote_all, suggest},
    reader::Text,
};
use crate::{
    FieldType,
    params::{Param, ParamKind},
    template::{self, Destination, RenderError, Template},
};

/// The names in force at one place of the definition.
#[derive(Debug, Clone, Copy)]
pub(super) struct Scope<'a> {
    pub(super) params: &'a [Param],
    /// The item sets of this place, outermost first.
    pub(super) items: &'a [ItemSet],
    /// The item sets that come later in the file.
    pub(super) later: &'a [ItemSet],
}

/// An item set's name and fields.
#[derive(Debug, Clone, Default)]
pub(super) struct ItemSet {
    pub(super) name: String,
    pub(super) fields: Vec<(String, FieldType)>,
}

impl Scope<'_> {
    /// Compiles a template and checks every name in it.
    pub(super) fn template(
        &self,
        report: &mut Report<'_>,
        text: Text<'_>,
        destination: Destination,
    ) -> Option<Template> {
        let template = match Template::compile(destination, text.value) {
            Ok(template) => template,
            Err(error) => {
                let at = error.range().map_or(text.at, |range| text.place(range.start));
                report.add(at, format!("template: {}", template::reason(&error)));
                return None;
            }
        };
        let mut known = true;
        for reference in template.references() {
            if let Some((message, help)) = self.unknown(&reference) {
                let at = text.value.find(&reference).map_or(text.at, |byte| text.place(byte));
                report.add_with_help(at, message, help);
                known = false;
            }
        }
        for (byte, filter) in filters(text.value) {
            if !Template::has_filter(filter) {
                let help = suggest(filter, COMMON_FILTERS);
                report.add_with_help(text.place(byte), format!("unknown filter `{filter}`"), help);
                known = false;
            }
        }
        if known && let Err(error) = template.render(&self.sample()) {
            match error {
                RenderError::Unfit(reason) if destination == Destination::Path || text.value.is_empty() => {
                    report.add(text.at, reason);
                }
                RenderError::Engine(error) if is_static(error.kind()) => {
                    let at = error.range().map_or(text.at, |range| text.place(range.start));
                    report.add(at, format!("template: {}", template::reason(&error)));
                }
                // Whatever else a sample value cannot do, a real one may.
                RenderError::Unfit(_) | RenderError::Engine(_) => {}
            }
        }
        known.then_some(template)
    }

    /// What is wrong with a name, and what would be right; `None` where it is known.
    fn unknown(&self, reference: &str) -> Option<(String, String)> {
        let (root, member) = reference.split_once('.').map_or((reference, None), |(root, member)| (root, Some(member)));
        let members: Vec<&str> = if root == "params" {
            self.params.iter().map(|param| param.name.as_str()).collect()
        } else if let Some(set) = self.items.iter().find(|set| set.name == root) {
            set.fields.iter().map(|(name, _)| name.as_str()).collect()
        } else if self.later.iter().any(|set| set.name == root) {
            return Some((
                format!("`{root}` is not known yet"),
                format!("it is listed by a later [[items]]; known here: {}", quote_all(self.roots())),
            ));
        } else if root == "env" {
            return Some((
                "`env` is not offered yet".into(),
                "it is planned, but this version does not understand it".into(),
            ));
        } else {
            return Some((format!("there is no item set `{root}`"), suggest(root, self.roots())));
        };
        // A table named without a member is `{{ city["id"] }}`, or a mistake that rendering a sample shows.
        let member = member.filter(|member| !members.contains(member))?;
        match member.split_once('.') {
            Some((field, _)) if members.contains(&field) => {
                Some((format!("`{root}.{field}` is a single value"), format!("write `{root}.{field}`")))
            }
            _ if root == "params" => Some((format!("there is no parameter `{member}`"), suggest(member, members))),
            _ => Some((format!("`{root}` has no field `{member}`"), suggest(member, members))),
        }
    }

    /// Every name that stands alone, once: a set whose name was refused may be empty or one of two.
    fn roots(&self) -> Vec<&str> {
        let mut roots = vec!["params"];
        for set in self.items {
            if !set.name.is_empty() && !roots.contains(&set.name.as_str()) {
                roots.push(&set.name);
            }
        }
        roots
    }

    /// A value for every name, as good as any.
    pub(super) fn sample(&self) -> Value {
        let params = self.params.iter().map(|Param { name, kind }| {
            let value = match kind {
                ParamKind::Date => "2024-05-01".into(),
                ParamKind::String => "sample".into(),
                ParamKind::Integer => Value::from(1),
            };
            (name.as_str(), value)
        });
        let field = |(name, kind): &'_ (String, FieldType)| {
            let value: Value = match kind {
                FieldType::String => "sample".into(),
                FieldType::Integer => 1.into(),
                FieldType::Number => 1.5.into(),
                FieldType::Boolean => true.into(),
                FieldType::Datetime => "2024-05-01T08:44:00".into(),
                FieldType::Date => "2024-05-01".into(),
                FieldType::Duration => "PT1M".into(),
            };
            (name.clone(), value)
        };
        let tables = self.items.iter().map(|set| (set.name.clone(), Value::from_pairs(set.fields.iter().map(field))));
        let params = Value::from_pairs(params.collect::<BTreeMap<_, _>>());
        Value::from_pairs(tables.chain([("params".to_owned(), params)]))
    }
}

/// What is offered where a filter's name is wrong.
const COMMON_FILTERS: [&str; 10] =
    ["slug", "lower", "upper", "replace", "trim", "default", "int", "round", "string", "length"];

/// Mistakes that no value can make good.
fn is_static(kind: ErrorKind) -> bool {
    use ErrorKind::{MissingArgument, NonPrimitive, TooManyArguments, UnknownFunction, UnknownMethod, UnknownTest};
    matches!(kind, MissingArgument | NonPrimitive | TooManyArguments | UnknownFunction | UnknownMethod | UnknownTest)
}

/// The filters that a template names, and where: the engine finds an unknown one only where it is reached,
/// and a sample does not reach every branch.
fn filters(source: &str) -> Vec<(usize, &str)> {
    let mut found = Vec::new();
    let mut quote = None;
    let mut inside = false;
    let mut bytes = source.bytes().enumerate();
    while let Some((at, byte)) = bytes.next() {
        let next = source.as_bytes().get(at + 1).copied();
        match (inside, quote, byte, next) {
            (false, _, b'{', Some(b'{' | b'%')) => inside = true,
            (true, None, b'}' | b'%', Some(b'}')) => inside = false,
            (true, None, b'"' | b'\'', _) => quote = Some(byte),
            (true, Some(_), b'\\', _) => drop(bytes.next()),
            (true, Some(open), _, _) if open == byte => quote = None,
            (true, None, b'|', _) => {
                let from = at + 1 + source[at + 1..].bytes().take_while(u8::is_ascii_whitespace).count();
                let length = source[from..].bytes().take_while(|b| b.is_ascii_alphanumeric() || *b == b'_').count();
                found.push((from, &source[from..from + length]));
            }
            _ => {}
        }
    }
    found
}
