//! Who may reach a process, and how: API keys, TLS, and what it refuses to start with.

use std::net::{IpAddr, SocketAddr};

use anyhow::bail;
use jiff::Timestamp;
use waybill_web::{ApiKeys, Tls};

use crate::server::{settings::Settings, target::Target};

/// The keys and the certificate that the settings name.
///
/// # Errors
/// Where one of them is none, or where other machines could ask what nobody guards.
pub(crate) fn load(target: Target, settings: &Settings) -> anyhow::Result<(ApiKeys, Option<Tls>)> {
    let keys = ApiKeys::new(&settings.keys).map_err(|error| anyhow::anyhow!("setting `keys`: {error}"))?;
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
    if target != Target::Worker && settings.keys.is_empty() && !is_loopback(settings.listen.address) {
        bail!(
            "setting `listen`: {} can be reached from other machines, and no API keys are set; add one to the \
             settings file (`waybill key new NAME --scope admin` prints it), or say --no-auth where something else guards it",
            settings.listen.address
        );
    }
    let embeds_s3 = target.may_embed() && settings.s3_bucket.is_none();
    if embeds_s3 && !is_loopback(settings.s3_listen.address) {
        bail!(
            "setting `s3_listen`: {} can be reached from other machines, and the embedded S3 asks nobody who they are; \
             expected a loopback address such as 127.0.0.1:9000, or --no-auth where something else guards it",
            settings.s3_listen.address
        );
    }
    Ok(())
}

/// What an operator should know of a process that starts all the same.
pub(crate) fn advise(target: Target, settings: &Settings) {
    if is_loopback(settings.listen.address) {
        return;
    }
    if settings.no_auth && target != Target::Worker {
        tracing::warn!("everybody who reaches this port may submit and cancel jobs: no_auth is set");
    } else if !settings.keys.is_empty() && settings.tls_cert.is_none() {
        tracing::info!("keys reach this port unencrypted: tls_cert is not set, so let something in front of it do TLS");
    }
}

fn is_loopback(address: SocketAddr) -> bool {
    match address.ip() {
        IpAddr::V4(ip) => ip.is_loopback(),
        IpAddr::V6(ip) => ip.is_loopback() || ip.to_ipv4_mapped().is_some_and(|ip| ip.is_loopback()),
    }
}

#[cfg(test)]
mod tests {
    use std::{fs, path::Path};

    use tempfile::TempDir;
    use tokio_util::sync::CancellationToken;
    use waybill_web::NewKey;

    use super::*;
    use crate::{cli::ServerFlags, server};

    fn settings(folder: &Path, text: &str) -> anyhow::Result<Settings> {
        let file = folder.join("waybill.toml");
        fs::write(&file, text).unwrap();
        Settings::load(&ServerFlags { config: Some(file), ..ServerFlags::default() })
    }

    /// A key's lines in the settings.
    fn lines(name: &str, scopes: &str, hash: &str) -> String {
        format!("\n[[keys]]\nname = \"{name}\"\nscopes = [{scopes}]\nhash = \"{hash}\"\n")
    }

