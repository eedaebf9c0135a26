//! Templates: minijinja, with what is rendered escaped for the place it goes to.
//!
//! A template is always the operator's text. A value from an upstream is only ever a value: it is never
//! compiled, it cannot add a segment to a path, and it cannot leave its folder in a key.

pub(crate) mod expression;
pub(crate) mod filters;
pub(crate) mod scope;
pub(crate) mod template_probe;

use std::{borrow::Cow, sync::LazyLock};

use minijinja::{AutoEscape, Environment, Error, ErrorKind, Output, State, UndefinedBehavior, Value, value::ValueKind};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

use crate::hash::sha256_hex;

/// Where a rendered text goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Destination {
    /// The path of a request: each value is percent-encoded and stays within its segment.
    Path,
    /// A whole address, such as one that an upstream gave. Where it may lead is looked at where it is sent.
    Url,
    /// A query value or a part of a body, as it is: whoever writes the request encodes it.
    Text,
    /// A value of a JSON body: one expression alone keeps its type.
    Json,
    /// A header's value: one line of visible ASCII.
    Header,
    /// An item's key, or a partition's value: safe in an object key, at most [`MAX_NAME_BYTES`].
    Name,
}

/// The longest item key or partition value. S3 allows 1,024 bytes for a whole key.
pub(crate) const MAX_NAME_BYTES: usize = 200;
/// The longest slug.
const MAX_SLUG_BYTES: usize = 80;
/// What stays as it is in a path segment: RFC 3986, unreserved.
const SEGMENT: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');
/// What stays as it is in a name: everything that no shell, URL or store gives a meaning.
const NAME: &AsciiSet = &SEGMENT.remove(b'=');

/// A compiled template for one destination.
#[derive(Debug)]
pub(crate) struct Template {
    environment: Environment<'static>,
    destination: Destination,
    /// Whether it reads the environment: what comes of it is never shown then.
    secret: bool,
    /// Whether it is one expression alone, whose value is not only a text.
    is_expression: bool,
}

/// Why a template gives no text for these values.
#[derive(Debug, thiserror::Error)]
pub(crate) enum RenderError {
    /// The engine says so.
    #[error("{}", reason(.0))]
    Engine(#[from] Error),
    /// The text does not fit its destination.
    #[error("{0}")]
    Unfit(String),
}

/// The only template of an environment has this name.
const ONLY: &str = "template";
/// But for one that is an expression alone: there this one sets a variable of this name. No item set can have it.
const VALUE: &str = "_value";

/// What all templates share: the filters, and no global that could be mistaken for an item.
static BASE: LazyLock<Environment<'static>> = LazyLock::new(|| {
    let mut base = Environment::new();
    base.set_undefined_behavior(UndefinedBehavior::Strict);
    base.set_debug(false);
    base.set_auto_escape_callback(|_| AutoEscape::None);
    base.add_filter("slug", |text: Cow<'_, str>| slug(&text));
    filters::add(&mut base);
    let globals: Vec<_> = base.globals().map(|(name, _)| name.to_owned()).collect();
    for global in globals {
        base.remove_global(&global);
    }
    base
});

/// What all templates share, to be added to.
pub(crate) fn base_environment() -> Environment<'static> {
    BASE.clone()
}

impl Template {
    /// Compiles a template; its syntax is all that is checked.
    pub(crate) fn compile(destination: Destination, source: &str) -> Result<Self, Error> {
        let mut environment = base_environment();
        environment.add_template_owned(ONLY, source.to_owned())?;
        let is_expression = expression(source).is_some_and(|expression| {
            let set = format!("{{% set {VALUE} = ({expression}) %}}");
            environment.add_template_owned(VALUE, set).is_ok()
        });
        environment.set_formatter(move |out, _: &mut State, value| write_value(destination, out, value));
        let mut template = Self { environment, destination, secret: false, is_expression };
        template.secret = template.references().iter().any(|name| name == "env" || name.starts_with("env."));
        Ok(template)
    }

