//! The text of a draft: a definition whose comments say what each part is for and where it comes from.

use std::fmt::Write as _;

use crate::{
    Format,
    draft::{
        Draft,
        asked::{AuthDraft, last_segment},
        guess::Guess,
    },
    params::parse_date,
};

/// The longest line of pairs; longer ones take a line each.
const WIDTH: usize = 110;

pub(crate) fn to_toml(draft: &Draft) -> String {
    let mut text = String::new();
    head(&mut text, draft);
    items(&mut text, draft);
    fetch(&mut text, draft);
    record(&mut text, draft);
    text.push_str(
        "\n# Statistics, added up over all records: count, sum, min, max, any, all, avg. `GET /v1/stats/NAME` answers with them.\n\
         [stats]\nall = \"count\"\n\n\
         # The folder of the objects in the bucket. `job.date` is the day on which the job was submitted.\n\
         [store]\npartition = [\"date={{ job.date }}\"]\n",
    );
    text
}

fn head(text: &mut String, draft: &Draft) {
    let asked = &draft.asked;
    let title: String = format!("{}: {}", asked.name, asked.path).chars().take(200).collect();
    let lines = [
        ("name", quoted(&asked.name), "in commands, URLs and object keys"),
        ("title", quoted(&title), "one line for people"),
        ("base_url", quoted(&asked.base_url), "every `path` is below it"),
    ];
    text.push_str("# Drafted from an answer of the API: read every line before you use it.\n\n");
    for (key, value, why) in lines {
        let _ = writeln!(text, "{key:<8} = {value}  # {why}");
    }
    let Some(auth) = &asked.auth else { return };
    let value = match auth {
        AuthDraft::Bearer(token) => format!("bearer = {}", quoted(token)),
        AuthDraft::Basic([user, password]) => format!("basic = [{}, {}]", quoted(user), quoted(password)),
        AuthDraft::Headers(headers) => format!("header = {}", inline(headers)),
        AuthDraft::Query(query) => format!("query = {}", inline(query)),
    };
    let _ = writeln!(text, "# The credentials: values of environment variables, which nothing stores or shows.");
    let _ = writeln!(text, "{:<8} = {{ {value} }}", "auth");
}

fn items(text: &mut String, draft: &Draft) {
    text.push_str(
        "\n# What there is to fetch: each item becomes one object. Here it is one item; the upstream can also list them\n\
         # (`path` and `records`), or they are windows of time (`dates`).\n",
    );
    let _ = writeln!(
        text,
        "[[items]]\nname   = \"part\"\nlist   = [{}]\nfields = [{{ name = \"id\", type = \"string\" }}]\n\
         key    = \"{{{{ part.id }}}}\"  # the object's name",
        quoted(&last_segment(&draft.asked.path))
    );
}

fn fetch(text: &mut String, draft: &Draft) {
    let asked = &draft.asked;
    text.push_str("\n# The request.\n[fetch]\n");
    let _ = writeln!(text, "path    = {}", quoted(&escaped(&asked.path)));
    days(text, draft);
    let guess = draft.guesses.first();
    let query = query(draft, guess);
    if !query.is_empty() {
        let _ = writeln!(text, "query   = {}", pairs(&query));
    }
    let literal = |(name, value): &(String, String)| (name.clone(), quoted(&escaped(value)));
    let template = |(name, value): &(String, String)| (name.clone(), quoted(value));
    let headers: Vec<_> = asked.headers.iter().map(literal).chain(asked.more_headers.iter().map(template)).collect();
    if !headers.is_empty() {
        let _ = writeln!(text, "headers = {}", pairs(&headers));
    }
    match draft.format {
        Format::Json => {}
        Format::Rows => text.push_str("format  = \"rows\"  # arrays, the first of which names the columns\n"),
        format => {
            let _ = writeln!(text, "format  = {}", quoted(format.name()));
        }
    }
    if matches!(draft.format, Format::Json | Format::Rows) {
        let what = if draft.records.steps.is_empty() { "the whole answer is one record" } else { "where they are" };
        let _ = writeln!(
            text,
            "records = {}  # {what}: {} in this answer",
            quoted(&draft.records.to_string()),
            draft.count
        );
    }
    pagination(text, draft);
    text.push_str(
        "# How hard the upstream may be worked, over all workers together: what its documentation allows.\n\
         # rate = { requests = 60, per = \"PT1M\" }\n",
    );
}

/// What looks like a day is rarely meant for ever.
fn days(text: &mut String, draft: &Draft) {
    let segments = draft.asked.path.split('/').map(|segment| segment.split_once('.').map_or(segment, |(stem, _)| stem));
    let values = draft.asked.query.iter().map(|(_, value)| value.as_str());
    if let Some(day) = segments.chain(values).find(|text| parse_date(text).is_some()) {
        let _ = writeln!(text, "# `{day}` is a day: `{{{{ job.date }}}}`, or one of the items where they are `dates`.");
    }
}

