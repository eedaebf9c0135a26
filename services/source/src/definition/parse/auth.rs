//! `auth` and `hosts`: what requests are given, and where downloads may lead without it.

use url::Url;

use crate::definition::{
    hosts::Hosts,
    model::Auth,
    parse::{
        diagnostic::{Report, quote_all},
        reader::{Node, Table, list, string},
        request::{header_names, named},
    },
    template::{Destination, Template, scope::Scope},
};

const KINDS: [&str; 4] = ["bearer", "basic", "header", "query"];

/// `None` where it was refused. `scope` has no items: credentials are the same for all requests.
pub(crate) fn read(report: &mut Report<'_>, node: Node<'_, '_>, scope: &Scope<'_>) -> Option<Auth> {
    let mut table = Table::open(report, node, "`auth`")?;
    let at = table.at();
    let asked: Vec<_> = KINDS.into_iter().filter_map(|kind| Some((kind, table.optional(kind)?))).collect();
    table.close(report);
    let [(kind, node)] = asked[..] else {
        let help = "such as auth = { bearer = \"{{ env.API_KEY }}\" }";
        report.add_with_help(at, format!("`auth` must have exactly one of {}", quote_all(KINDS)), help);
        return None;
    };
    match kind {
        "bearer" => template(report, node, "`bearer`", scope, Destination::Header).map(Box::new).map(Auth::Bearer),
        "basic" => read_basic(report, node, scope),
        "header" => {
            let entries = Table::open(report, node, "`header`")?.entries();
            header_names(report, &entries);
            let names = ("a header's name", "a header's value");
            Some(Auth::Headers(named(report, &entries, scope, names, Destination::Header)))
        }
        _ => {
            let entries = Table::open(report, node, "`query`")?.entries();
            let names = ("a query parameter's name", "a query value");
            Some(Auth::Query(named(report, &entries, scope, names, Destination::Text)))
        }
    }
}

fn read_basic(report: &mut Report<'_>, node: Node<'_, '_>, scope: &Scope<'_>) -> Option<Auth> {
    let [user, password] = list(report, node, "basic")? else {
        let help = "a user and a password: basic = [\"{{ env.API_USER }}\", \"{{ env.API_PASSWORD }}\"]";
        report.add_with_help(node.span().start, "`basic` must have two texts", help);
        return None;
    };
    let user = template(report, user, "the user", scope, Destination::Text);
    let password = template(report, password, "the password", scope, Destination::Text);
    Some(Auth::Basic(Box::new([user?, password?])))
}

fn template(
    report: &mut Report<'_>,
    node: Node<'_, '_>,
    what: &str,
    scope: &Scope<'_>,
    destination: Destination,
) -> Option<Template> {
    let text = string(report, node, what)?;
    scope.template(report, text, destination)
}

pub(crate) fn read_hosts(report: &mut Report<'_>, node: Node<'_, '_>) -> Hosts {
    let mut hosts = Vec::new();
    for node in list(report, node, "hosts").unwrap_or_default() {
        let Some(text) = string(report, node, "a host") else { continue };
        match text.value.parse() {
            Ok(host) => hosts.push(host),
            Err(()) => {
                let help = "a name such as `files.example.com`, or all below one: `*.s3.amazonaws.com`";
                report.add_with_help(text.at, format!("`{}` is no host", text.value), help);
            }
        }
    }
    Hosts(hosts)
}

/// Warns of credentials that everybody on the way can read.
pub(crate) fn check_base_url(report: &mut Report<'_>, at: usize, base_url: &str) {
    let is_open = Url::parse(base_url).is_ok_and(|url| {
        let is_here = url.host_str().is_some_and(|host| host == "localhost" || host.starts_with("127."));
        url.scheme() == "http" && !is_here
    });
    if is_open {
        let message = "`auth` is sent over http://, where everybody on the way can read it";
        report.warn_with_help(at, message, "let `base_url` begin with https://");
    }
}