    /// Where it goes.
    pub(crate) fn destination(&self) -> Destination {
        self.destination
    }

    /// Its text.
    pub(crate) fn source(&self) -> String {
        self.only().source().to_owned()
    }

    /// The expression, where the text is `{{ expression }}` and nothing else.
    pub(crate) fn expression(&self) -> Option<String> {
        let source = self.source();
        expression(&source).filter(|_| self.is_expression).map(str::to_owned)
    }

    /// Whether it reads the environment.
    pub(crate) fn is_secret(&self) -> bool {
        self.secret
    }

    /// The names it reads: `city.id`, `params.date`; `city` where a value is not named by a dot. Sorted.
    pub(crate) fn references(&self) -> Vec<String> {
        let mut names: Vec<_> = self.only().undeclared_variables(true).into_iter().collect();
        names.sort();
        names
    }

    /// Whether there is a filter of this name.
    pub(crate) fn has_filter(name: &str) -> bool {
        let applied = BASE.empty_state().apply_filter(name, &[]);
        !applied.is_err_and(|error| error.kind() == ErrorKind::UnknownFilter)
    }

    /// What it makes of these values, to see whether it makes anything.
    pub(crate) fn probe(&self, scope: &Value) -> Result<(), RenderError> {
        match self.destination {
            Destination::Json => self.json(scope).map(drop),
            Destination::Text | Destination::Header => self.text(scope).map(drop),
            Destination::Path | Destination::Url | Destination::Name => self.render(scope).map(drop),
        }
    }

    /// The JSON value for these values of the scope: of its own type where it is one expression alone, otherwise a
    /// text.
    pub(crate) fn json(&self, scope: &Value) -> Result<serde_json::Value, RenderError> {
        match self.value(scope)? {
            Some(value) => as_json(value),
            None => self.render(scope).map(serde_json::Value::from),
        }
    }

    /// The same for a cell of a table, where an expression may give nothing.
    pub(crate) fn cell(&self, scope: &Value) -> Result<serde_json::Value, RenderError> {
        match self.evaluate(scope)? {
            Some(value) if value.is_undefined() => Ok(serde_json::Value::Null),
            Some(value) => as_json(value),
            None => self.render(scope).map(serde_json::Value::from),
        }
    }

    /// The text for these values, escaped for the destination; `None` where it is one expression that gives `none`.
    pub(crate) fn text(&self, scope: &Value) -> Result<Option<String>, RenderError> {
        match self.value(scope)? {
            Some(value) if value.is_none() => Ok(None),
            _ => self.render(scope).map(Some),
        }
    }

    /// The value of one expression alone.
    fn value(&self, scope: &Value) -> Result<Option<Value>, RenderError> {
        match self.evaluate(scope)? {
            Some(value) if value.is_undefined() => Err(Error::from(ErrorKind::UndefinedError).into()),
            value => Ok(value),
        }
    }

    /// The same, where it may be undefined.
    fn evaluate(&self, scope: &Value) -> Result<Option<Value>, RenderError> {
        if !self.is_expression {
            return Ok(None);
        }
        let template = self.environment.get_template(VALUE).expect("compiled when the template was made");
        let captured = template.render_captured(scope.clone()).map_err(|error| self.shown(error))?;
        Ok(Some(captured.state().lookup(VALUE).unwrap_or_default()))
    }

    /// The engine's details may repeat a value.
    fn shown(&self, error: Error) -> Error {
        if self.secret { Error::from(error.kind()) } else { error }
    }

