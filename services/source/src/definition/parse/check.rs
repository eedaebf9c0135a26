//! Turns the text of a definition into a [`Definition`], or into all of its mistakes.

use std::{collections::BTreeSet, sync::Arc};

use minijinja::Value;
use toml::{Spanned, de::DeTable};

use crate::{
    FieldType,
    definition::{
        Definition, Work,
        hosts::Hosts,
        model::{Auth, Items, Origin, RequestTemplate},
        parse::{
            auth, dates,
            defaults::{self, Defaults},
            diagnostic::{Diagnostics, Report, suggest},
            fetch::{self, Fetch},
            items, load,
            reader::{Node, Table, Text, list},
            record,
            shapes::{MAX_NAME, identifier},
            stats, store,
        },
        template::{
            self, Destination, Template,
            scope::{RequestOf, Scope, Section},
            template_probe,
        },
    },
    hash::sha256_hex,
    params::{PREVIOUS, Param, ParamKind, readable},
    upload::Upload,
};

/// The longest title, in characters.
const MAX_TITLE: usize = 200;

pub(crate) fn parse(file: &str, text: &str) -> Result<Definition, Diagnostics> {
    let mut report = Report::new(file, text);
    let (document, errors) = DeTable::parse_recoverable(text);
    if !errors.is_empty() {
        for error in errors {
            report.add(error.span().map_or(0, |span| span.start), error.message());
        }
        return Err(report.finish());
    }
    let built = build(&mut report, text, &document);
    if report.is_empty() { Ok(built.expect("what is missing was reported")) } else { Err(report.finish()) }
}

/// Reads every part before it gives up for a missing one, so that all mistakes are reported.
fn build(report: &mut Report<'_>, text: &str, document: &Spanned<DeTable<'_>>) -> Option<Definition> {
    let mut root = Table::root(document.get_ref());
    let name = root.string(report, "name").and_then(|text| source_name(report, text));
    let title = root.string(report, "title").and_then(|text| title(report, text));
    if load::is_load(&mut root) {
        return load::build(report, text, root, (name, title));
    }
    load::refuse_table(report, &mut root);
    let base_url = root.string(report, "base_url").and_then(|text| base_url(report, text));
    let (params, previous_at) = root.optional("params").map_or_else(Default::default, |node| params(report, node));
    let items_node = root.required(report, "items").and_then(|node| list(report, node, "items"));
    let hosts = root.optional("hosts").map_or_else(Hosts::default, |node| auth::read_hosts(report, node));
    let defaults =
        root.optional_table(report, "request").map_or_else(Defaults::default, |it| defaults::read(report, it));
    let defaults = Defaults { base_url: base_url.clone(), hosts: hosts.clone(), ..defaults };
    let (mut sets, items) =
        items_node.map_or_else(Default::default, |nodes| items::read(report, nodes, &params, &defaults));
    let (mut fetch, record) = (root.table(report, "fetch"), root.table(report, "record"));
    let is_upload = sets.iter().any(|set| set.is_upload);
    let (columns, mut schema) = record.map_or_else(Default::default, |table| record::read(report, table, is_upload));
    for set in sets.iter_mut().filter(|set| set.is_upload) {
        set.fields = columns.iter().cloned().chain([("line".to_owned(), FieldType::Integer)]).collect();
    }
    let request_of = match () {
        () if is_upload => RequestOf::Row,
        () if fetch.as_mut().is_some_and(fetch::is_batched) => RequestOf::Batch,
        () => RequestOf::Item,
    };
    let scope = Scope { params: &params, items: &sets, later: &[], place: Section::Fetch, request_of, page: None };
    let mut fetch = fetch.and_then(|table| fetch::read(report, table, &defaults, &scope, schema.as_ref()));
    let upload = fetch
        .as_mut()
        .and_then(|fetch| fetch.rows.take())
        .and_then(|rules| Some(Upload { name: sets.first()?.name.clone(), schema: schema.clone()?, rules }));
    if is_upload {
        // The records of an object are the outcomes of rows.
        schema = upload.as_ref().map(Upload::outcome_schema);
    }
    let statistics = root.optional_table(report, "stats").map(|table| stats::read(report, &table, schema.as_ref()));
    let scope = Scope { place: Section::Partition, ..scope };
    let partition = root.table(report, "store").and_then(|table| store::read(report, table, &scope));
    let scope = Scope { place: Section::Auth, items: &[], ..scope };
    let auth_node = root.optional("auth");
    let auth = auth_node.map(|node| auth::read(report, node, &scope));
    if let (Some(node), Some(base_url)) = (auth_node, &base_url) {
        auth::check_base_url(report, node.span().start, base_url);
    }
    root.close(report);
    // Outer: whether there is one. Inner: whether it was read.
    let auth = auth.map_or(Some(None), |auth| auth.map(Some))?;
    let (items, fetch) = (items?, fetch?);
    if let Some(at) = previous_at.filter(|_| items.range().is_none()) {
        let help = "it is where the windows of an earlier job ended, and needs `dates` that are made of `params` and `job` only";
        report.add_with_help(at, "`previous.to` is not offered here", help);
    }
    if let Some(at) = previous_at.filter(|_| items.range().is_some_and(|windows| !windows.step.is_of_days()))
        && params.iter().any(|param| param.asks_previous() && param.kind == ParamKind::Date)
    {
        let help = "windows that are shorter than a day end at a time: say `type = \"datetime\"`";
        report.add_with_help(at, "`previous.to` is no date here", help);
    }
    dates::check_names(report, items_node.unwrap_or_default(), &items, partition.as_ref()?);
    Some(Definition {
        env_names: env_names(&items, &fetch, auth.as_ref()),
        auth,
        hosts,
        warnings: report.take_warnings(),
        name: name?,
        title: title?,
        base_url: base_url?,
        text: text.to_owned(),
        hash: sha256_hex(text.as_bytes()),
        params,
        items,
        work: Work::Fetch(Box::new(fetch)),
        schema: schema?,
        upload,
        statistics: statistics.unwrap_or_default(),
        partition: partition?,
    })
}

