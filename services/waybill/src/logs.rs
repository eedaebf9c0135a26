//! Logs on standard error: for people on a terminal, JSON otherwise. `WAYBILL_LOG` says how much.

use std::io::IsTerminal;

use tracing_subscriber::EnvFilter;

/// Starts logging; a demo shows progress instead, so it logs only what is wrong.
pub(crate) fn init(quiet: bool) {
    // s3s calls every 404 and 412 an error; to its only client they are answers.
    let default = if quiet { "error,s3s=off" } else { "info,s3s=off" };
    let filter = EnvFilter::try_from_env("WAYBILL_LOG").unwrap_or_else(|_| EnvFilter::new(default));
    // lapin logs its login at `trace`; the broker's password appears nowhere, whatever is asked for.
    let filter = ["lapin=info", "amq_protocol=info"].iter().fold(filter, |filter, cap| match cap.parse() {
        Ok(cap) => filter.add_directive(cap),
        Err(_) => filter,
    });
    let subscriber = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    if std::io::stderr().is_terminal() {
        subscriber.with_target(false).init();
    } else {
        subscriber.json().flatten_event(true).with_ansi(false).init();
    }
}
