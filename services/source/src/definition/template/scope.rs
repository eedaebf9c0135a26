//! What a template may name, and the check of a template against it.
//!
//! A template that passes here can fail at run time only through a value (an empty one, say), never
//! through a name.

use minijinja::{ErrorKind, Value};

use crate::{
    definition::{
        model::ItemSet,
        parse::{
            diagnostic::{Report, quote_all, suggest},
            reader::Text,
        },
        template::{
            self, Destination, RenderError, Template,
            expression::Expression,
            template_probe::{self, Miss, Missed},
        },
    },
    params::Param,
};

/// The names in force at one place of the definition.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Scope<'a> {
    pub(crate) params: &'a [Param],
    /// The item sets of this place, outermost first.
    pub(crate) items: &'a [ItemSet],
    /// The item sets that come later in the file.
    pub(crate) later: &'a [ItemSet],
    /// Which part of the definition it is.
    pub(crate) place: Section,
    /// What a request of `[fetch]` is made of.
    pub(crate) request_of: RequestOf,
    /// What `page` has, where the request has pages.
    pub(crate) page: Option<&'static [&'static str]>,
}

/// What a request of `[fetch]` is made of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum RequestOf {
    /// One item, whose file it fetches.
    Item,
    /// Several items.
    Batch,
    /// One row of an upload.
    Row,
}

/// A part of a definition that has templates.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Section {
    /// The request of `[[items]]`.
    Listing,
    /// An item's key.
    Key,
    /// `[fetch]`.
    Fetch,
    /// What `[fetch]` keeps of a row.
    Outcome,
    /// The partition.
    Partition,
    /// An expression of `pagination`.
    Paging,
    /// `auth`.
    Auth,
    /// A column of `[table]`.
    Table,
}

/// What an expression sees of a page.
const PAGE: [&str; 6] = ["number", "size", "offset", "cursor", "index", "records"];
/// Names that mean something else where there are pages.
pub(crate) const PAGING_NAMES: [&str; 5] = ["page", "body", "headers", "status", "last"];

