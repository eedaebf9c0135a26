//! `hosts`: other origins that downloads may lead to. They are never given credentials.

use std::str::FromStr;

use url::Url;

/// All that a definition names.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Hosts(pub(crate) Vec<HostPattern>);

impl Hosts {
    /// Whether this is the address of one of them.
    pub fn contains(&self, url: &Url) -> bool {
        self.0.iter().any(|host| host.matches(url))
    }
}

/// A host's name, or all below one: `files.example.com`, `*.s3.amazonaws.com`, `localhost:8080`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct HostPattern {
    /// Without `*.`.
    name: String,
    is_suffix: bool,
    /// The scheme's own where none is said.
    port: Option<u16>,
}

impl FromStr for HostPattern {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let (is_suffix, rest) = text.strip_prefix("*.").map_or((false, text), |rest| (true, rest));
        let (name, port) = match rest.rsplit_once(':') {
            Some((name, port)) => (name, Some(port.parse().map_err(|_| ())?)),
            None => (rest, None),
        };
        let is_label = |label: &str| {
            !label.is_empty() && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_')
        };
        // All below `com` would be anybody's.
        let is_good = name.split('.').all(is_label) && (!is_suffix || name.contains('.'));
        if is_good { Ok(Self { name: name.to_ascii_lowercase(), is_suffix, port }) } else { Err(()) }
    }
}

impl HostPattern {
    pub(crate) fn matches(&self, url: &Url) -> bool {
        let Some(host) = url.host_str() else { return false };
        let is_named = match self.is_suffix {
            true => host.strip_suffix(&self.name).is_some_and(|before| before.len() > 1 && before.ends_with('.')),
            false => host == self.name,
        };
        // `port` is `None` for the scheme's own.
        is_named && (url.port() == self.port || self.port.is_some() && url.port_or_known_default() == self.port)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_is_named_whole_or_by_what_it_ends_in() {
        for (pattern, url, expected) in [
            ("files.example.com", "https://files.example.com/x", true),
            ("files.example.com", "https://FILES.example.com/x", true),
            ("files.example.com", "https://files.example.com:8443/x", false),
            ("files.example.com", "https://evil.files.example.com/x", false),
            ("files.example.com:8443", "https://files.example.com:8443/x", true),
            ("localhost:80", "http://localhost/x", true),
            ("*.s3.amazonaws.com", "https://bucket.s3.amazonaws.com/x", true),
            ("*.s3.amazonaws.com", "https://s3.amazonaws.com/x", false),
            ("*.s3.amazonaws.com", "https://evils3.amazonaws.com/x", false),
            ("*.s3.amazonaws.com", "https://bucket.s3.amazonaws.com.evil.com/x", false),
        ] {
            let found = pattern.parse::<HostPattern>().unwrap().matches(&Url::parse(url).unwrap());
            assert_eq!(found, expected, "{pattern} {url}");
        }
        for wrong in ["", "*", "*.", "*.com", "https://a.b", "a b", "a..b", "a.b/c", "a:b", "u@a.b"] {
            assert!(wrong.parse::<HostPattern>().is_err(), "{wrong}");
        }
    }
}
