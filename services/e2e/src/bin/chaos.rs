//! `scripts/chaos`: breaks things on purpose, and says which promises held.

use std::{process::ExitCode, time::Duration};

use clap::Parser;
use waybill_e2e::Chaos;

/// Breaks a fleet on purpose while jobs are submitted, and checks that nothing is lost
#[derive(Debug, Parser)]
struct Arguments {
    /// How long things are broken
    #[arg(long, default_value_t = 2.0)]
    minutes: f64,
    /// The choices made; printed, so that a run can be repeated
    #[arg(long)]
    seed: Option<u64>,
}

#[tokio::main]
async fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let seed = arguments.seed.unwrap_or_else(|| fastrand::u64(..1_000_000));
    eprintln!("chaos: seed {seed}, {} minutes", arguments.minutes);
    let report = Chaos { seed, duration: Duration::from_secs_f64(arguments.minutes * 60.0) }.run().await;
    print!("{report}");
    if report.is_good() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
