//! A RabbitMQ of a test's own, for what would disturb everybody else's.

use std::{
    env, fs,
    path::PathBuf,
    process::{Command, Stdio},
};

/// Runs until it is dropped.
pub(crate) struct PrivateBroker {
    folder: PathBuf,
    pub(crate) url: String,
}

impl PrivateBroker {
    pub(crate) fn start() -> Self {
        let folder = env::temp_dir().join(super::prefix());
        let mut broker = Self { folder, url: String::new() };
        broker.url = broker.script("start", &[]);
        broker
    }

    /// `rabbitmqctl`; what it printed.
    pub(crate) fn ctl(&self, arguments: &[&str]) -> String {
        self.script("ctl", arguments)
    }

    /// One of its settings, which are Erlang's.
    pub(crate) fn set(&self, name: &str, value: &str) {
        self.ctl(&["eval", &format!("application:set_env(rabbit, {name}, {value}).")]);
    }

    /// What it has to say.
    pub(crate) fn log(&self) -> String {
        fs::read_to_string(self.folder.join("log/rabbitmq.log")).unwrap()
    }

    /// Blocks this thread only: everything else in the test goes on meanwhile.
    fn script(&self, command: &str, arguments: &[&str]) -> String {
        tokio::task::block_in_place(|| {
            let mut script = Command::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../../scripts/rabbitmq"));
            script.arg(command).arg(&self.folder).args(arguments).stdin(Stdio::null());
            let output = script.output().unwrap();
            let printed = String::from_utf8_lossy(&output.stdout).trim().to_owned();
            let errors = String::from_utf8_lossy(&output.stderr);
            assert!(output.status.success(), "{command} {arguments:?}: {printed} {errors}");
            printed
        })
    }
}

impl Drop for PrivateBroker {
    fn drop(&mut self) {
        self.script("stop", &[]);
        // A folder that stays is no reason to fail.
        let _ = fs::remove_dir_all(&self.folder);
    }
}
