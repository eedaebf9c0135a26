//! `waybill query`: a question in SQL, answered as it comes.

use std::{
    io::{IsTerminal, Read, Write},
    path::Path,
    process::ExitCode,
};

use anyhow::{Context, bail, ensure};
use futures::TryStreamExt;

use crate::{
    cli::{self, QueryFormat},
    server::target::Target,
    tables::anywhere::anywhere,
};

/// Prints the answer. Where it breaks off, what was printed is not whole, and the exit status says so.
pub(crate) async fn run(flags: cli::Query) -> anyhow::Result<ExitCode> {
    let sql = match (&flags.sql, &flags.file) {
        (Some(sql), _) => sql.clone(),
        (None, Some(file)) => read(file)?,
        (None, None) => bail!("expected a query, or -f FILE"),
    };
    if flags.format == QueryFormat::Parquet {
        ensure!(!std::io::stdout().is_terminal(), "--format parquet: not to a terminal; send it to a file");
    }
    anywhere(&flags.server, Target::Tables, async |client| {
        let response = client.query(sql, flags.format.media_type()).await?;
        let mut answer = response.bytes_stream();
        let mut out = std::io::stdout().lock();
        while let Some(piece) = answer.try_next().await.context("the answer broke off")? {
            out.write_all(&piece)?;
        }
        out.flush()?;
        Ok(ExitCode::SUCCESS)
    })
    .await
}

fn read(file: &Path) -> anyhow::Result<String> {
    if file == Path::new("-") {
        let mut sql = String::new();
        std::io::stdin().read_to_string(&mut sql)?;
        return Ok(sql);
    }
    std::fs::read_to_string(file).with_context(|| format!("-f: cannot read {}", file.display()))
}
