//! Waybill: one binary for every service, the stand-in upstream and the command line.

mod cli;
mod client;
mod commands;
mod server;
#[cfg(feature = "tables")]
mod tables;
mod trial;

use std::process::ExitCode;

use clap::{CommandFactory, Parser};
use cli::{Cli, Command};
use server::target::Target;
use waybill_telemetry::{Process, Telemetry};

fn main() -> ExitCode {
    let cli = Cli::parse();
    match start(cli.command) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("waybill: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn start(command: Command) -> anyhow::Result<ExitCode> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let process = Process { service: service(&command), quiet: is_quiet(&command) };
    let telemetry = Telemetry::start(process, runtime.handle())?;
    let outcome = runtime.block_on(run(command));
    telemetry.end();
    outcome
}

/// Whether a server within this command logs errors alone: progress, or an answer, takes the place of the rest.
fn is_quiet(command: &Command) -> bool {
    match command {
        #[cfg(feature = "upstream")]
        Command::Demo(_) => true,
        #[cfg(feature = "tables")]
        Command::Load(_) | Command::Query(_) => true,
        _ => false,
    }
}

/// What a server is called in traces.
fn service(command: &Command) -> Option<&'static str> {
    match command {
        Command::Up(_) => Some("waybill"),
        Command::Api(_) => Some("waybill-api"),
        Command::Worker(_) => Some("waybill-worker"),
        Command::Stats(cli::Stats { source: None, .. }) => Some("waybill-stats"),
        #[cfg(feature = "tables")]
        Command::Tables(_) => Some("waybill-tables"),
        _ => None,
    }
}

async fn run(command: Command) -> anyhow::Result<ExitCode> {
    match command {
        Command::Up(flags) => server::run(Target::Up, flags).await,
        Command::Api(flags) => server::run(Target::Api, flags).await,
        Command::Worker(flags) => server::run(Target::Worker, flags).await,
        Command::Stats(cli::Stats { source: None, server, .. }) => server::run(Target::Stats, server).await,
        Command::Stats(cli::Stats { source: Some(source), from, to, format, .. }) => {
            client::stats(&source, from, to, format).await
        }
        #[cfg(feature = "tables")]
        Command::Tables(flags) => server::run(Target::Tables, flags).await,
        #[cfg(feature = "tables")]
        Command::Load(flags) => tables::load::run(flags).await,
        #[cfg(feature = "tables")]
        Command::Query(flags) => tables::query::run(flags).await,
        #[cfg(feature = "tables")]
        Command::InitDb => Ok(tables::load::init()),
        #[cfg(feature = "upstream")]
        Command::Upstream(flags) => commands::upstream::run(flags).await,
        #[cfg(feature = "upstream")]
        Command::Demo(flags) => commands::demo::run(flags).await,
        Command::Submit(flags) => client::submit(flags).await,
        Command::Job { id, watch } => client::job(&id, watch).await,
        Command::Retry { id, wait } => client::retry(&id, wait).await,
        Command::Cancel { id } => client::cancel(&id).await,
        Command::Jobs(flags) => client::jobs(flags).await,
        Command::Check { files } => commands::check::run(&files),
        Command::New(flags) => trial::new::run(flags).await,
        Command::Try(flags) => trial::attempt::run(flags).await,
        Command::Journal(flags) => commands::index::print(flags).await,
        Command::Rebuild(flags) => commands::index::rebuild(flags).await,
        Command::Key { action: cli::Key::New(flags) } => commands::key::new(&flags),
        Command::Health => client::health().await,
        Command::Completions { shell } => {
            clap_complete::generate(shell, &mut Cli::command(), "waybill", &mut std::io::stdout());
            Ok(ExitCode::SUCCESS)
        }
    }
}
