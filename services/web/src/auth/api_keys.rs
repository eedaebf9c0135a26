//! API keys as the settings have them: names, scopes, rates and hashes. A key itself is nowhere but in the
//! request that presents it, and must never be logged, stored or repeated.

use std::{
    collections::BTreeSet,
    fmt,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use jiff::SignedDuration;
use serde::Deserialize;
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

use crate::{auth::token_bucket::Bucket, quoted};

/// What every key begins with, so that people and secret scanners know one when they see it.
const PREFIX: &str = "wb_";

/// Random bytes of a key.
const KEY_BYTES: usize = 32;

/// Bytes of its SHA-256.
const HASH_BYTES: usize = 32;

/// Letters of a name, which goes into logs and jobs.
const NAME_LENGTH: usize = 64;

/// One `[[keys]]` of the settings file, not checked yet.
#[derive(Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct KeySettings {
    /// Who it is; shown in logs and jobs.
    pub name: String,
    /// `submit`, `read`, `admin`.
    pub scopes: Vec<String>,
    /// `sha256:` and 64 hexadecimal digits.
    pub hash: String,
    /// How often it may be used.
    #[serde(default)]
    pub rate: Option<RateSettings>,
}

/// `{ requests = 60, per = "PT1M" }`
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RateSettings {
    /// At most so many …
    pub requests: i64,
    /// … in so long, as ISO 8601 spells it.
    pub per: String,
}

impl fmt::Debug for KeySettings {
    /// Without the hash, in whose place somebody may have put the key.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KeySettings").field("name", &self.name).finish_non_exhaustive()
    }
}

/// What a key may be used for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Scope {
    /// Every GET.
    Read,
    /// POST of jobs; retry and cancel of jobs that this key submitted.
    Submit,
    /// Everything.
    Admin,
}

impl Scope {
    /// As the settings spell it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::Submit => "submit",
            Self::Admin => "admin",
        }
    }

    fn parse(name: &str) -> Option<Self> {
        [Self::Read, Self::Submit, Self::Admin].into_iter().find(|scope| scope.name() == name)
    }
}

/// The keys that are accepted. Without any, nobody is asked for one.
#[derive(Debug, Clone, Default)]
pub struct ApiKeys {
    keys: Vec<Arc<Key>>,
    /// When a refusal was logged last.
    logged: Arc<Mutex<Option<Instant>>>,
}

/// A key that is accepted.
pub(crate) struct Key {
    pub(crate) name: String,
    pub(crate) scopes: BTreeSet<Scope>,
    pub(crate) bucket: Option<Bucket>,
    hash: [u8; HASH_BYTES],
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Key").field("name", &self.name).finish_non_exhaustive()
    }
}

/// A key that cannot be accepted as it is written; the text names it and what was meant.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct KeyError(String);

impl ApiKeys {
    /// Checks them all.
    ///
    /// # Errors
    /// The first mistake: a name, hash, scope or rate that is none, or a name or hash that is there twice.
    pub fn new(settings: &[KeySettings]) -> Result<Self, KeyError> {
        let mut keys: Vec<Arc<Key>> = Vec::new();
        for (at, settings) in settings.iter().enumerate() {
            let key = check(settings).map_err(|wrong| {
                let which = if is_name(&settings.name) {
                    format!("key `{}`", settings.name)
                } else {
                    format!("key number {}", at + 1)
                };
                KeyError(format!("{which}: {wrong}"))
            })?;
            if let Some(twin) = keys.iter().find(|other| other.name == key.name || other.hash == key.hash) {
                let detail = if twin.name == key.name {
                    format!("key `{}`: this name is there twice; expected each once", key.name)
                } else {
                    format!("key `{}`: its hash is that of key `{}`; expected a key for each name", key.name, twin.name)
                };
                return Err(KeyError(detail));
            }
            keys.push(Arc::new(key));
        }
        Ok(Self { keys, logged: Arc::default() })
    }

    /// Whether there is none, so that nobody is asked for one.
    pub fn is_empty(&self) -> bool {
        self.keys.is_empty()
    }

    /// Whether a refusal may be logged, the last one being so long ago.
    pub(crate) fn may_log(&self, now: Instant, between: Duration) -> bool {
        let mut logged = self.logged.lock().unwrap_or_else(PoisonError::into_inner);
        let may = logged.is_none_or(|last| now.saturating_duration_since(last) >= between);
        if may {
            *logged = Some(now);
        }
        may
    }

