//! SendGrid's export of contacts: begun with POST, looked at until it is ready, and downloaded from another host.
//!
//! `POST /sendgrid/v3/marketing/contacts/exports`, `GET /sendgrid/v3/marketing/contacts/exports/{id}`, and three files
//! of CSV, compressed with gzip. Their addresses are signed, and like S3 they are refused to requests with
//! credentials of another kind.

use std::{collections::VecDeque, fmt::Write as _, io::Write as _, sync::Arc};

use flate2::{Compression, write::GzEncoder};
use poem::{
    Body, Request, Response, Route, get, handler,
    http::{StatusCode, header},
    post,
    web::{Data, Path},
};
use serde_json::json;

use super::{Refusal, asked, key_as_bearer, not_found, say, wrong};
use crate::{
    files::mix::{Use, mix},
    sites::paged::{ELSEWHERE, host, other_origin},
    state::State,
};

const PATH: &str = "/sendgrid/v3/marketing/contacts/exports";
/// The largest body, in bytes.
const LARGEST: usize = 1 << 16;
/// So many exports are known; a further one ends the oldest.
const MOST: usize = 1_000;
const FILES: u64 = 3;
const CONTACTS_OF_A_FILE: u64 = 100;

pub(super) fn add_to(route: Route) -> Route {
    route
        .at(PATH, post(begin))
        .at("/sendgrid/v3/marketing/contacts/exports/:id", get(look))
        .at("/elsewhere/sendgrid/:file", get(download))
}

/// The exports that were begun, and which of them were looked at.
#[derive(Debug, Default)]
pub(crate) struct Exports {
    begun: u64,
    looked_at: VecDeque<(u64, bool)>,
}

impl Exports {
    /// The number of a new one.
    pub(crate) fn begin(&mut self) -> u64 {
        self.begun += 1;
        self.looked_at.truncate(MOST - 1);
        self.looked_at.push_front((self.begun, false));
        self.begun
    }

    /// Whether it is ready, which it is from the second look on; none for one that is not known.
    pub(crate) fn look(&mut self, number: u64) -> Option<bool> {
        let (_, looked_at) = self.looked_at.iter_mut().find(|(known, _)| *known == number)?;
        Some(std::mem::replace(looked_at, true))
    }
}

#[handler]
async fn begin(state: Data<&Arc<State>>, request: &Request, body: Body) -> Response {
    asked(&state, request).await;
    // What it says is of no interest; read so that the connection can be used again.
    if body.into_bytes_limit(LARGEST).await.is_err() {
        return wrong("a smaller body").response();
    }
    if let Err(refusal) = key_as_bearer(request.headers()) {
        return refusal.response();
    }
    state.counters.page_asked(PATH, 1);
    let id = format!("export-{}", state.begin_export());
    let mut response = say(&json!({ "id": id }));
    response.set_status(StatusCode::ACCEPTED);
    response
}

#[handler]
async fn look(state: Data<&Arc<State>>, Path(id): Path<String>, request: &Request) -> Response {
    asked(&state, request).await;
    let answer = || {
        key_as_bearer(request.headers())?;
        let number = id.strip_prefix("export-").and_then(|number| number.parse().ok());
        let ready = number.and_then(|number| state.look_at_export(number));
        let ready = ready.ok_or_else(|| not_found(&format!("export {id:?}")))?;
        state.counters.page_asked(request.uri().path(), 1);
        if !ready {
            return Ok(say(&json!({ "id": id, "status": "pending" })));
        }
        let origin = other_origin(host(request));
        let url = |file| format!("{origin}{ELSEWHERE}/sendgrid/{id}-{file}.csv.gz?signature={:016x}", signature(file));
        let urls: Vec<_> = (1..=FILES).map(url).collect();
        Ok(say(&json!({ "id": id, "status": "ready", "urls": urls, "contact_count": FILES * CONTACTS_OF_A_FILE })))
    };
    answer().unwrap_or_else(Refusal::response)
}

#[handler]
async fn download(state: Data<&Arc<State>>, Path(name): Path<String>, request: &Request) -> Response {
    let query = asked(&state, request).await;
    let answer = || {
        if request.headers().contains_key(header::AUTHORIZATION) {
            state.counters.leaked();
            return Err(wrong("one kind of credentials: the signature in the query"));
        }
        let file = name.strip_suffix(".csv.gz").and_then(|name| name.rsplit_once('-')?.1.parse().ok());
        let file =
            file.filter(|file| (1..=FILES).contains(file)).ok_or_else(|| not_found(&format!("file {name:?}")))?;
        if query.get("signature") != Some(&format!("{:016x}", signature(file))) {
            return Err(Refusal { status: StatusCode::FORBIDDEN, detail: "the signature is wrong".to_owned() });
        }
        state.counters.page_asked(request.uri().path(), file);
        Ok(Response::builder().content_type("application/gzip").body(contacts(state.options.seed, file)))
    };
    answer().unwrap_or_else(Refusal::response)
}

fn signature(file: u64) -> u64 {
    mix(Use::Token, &[file])
}

/// The contacts of a file, compressed: the same in every export.
fn contacts(seed: u64, file: u64) -> Vec<u8> {
    let mut text = "CONTACT_ID,EMAIL,FIRST_NAME\n".to_owned();
    for number in (file - 1) * CONTACTS_OF_A_FILE..file * CONTACTS_OF_A_FILE {
        let id = mix(Use::Contact, &[seed, number]);
        writeln!(text, "{id:016x},contact-{number}@example.com,\"Ada, the {number}th\"")
            .expect("writing to a String does not fail");
    }
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(text.as_bytes()).and_then(|()| encoder.finish()).expect("writing to a Vec does not fail")
}