    #[test]
    fn what_nobody_guards_is_not_opened_to_others() {
        let folder = TempDir::new().unwrap();
        let key = lines("a", "\"admin\"", &NewKey::random().unwrap().hash);
        let outcome = |target, text: &str| match settings(folder.path(), text).and_then(|it| load(target, &it)) {
            Ok(_) => "starts".to_owned(),
            Err(error) => format!("{error:#}").replace(&folder.path().display().to_string(), ""),
        };
        let everywhere = "listen = \"0.0.0.0:8080\"\n";
        for (target, text) in [
            (Target::Up, String::new()),
            (Target::Up, "listen = \"[::1]:8080\"".to_owned()),
            (Target::Up, format!("{everywhere}{key}")),
            (Target::Api, format!("{everywhere}{key}")),
            (Target::Api, format!("{everywhere}no_auth = true")),
            (Target::Worker, everywhere.to_owned()),
            (Target::Stats, "listen = \"[::ffff:127.0.0.1]:8080\"".to_owned()),
            (Target::Api, "s3_listen = \"0.0.0.0:9000\"".to_owned()),
            (Target::Up, "s3_listen = \"0.0.0.0:9000\"\ns3_bucket = \"there\"".to_owned()),
        ] {
            assert_eq!(outcome(target, &text), "starts", "{target} {text}");
        }
        let refused = [
            outcome(Target::Up, everywhere),
            outcome(Target::Stats, "listen = \"[::]:80\""),
            outcome(Target::Up, &format!("s3_listen = \"0.0.0.0:9000\"\n{key}")),
            outcome(Target::Api, &format!("no_auth = true\n{key}")),
            outcome(Target::Api, "tls_cert = \"cert.pem\""),
            outcome(Target::Api, "tls_key = \"key.pem\""),
            outcome(Target::Api, "tls_cert = \"/no/cert.pem\"\ntls_key = \"/no/key.pem\""),
            outcome(Target::Api, "colour = \"red\""),
            outcome(Target::Api, "\namqp_url = \"amqp://user:password@host\" \"second\""),
            outcome(Target::Api, &lines("a", "\"admin\"", "sha256:123")),
            outcome(Target::Api, &key.replace("scopes", "scope")),
            outcome(Target::Api, &format!("{key}rate = {{ requests = 0, per = \"PT1M\" }}")),
            outcome(Target::Api, &format!("{key}rate = {{ requests = \"60\", per = \"PT1M\" }}")),
            outcome(Target::Api, &format!("{key}{key}")),
            outcome(Target::Api, "no_auth = \"perhaps\""),
        ];
        insta::assert_snapshot!(refused.join("\n"), @r#"
        setting `listen`: 0.0.0.0:8080 can be reached from other machines, and no API keys are set; add one to the settings file (`waybill key new NAME --scope admin` prints it), or say --no-auth where something else guards it
        setting `listen`: [::]:80 can be reached from other machines, and no API keys are set; add one to the settings file (`waybill key new NAME --scope admin` prints it), or say --no-auth where something else guards it
        setting `s3_listen`: 0.0.0.0:9000 can be reached from other machines, and the embedded S3 asks nobody who they are; expected a loopback address such as 127.0.0.1:9000, or --no-auth where something else guards it
        setting `no_auth` says that nobody is asked for a key, and `keys` are set: take one of them away
        setting `tls_cert` is there and `tls_key` is not: set both, or neither
        setting `tls_key` is there and `tls_cert` is not: set both, or neither
        setting `tls_cert`: /no/cert.pem: No such file or directory (os error 2)
        setting `colour` (/waybill.toml): there is none of this name; expected one of `listen`, `data`, `sources`, `base_url`, `s3_listen`, `s3_bucket`, `amqp_url`, `keys`, `no_auth`, `tls_cert`, `tls_key`, `hits`
        settings file /waybill.toml, line 2: expected TOML: unexpected key or value, expected newline, `#`
        setting `keys`: key `a`: `hash`: expected sha256: and 64 hexadecimal digits, as `waybill key new` prints it
        setting `keys.0.scope` (/waybill.toml): there is none of this name; expected one of `name`, `scopes`, `hash`, `rate`
        setting `keys`: key `a`: `rate.requests`: expected a number from 1 to 4294967295, found 0
        setting `keys.0.rate.requests` (/waybill.toml): invalid type: found string "60", expected i64
        setting `keys`: key `a`: this name is there twice; expected each once
        setting `no_auth` (/waybill.toml): invalid type: found string "perhaps", expected a boolean
        "#);
    }

    #[tokio::test]
    async fn every_documented_route_obeys_the_scopes() {
        let folder = TempDir::new().unwrap();
        let made = ["read", "submit"].map(|scope| (scope, NewKey::random().unwrap()));
        let keys: String = made.iter().map(|(scope, key)| lines(scope, &format!("{scope:?}"), &key.hash)).collect();
        let data = folder.path().join("data");
        let ports = "listen = \"127.0.0.1:0\"\ns3_listen = \"127.0.0.1:0\"";
        let settings = settings(folder.path(), &format!("{ports}\ndata = {data:?}\n{keys}")).unwrap();
        let shutdown = CancellationToken::new();
        let running = server::start(Target::Up, &settings, shutdown.clone()).await.unwrap();
        let http = reqwest::Client::new();
        let text = http.get(format!("{}/openapi.json", running.url)).send().await.unwrap().text().await.unwrap();
        let document: serde_json::Value = serde_json::from_str(&text).unwrap();
        let mut seen = Vec::new();
        for (path, operations) in document["paths"].as_object().unwrap() {
            for method in operations.as_object().unwrap().keys() {
                let url = format!("{}{}", running.url, path.replace("{id}", "x").replace("{source}", "x"));
                let method: reqwest::Method = method.to_uppercase().parse().unwrap();
                let mut statuses = Vec::new();
                for key in [None, Some(&made[0].1.key), Some(&made[1].1.key)] {
                    let mut request = http.request(method.clone(), &url);
                    if let Some(key) = key {
                        request = request.bearer_auth(key);
                    }
                    statuses.push(match request.send().await.unwrap().status().as_u16() {
                        refused @ (401 | 403) => refused.to_string(),
                        _ => "in".to_owned(),
                    });
                }
                seen.push(format!("{method} {path}: {}", statuses.join(" ")));
            }
        }
        shutdown.cancel();
        running.ended.await.unwrap().unwrap();
        // A query reads, though it is a POST.
        let queries: Vec<_> = seen.extract_if(.., |line| line.contains(" /v1/query:")).collect();
        assert_eq!(queries, if cfg!(feature = "tables") { vec!["POST /v1/query: 401 in 403"] } else { Vec::new() });
        insta::assert_snapshot!(seen.join("\n"), @"
        GET /api/*path: 401 in 403
        GET /api/v1/file: 401 in 403
        POST /api/v1/file: 401 403 in
        GET /api/v1/file/check: 401 in 403
        GET /api/v1/file/download: 401 in 403
        POST /collect: 401 403 in
        GET /country-stats: 401 in 403
        GET /get: 401 in 403
        GET /live: in in in
        POST /process-request: 401 403 in
        GET /ready: in in in
        GET /stats: 401 in 403
        POST /test/{n}: 401 403 in
        GET /v1/jobs: 401 in 403
        POST /v1/jobs: 401 403 in
        GET /v1/jobs/{id}: 401 in 403
        POST /v1/jobs/{id}/cancel: 401 403 in
        GET /v1/jobs/{id}/result: 401 in 403
        POST /v1/jobs/{id}/retry: 401 403 in
        GET /v1/jobs/{id}/tasks: 401 in 403
        GET /v1/sources: 401 in 403
        GET /v1/sources/{name}: 401 in 403
        GET /v1/stats/{source}: 401 in 403
        POST /v1/uploads: 401 403 in
        GET /v1/uploads/{id}: 401 in 403
        ");
    }
}