    /// The key that was presented. Every hash is compared, and each in constant time.
    pub(crate) fn find(&self, presented: &str) -> Option<&Arc<Key>> {
        let hash: [u8; HASH_BYTES] = Sha256::digest(presented.as_bytes()).into();
        self.keys.iter().fold(None, |found, key| if bool::from(key.hash.ct_eq(&hash)) { Some(key) } else { found })
    }
}

fn check(settings: &KeySettings) -> Result<Key, String> {
    if !is_name(&settings.name) {
        return Err(format!(
            "`name`: expected 1 to {NAME_LENGTH} letters, digits, `.`, `_` or `-`, found {}",
            quoted(&settings.name)
        ));
    }
    let mut scopes = BTreeSet::new();
    for name in &settings.scopes {
        scopes.insert(
            Scope::parse(name)
                .ok_or_else(|| format!("`scopes`: expected `submit`, `read` or `admin`, found {}", quoted(name)))?,
        );
    }
    if scopes.is_empty() {
        return Err("`scopes`: expected at least one of `submit`, `read`, `admin`, found none".to_owned());
    }
    let bucket = settings.rate.as_ref().map(rate).transpose()?;
    Ok(Key { name: settings.name.clone(), scopes, bucket, hash: hash(&settings.hash)? })
}

/// What is found there is not repeated: it may be the key.
fn hash(text: &str) -> Result<[u8; HASH_BYTES], String> {
    if text.starts_with(PREFIX) {
        return Err("`hash`: this is a key; expected its hash, as `waybill key new` prints it. Whoever could read \
                    this file may know the key: make a new one"
            .to_owned());
    }
    let mut hash = [0; HASH_BYTES];
    let is_hash = text.strip_prefix("sha256:").is_some_and(|digits| {
        base16ct::mixed::decode(digits, &mut hash).is_ok_and(|decoded| decoded.len() == HASH_BYTES)
    });
    let expected = || "`hash`: expected sha256: and 64 hexadecimal digits, as `waybill key new` prints it".to_owned();
    is_hash.then_some(hash).ok_or_else(expected)
}

fn rate(settings: &RateSettings) -> Result<Bucket, String> {
    let requests = u32::try_from(settings.requests).ok().filter(|requests| *requests > 0);
    let requests = requests.ok_or_else(|| {
        format!("`rate.requests`: expected a number from 1 to {}, found {}", u32::MAX, settings.requests)
    })?;
    let per = Some(&settings.per).filter(|per| per.starts_with('P'));
    let per = per.and_then(|per| per.parse::<SignedDuration>().ok());
    let per = per.and_then(|per| Duration::try_from(per).ok()).filter(|per| (1..=86_400).contains(&per.as_secs()));
    let per = per.ok_or_else(|| {
        format!("`rate.per`: expected a duration from PT1S to PT24H, such as PT1M, found {}", quoted(&settings.per))
    })?;
    Ok(Bucket::new(requests, per))
}

fn is_name(name: &str) -> bool {
    let is_letter = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
    (1..=NAME_LENGTH).contains(&name.len()) && name.bytes().all(is_letter)
}

/// A key that was just made.
pub struct NewKey {
    /// The key itself, to be shown once.
    pub key: String,
    /// What goes into the settings.
    pub hash: String,
}

impl fmt::Debug for NewKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NewKey").field("hash", &self.hash).finish_non_exhaustive()
    }
}

impl NewKey {
    /// A key of 256 random bits.
    ///
    /// # Errors
    /// Where the system gives no randomness.
    pub fn random() -> Result<Self, KeyError> {
        let mut bytes = [0; KEY_BYTES];
        let filled = rustls::crypto::aws_lc_rs::default_provider().secure_random.fill(&mut bytes);
        filled.map_err(|_| KeyError("the system gives no random bytes".to_owned()))?;
        Ok(Self::of(&bytes))
    }

