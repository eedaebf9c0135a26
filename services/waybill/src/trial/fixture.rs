//! Answers in a folder, a file for each request: a definition can be tried on them without a network, and without
//! credentials, of which none is in there.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::{Context as _, bail};
use base64::{Engine as _, engine::general_purpose::STANDARD as BASE64};
use reqwest::Url;
use serde::{Deserialize, Serialize};

use crate::trial::{
    client::{Answer, MAX_BODY, Sent},
    mask::Mask,
};

/// What of an answer's head a definition can read: that of pages and limits. Never a credential.
const KEPT: [&str; 5] = ["content-type", "link", "retry-after", "date", "last-modified"];
/// How other headers that are kept begin.
const KEPT_PREFIXES: [&str; 4] = ["x-ratelimit", "ratelimit", "x-total", "x-next"];
/// Names all that was saved in one go.
const ABOUT: &str = "fixture.json";
/// The largest file: [`MAX_BODY`] in Base64, and what is around it.
const MAX_FILE: u64 = 2 * MAX_BODY as u64;

/// A folder.
#[derive(Debug)]
pub(crate) struct Fixture {
    folder: PathBuf,
    about: About,
    /// Files so far.
    count: usize,
    exchanges: Vec<Exchange>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
struct About {
    source: String,
    /// The day on which it was saved: what `job.date` was.
    date: String,
    base_url: String,
}

/// One request and its answer.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Exchange {
    method: String,
    url: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    sent: Option<String>,
    status: u16,
    headers: BTreeMap<String, String>,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    is_cut: bool,
    body: Body,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Body {
    Text(String),
    Base64(String),
}

impl Fixture {
    /// A folder to save in, which is made if it is not there.
    pub(crate) fn create(folder: &Path, source: &str, date: &str, base_url: &str) -> anyhow::Result<Self> {
        let context = || format!("--save {}", folder.display());
        fs::create_dir_all(folder).with_context(context)?;
        if fs::read_dir(folder).with_context(context)?.next().is_some() {
            bail!(
                "--save {}: the folder is not empty; name a new one, so that nothing of two runs is mixed",
                folder.display()
            );
        }
        let about = About { source: source.to_owned(), date: date.to_owned(), base_url: base_url.to_owned() };
        fs::write(folder.join(ABOUT), serde_json::to_string_pretty(&about)? + "\n").with_context(context)?;
        Ok(Self { folder: folder.to_owned(), about, count: 0, exchanges: Vec::new() })
    }

    /// What was saved in a folder.
    pub(crate) fn open(folder: &Path) -> anyhow::Result<Self> {
        let context = || format!("--replay {}", folder.display());
        let read = |path: &Path| {
            let size = fs::metadata(path).with_context(context)?.len();
            if size > MAX_FILE {
                bail!("{}: a saved answer has at most {MAX_FILE} bytes", path.display());
            }
            fs::read_to_string(path).with_context(|| path.display().to_string())
        };
        let about = serde_json::from_str(&read(&folder.join(ABOUT))?)
            .with_context(|| folder.join(ABOUT).display().to_string())?;
        let mut paths = Vec::new();
        for entry in fs::read_dir(folder).with_context(context)? {
            let path = entry.with_context(context)?.path();
            let is_exchange = path.file_name().is_some_and(|name| name != ABOUT);
            if is_exchange && path.extension().is_some_and(|extension| extension == "json") {
                paths.push(path);
            }
        }
        paths.sort();
        let mut exchanges = Vec::new();
        for path in &paths {
            exchanges.push(serde_json::from_str(&read(path)?).with_context(|| path.display().to_string())?);
        }
        Ok(Self { folder: folder.to_owned(), about, count: paths.len(), exchanges })
    }

    pub(crate) fn date(&self) -> &str {
        &self.about.date
    }

    pub(crate) fn base_url(&self) -> &str {
        &self.about.base_url
    }

    /// Writes an answer down, without credentials.
    pub(crate) fn save(&mut self, sent: &Sent, answer: &Answer, mask: &Mask) -> anyhow::Result<()> {
        let is_kept = |name: &str| KEPT.contains(&name) || KEPT_PREFIXES.iter().any(|prefix| name.starts_with(prefix));
        let headers = answer.headers.iter().filter(|(name, _)| is_kept(name));
        let body = mask.bytes(&answer.body);
        let exchange = Exchange {
            method: sent.method.to_string(),
            url: mask.text(sent.url.as_str()),
            sent: sent.body.as_deref().map(|body| mask.text(body)),
            status: answer.status,
            headers: headers.map(|(name, value)| (name.clone(), mask.text(value))).collect(),
            is_cut: answer.is_cut,
            body: String::from_utf8(body)
                .map_or_else(|error| Body::Base64(BASE64.encode(error.into_bytes())), Body::Text),
        };
        self.count += 1;
        let segment: String = sent.url.path().rsplit('/').find(|it| !it.is_empty()).unwrap_or("root").to_owned();
        let is_plain = |c: &char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
        let segment: String = mask.text(&segment).chars().filter(is_plain).take(40).collect();
        let path = self.folder.join(format!("{:03}-{segment}.json", self.count));
        fs::write(&path, serde_json::to_string_pretty(&exchange)? + "\n").with_context(|| path.display().to_string())
    }

    /// The answer to a request, which has to be the same but for credentials.
    pub(crate) fn find(&self, sent: &Sent, mask: &Mask) -> anyhow::Result<Answer> {
        let (url, body) = (mask.text(sent.url.as_str()), sent.body.as_deref().map(|body| mask.text(body)));
        let is_this = |it: &&Exchange| it.method == sent.method.as_str() && it.url == url && it.sent == body;
        let Some(found) = self.exchanges.iter().find(is_this) else {
            bail!(
                "the fixture {} has no answer to this request, only to {} others; make it again with --save",
                self.folder.display(),
                self.exchanges.len()
            );
        };
        let body = match &found.body {
            Body::Text(text) => text.clone().into_bytes(),
            Body::Base64(text) => BASE64.decode(text).context("a saved body is no Base64")?,
        };
        Ok(Answer {
            status: found.status,
            headers: found.headers.clone(),
            url: Url::parse(sent.url.as_str())?,
            body,
            is_cut: found.is_cut,
            took: Duration::ZERO,
        })
    }
}
