//! `waybill demo`: the whole system on this machine, with an upstream to fetch from.

use std::{collections::HashMap, path::Path, process::ExitCode};

use anyhow::Context;
use waybill_upstream::{Options, Upstream};

use crate::{
    cli,
    client::{self, Client},
    server::{
        self,
        settings::{Settings, default_listen, default_s3_listen},
        signals,
        target::Target,
    },
};

const DATES: [&str; 3] = ["2024-05-01", "2024-05-02", "2024-05-03"];

/// Runs the demo; with `--exit` the status says whether every job succeeded.
pub(crate) async fn run(flags: cli::Demo) -> anyhow::Result<ExitCode> {
    let shutdown = signals::shutdown()?;
    let upstream = Upstream::new(Options { records: flags.records, ..Options::default() }).start().await?;
    let settings = Settings {
        listen: default_listen(),
        data: flags.data.clone(),
        sources: None,
        base_url: HashMap::from([("buses".to_owned(), upstream.base_url().to_owned())]),
        s3_listen: default_s3_listen(),
        s3_bucket: None,
        amqp_url: None,
        keys: Vec::new(),
        no_auth: false,
        hits: true,
        tls_cert: None,
        tls_key: None,
    };
    let running = server::start(Target::Up, &settings, shutdown.clone()).await?;
    running.notes.iter().for_each(|note| println!("Note: {note}."));
    println!("Waybill is up at {}, with a stand-in upstream at {}.", running.url, upstream.base_url());
    println!("Fetching the buses of {} into {}:\n", DATES.join(", "), flags.data.display());

    let client = Client::new(&running.url)?;
    let ended = tokio::select! {
        ended = main_job(&client) => ended?,
        () = shutdown.cancelled() => {
            running.ended.await??;
            return Ok(ExitCode::FAILURE);
        }
    };
    let statistics = client.stats("buses", DATES[0], DATES[2]).await?;
    println!("\n{}", client::statistics::render(&statistics, cli::Format::Table)?);
    let code = client::exit_code(&ended);
    if flags.exit {
        shutdown.cancel();
    } else {
        let job = ended.first().context("three jobs were submitted")?;
        println!("{}", next_steps(&running.url, running.s3_url.as_deref().unwrap_or_default(), &job.id, &flags.data));
        shutdown.cancelled().await;
    }
    running.ended.await??;
    Ok(code)
}

async fn main_job(client: &Client) -> anyhow::Result<Vec<client::Job>> {
    let mut ids = Vec::new();
    for date in DATES {
        ids.push(client.submit("buses", [("date".to_owned(), date.to_owned())].into(), None).await?.id);
    }
    client::follow(client, &ids).await
}

fn next_steps(url: &str, s3_url: &str, job: &str, data: &Path) -> String {
    let data = data.display();
    // As it was called: `cargo run` leaves the binary where no PATH finds it.
    let waybill = std::env::args().next().unwrap_or_else(|| "waybill".to_owned());
    format!(
        "Where to look next, while this runs (Ctrl-C ends it; {data} can be deleted then):\n\
         \x20 a job        {url}/v1/jobs/{job}\n\
         \x20 statistics   {url}/country-stats?from={}&to={}\n\
         \x20 API docs     {url}/docs\n\
         \x20 the bucket   aws --endpoint-url {s3_url} --no-sign-request s3 ls --recursive s3://waybill/data/\n\
         \x20 another day  WAYBILL_URL={url} {waybill} submit buses date=2024-05-04 --wait",
        DATES[0], DATES[2],
    )
}
