//! `waybill upstream`: the stand-in server, for a first try, tests and benchmarks.

use std::{process::ExitCode, time::Duration};

use anyhow::{Context, anyhow, bail};
use tokio::net::TcpListener;
use waybill_upstream::{Chance, Faults, Options, Upstream};

use crate::{cli, server::signals};

/// Serves until a signal.
pub(crate) async fn run(flags: cli::Upstream) -> anyhow::Result<ExitCode> {
    // No other port where this one is taken: definitions name it.
    let listener = TcpListener::bind(flags.listen).await.with_context(|| {
        format!(
            "cannot listen on {0}; choose another address with --listen, and tell it to Waybill with `waybill up \
             --base-url buses=http://ADDRESS`",
            flags.listen
        )
    })?;
    let address = listener.local_addr()?;
    let upstream = Upstream::new(Options {
        seed: flags.seed,
        cities: flags.cities,
        countries: flags.countries,
        records: flags.records,
        exact: false,
        faults: faults(&flags)?,
        delay: Duration::from_millis(flags.delay),
        bytes_per_second: flags.bytes_per_second,
        etag: !flags.no_etag,
        range: !flags.no_range,
        weather_key: flags.weather_key.clone(),
        posts_per_window: flags.posts_rate,
        control: flags.control,
        ..Options::default()
    });
    println!("waybill upstream: {} cities at http://{address}/cities", flags.cities);
    println!("  a file     http://{address}/cities/0/stats?date=2024-05-01");
    println!("  weather    http://{address}/data/2.5/group?id=1,2&appid={}", flags.weather_key);
    println!("  posts      http://{address}/posts, and what came: http://{address}/posts/received");
    println!("  pages      http://{address}/paged/page?page=2; `waybill upstream --help` names the other kinds");
    upstream.serve(listener, signals::shutdown()?).await?;
    Ok(ExitCode::SUCCESS)
}

fn faults(flags: &cli::Upstream) -> anyhow::Result<Faults> {
    let mut faults = Faults { retry_after: flags.retry_after, ..Faults::default() };
    for fault in &flags.faults {
        let (name, chance) = fault
            .split_once('=')
            .ok_or_else(|| anyhow!("--faults: expected FAULT=0..1, such as server-error=0.1, found {fault:?}"))?;
        let chance: Chance = chance.parse().map_err(|error| anyhow!("--faults {name}: {error}, found {chance:?}"))?;
        let field = match name {
            "server-error" => &mut faults.server_error,
            "too-many" => &mut faults.too_many,
            "hang-up" => &mut faults.hang_up,
            "html" => &mut faults.html,
            "wrong-field" => &mut faults.wrong_field,
            "truncated" => &mut faults.truncated,
            _ => bail!(
                "--faults: no fault is called `{name}`; there are server-error, too-many, hang-up, html, wrong-field, truncated"
            ),
        };
        *field = chance;
    }
    Ok(faults)
}