fn pagination(text: &mut String, draft: &Draft) {
    for (guess, reason) in &draft.refuted {
        let _ = writeln!(text, "# Not confirmed: {}, but {}.", comment(&guess.why), comment(reason));
        for (name, value) in &guess.query {
            let _ = writeln!(text, "#   query: {} = {}", key(name), quoted(value));
        }
        let _ = writeln!(text, "#   pagination = {}", members(guess));
    }
    if let Some(guess) = draft.guesses.first() {
        let proof = if draft.is_confirmed { "page 2 has other records" } else { "nobody asked for page 2 yet" };
        let _ = writeln!(text, "# How pages follow each other: {}; {proof}.", comment(&guess.why));
        let _ = writeln!(text, "pagination = {}", members(guess));
    } else if let Some(more) = &draft.more {
        let _ = writeln!(text, "# This answer is not all there is: {}. A job fails until", comment(more));
        let _ = writeln!(
            text,
            "# `pagination` says how pages follow each other; `{{ type = \"none\" }}` says that this is all."
        );
    }
}

fn record(text: &mut String, draft: &Draft) {
    let looked_at = draft.inference.records();
    let _ = writeln!(
        text,
        "\n# What every record must look like, from {looked_at} records; a file with one that differs is refused. Leave out\n\
         # what you do not need: other members are ignored, and stored all the same. `required` is what all of these had.\n\
         [record]"
    );
    if draft.all_fields > draft.fields.len() {
        let left = draft.all_fields - draft.fields.len();
        let _ = writeln!(text, "# A definition has at most {} fields: {left} more were left out.", draft.fields.len());
    }
    if draft.fields.is_empty() {
        text.push_str("# Nothing of a record is known yet.\nfields = []\n");
        return;
    }
    text.push_str("fields = [\n");
    for field in &draft.fields {
        let _ = writeln!(text, "  {},", field.to_toml(true));
    }
    text.push_str("]\n");
}

/// Names and TOML values. Of names that come several times, a list.
fn query(draft: &Draft, guess: Option<&Guess>) -> Vec<(String, String)> {
    let guessed = guess.map(|guess| guess.query.as_slice()).unwrap_or_default();
    let mut values: Vec<(String, Vec<String>)> = Vec::new();
    for (name, value) in &draft.asked.query {
        let guessed = guessed.iter().find(|(other, _)| other == name).map(|(_, template)| template);
        let value = quoted(&guessed.cloned().unwrap_or_else(|| escaped(value)));
        match values.iter_mut().find(|(other, _)| other == name) {
            Some(_) if guessed.is_some() => {}
            Some((_, values)) => values.push(value),
            None => values.push((name.clone(), vec![value])),
        }
    }
    let is_new = |name: &str, values: &[(String, Vec<String>)]| values.iter().all(|(other, _)| other != name);
    for (name, template) in guessed.iter().chain(&draft.asked.more_query) {
        if is_new(name, &values) {
            values.push((name.clone(), vec![quoted(template)]));
        }
    }
    let list = |values: Vec<String>| match values.as_slice() {
        [value] => value.clone(),
        values => format!("[{}]", values.join(", ")),
    };
    values.into_iter().map(|(name, values)| (name, list(values))).collect()
}

fn members(guess: &Guess) -> String {
    let members: Vec<_> = guess.pagination.iter().map(|(key, value)| format!("{key} = {value}")).collect();
    format!("{{ {} }}", members.join(", "))
}

/// `{ a = "b" }` of templates.
fn inline(templates: &[(String, String)]) -> String {
    let pairs: Vec<_> = templates.iter().map(|(name, value)| format!("{} = {}", key(name), quoted(value))).collect();
    format!("{{ {} }}", pairs.join(", "))
}

/// The same of TOML values; in lines of their own where one line would be too long.
fn pairs(values: &[(String, String)]) -> String {
    let pairs: Vec<_> = values.iter().map(|(name, value)| format!("{} = {value}", key(name))).collect();
    let line = format!("{{ {} }}", pairs.join(", "));
    if line.len() <= WIDTH { line } else { format!("{{\n  {},\n}}", pairs.join(",\n  ")) }
}

fn key(name: &str) -> String {
    let is_bare = !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_-".contains(&byte));
    if is_bare { name.to_owned() } else { quoted(name) }
}

/// A TOML string, in one line.
pub(crate) fn quoted(text: &str) -> String {
    let mut quoted = String::from('"');
    for c in text.chars() {
        match c {
            '"' | '\\' => quoted.extend(['\\', c]),
            c if c.is_control() => {
                let _ = write!(quoted, "\\u{:04X}", u32::from(c));
            }
            c => quoted.push(c),
        }
    }
    quoted.push('"');
    quoted
}

/// A text as a template that gives it.
fn escaped(text: &str) -> String {
    text.replace('{', "{{ '{' }}")
}

/// One line of a comment.
fn comment(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}