/// The environment variables that requests are made of.
fn env_names(items: &Items, fetch: &Fetch, auth: Option<&Auth>) -> BTreeSet<String> {
    let listed = items.levels.iter().filter_map(|level| match &level.origin {
        Origin::Listed(listing) => Some(&listing.request),
        Origin::Fixed(_) | Origin::Dates(_) | Origin::Uploaded => None,
    });
    let requests = listed.chain([&fetch.request]);
    let templates = requests.flat_map(RequestTemplate::templates).chain(auth.into_iter().flat_map(Auth::templates));
    let references = templates.flat_map(Template::references);
    references.filter_map(|name| name.strip_prefix("env.").map(str::to_owned)).collect()
}

fn source_name(report: &mut Report<'_>, text: Text<'_>) -> Option<String> {
    let good = text.value.len() <= MAX_NAME
        && text.value.starts_with(|c: char| c.is_ascii_lowercase())
        && text.value.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-');
    if !good {
        let help = format!(
            "a letter, then letters, digits and `-`, lower-case, at most {MAX_NAME}; try `{}`",
            slug::slugify(text.value)
        );
        report.add_with_help(text.at, format!("`{}` cannot be the name of a source", text.value), help);
    }
    good.then(|| text.value.to_owned())
}

fn title(report: &mut Report<'_>, text: Text<'_>) -> Option<String> {
    let good = !text.value.trim().is_empty()
        && text.value.chars().count() <= MAX_TITLE
        && !text.value.contains(char::is_control);
    if !good {
        report.add(text.at, format!("`title` must be one line of 1 to {MAX_TITLE} characters"));
    }
    good.then(|| text.value.to_owned())
}

