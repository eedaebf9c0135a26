//! The commands that talk to a running Waybill, at WAYBILL_URL.

mod failures;
mod http;
mod jobs;
mod progress;
pub(crate) mod statistics;
mod upload;

use std::{collections::BTreeMap, process::ExitCode};

pub(crate) use self::http::{Client, Job};
pub(crate) use self::progress::follow;

pub(crate) use self::upload::Upload;
use crate::{
    cli::{self, ServerFlags},
    server::settings::Settings,
};

/// `waybill submit`
pub(crate) async fn submit(flags: cli::Submit) -> anyhow::Result<ExitCode> {
    let client = Client::from_env()?;
    let params = flags.params.iter().map(|pair| {
        let (name, value) = pair
            .split_once('=')
            .ok_or_else(|| anyhow::anyhow!("expected KEY=VALUE, such as date=2024-05-01, found {pair:?}"))?;
        Ok((name.to_owned(), value.to_owned()))
    });
    let params = params.collect::<anyhow::Result<BTreeMap<_, _>>>()?;
    let job = match &flags.file {
        Some(path) => {
            let upload = Upload::open("--file", path).await?;
            client.submit_file(&flags.source, &params, flags.key.as_deref(), upload).await?
        }
        None => client.submit(&flags.source, params, flags.key.as_deref()).await?,
    };
    println!("{}", job.id);
    if flags.wait {
        return Ok(exit_code(&follow(&client, &[job.id]).await?));
    }
    eprintln!("accepted; follow it with `waybill job {} --watch`", job.id);
    Ok(ExitCode::SUCCESS)
}

/// `waybill job`
pub(crate) async fn job(id: &str, watch: bool) -> anyhow::Result<ExitCode> {
    let client = Client::from_env()?;
    let job = client.job(id).await?;
    if watch {
        return Ok(exit_code(&follow(&client, &[job.id]).await?));
    }
    jobs::print(&job);
    Ok(ExitCode::SUCCESS)
}

/// `waybill retry`
pub(crate) async fn retry(id: &str, wait: bool) -> anyhow::Result<ExitCode> {
    let client = Client::from_env()?;
    let job = client.act(id, "retry").await?;
    if wait {
        return Ok(exit_code(&follow(&client, &[job.id]).await?));
    }
    eprintln!("accepted; follow it with `waybill job {} --watch`", job.id);
    Ok(ExitCode::SUCCESS)
}

/// `waybill cancel`
pub(crate) async fn cancel(id: &str) -> anyhow::Result<ExitCode> {
    jobs::print(&Client::from_env()?.act(id, "cancel").await?);
    Ok(ExitCode::SUCCESS)
}

/// `waybill jobs`
pub(crate) async fn jobs(flags: cli::Jobs) -> anyhow::Result<ExitCode> {
    let client = Client::from_env()?;
    println!("{}", jobs::table(&client.jobs(&flags).await?));
    Ok(ExitCode::SUCCESS)
}

/// `waybill stats SOURCE`
pub(crate) async fn stats(
    source: &str,
    from: Option<String>,
    to: Option<String>,
    format: cli::Format,
) -> anyhow::Result<ExitCode> {
    let (from, to) = (from.unwrap_or_default(), to.unwrap_or_default());
    let statistics = Client::from_env()?.stats(source, &from, &to).await?;
    print!("{}", statistics::render(&statistics, format)?);
    statistics::lacks(&statistics).iter().for_each(|line| eprintln!("{line}"));
    Ok(ExitCode::SUCCESS)
}

/// `waybill health`: the service at WAYBILL_URL, or the one that these settings are of
pub(crate) async fn health() -> anyhow::Result<ExitCode> {
    let client = if std::env::var_os("WAYBILL_URL").is_some() {
        Client::from_env()?
    } else {
        Client::local(&Settings::load(&ServerFlags::default())?)?
    };
    let (ready, said) = client.ready().await?;
    println!("{said}");
    Ok(if ready { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// 0 only if every job succeeded.
pub(crate) fn exit_code(jobs: &[Job]) -> ExitCode {
    if jobs.iter().all(|job| job.state == "succeeded") { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
