//! `waybill check FILE`: is this definition right?

use std::{path::PathBuf, process::ExitCode};

use waybill_source::Definition;

use crate::server::catalog;

/// Checks each file; the exit status is 0 only if all are right.
pub(crate) fn run(files: &[PathBuf]) -> anyhow::Result<ExitCode> {
    let mut code = ExitCode::SUCCESS;
    for file in files {
        let name = file.display().to_string();
        match Definition::parse(&name, &catalog::read(file)?) {
            Ok(definition) => {
                let given = definition.params().filter(|(_, _, default)| default.is_none());
                let params: Vec<_> = given.map(|(name, kind, _)| format!("{name}={}", kind.to_uppercase())).collect();
                let file = definition.upload_format().map(|format| format!("--file rows.{}", format.extension()));
                let words: Vec<_> = [definition.name().to_owned()].into_iter().chain(params).chain(file).collect();
                for warning in definition.warnings() {
                    eprintln!("warning: {warning}");
                }
                println!("{name}: ok: submit it with `waybill submit {}`", words.join(" "));
            }
            Err(mistakes) => {
                eprintln!("{mistakes}");
                code = ExitCode::FAILURE;
            }
        }
    }
    Ok(code)
}