    /// The text for these values, escaped for the destination.
    pub(crate) fn render(&self, scope: &Value) -> Result<String, RenderError> {
        let text = self.only().render(scope.clone()).map_err(|error| self.shown(error))?;
        match self.destination {
            Destination::Path => match wrong_path(&text) {
                None => Ok(text),
                Some(reason) => Err(RenderError::Unfit(format!("the path `{text}` {reason}"))),
            },
            Destination::Url | Destination::Text | Destination::Json => Ok(text),
            Destination::Header => match text.chars().all(|c| c == ' ' || c.is_ascii_graphic()) {
                true => Ok(text.trim().to_owned()),
                false => Err(RenderError::Unfit("a header's value must be one line of visible ASCII".into())),
            },
            Destination::Name => name(&text),
        }
    }

    fn only(&self) -> minijinja::Template<'_, '_> {
        self.environment.get_template(ONLY).expect("compiled when the template was made")
    }
}

/// What went wrong, without the engine's own names and line numbers.
pub(crate) fn reason(error: &Error) -> String {
    error.detail().map_or_else(|| error.kind().to_string(), str::to_owned)
}

fn as_json(value: Value) -> Result<serde_json::Value, RenderError> {
    let unfit = |_| RenderError::Unfit("the value of an expression cannot be written as JSON".into());
    serde_json::to_value(value).map_err(unfit)
}

fn write_value(destination: Destination, out: &mut Output, value: &Value) -> Result<(), Error> {
    let text = match value.kind() {
        ValueKind::String => Cow::Borrowed(value.as_str().unwrap_or_default()),
        ValueKind::Number => Cow::Owned(value.to_string()),
        ValueKind::Bool => Cow::Borrowed(if value.is_true() { "true" } else { "false" }),
        ValueKind::Undefined => Cow::Borrowed(""),
        ValueKind::None => {
            let message = "there is no value: say what stands for it, such as `row.title or ''`";
            return Err(Error::new(ErrorKind::NonPrimitive, message));
        }
        other => {
            return Err(Error::new(ErrorKind::NonPrimitive, format!("a {other} is no text: name one of its values")));
        }
    };
    match destination {
        Destination::Path if text.is_empty() => {
            Err(Error::new(ErrorKind::InvalidOperation, "an empty value would leave a path segment out"))
        }
        Destination::Path => Ok(write!(out, "{}", utf8_percent_encode(&text, SEGMENT))?),
        Destination::Url | Destination::Text | Destination::Json | Destination::Header | Destination::Name => {
            Ok(out.write_str(&text)?)
        }
    }
}

/// What is between the braces of `{{ … }}`, where the text is nothing else; whether it is one expression its compiler
/// says.
fn expression(source: &str) -> Option<&str> {
    let inner = source.strip_prefix("{{")?.strip_suffix("}}")?;
    // A sign beside the braces is about white space.
    let inner = inner.strip_prefix(['-', '+']).unwrap_or(inner);
    Some(inner.strip_suffix(['-', '+']).unwrap_or(inner).trim())
}

/// Why a path would not mean the same to every server between here and the upstream. Encoding does not make `..`
/// harmless: the URL standard reads `%2E%2E` as `..` too.
fn wrong_path(path: &str) -> Option<String> {
    let allowed = |c: char| c.is_ascii_alphanumeric() || "-._~!$&'()*+,;=:@/%".contains(c);
    if !path.starts_with('/') {
        return Some("must begin with `/`".into());
    }
    if path.contains("//") {
        return Some("has an empty segment".into());
    }
    if path.contains('?') {
        return Some("has a `?`: what follows it belongs in `query`".into());
    }
    if let Some(c) = path.chars().find(|c| !allowed(*c)) {
        return Some(format!("has a character that must be percent-encoded: {c:?}"));
    }
    let elsewhere = |segment: &str| matches!(segment.to_ascii_lowercase().replace("%2e", ".").as_str(), "." | "..");
    path.split('/').any(elsewhere).then(|| "has a segment that leads elsewhere: `.` or `..`".into())
}

