//! Where the broker is, and who we are to it. Shown without the password, always.

use std::{fmt, str::FromStr};

use lapin::uri::{AMQPScheme, AMQPUri};

/// Heartbeats asked for, in seconds: a dead connection is noticed within about twice that. RabbitMQ
/// recommends 5 to 20.
const HEARTBEAT: u16 = 10;

/// A broker's URL, read.
#[derive(Clone)]
pub(super) struct Address(AMQPUri);

impl FromStr for Address {
    type Err = anyhow::Error;

    fn from_str(url: &str) -> Result<Self, Self::Err> {
        // The parser's own error quotes the URL, password and all.
        let mut uri: AMQPUri = url.trim().parse().map_err(|_| {
            anyhow::anyhow!("the message broker's URL cannot be read: expected amqp://user:password@host:5672/vhost")
        })?;
        if url.contains('[') {
            // The parser takes any IPv6 address for localhost.
            anyhow::bail!("the message broker's URL has an IPv6 address; give a host name");
        }
        uri.query.heartbeat.get_or_insert(HEARTBEAT);
        if uri.vhost.is_empty() {
            uri.vhost = "/".into();
        }
        Ok(Self(uri))
    }
}

impl Address {
    pub(super) fn uri(&self) -> AMQPUri {
        self.0.clone()
    }

    pub(super) fn host(&self) -> &str {
        &self.0.authority.host
    }

    pub(super) fn user(&self) -> &str {
        &self.0.authority.userinfo.username
    }

    pub(super) fn vhost(&self) -> &str {
        &self.0.vhost
    }

    pub(super) fn is_tls(&self) -> bool {
        self.0.scheme == AMQPScheme::AMQPS
    }

    /// A reason in words, which a broker or a library may have put together from anything.
    pub(super) fn reason(&self, reason: impl fmt::Display) -> String {
        let password = &self.0.authority.userinfo.password;
        let reason = reason.to_string();
        if password.is_empty() { reason } else { reason.replace(password.as_str(), "***") }
    }
}

impl fmt::Debug for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let AMQPUri { scheme, authority, vhost, .. } = &self.0;
        let vhost = if vhost == "/" { "" } else { vhost };
        write!(f, "{scheme}://{}:{}/{vhost}", authority.host, authority.port)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_password_is_never_shown() {
        let address: Address = "amqp://waybill:s3cret%21@broker:5673/jobs".parse().unwrap();
        assert_eq!(format!("{address:?}"), "amqp://broker:5673/jobs");
        assert_eq!(address.reason("refused s3cret! of waybill"), "refused *** of waybill");
        for url in ["https://waybill:s3cret@broker", "waybill:s3cret@broker", "amqp://waybill:s3cret@[::1]:5672"] {
            let error = format!("{:#?}", url.parse::<Address>().map(|_| ()).unwrap_err());
            assert!(!error.contains("s3cret"), "{error}");
        }
    }

    #[test]
    fn what_is_not_said_has_a_default() {
        let address: Address = "amqp://broker/".parse().unwrap();
        assert_eq!(format!("{address:?}"), "amqp://broker:5672/");
        assert_eq!(address.uri().vhost, "/");
        assert_eq!(address.uri().query.heartbeat, Some(10));
        let address: Address = "amqps://broker?heartbeat=7".parse().unwrap();
        assert_eq!(address.uri().query.heartbeat, Some(7));
    }
}