    fn of(bytes: &[u8; KEY_BYTES]) -> Self {
        let key = format!("{PREFIX}{}", URL_SAFE_NO_PAD.encode(bytes));
        let digits = base16ct::lower::encode_string(&Sha256::digest(key.as_bytes()));
        Self { key, hash: format!("sha256:{digits}") }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(name: &str) -> KeySettings {
        let hash = NewKey::of(&[u8::try_from(name.len()).unwrap(); KEY_BYTES]).hash;
        KeySettings { name: name.to_owned(), scopes: vec!["read".to_owned()], hash, rate: None }
    }

    fn refusal(settings: &[KeySettings]) -> String {
        ApiKeys::new(settings).unwrap_err().to_string()
    }

    #[test]
    fn a_key_is_found_by_its_hash_only() {
        let key = NewKey::of(&[7; KEY_BYTES]);
        insta::assert_snapshot!(key.key, @"wb_BwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwc");
        let keys = ApiKeys::new(&[settings("four"), settings("seven77"), settings("five5")]).unwrap();
        assert_eq!(keys.find(&key.key).unwrap().name, "seven77");
        for wrong in ["", "wb_", &key.hash, &key.key[..45], &format!("{}A", key.key)] {
            assert!(keys.find(wrong).is_none(), "{wrong}");
        }
    }

    #[test]
    fn new_keys_are_new_and_accepted() {
        let (one, other) = (NewKey::random().unwrap(), NewKey::random().unwrap());
        assert_ne!(one.key, other.key);
        assert_eq!((one.key.len(), one.hash.len()), (46, 71));
        let keys = ApiKeys::new(&[KeySettings { hash: one.hash.clone(), ..settings("x") }]).unwrap();
        assert!(keys.find(&one.key).is_some() && keys.find(&other.key).is_none());
        assert!(!format!("{one:?} {keys:?}").contains(&one.key[3..]));
    }

    #[test]
    fn mistakes_are_named_with_what_was_meant() {
        let key = NewKey::of(&[7; KEY_BYTES]).key;
        let with = |change: fn(&mut KeySettings)| {
            let mut settings = settings("nightly");
            change(&mut settings);
            refusal(&[settings])
        };
        let rate = |requests, per: &str| {
            let rate = Some(RateSettings { requests, per: per.to_owned() });
            refusal(&[KeySettings { rate, ..settings("nightly") }])
        };
        let seen = [
            with(|it| it.hash = "sha256:abc".to_owned()),
            with(|it| it.hash = format!("sha256:{}", "é".repeat(32))),
            refusal(&[KeySettings { hash: key.clone(), ..settings("nightly") }]),
            with(|it| it.scopes.clear()),
            with(|it| it.scopes = vec!["write".to_owned()]),
            with(|it| it.name = String::new()),
            with(|it| it.name = "a key\n".to_owned()),
            rate(0, "PT1M"),
            rate(-1, "PT1M"),
            rate(5_000_000_000, "PT1M"),
            rate(60, "PT0S"),
            rate(60, "1 minute"),
            rate(60, "P1Y"),
            refusal(&[settings("one"), settings("two"), settings("three")]),
            refusal(&[settings("one"), settings("four"), settings("one")]),
        ];
        assert!(!seen.join("\n").contains(&key[3..]));
        insta::assert_snapshot!(seen.join("\n"), @r#"
        key `nightly`: `hash`: expected sha256: and 64 hexadecimal digits, as `waybill key new` prints it
        key `nightly`: `hash`: expected sha256: and 64 hexadecimal digits, as `waybill key new` prints it
        key `nightly`: `hash`: this is a key; expected its hash, as `waybill key new` prints it. Whoever could read this file may know the key: make a new one
        key `nightly`: `scopes`: expected at least one of `submit`, `read`, `admin`, found none
        key `nightly`: `scopes`: expected `submit`, `read` or `admin`, found "write"
        key number 1: `name`: expected 1 to 64 letters, digits, `.`, `_` or `-`, found ""
        key number 1: `name`: expected 1 to 64 letters, digits, `.`, `_` or `-`, found "a key\n"
        key `nightly`: `rate.requests`: expected a number from 1 to 4294967295, found 0
        key `nightly`: `rate.requests`: expected a number from 1 to 4294967295, found -1
        key `nightly`: `rate.requests`: expected a number from 1 to 4294967295, found 5000000000
        key `nightly`: `rate.per`: expected a duration from PT1S to PT24H, such as PT1M, found "PT0S"
        key `nightly`: `rate.per`: expected a duration from PT1S to PT24H, such as PT1M, found "1 minute"
        key `nightly`: `rate.per`: expected a duration from PT1S to PT24H, such as PT1M, found "P1Y"
        key `two`: its hash is that of key `one`; expected a key for each name
        key `one`: this name is there twice; expected each once
        "#);
    }
}
