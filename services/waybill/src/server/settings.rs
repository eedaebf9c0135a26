//! Settings of a server: defaults, then the file, then WAYBILL_* variables, then flags.

use std::{collections::HashMap, path::PathBuf};

use anyhow::{Context, bail};
use figment::{
    Figment,
    error::Kind,
    providers::{Env, Format, Serialized, Toml},
};
use serde::{Deserialize, Deserializer};
use waybill_web::KeySettings;

use crate::{cli::ServerFlags, server::listen_address::ListenAddress};

/// Where things are. What is `None` is embedded, where a target allows that.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Settings {
    #[serde(default = "default_listen")]
    pub(crate) listen: ListenAddress,
    pub(crate) data: PathBuf,
    pub(crate) sources: Option<PathBuf>,
    #[serde(default, deserialize_with = "base_urls")]
    pub(crate) base_url: HashMap<String, String>,
    #[serde(default = "default_s3_listen")]
    pub(crate) s3_listen: ListenAddress,
    pub(crate) s3_bucket: Option<String>,
    pub(crate) amqp_url: Option<Secret>,
    /// Who may ask; without any, everybody may. Only in the settings file.
    #[serde(default)]
    pub(crate) keys: Vec<KeySettings>,
    /// Whether it is meant that everybody may, also from other machines.
    #[serde(default)]
    pub(crate) no_auth: bool,
    pub(crate) tls_cert: Option<PathBuf>,
    pub(crate) tls_key: Option<PathBuf>,
    /// Whether requests are counted by path.
    #[serde(default = "yes")]
    pub(crate) hits: bool,
}

/// A string that is never printed.
#[derive(Clone, Deserialize)]
#[serde(transparent)]
pub(crate) struct Secret(pub(crate) String);

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("…")
    }
}

/// The names a variable may have after WAYBILL_; others (WAYBILL_URL, WAYBILL_LOG) are not settings.
const NAMES: [&str; 11] = [
    "listen",
    "data",
    "sources",
    "base_url",
    "s3_listen",
    "s3_bucket",
    "amqp_url",
    "no_auth",
    "tls_cert",
    "tls_key",
    "hits",
];

impl Settings {
    /// Reads them all; the first that cannot be read is refused by name.
    pub(crate) fn load(flags: &ServerFlags) -> anyhow::Result<Self> {
        let mut figment = Figment::from(Serialized::default("data", "data"));
        let file = flags.config.clone().or_else(|| std::env::var_os("WAYBILL_CONFIG").map(PathBuf::from));
        let name = file.as_ref().map(|file| file.display().to_string()).unwrap_or_default();
        if let Some(file) = file {
            // Read here, since figment takes a missing file for an empty one.
            let text = std::fs::read_to_string(&file).with_context(|| format!("settings file {name}"))?;
            // Parsed here first, since the error of figment's parser shows the line, which may hold a password.
            toml::from_str::<toml::Table>(&text).map_err(|error| not_toml(&name, &text, &error))?;
            figment = figment.merge(Toml::string(&text));
        }
        let env = Env::prefixed("WAYBILL_").only(&NAMES).filter_map(|name| Some(name.into())).lowercase(true);
        let settings = figment.merge(env).merge(Serialized::defaults(flags)).extract();
        let settings: Self = settings.map_err(|error| readable(&error, &name))?;
        for (source, url) in &settings.base_url {
            check_base_url(source, url)?;
        }
        Ok(settings)
    }
}

fn yes() -> bool {
    true
}

/// Where HTTP is served unless a setting says otherwise.
pub(crate) fn default_listen() -> ListenAddress {
    ListenAddress::default_port(8080)
}

/// Where the embedded S3 is served unless a setting says otherwise.
pub(crate) fn default_s3_listen() -> ListenAddress {
    ListenAddress::default_port(9000)
}

/// `settings file waybill.toml, line 3: …`
fn not_toml(name: &str, text: &str, error: &toml::de::Error) -> anyhow::Error {
    let before = error.span().and_then(|span| text.get(..span.start)).unwrap_or_default();
    let line = before.matches('\n').count() + 1;
    anyhow::anyhow!("settings file {name}, line {line}: expected TOML: {}", error.message())
}

/// `setting `listen` (`WAYBILL_LISTEN` environment variable): …`
fn readable(error: &figment::Error, file: &str) -> anyhow::Error {
    let name = error.path.join(".");
    let from = error.metadata.as_ref().map(|metadata| match &*metadata.name {
        "TOML source string" => format!(" ({file})"),
        other => format!(" (from {other})"),
    });
    let from = from.unwrap_or_default();
    if let Kind::UnknownField(_, expected) = &error.kind {
        let known = expected.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ");
        return anyhow::anyhow!("setting `{name}`{from}: there is none of this name; expected one of {known}");
    }
    if name.is_empty() {
        anyhow::anyhow!("settings{from}: {}", error.kind)
    } else if name == "amqp_url" {
        // The value may hold a password, and figment would quote it.
        anyhow::anyhow!("setting `amqp_url`{from}: expected a URL such as amqp://user:password@host/vhost")
    } else {
        anyhow::anyhow!("setting `{name}`{from}: {}", error.kind)
    }
}

fn check_base_url(source: &str, url: &str) -> anyhow::Result<()> {
    let parsed = reqwest::Url::parse(url).ok().filter(|url| matches!(url.scheme(), "http" | "https"));
    let Some(parsed) = parsed.filter(|url| url.has_host()) else {
        bail!("setting `base_url` of `{source}`: expected an address such as http://127.0.0.1:8000, found {url:?}");
    };
    if !parsed.username().is_empty() || parsed.password().is_some() || parsed.query().is_some() {
        bail!("setting `base_url` of `{source}`: expected an address without credentials and query");
    }
    Ok(())
}

/// Three spellings: a table in the file, `buses=http://…,other=http://…` in the environment, a list of
/// `buses=http://…` from flags.
fn base_urls<'de, D: Deserializer<'de>>(deserializer: D) -> Result<HashMap<String, String>, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged, expecting = "expected SOURCE=URL, such as buses=http://127.0.0.1:8000")]
    enum Spelling {
        Table(HashMap<String, String>),
        Text(String),
        List(Vec<String>),
    }
    let pairs = match Spelling::deserialize(deserializer)? {
        Spelling::Table(table) => return Ok(table),
        Spelling::Text(text) => text.split(',').map(|pair| pair.trim().to_owned()).collect(),
        Spelling::List(list) => list,
    };
    pairs
        .iter()
        .filter(|pair| !pair.is_empty())
        .map(|pair| {
            let (source, url) = pair.split_once('=').ok_or_else(|| {
                serde::de::Error::custom(format!(
                    "expected SOURCE=URL, such as buses=http://127.0.0.1:8000, found {pair:?}"
                ))
            })?;
            Ok((source.trim().to_owned(), url.trim().to_owned()))
        })
        .collect()
}
