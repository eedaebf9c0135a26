//! What was asked for, split into what a definition says of it. Credentials become names of environment variables.

use base64::{Engine as _, engine::general_purpose::STANDARD as BASE64};
use percent_encoding::{AsciiSet, CONTROLS, percent_decode_str, utf8_percent_encode};
use url::{Host, Url};

use crate::{
    Env,
    definition::parse::{request::OWN_HEADERS, shapes::MAX_NAME},
    draft::guess,
};

/// What a path of a definition cannot have as it is, and a URL can.
const PATH: &AsciiSet =
    &CONTROLS.add(b' ').add(b'"').add(b'<').add(b'>').add(b'[').add(b']').add(b'\\').add(b'^').add(b'`').add(b'|');
/// Parts of a name that say that a value is a credential.
const SECRET: [&str; 8] = ["key", "token", "secret", "appid", "password", "signature", "credential", "session"];
/// Labels of a host that say nothing of whose it is.
const PUBLIC: [&str; 6] = ["co", "com", "org", "gov", "ac", "net"];

/// A request as somebody gave it to be drafted from.
#[derive(Debug)]
pub struct Asked {
    pub(crate) name: String,
    pub(crate) base_url: String,
    pub(crate) path: String,
    /// What is no credential.
    pub(crate) query: Vec<(String, String)>,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) auth: Option<AuthDraft>,
    /// Credentials that `auth` has no room for, as templates.
    pub(crate) more_headers: Vec<(String, String)>,
    pub(crate) more_query: Vec<(String, String)>,
    env: Env,
}

/// `auth`, its values as templates.
#[derive(Debug)]
pub(crate) enum AuthDraft {
    Bearer(String),
    Basic([String; 2]),
    Headers(Vec<(String, String)>),
    Query(Vec<(String, String)>),
}

/// Why nothing can be drafted of a request. No value is in it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AskedError {
    /// Not of HTTP.
    #[error("the address must begin with http:// or https://, and name a host")]
    NoHttp,
    /// A path that definitions cannot have.
    #[error("the path of the address has an empty segment (`//`), which a definition cannot have")]
    Path,
    /// A name that sources cannot have.
    #[error("`{0}` cannot be the name of a source: a letter, then letters, digits and `-`, lower-case, at most 63")]
    Name(String),
}

impl Asked {
    /// Splits an address and headers. `name` is that of the source; by default the host says it.
    pub fn new(url: &Url, headers: &[(String, String)], name: Option<&str>) -> Result<Self, AskedError> {
        if !matches!(url.scheme(), "http" | "https") || !url.has_host() {
            return Err(AskedError::NoHttp);
        }
        if url.path().contains("//") {
            return Err(AskedError::Path);
        }
        let name = match name {
            Some(name) if is_name(name) => name.to_owned(),
            Some(name) => return Err(AskedError::Name(name.to_owned())),
            None => name_of(url),
        };
        let mut asked = Self {
            name,
            base_url: url.origin().ascii_serialization(),
            path: utf8_percent_encode(url.path(), PATH).to_string(),
            query: Vec::new(),
            headers: Vec::new(),
            auth: None,
            more_headers: Vec::new(),
            more_query: Vec::new(),
            env: Env::new(),
        };
        asked.take_user(url);
        for (name, value) in headers.iter().filter(|(name, _)| !is_own(name)) {
            asked.take_header(name, value);
        }
        for (name, value) in url.query_pairs().filter(|(name, _)| !name.is_empty()) {
            asked.take_query(&name, &value);
        }
        Ok(asked)
    }

    /// Of the source.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The credentials, by the names that the draft gives them.
    pub fn env(&self) -> &Env {
        &self.env
    }

    /// A user and a password before the host.
    fn take_user(&mut self, url: &Url) {
        if !url.username().is_empty() || url.password().is_some() {
            let decoded = |text: &str| percent_decode_str(text).decode_utf8_lossy().into_owned();
            self.take_basic(&decoded(url.username()), &decoded(url.password().unwrap_or_default()));
        }
    }

