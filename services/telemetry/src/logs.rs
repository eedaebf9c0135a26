//! Logs on standard error: for people on a terminal, JSON otherwise, unless `WAYBILL_LOG_FORMAT` says which.
//! `WAYBILL_LOG` says how much.

use std::{env, io::IsTerminal};

use anyhow::{Context, bail};
use tracing::Subscriber;
use tracing_subscriber::{
    EnvFilter, Layer,
    filter::{FilterExt, LevelFilter, Targets},
    fmt::{self, MakeWriter, format::JsonFields},
    registry::LookupSpan,
};

use crate::json::Json;

/// The most that libraries may say, whatever is asked for: beyond it lapin shows the broker's password, the AWS SDK
/// what it signs, HTTP whole addresses, and the exporter of traces its headers.
const CAPS: [(&str, LevelFilter); 9] = [
    ("lapin", LevelFilter::INFO),
    ("amq_protocol", LevelFilter::INFO),
    ("async_rs", LevelFilter::INFO),
    ("aws", LevelFilter::DEBUG),
    ("hyper", LevelFilter::DEBUG),
    ("h2", LevelFilter::INFO),
    ("reqwest", LevelFilter::DEBUG),
    ("rustls", LevelFilter::DEBUG),
    ("opentelemetry", LevelFilter::WARN),
];

/// The lines of this process.
pub(crate) fn layer<S>(quiet: bool) -> anyhow::Result<Box<dyn Layer<S> + Send + Sync>>
where
    S: Subscriber + for<'a> LookupSpan<'a>,
{
    let is_terminal = std::io::stderr().is_terminal();
    let for_people = match env::var("WAYBILL_LOG_FORMAT").as_deref() {
        Err(_) | Ok("") => is_terminal,
        Ok("human") => true,
        Ok("json") => false,
        Ok(other) => bail!("WAYBILL_LOG_FORMAT: expected human or json, found {other:?}"),
    };
    // s3s calls every 404 and 412 an error, and lapin warns of every message that finds no queue; to us they are answers.
    // What the verifier of certificates says is in the error of the request, too. To Delta's kernel a table that is not there
    // is an error, and each look at one is news.
    let default = if quiet {
        "error,s3s=off,buoyant_kernel=off,deltalake_core=off"
    } else {
        "info,s3s=off,lapin::returned_messages=error,rustls_platform_verifier=off,buoyant_kernel=off,deltalake_core=warn"
    };
    let asked = env::var("WAYBILL_LOG").ok().filter(|asked| !asked.is_empty());
    let filter = EnvFilter::builder().parse(asked.as_deref().unwrap_or(default));
    let filter =
        filter.context("WAYBILL_LOG: expected a level, or levels by room, such as info,waybill_worker=debug")?;
    let caps = Targets::new().with_default(LevelFilter::TRACE).with_targets(CAPS);
    Ok(lines(for_people, is_terminal, std::io::stderr).with_filter(filter.and(caps)).boxed())
}

/// Lines that are written to `writer`.
pub(crate) fn lines<S, W>(for_people: bool, colours: bool, writer: W) -> Box<dyn Layer<S> + Send + Sync>
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    W: for<'a> MakeWriter<'a> + Send + Sync + 'static,
{
    let lines = fmt::layer().with_writer(writer);
    if for_people {
        lines.with_ansi(colours).with_target(false).boxed()
    } else {
        lines.with_ansi(false).fmt_fields(JsonFields::new()).event_format(Json).boxed()
    }
}