/// The address without a `/` at its end. It is written into objects and logs, so no secret may be in it.
fn base_url(report: &mut Report<'_>, text: Text<'_>) -> Option<String> {
    let wrong = match url::Url::parse(text.value) {
        Err(error) => format!("`base_url` is no URL: {error}"),
        Ok(url) if !matches!(url.scheme(), "http" | "https") => "`base_url` must begin with http:// or https://".into(),
        Ok(url) if !url.username().is_empty() || url.password().is_some() => {
            "`base_url` must not contain credentials".into()
        }
        Ok(url) if url.query().is_some() || url.fragment().is_some() => "`base_url` must not contain `?` or `#`".into(),
        Ok(url) => return Some(url.as_str().trim_end_matches('/').to_owned()),
    };
    report.add_with_help(text.at, wrong, "an address such as https://api.example.com/v1");
    None
}

/// What stands for a parameter that was not given: a text, or a template of the day.
fn default(report: &mut Report<'_>, text: Text<'_>, kind: ParamKind) -> Option<Template> {
    let template = match Template::compile(Destination::Text, text.value) {
        Ok(template) => template,
        Err(error) => {
            report.add(text.at, format!("template: {}", template::reason(&error)));
            return None;
        }
    };
    if let Some(other) = template.references().iter().find(|name| !["job.date", PREVIOUS].contains(&name.as_str())) {
        let help =
            "a default is a text, or made of `job.date`, the day on which the job is submitted, and `previous.to`";
        report.add_with_help(text.at, format!("`{other}` is not offered in `default`"), help);
        return None;
    }
    let scope = Value::from_pairs([("job", template_probe::job()), ("previous", template_probe::previous())]);
    let given = template.render(&scope).map_err(|error| error.to_string());
    let wrong = match &given {
        Ok(given) if kind.canonical(given).is_some() => return Some(template),
        Ok(given) => format!("`default` must be {}, found {:?}", kind.expected(), readable(given)),
        Err(error) => format!("`default`: {error}"),
    };
    report.add(text.at, wrong);
    None
}

/// Also where the first default stands that is made of `previous`.
fn params(report: &mut Report<'_>, node: Node<'_, '_>) -> (Vec<Param>, Option<usize>) {
    let (mut params, mut previous_at): (Vec<Param>, _) = (Vec::new(), None);
    // `params = []` says the same as leaving it out.
    let entries = match node.get_ref().as_array() {
        Some(entries) if entries.is_empty() => return (params, None),
        _ => list(report, node, "params").unwrap_or_default(),
    };
    for entry in entries {
        let Some(mut table) = Table::open(report, entry, "a parameter") else { continue };
        let name = table.string(report, "name").map(|text| {
            identifier(report, text);
            text.value
        });
        let kind = table.string(report, "type").map(|text| {
            ParamKind::ALL.into_iter().find(|kind| kind.as_str() == text.value).unwrap_or_else(|| {
                let known = ParamKind::ALL.map(ParamKind::as_str);
                report.add_with_help(
                    text.at,
                    format!("no parameter has the type `{}`", text.value),
                    suggest(text.value, known),
                );
                ParamKind::Date
            })
        });
        if let Some(name) = name {
            if params.iter().any(|param| param.name == name) {
                report.add(table.at(), format!("there are two parameters `{name}`"));
            } else {
                // A parameter that was refused still counts as known, and as good for everything, so that
                // templates are not blamed for it.
                let kind = kind.unwrap_or(ParamKind::Date);
                let text = table.optional_string(report, "default");
                let default = text.and_then(|text| default(report, text, kind)).map(Arc::new);
                let param = Param { name: name.to_owned(), kind, default };
                previous_at = previous_at.or(text.filter(|_| param.asks_previous()).map(|text| text.at));
                params.push(param);
            }
        }
        table.close(report);
    }
    (params, previous_at)
}
