//! `[request]`: what every listing and fetch has where it says nothing else.

use crate::definition::{
    hosts::Hosts,
    parse::{
        diagnostic::Report,
        reader::{Node, Table, Text},
    },
};

/// The defaults, each where it was written, and where requests may lead.
#[derive(Default)]
pub(crate) struct Defaults<'a, 't> {
    pub(crate) base_url: Option<String>,
    pub(crate) hosts: Hosts,
    pub(crate) query: Vec<(Text<'a>, Node<'a, 't>)>,
    pub(crate) headers: Vec<(Text<'a>, Node<'a, 't>)>,
    pub(crate) pagination: Option<Node<'a, 't>>,
    pub(crate) rate: Option<Node<'a, 't>>,
    pub(crate) concurrency: Option<Node<'a, 't>>,
    pub(crate) timeout: Option<Node<'a, 't>>,
}

/// Reads `[request]`. What is wrong with a value is told where a request uses it.
pub(crate) fn read<'a, 't>(report: &mut Report<'_>, mut table: Table<'a, 't>) -> Defaults<'a, 't> {
    let entries = |table: Option<Table<'a, 't>>| table.map_or_else(Vec::new, |table| table.entries());
    let defaults = Defaults {
        query: entries(table.optional_table(report, "query")),
        headers: entries(table.optional_table(report, "headers")),
        pagination: table.optional("pagination"),
        rate: table.optional("rate"),
        concurrency: table.optional("concurrency"),
        timeout: table.optional("timeout"),
        ..Defaults::default()
    };
    table.close(report);
    defaults
}
