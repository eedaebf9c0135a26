//! `waybill load`: a file into the table of its model.

use std::process::ExitCode;

use waybill_source::Format;

use crate::{
    cli::{self, Collector, ServerFlags},
    client::{exit_code, follow},
    server::target::Target,
    tables::{anywhere::anywhere, input},
};

/// Returns when the load has ended: the exit status is 0 only if every row was loaded.
pub(crate) async fn run(flags: cli::Load) -> anyhow::Result<ExitCode> {
    // The settings file has no flag here: `--config` is the file to load, as it always was.
    let settings = ServerFlags { data: flags.data.clone(), ..ServerFlags::default() };
    anywhere(&settings, Target::Up, async |client| {
        let upload = input::open(&flags.config).await?;
        let format = match flags.collector {
            Collector::Csv => Format::Csv,
            Collector::Json => Format::Json,
            Collector::Ndjson => Format::Ndjson,
        };
        let job = client.load(&flags.model, format.media_type(), upload).await?;
        println!("{}", job.id);
        Ok(exit_code(&follow(client, &[job.id]).await?))
    })
    .await
}

/// `waybill init-db`: what the system that this replaces needed once.
pub(crate) fn init() -> ExitCode {
    println!("nothing to do: the first load of a table makes it");
    ExitCode::SUCCESS
}
