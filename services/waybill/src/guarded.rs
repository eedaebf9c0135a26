//! Who may reach a process, and how: API keys, TLS, and what it refuses to start with.

use std::net::{IpAddr, SocketAddr};

use anyhow::bail;
use jiff::Timestamp;
use waybill_web::{Keys, Tls};

use crate::{settings::Settings, target::Target};

/// The keys and the certificate that the settings name.
///
/// # Errors
/// Where one of them is none, or where other machines could ask what nobody guards.
pub(crate) fn load(target: Target, settings: &Settings) -> anyhow::Result<(Keys, Option<Tls>)> {
    let keys = Keys::new(&settings.keys).map_err(|error| anyhow::anyhow!("setting `keys`: {error}"))?;
    check(target, settings)?;
    let tls = match (&settings.tls_cert, &settings.tls_key) {
        (Some(certificate), Some(key)) => Some(Tls::load(certificate, key, Timestamp::now())?),
        (None, None) => None,
        (Some(_), None) => bail!("setting `tls_cert` is there and `tls_key` is not: set both, or neither"),
        (None, Some(_)) => bail!("setting `tls_key` is there and `tls_cert` is not: set both, or neither"),
    };
    Ok((keys, tls))
}

fn check(target: Target, settings: &Settings) -> anyhow::Result<()> {
    if settings.no_auth {
        if !settings.keys.is_empty() {
            bail!("setting `no_auth` says that nobody is asked for a key, and `keys` are set: take one of them away");
        }
        return Ok(());
    }
    // A worker has nothing but probes and metrics, for which nobody is asked.
    if target != Target::Worker && settings.keys.is_empty() && !is_loopback(settings.listen) {
        bail!(
            "setting `listen`: {} can be reached from other machines, and no API keys are set; add one to the \
             settings file (`waybill key new NAME --scope admin` prints it), or say --no-auth where something else guards it",
            settings.listen
        );
    }
    let embeds_s3 = target.may_embed() && settings.s3_bucket.is_none();
    if embeds_s3 && !is_loopback(settings.s3_listen) {
        bail!(
            "setting `s3_listen`: {} can be reached from other machines, and the embedded S3 asks nobody who they are; \
             expected a loopback address such as 127.0.0.1:9000, or --no-auth where something else guards it",
            settings.s3_listen
        );
    }
    Ok(())
}

fn is_loopback(address: SocketAddr) -> bool {
    match address.ip() {
        IpAddr::V4(ip) => ip.is_loopback(),
        IpAddr::V6(ip) => ip.is_loopback() || ip.to_ipv4_mapped().is_some_and(|ip| ip.is_loopback()),
    }
}
