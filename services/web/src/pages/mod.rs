//! Pages for people: the layout, the stylesheet and the script of all of them, and the choice between a page and JSON.
//!
//! A page stands beside its route, as a template of what is within `<main>`; [`Pages`] puts the layout around it. Pages
//! load nothing of another host, and hold no inline script or style.

pub(crate) mod assets;
pub(crate) mod negotiation;

use std::{fmt, sync::Arc};

use minijinja::{Environment, UndefinedBehavior, Value, context, value::Serde};
use poem::Request;
use serde::Serialize;

use crate::{Problem, pages::negotiation::prefers_html};

/// The policy of every page: its own stylesheet, script, JSON and forms, and nothing else.
pub(crate) const POLICY: &str = "default-src 'none'; style-src 'self'; script-src 'self'; connect-src 'self'; \
                                 form-action 'self'; base-uri 'none'; frame-ancestors 'none'";

const LAYOUT: &str = "layout.html";
const PROBLEM: &str = "problem.html";

/// The pages of a process. The default has none. Cheap to clone.
#[derive(Clone)]
pub struct Pages(Arc<Shared>);

struct Shared {
    paths: &'static [&'static str],
    nav: &'static [NavEntry],
    key_help: &'static str,
    templates: Environment<'static>,
}

/// An entry of every page's navigation.
#[derive(Debug, Clone, Copy)]
pub struct NavEntry {
    /// What it is called.
    pub label: &'static str,
    /// Where it leads.
    pub href: &'static str,
}

/// What the layout needs to know of a page.
#[derive(Debug, Clone, Copy)]
pub struct Page<'a> {
    /// The template of what is within `<main>`.
    pub template: &'a str,
    /// Its heading.
    pub title: &'a str,
    /// Its path, which the navigation marks.
    pub path: &'a str,
    /// Whether its numbers change: then a script fetches them, and without scripts the page is loaded again.
    pub is_live: bool,
}

impl Default for Pages {
    fn default() -> Self {
        Self::new(&[], &[], "", &[])
    }
}

impl fmt::Debug for Pages {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Pages").field(&self.0.paths).finish()
    }
}

impl Pages {
    /// Pages at these paths, whose problems are pages too. `key_help`: commands that do with an API key what a browser
    /// cannot without. `templates`: names that end in `.html`, and their texts.
    ///
    /// # Panics
    /// Where a template is none: it is a part of the program.
    pub fn new(
        paths: &'static [&'static str],
        nav: &'static [NavEntry],
        key_help: &'static str,
        templates: &[(&'static str, &'static str)],
    ) -> Self {
        let mut environment = Environment::new();
        // A misspelt name is a mistake, not an empty place.
        environment.set_undefined_behavior(UndefinedBehavior::Strict);
        environment.add_filter("grouped", grouped);
        let own = [(LAYOUT, include_str!("layout.html")), (PROBLEM, include_str!("problem.html"))];
        for (name, text) in own.iter().chain(templates) {
            environment.add_template(name, text).expect("a template of the program is valid");
        }
        Self(Arc::new(Shared { paths, nav, key_help, templates: environment }))
    }

    /// A whole page in HTML. Every value of `values` is escaped.
    ///
    /// # Errors
    /// 500 where the template asks for a value that is not there.
    pub fn render(&self, page: Page<'_>, values: impl Serialize) -> Result<String, Problem> {
        let render = |template: &str, values: Value| self.0.templates.get_template(template)?.render(values);
        let content = render(page.template, Serde(values).into()).map_err(Problem::internal)?;
        let layout = context! {
            title => page.title,
            path => page.path,
            is_live => page.is_live,
            nav => self.0.nav.iter().map(nav_entry).collect::<Vec<_>>(),
            stylesheet => address(assets::STYLESHEET.href()),
            script => address(assets::PROGRESS.href()),
            content => Value::from_safe_string(content.trim_end().to_owned()),
        };
        render(LAYOUT, layout).map_err(Problem::internal)
    }

    /// Whether a request is for one of the pages, as a page.
    pub(crate) fn is_page(&self, request: &Request) -> bool {
        let path = request.uri().path();
        self.0.paths.contains(&path.strip_suffix('/').unwrap_or(path)) && prefers_html(request)
    }

    /// A problem as a page; `path` is where it happened.
    pub(crate) fn problem(&self, problem: &Problem, path: &str) -> Result<String, Problem> {
        let page = Page { template: PROBLEM, title: &problem.title, path, is_live: false };
        let values = context! {
            detail => sentence(&problem.detail),
            status => problem.status,
            kind => &problem.kind,
            retry_after => problem.retry_after,
            key_help => self.0.key_help,
        };
        self.render(page, values)
    }
}

fn nav_entry(entry: &NavEntry) -> Value {
    context! { label => entry.label, href => address(entry.href.to_owned()) }
}

/// An address of ours, whose slashes need no escape.
fn address(address: String) -> Value {
    Value::from_safe_string(address)
}

/// A detail as people read it alone.
fn sentence(detail: &str) -> String {
    let mut letters = detail.chars();
    let first = letters.next().map(|first| first.to_uppercase().to_string()).unwrap_or_default();
    let end = if detail.ends_with(['.', '!', '?']) { "" } else { "." };
    format!("{first}{}{end}", letters.as_str())
}

/// `1234567` as `1,234,567`
fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let groups = digits.as_bytes().rchunks(3).rev().map(String::from_utf8_lossy);
    groups.collect::<Vec<_>>().join(",")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_escaped_and_the_layout_stands_around_them() {
        let nav = &[NavEntry { label: "Things", href: "/things" }];
        let pages = Pages::new(&[], nav, "", &[("thing.html", "<p>{{ name }}, {{ size | grouped }}</p>\n")]);
        let page = Page { template: "thing.html", title: "A <thing>", path: "/things", is_live: false };
        let html = pages.render(page, context! { name => "<script>", size => 1_234_567 }).unwrap();
        assert!(html.contains("<h1>A &lt;thing&gt;</h1>\n<p>&lt;script&gt;, 1,234,567</p>\n</main>"), "{html}");
        assert!(html.contains(r#"<a href="/things" aria-current="page">Things</a>"#), "{html}");
        assert!(pages.render(page, context! { name => 1 }).is_err());
    }

    #[test]
    fn digits_are_grouped() {
        let numbers = [0, 999, 1_000, 999_999, 12_345_678];
        assert_eq!(numbers.map(grouped), ["0", "999", "1,000", "999,999", "12,345,678"]);
    }
}
