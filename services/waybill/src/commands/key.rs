//! `waybill key new`: a key for a person or program, and its lines for the settings file.

use std::{io::IsTerminal, process::ExitCode};

use anyhow::{Context, anyhow};
use waybill_web::{ApiKeys, KeySettings, NewKey, RateSettings};

use crate::cli;

/// Makes a key. Its lines alone go to standard output, so that they can be appended to the settings file.
pub(crate) fn new(flags: &cli::NewKey) -> anyhow::Result<ExitCode> {
    let made = NewKey::random()?;
    print!("{}", lines(flags, made.hash)?);
    if std::io::stderr().is_terminal() {
        eprintln!("\nThe key, shown only now; clients present it in WAYBILL_API_KEY, or as `Authorization: Bearer …`:");
    }
    eprintln!("{}", made.key);
    Ok(ExitCode::SUCCESS)
}

/// As the settings file wants them; what it would refuse is refused here.
fn lines(flags: &cli::NewKey, hash: String) -> anyhow::Result<String> {
    let rate = flags.rate.as_deref().map(rate).transpose()?;
    let settings = KeySettings { name: flags.name.clone(), scopes: flags.scopes.clone(), hash, rate };
    ApiKeys::new(std::slice::from_ref(&settings))?;
    let KeySettings { name, scopes, hash, rate } = settings;
    let rate =
        rate.map(|RateSettings { requests, per }| format!("rate   = {{ requests = {requests}, per = {per:?} }}\n"));
    let rate = rate.unwrap_or_default();
    Ok(format!("\n[[keys]]\nname   = {name:?}\nscopes = {scopes:?}\nhash   = {hash:?}\n{rate}"))
}

fn rate(text: &str) -> anyhow::Result<RateSettings> {
    let wrong = || anyhow!("--rate: expected REQUESTS/DURATION, such as 60/PT1M, found {text:?}");
    let (requests, per) = text.split_once('/').with_context(wrong)?;
    Ok(RateSettings { requests: requests.parse().map_err(|_| wrong())?, per: per.to_owned() })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn flags(rate: Option<&str>) -> cli::NewKey {
        let scopes = vec!["submit".to_owned(), "read".to_owned()];
        cli::NewKey { name: "nightly".to_owned(), scopes, rate: rate.map(str::to_owned) }
    }

    #[test]
    fn its_lines_are_settings() {
        let hash = format!("sha256:{}", "0".repeat(64));
        let text = lines(&flags(Some("60/PT1M")), hash.clone()).unwrap();
        insta::assert_snapshot!(text, @r#"

        [[keys]]
        name   = "nightly"
        scopes = ["submit", "read"]
        hash   = "sha256:0000000000000000000000000000000000000000000000000000000000000000"
        rate   = { requests = 60, per = "PT1M" }
        "#);
        let wrong = |rate| lines(&flags(Some(rate)), hash.clone()).unwrap_err().to_string();
        insta::assert_snapshot!(["60", "many/PT1M", "0/PT1M", "60/minute"].map(wrong).join("\n"), @r#"
        --rate: expected REQUESTS/DURATION, such as 60/PT1M, found "60"
        --rate: expected REQUESTS/DURATION, such as 60/PT1M, found "many/PT1M"
        key `nightly`: `rate.requests`: expected a number from 1 to 4294967295, found 0
        key `nightly`: `rate.per`: expected a duration from PT1S to PT24H, such as PT1M, found "minute"
        "#);
    }
}