    fn take_basic(&mut self, user: &str, password: &str) {
        // A variable that is empty counts as not set.
        let one = |asked: &mut Self, word: &str, value: &str| match value {
            "" => String::new(),
            value => asked.variable(word, value),
        };
        let word = if password.is_empty() { "KEY" } else { "USER" };
        let pair = [one(self, word, user), one(self, "PASSWORD", password)];
        self.auth = Some(AuthDraft::Basic(pair));
    }

    fn take_header(&mut self, name: &str, value: &str) {
        let is_authorization = name.eq_ignore_ascii_case("authorization");
        if is_authorization && self.auth.is_none() {
            let (scheme, rest) = value.split_once(' ').unwrap_or_default();
            match scheme.to_ascii_lowercase().as_str() {
                "bearer" => {
                    let token = self.variable("KEY", rest.trim());
                    self.auth = Some(AuthDraft::Bearer(token));
                    return;
                }
                "basic" => {
                    let pair = BASE64.decode(rest.trim()).ok().and_then(|pair| String::from_utf8(pair).ok());
                    if let Some((user, password)) = pair.as_ref().and_then(|pair| pair.split_once(':')) {
                        self.take_basic(user, password);
                        return;
                    }
                }
                _ => {}
            }
        }
        if !(is_authorization || name.eq_ignore_ascii_case("cookie") || is_secret(name)) {
            self.headers.push((name.to_owned(), value.to_owned()));
            return;
        }
        let (before, secret) = match value.split_once(' ') {
            Some((scheme, rest)) if is_authorization && scheme.bytes().all(|byte| byte.is_ascii_alphabetic()) => {
                (format!("{scheme} "), rest)
            }
            _ => (String::new(), value),
        };
        let word = if is_authorization || self.env.is_empty() { "KEY" } else { name };
        let template = format!("{before}{}", self.variable(word, secret));
        match &mut self.auth {
            None => self.auth = Some(AuthDraft::Headers(vec![(name.to_owned(), template)])),
            Some(AuthDraft::Headers(headers)) => headers.push((name.to_owned(), template)),
            Some(_) => self.more_headers.push((name.to_owned(), template)),
        }
    }

    fn take_query(&mut self, name: &str, value: &str) {
        if value.is_empty() || guess::is_cursor(name) || !is_secret(name) {
            self.query.push((name.to_owned(), value.to_owned()));
            return;
        }
        let word = if self.env.is_empty() { "KEY" } else { name };
        let template = self.variable(word, value);
        match &mut self.auth {
            None => self.auth = Some(AuthDraft::Query(vec![(name.to_owned(), template)])),
            Some(AuthDraft::Query(query)) => query.push((name.to_owned(), template)),
            Some(_) => self.more_query.push((name.to_owned(), template)),
        }
    }

    /// The template of a variable for a credential.
    fn variable(&mut self, word: &str, value: &str) -> String {
        let upper = |c: char| if c.is_ascii_alphanumeric() { c.to_ascii_uppercase() } else { '_' };
        let mut name: String = format!("{}_{word}", self.name).chars().map(upper).collect();
        while self.env.get(&name).is_some_and(|other| other != value) {
            name.push_str("_2");
        }
        self.env.insert(name.clone(), value.to_owned());
        format!("{{{{ env.{name} }}}}")
    }
}

/// Whether the name of a header or a query parameter says that its value is a credential.
pub(crate) fn is_secret(name: &str) -> bool {
    let plain = guess::plain(name);
    !plain.contains("keyword") && SECRET.iter().any(|word| plain.contains(word))
}

/// Set by whoever sends requests.
fn is_own(name: &str) -> bool {
    OWN_HEADERS.iter().any(|own| own.eq_ignore_ascii_case(name))
}

