//! What a request for a page meets: its credentials, faults, and cursors that expire.

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
};

use poem::http::HeaderMap;
use tokio::time::Instant;

use super::{
    auth,
    collection::{Auth, Collection, Paging, PagingFault},
    layout::Layout,
    position::Position,
    tokens::{TokenEndpoint, Tokens},
};
use crate::{Changes, Options};

/// The collections, the tokens, and what happened to them so far.
#[derive(Debug)]
pub(crate) struct Paged {
    seed: u64,
    collections: BTreeMap<String, Entry>,
    endpoint: TokenEndpoint,
    tokens: Tokens,
}

#[derive(Debug)]
struct Entry {
    collection: Arc<Collection>,
    /// How often each fault has struck.
    struck: Vec<u64>,
    /// Since the last request without a cursor.
    cursor_uses: u64,
    expired: bool,
}

/// What of a request decides about the page.
#[derive(Debug)]
pub(crate) struct PageRequest<'a> {
    pub(crate) collection: &'a str,
    pub(crate) headers: &'a HeaderMap,
    pub(crate) query: &'a HashMap<String, String>,
    /// Whether it comes where no credentials are expected.
    pub(crate) elsewhere: bool,
}

/// The page that a request gets.
#[derive(Debug)]
pub(crate) struct PageTurn {
    pub(crate) collection: Arc<Collection>,
    pub(crate) layout: Layout,
    pub(crate) position: Position,
    /// 0 is the list of all pages.
    pub(crate) number: u64,
    /// Why it gets no page.
    pub(crate) fault: Option<(u16, u64)>,
    /// Whether the connection drops in the middle.
    pub(crate) cut: bool,
}

/// Why a request does not come as far as a page.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum PageRefusal {
    /// 404.
    Unknown,
    /// 401: which credentials it expects.
    Credentials(Auth),
    /// 400: which parameter is wrong.
    Wrong(&'static str),
}

impl Paged {
    pub(crate) fn new(options: &Options) -> Self {
        let mut paged = Self {
            seed: options.seed,
            collections: BTreeMap::new(),
            endpoint: options.token_endpoint,
            tokens: Tokens::default(),
        };
        paged.set(&options.collections);
        paged
    }

    /// Takes over what is named. What happened to the other collections still counts, and tokens stay good.
    pub(crate) fn change(&mut self, changes: &Changes) {
        self.set(&changes.collections);
        self.endpoint = changes.token_endpoint.unwrap_or(self.endpoint);
    }

    fn set(&mut self, collections: &BTreeMap<String, Collection>) {
        for (name, collection) in collections {
            let struck = vec![0; collection.faults.len()];
            let entry = Entry { collection: Arc::new(collection.clone()), struck, cursor_uses: 0, expired: false };
            self.collections.insert(name.clone(), entry);
        }
    }

    pub(crate) fn endpoint(&self) -> TokenEndpoint {
        self.endpoint
    }

    pub(crate) fn token(&mut self) -> String {
        self.tokens.give(self.seed, self.endpoint, Instant::now())
    }

    /// What a request meets.
    pub(crate) fn ask(&mut self, request: &PageRequest<'_>) -> Result<PageTurn, PageRefusal> {
        let Self { seed, collections, tokens, .. } = self;
        let entry = collections.get_mut(request.collection).ok_or(PageRefusal::Unknown)?;
        let collection = entry.collection.clone();
        if !request.elsewhere && !knows(collection.auth, request, tokens) {
            return Err(PageRefusal::Credentials(collection.auth));
        }
        let layout = Layout::of(&collection);
        let position = Position::of(*seed, &collection, &layout, request.query).map_err(PageRefusal::Wrong)?;
        let lists = collection.paging == Paging::List && !request.query.contains_key("part");
        let number = if lists { 0 } else { position.number() };
        let (fault, cut) = entry.strike(&position, number);
        Ok(PageTurn { collection, layout, position, number, fault, cut })
    }
}

impl Entry {
    /// A status and what `Retry-After` says; whether the connection drops.
    fn strike(&mut self, position: &Position, number: u64) -> (Option<(u16, u64)>, bool) {
        if position.by_cursor {
            self.cursor_uses += 1;
        } else {
            (self.cursor_uses, self.expired) = (0, false);
        }
        let mut cut = false;
        for (fault, struck) in self.collection.faults.iter().zip(&mut self.struck) {
            match fault {
                PagingFault::Cut { page, times } if *page == number && *struck < *times => {
                    *struck += 1;
                    cut = true;
                }
                PagingFault::Status { page, status, retry_after, times } if *page == number && *struck < *times => {
                    *struck += 1;
                    return (Some((*status, *retry_after)), false);
                }
                PagingFault::ExpiredCursors { after, status, times } if position.by_cursor => {
                    if !self.expired && self.cursor_uses > *after && *struck < *times {
                        *struck += 1;
                        self.expired = true;
                    }
                    if self.expired {
                        return (Some((*status, 0)), false);
                    }
                }
                _ => {}
            }
        }
        (None, cut)
    }
}

fn knows(auth: Auth, request: &PageRequest<'_>, tokens: &mut Tokens) -> bool {
    match auth {
        Auth::None => true,
        Auth::Bearer => auth::has_bearer(request.headers),
        Auth::Basic => auth::has_basic(request.headers),
        Auth::Header => auth::has_header(request.headers),
        Auth::Query => auth::has_query(request.query),
        Auth::Token => auth::bearer(request.headers).is_some_and(|token| tokens.take(token, Instant::now())),
    }
}