impl Scope<'_> {
    /// Compiles a template and checks every name in it.
    pub(crate) fn template(
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
        let references = template.references();
        let is_known = self.are_known(report, text, &references, destination);
        if !(are_filters(report, text, filters(text.value)) && is_known) {
            return None;
        }
        let missed = Missed::default();
        let rendered = template.probe(&self.sample(&references, &missed));
        if let Some(miss) = missed.first() {
            let at = text.value.find(&miss.name).map_or(text.at, |byte| text.place(byte));
            let (message, help) = self.missed(&miss);
            report.add_with_help(at, message, help);
            return None;
        }
        if let Err(error) = rendered {
            match error {
                RenderError::Unfit(reason)
                    if matches!(destination, Destination::Path | Destination::Header) || text.value.is_empty() =>
                {
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
        Some(template)
    }

    /// Compiles an expression and checks every name in it.
    pub(crate) fn expression(&self, report: &mut Report<'_>, text: Text<'_>) -> Option<Expression> {
        let expression = match Expression::compile(text.value) {
            Ok(expression) => expression,
            Err(error) => {
                let at = error.range().map_or(text.at, |range| text.place(range.start));
                let help = "an expression such as `body.has_more` stands without braces";
                report.add_with_help(at, format!("expression: {}", template::reason(&error)), help);
                return None;
            }
        };
        let is_known = self.are_known(report, text, &expression.references(), Destination::Text);
        let filters = filters_of_expression(text.value);
        (are_filters(report, text, filters) && is_known).then_some(expression)
    }

    /// Whether all of these names are known; the others are reported.
    fn are_known(
        &self,
        report: &mut Report<'_>,
        text: Text<'_>,
        references: &[String],
        destination: Destination,
    ) -> bool {
        let mut are_known = true;
        for reference in references {
            let is_env = reference == "env" || reference.starts_with("env.");
            let unknown = match destination {
                Destination::Path | Destination::Url if is_env => {
                    let help = "paths are shown and stored: a secret goes into `auth`, `headers` or `query`";
                    Some(("`env` is not offered in a path".to_owned(), help.to_owned()))
                }
                _ => self.unknown(reference),
            };
            if let Some((message, help)) = unknown {
                let at = text.value.find(reference).map_or(text.at, |byte| text.place(byte));
                report.add_with_help(at, message, help);
                are_known = false;
            }
        }
        are_known
    }

    /// What is wrong with a name, and what would be right; `None` where it is known.
    fn unknown(&self, reference: &str) -> Option<(String, String)> {
        let (root, member) = reference.split_once('.').map_or((reference, None), |(root, member)| (root, Some(member)));
        let says = |message: String, help: &str| Some((message, help.to_owned()));
        let members: Vec<&str> = match (root, self.place) {
            ("params" | "job" | "env", Section::Outcome) => {
                let help = "a result is made of the row, or is a path into the answer such as `$.id`";
                return says(format!("`{root}` is not offered in `result`"), help);
            }
            ("params" | "job" | "env", Section::Table) => {
                return says(format!("`{root}` is not offered in [table]"), "a row is made of its `record` alone");
            }
            ("body" | "headers" | "status" | "last", Section::Paging) => return None,
            ("page", Section::Paging) => PAGE.to_vec(),
            ("page", Section::Listing | Section::Fetch) if self.page.is_some() => {
                self.page.map(<[_]>::to_vec).unwrap_or_default()
            }
            ("page", Section::Listing | Section::Fetch) if self.items.iter().all(|set| set.name != "page") => {
                let help = "add a `pagination`, such as { type = \"page\", size = 100 }";
                return says("`page` is read, and there is no `pagination`".into(), help);
            }
            ("env", Section::Paging) => {
                let help = "what an expression gives is shown and sent: it is made of the answer";
                return says("`env` is not offered in an expression".into(), help);
            }
            ("params", _) => self.params.iter().map(|param| param.name.as_str()).collect(),
            ("job", Section::Key) => {
                return says(
                    "`job` is not offered in a key".into(),
                    "a key names an item, and is the same in every job",
                );
            }
            ("job", _) => vec!["id", "date"],
            ("env", Section::Key | Section::Partition) => {
                let help = "a secret goes into the requests of [fetch] and [[items]] only: keys are seen by everybody";
                return says("`env` is not offered here".into(), help);
            }
            ("env", Section::Listing | Section::Fetch | Section::Auth) => {
                return match member.map(|member| member.split_once('.').map_or(member, |(name, _)| name)) {
                    None => says("`env` is no text".into(), "name one variable, such as `env.API_KEY`"),
                    Some(name) if member != Some(name) => {
                        says(format!("`env.{name}` is a single value"), &format!("write `env.{name}`"))
                    }
                    Some(_) => None,
                };
            }
            ("batch", Section::Fetch | Section::Paging) if self.request_of == RequestOf::Batch => {
                let member = member?;
                return says(format!("`batch` is a list and has no `{member}`"), &self.batch_example(None));
            }
            ("batch", Section::Fetch | Section::Outcome) if self.request_of == RequestOf::Row => {
                let set = self.items.first();
                let column = set.and_then(|set| Some(format!("{}.{}", set.name, set.fields.first()?.0)));
                let help =
                    format!("a request is made of one row: `{{{{ {} }}}}`", column.as_deref().unwrap_or("row.id"));
                return says("`batch` is not offered here".into(), &help);
            }
            ("batch", Section::Fetch) => {
                let help = "add `batch = 20` to [fetch], and that many items are fetched with one request";
                return says("`batch` is used without being set".into(), help);
            }
            ("batch", _) => return says("`batch` is not offered here".into(), "only the request of [fetch] sees it"),
            _ => match self.items.iter().find(|set| set.name == root) {
                Some(_) if self.request_of == RequestOf::Batch && self.sees_batch() => {
                    let help = self.batch_example(Some(reference));
                    return says(format!("`{root}` is one item, and a batch has several"), &help);
                }
                Some(_) if self.request_of != RequestOf::Item && self.place == Section::Partition => {
                    let message = format!("`{root}` differs within a batch, which is stored as one object");
                    return says(message, "make the partition of `params` and `job`");
                }
                Some(set) => set.fields.iter().map(|(name, _)| name.as_str()).collect(),
                None if self.later.iter().any(|set| set.name == root) => {
                    let help = format!("it is listed by a later [[items]]; known here: {}", quote_all(self.roots()));
                    return says(format!("`{root}` is not known yet"), &help);
                }
                None => return Some((format!("there is no item set `{root}`"), suggest(root, self.roots()))),
            },
        };
        // A table named without a member is `{{ city["id"] }}`, or a mistake that rendering a sample shows.
        let member = member.filter(|member| !members.contains(member))?;
        match member.split_once('.') {
            Some((field, _)) if self.is_composite(root, field) => None,
            Some((field, _)) if members.contains(&field) => {
                Some((format!("`{root}.{field}` is a single value"), format!("write `{root}.{field}`")))
            }
            _ if root == "params" => Some((format!("there is no parameter `{member}`"), suggest(member, members))),
            _ if root == "job" => Some((format!("a job has no `{member}`"), suggest(member, members))),
            _ if root == "page" && PAGE.contains(&member) => {
                Some((format!("a page of this `pagination` has no `{member}`"), suggest(member, members)))
            }
            _ if root == "page" => Some((format!("a page has no `{member}`"), suggest(member, members))),
            _ => Some((format!("`{root}` has no field `{member}`"), suggest(member, members))),
        }
    }

    /// Whether a field has members of its own, of which nothing is known.
    fn is_composite(&self, set: &str, field: &str) -> bool {
        let mut fields = self.items.iter().filter(|known| known.name == set).flat_map(|known| &known.fields);
        fields.any(|(name, kind)| name == field && kind.is_composite())
    }

    /// What is wrong with a name that the items of a batch do not have.
    fn missed(&self, Miss { set, name }: &Miss) -> (String, String) {
        match self.items.iter().find(|known| set.as_ref() == Some(&known.name)) {
            Some(set) => {
                let help = suggest(name, set.fields.iter().map(|(name, _)| name.as_str()));
                (format!("`{}` has no field `{name}`", set.name), help)
            }
            None => {
                let help = suggest(name, self.items.iter().map(|set| set.name.as_str()));
                (format!("there is no item set `{name}`"), help)
            }
        }
    }

    /// Whether items are seen as a batch here.
    fn sees_batch(&self) -> bool {
        matches!(self.place, Section::Fetch | Section::Paging)
    }

    /// How a value of every item of a batch is written.
    fn batch_example(&self, value: Option<&str>) -> String {
        let last = || self.items.last().and_then(|set| Some(format!("{}.{}", set.name, set.fields.first()?.0)));
        let value = value.filter(|value| value.contains('.')).map(str::to_owned).or_else(last);
        format!("write `{{{{ batch | map(attribute='{}') | join(',') }}}}`", value.as_deref().unwrap_or("city.id"))
    }

    /// Every name that stands alone, once: a set whose name was refused may be empty or one of two.
    fn roots(&self) -> Vec<&str> {
        let mut roots = Vec::new();
        if !matches!(self.place, Section::Outcome | Section::Table) {
            roots.push("params");
        }
        if !matches!(self.place, Section::Key | Section::Outcome | Section::Table) {
            roots.push("job");
        }
        if matches!(self.place, Section::Listing | Section::Fetch | Section::Auth) {
            roots.push("env");
        }
        if self.place == Section::Paging {
            roots.extend(PAGING_NAMES);
        } else if self.page.is_some() && matches!(self.place, Section::Listing | Section::Fetch) {
            roots.push("page");
        }
        match self.place {
            Section::Fetch | Section::Paging if self.request_of == RequestOf::Batch => roots.push("batch"),
            Section::Partition if self.request_of != RequestOf::Item => {}
            _ => {
                for set in self.items {
                    if !set.name.is_empty() && !roots.contains(&set.name.as_str()) {
                        roots.push(&set.name);
                    }
                }
            }
        }
        roots
    }

    /// A value for every name, as good as any.
    fn sample(&self, references: &[String], missed: &Missed) -> Value {
        let env = references.iter().filter_map(|reference| Some((reference.strip_prefix("env.")?, "sample")));
        let mut all: Vec<(&str, Value)> = if self.request_of == RequestOf::Batch && self.sees_batch() {
            vec![("batch", missed.batch(self.items))]
        } else {
            self.items.iter().map(|set| (set.name.as_str(), template_probe::item(set))).collect()
        };
        // Last, so that no set whose name was refused takes their place.
        all.push(("params", template_probe::params(self.params)));
        all.push(("job", template_probe::job()));
        all.push(("env", Value::from_pairs(env.collect::<Vec<_>>())));
        if self.page.is_some() {
            all.push(("page", template_probe::page()));
        }
        Value::from_pairs(all)
    }

    /// What a template makes of sample values, where it makes anything of them.
    pub(crate) fn try_out(&self, template: &Template) -> Option<String> {
        template.render(&self.sample(&template.references(), &Missed::default())).ok()
    }
}

/// What is offered where a filter's name is wrong.
const COMMON_FILTERS: [&str; 12] =
    ["slug", "lower", "upper", "replace", "trim", "default", "int", "round", "string", "length", "map", "join"];

/// Whether all of these filters are known; the others are reported.
fn are_filters(report: &mut Report<'_>, text: Text<'_>, filters: Vec<(usize, &str)>) -> bool {
    let mut are_known = true;
    for (byte, filter) in filters {
        if !Template::has_filter(filter) {
            let help = suggest(filter, COMMON_FILTERS);
            report.add_with_help(text.place(byte), format!("unknown filter `{filter}`"), help);
            are_known = false;
        }
    }
    are_known
}

/// Mistakes that no value can make good.
fn is_static(kind: ErrorKind) -> bool {
    use ErrorKind::{
        MissingArgument, NonPrimitive, TooManyArguments, UnknownFilter, UnknownFunction, UnknownMethod, UnknownTest,
    };
    let unknown = matches!(kind, UnknownFilter | UnknownFunction | UnknownMethod | UnknownTest);
    unknown || matches!(kind, MissingArgument | NonPrimitive | TooManyArguments)
}

/// The filters that a template names, and where: the engine finds an unknown one only where it is reached,
/// and a sample does not reach every branch.
fn filters(source: &str) -> Vec<(usize, &str)> {
    filters_within(source, false)
}

/// The same of an expression, which has no braces around it.
fn filters_of_expression(source: &str) -> Vec<(usize, &str)> {
    filters_within(source, true)
}

fn filters_within(source: &str, mut inside: bool) -> Vec<(usize, &str)> {
    let mut found = Vec::new();
    let mut quote = None;
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