fn is_name(name: &str) -> bool {
    name.len() <= MAX_NAME
        && name.starts_with(|c: char| c.is_ascii_lowercase())
        && name.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-')
}

/// What names the owner of a host; where that is an address, what was asked for.
fn name_of(url: &Url) -> String {
    let labels: Vec<&str> = match url.host() {
        Some(Host::Domain(host)) => host.trim_end_matches('.').split('.').collect(),
        _ => Vec::new(),
    };
    let label = match labels.as_slice() {
        [.., owner, second, _] if PUBLIC.contains(second) => (*owner).to_owned(),
        [.., owner, _] => (*owner).to_owned(),
        _ => last_segment(url.path()),
    };
    let mut name = slug::slugify(label);
    if !name.starts_with(|c: char| c.is_ascii_lowercase()) {
        name.insert_str(0, "source-");
    }
    name.truncate(MAX_NAME);
    name.trim_end_matches('-').to_owned()
}

/// The last segment of a path, as a name: `stats` of `/cities/0/stats.json`.
pub(crate) fn last_segment(path: &str) -> String {
    let segment = path.rsplit('/').find(|segment| !segment.is_empty()).unwrap_or_default();
    let segment = percent_decode_str(segment).decode_utf8_lossy().into_owned();
    let stem = segment.split_once('.').map_or(segment.as_str(), |(stem, _)| stem);
    let slug = slug::slugify(stem);
    if slug.is_empty() { "all".to_owned() } else { slug }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(url: &str, headers: &[(&str, &str)]) -> Asked {
        let headers: Vec<_> = headers.iter().map(|(name, value)| ((*name).into(), (*value).into())).collect();
        Asked::new(&Url::parse(url).unwrap(), &headers, None).unwrap()
    }

    #[test]
    fn credentials_become_names() {
        let shown = |url: &str, headers: &[(&str, &str)]| {
            let asked = asked(url, headers);
            let query: Vec<_> = asked.query.iter().chain(&asked.more_query).collect();
            format!("{} {:?} {query:?} {:?} {:?}", asked.name, asked.auth, asked.headers, asked.env)
        };
        let basic = ("Authorization", "Basic dTpwOnE=");
        insta::assert_snapshot!([
            shown("https://api.github.com/x?page=1", &[("authorization", "bearer abc"), ("Accept", "a/b"), ("Host", "c")]),
            shown("https://api.x.co.uk/x?keyword=a&page_token=b&app_id=c&X-Secret=d", &[]),
            shown("https://x.org", &[basic, ("X-Api-Key", "k")]),
            shown("http://127.0.0.1:8000/v1/7stats.json?api-key=k", &[("Authorization", "token t")]),
            shown("https://sk_1:@api.stripe.com/v1/charges", &[]),
        ].join("\n"), @r#"
        github Some(Bearer("{{ env.GITHUB_KEY }}")) [("page", "1")] [("Accept", "a/b")] {"GITHUB_KEY": "abc"}
        x Some(Query([("app_id", "{{ env.X_KEY }}"), ("X-Secret", "{{ env.X_X_SECRET }}")])) [("keyword", "a"), ("page_token", "b")] [] {"X_KEY": "c", "X_X_SECRET": "d"}
        x Some(Basic(["{{ env.X_USER }}", "{{ env.X_PASSWORD }}"])) [] [] {"X_PASSWORD": "p:q", "X_USER": "u", "X_X_API_KEY": "k"}
        source-7stats Some(Headers([("Authorization", "token {{ env.SOURCE_7STATS_KEY }}")])) [("api-key", "{{ env.SOURCE_7STATS_API_KEY }}")] [] {"SOURCE_7STATS_API_KEY": "k", "SOURCE_7STATS_KEY": "t"}
        stripe Some(Basic(["{{ env.STRIPE_KEY }}", ""])) [] [] {"STRIPE_KEY": "sk_1"}
        "#);
    }
}
