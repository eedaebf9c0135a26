//! Where to listen: an address that was asked for is refused where it is taken, a default gives way to a free port.

use std::{
    io::ErrorKind,
    net::{Ipv4Addr, Ipv6Addr, SocketAddr},
};

use anyhow::{Context, bail};
use serde::{Deserialize, Deserializer};
use tokio::net::TcpListener;

/// An address, and whether somebody asked for it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct ListenAddress {
    pub(crate) address: SocketAddr,
    is_default: bool,
}

/// Where this machine reaches what listens on an address.
pub(crate) fn local_url(scheme: &str, mut address: SocketAddr) -> String {
    if address.ip().is_unspecified() {
        address.set_ip(if address.is_ipv4() { Ipv4Addr::LOCALHOST.into() } else { Ipv6Addr::LOCALHOST.into() });
    }
    format!("{scheme}://{address}")
}

impl ListenAddress {
    /// A port of this machine that nobody asked for.
    pub(crate) fn default_port(port: u16) -> Self {
        Self { address: SocketAddr::from(([127, 0, 0, 1], port)), is_default: true }
    }

    /// Listens, and says whether another port was taken. `setting`: its name, as in the settings file.
    pub(crate) async fn bind(self, setting: &str) -> anyhow::Result<(TcpListener, bool)> {
        let Self { mut address, is_default } = self;
        match TcpListener::bind(address).await {
            Err(error) if error.kind() == ErrorKind::AddrInUse && !is_default => {
                let flag = setting.replace('_', "-");
                bail!(
                    "setting `{setting}`: another program listens on {address}; choose another address with --{flag}, \
                     such as --{flag} {}:0 for any free port",
                    address.ip()
                )
            }
            Err(error) if error.kind() == ErrorKind::AddrInUse => {
                address.set_port(0);
                let listener = TcpListener::bind(address).await;
                Ok((
                    listener.with_context(|| format!("setting `{setting}`: no port of {} is free", address.ip()))?,
                    true,
                ))
            }
            bound => Ok((bound.with_context(|| format!("setting `{setting}`: cannot listen on {address}"))?, false)),
        }
    }
}

impl<'de> Deserialize<'de> for ListenAddress {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Ok(Self { address: SocketAddr::deserialize(deserializer)?, is_default: false })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_default_port_that_is_taken_gives_way_and_a_requested_one_is_refused() {
        let taken = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = taken.local_addr().unwrap();

        let (listener, is_other) = ListenAddress::default_port(address.port()).bind("s3_listen").await.unwrap();
        assert!(is_other);
        assert_ne!(listener.local_addr().unwrap(), address);

        let requested = ListenAddress { address, is_default: false };
        let refusal = requested.bind("s3_listen").await.unwrap_err().to_string();
        insta::assert_snapshot!(refusal.replace(&address.to_string(), "ADDRESS"), @"setting `s3_listen`: another program listens on ADDRESS; choose another address with --s3-listen, such as --s3-listen 127.0.0.1:0 for any free port");

        drop(taken);
        let (listener, is_other) = requested.bind("s3_listen").await.unwrap();
        assert_eq!((listener.local_addr().unwrap(), is_other), (address, false));
    }
}
