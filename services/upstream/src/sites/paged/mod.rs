//! A fifth upstream: collections of records, in pages of every kind, with authentication and faults.
//!
//! `GET /paged/{collection}` answers one page, and so does POST with the parameters in a body of JSON or a form;
//! `POST /paged/token` gives a token. What a collection is made of, how it is paged, and what goes wrong with it is
//! configuration: see [`Collection`].

mod auth;
mod body;
mod collection;
mod layout;
mod links;
mod position;
mod record;
mod routes;
mod rules;
mod tokens;

pub use collection::{Auth, Collection, Lead, Paging, PagingFault, Shape, Total, collections};
pub use tokens::{TokenEndpoint, TokenFault};
pub(crate) use {
    auth::{KEY, has_bearer},
    links::{ELSEWHERE, host, other_origin},
    routes::add_to,
    rules::{PageRefusal, PageRequest, PageTurn, Paged},
};