/// A text made safe as a part of an object key. Different texts stay different: `%` itself is encoded, and
/// what is too long ends in a hash of the whole.
fn name(text: &str) -> Result<String, RenderError> {
    if text.is_empty() {
        return Err(RenderError::Unfit("the result is empty".into()));
    }
    let mut name = utf8_percent_encode(text, NAME).to_string();
    // A dot at either end could be read as `.`, `..`, a hidden file or the end of the name.
    if name.starts_with('.') {
        name.replace_range(..1, "%2E");
    }
    if name.ends_with('.') {
        name.replace_range(name.len() - 1.., "%2E");
    }
    if name.len() > MAX_NAME_BYTES {
        let hash = &sha256_hex(text.as_bytes())[..16];
        cut_name(&mut name, MAX_NAME_BYTES - hash.len() - 1);
        name = format!("{name}~{hash}");
    }
    Ok(name)
}

/// Cuts a name to at most `most` bytes, and no percent-encoded byte in two.
pub(crate) fn cut_name(name: &mut String, most: usize) {
    if name.len() > most {
        name.truncate(name.floor_char_boundary(most));
        if let Some(cut) = name.rfind('%').filter(|at| at + 3 > name.len()) {
            name.truncate(cut);
        }
    }
}

/// Lower-case ASCII letters, digits and single dashes, whatever the script; `unnamed` where nothing is left.
fn slug(text: &str) -> String {
    let mut slug = slug::slugify(text);
    slug.truncate(MAX_SLUG_BYTES);
    slug.truncate(slug.trim_end_matches('-').len());
    if slug.is_empty() { "unnamed".into() } else { slug }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn render(destination: Destination, source: &str, value: &str) -> Result<String, String> {
        let scope = Value::from_pairs([("x", Value::from_pairs([("y", value)]))]);
        let template = Template::compile(destination, source).map_err(|error| reason(&error))?;
        template.render(&scope).map_err(|error| error.to_string())
    }

    const STRANGE: [&str; 8] =
        ["South Stephen", "a/b\\c", "\"quoted\" & 'so'", "🚌", "Владивосток", "北京", "..", "100%"];

    #[test]
    fn values_stay_within_their_path_segment() {
        let shown = STRANGE.map(|value| match render(Destination::Path, "/c/{{ x.y }}/s", value) {
            Ok(path) => path,
            Err(error) => format!("error: {error}"),
        });
        insta::assert_snapshot!(shown.join("\n"), @r#"
        /c/South%20Stephen/s
        /c/a%2Fb%5Cc/s
        /c/%22quoted%22%20%26%20%27so%27/s
        /c/%F0%9F%9A%8C/s
        /c/%D0%92%D0%BB%D0%B0%D0%B4%D0%B8%D0%B2%D0%BE%D1%81%D1%82%D0%BE%D0%BA/s
        /c/%E5%8C%97%E4%BA%AC/s
        error: the path `/c/../s` has a segment that leads elsewhere: `.` or `..`
        /c/100%25/s
        "#);
    }

    #[test]
    fn values_are_safe_in_keys() {
        let shown = STRANGE.map(|value| render(Destination::Name, "{{ x.y }}", value).unwrap());
        insta::assert_snapshot!(shown.join("\n"), @r#"
        South%20Stephen
        a%2Fb%5Cc
        %22quoted%22%20%26%20%27so%27
        %F0%9F%9A%8C
        %D0%92%D0%BB%D0%B0%D0%B4%D0%B8%D0%B2%D0%BE%D1%81%D1%82%D0%BE%D0%BA
        %E5%8C%97%E4%BA%AC
        %2E%2E
        100%25
        "#);
        assert_eq!(render(Destination::Name, "{{ x.y }}", "v1.5").unwrap(), "v1.5");
    }

    #[test]
    fn query_values_are_left_alone() {
        assert_eq!(render(Destination::Text, "{{ x.y }}", "a b&c=d/{{ x }}").unwrap(), "a b&c=d/{{ x }}");
    }

    #[test]
    fn slugs_are_ascii_and_never_empty() {
        let shown = STRANGE.map(slug).map(|slug| if slug.is_ascii() { slug } else { panic!("{slug}") });
        insta::assert_snapshot!(shown.join("\n"), @r#"
        south-stephen
        a-b-c
        quoted-so
        bus
        vladivostok
        bei-jing
        unnamed
        100
        "#);
        assert_eq!(slug("Saint Kitts and Nevis"), "saint-kitts-and-nevis");
        assert_eq!(slug("--"), "unnamed");
        assert_eq!(slug(&"ab ".repeat(100)).len(), 80);
    }

    #[test]
    fn long_names_are_cut_the_same_way_every_time_and_stay_different() {
        let long = "é".repeat(300);
        let name = render(Destination::Name, "{{ x.y }}", &long).unwrap();
        assert!(name.len() <= MAX_NAME_BYTES && name.starts_with("%C3%A9"), "{name}");
        assert_eq!(name, render(Destination::Name, "{{ x.y }}", &long).unwrap());
        assert_ne!(name, render(Destination::Name, "{{ x.y }}", &format!("{long}x")).unwrap());
    }

    #[test]
    fn what_cannot_be_rendered_says_why() {
        let said = |destination, source, value| render(destination, source, value).unwrap_err();
        insta::assert_snapshot!([
            said(Destination::Path, "/c/{{ x.y }}", ""),
            said(Destination::Path, "/c/{{ x.y }}{{ x.y }}/s", "."),
            said(Destination::Path, "c", ""),
            said(Destination::Path, "/c?x={{ x.y }}", "1"),
            said(Destination::Path, "/c d", ""),
            said(Destination::Path, "//host/{{ x.y }}", "1"),
            said(Destination::Name, "{{ x.y }}", ""),
            said(Destination::Name, "{{ x }}", ""),
            said(Destination::Name, "{{ x.z }}", ""),
            said(Destination::Name, "{{ range(3) }}", ""),
            said(Destination::Name, "{{ x.y", ""),
        ].join("\n"), @r#"
        an empty value would leave a path segment out
        the path `/c/../s` has a segment that leads elsewhere: `.` or `..`
        the path `c` must begin with `/`
        the path `/c?x=1` has a `?`: what follows it belongs in `query`
        the path `/c d` has a character that must be percent-encoded: ' '
        the path `//host/1` has an empty segment
        the result is empty
        a map is no text: name one of its values
        undefined value
        range is unknown
        unexpected end of input, expected end of variable block
        "#);
    }

    #[test]
    fn escaping_cannot_be_switched_off() {
        assert_eq!(render(Destination::Path, "/{{ x.y | safe }}", "a/b").unwrap(), "/a%2Fb");
        let off = "/{% autoescape false %}{{ x.y }}{% endautoescape %}";
        assert_eq!(render(Destination::Path, off, "a/b").unwrap(), "/a%2Fb");
    }

    proptest! {
        #[test]
        fn any_value_gives_a_safe_and_distinct_name(a in ".{1,80}", b in ".{1,80}") {
            let [left, right] = [&a, &b].map(|value| render(Destination::Name, "{{ x.y }}", value).unwrap());
            let safe = |c: char| c.is_ascii_alphanumeric() || "_~=%.-".contains(c);
            prop_assert!(left.chars().all(safe) && left.len() <= MAX_NAME_BYTES && !left.is_empty());
            prop_assert!(!left.starts_with('.') && !left.ends_with('.'));
            prop_assert_eq!(left == right, a == b);
        }

        #[test]
        fn any_value_adds_no_segment(value in ".{0,40}") {
            if let Ok(path) = render(Destination::Path, "/a/{{ x.y }}/b", &value) {
                prop_assert_eq!(path.split('/').count(), 4);
                let decoded = percent_encoding::percent_decode_str(path.split('/').nth(2).unwrap()).decode_utf8().unwrap().into_owned();
                prop_assert_eq!(decoded, value);
            }
        }
    }
}
