//! A waybill process: started, watched for its address, killed when dropped.

use std::{
    fs::File,
    io::{BufRead, BufReader},
    path::PathBuf,
    process::{Child, Command, Output, Stdio},
    time::{Duration, Instant},
};

/// The binary under test, which cargo puts beside ours, or one folder above a test.
pub fn binary() -> PathBuf {
    let own = std::env::current_exe().expect("a process has an executable");
    let beside = own.ancestors().skip(1).take(2).map(|folder| folder.join("waybill"));
    beside
        .into_iter()
        .find(|path| path.is_file())
        .expect("waybill is not built: run scripts/test, or cargo build first")
}

/// A running server.
#[derive(Debug)]
pub struct Process {
    child: Child,
    /// Where it serves.
    pub url: String,
    /// Where its embedded S3 can be looked into.
    pub s3_url: Option<String>,
}

impl Process {
    /// Starts `waybill {arguments}` and waits for the address it prints.
    pub fn start(arguments: &[String], environment: &[(String, String)]) -> Self {
        let mut child = command(environment)
            .args(arguments)
            .stdout(Stdio::piped())
            .stderr(logs(environment))
            .spawn()
            .expect("waybill can be started");
        let stdout = child.stdout.take().expect("stdout is a pipe");
        let (mut url, mut s3_url, mut said) = (None, None, String::new());
        for line in BufReader::new(stdout).lines() {
            let line = line.expect("waybill prints UTF-8");
            said += &format!("{line}\n");
            let mut words = line.split_whitespace();
            match words.next() {
                Some("serving") => url = words.next().map(str::to_owned),
                Some("data") => {
                    s3_url = line.split("S3 at ").nth(1).and_then(|rest| rest.split(',').next()).map(str::to_owned);
                }
                _ => {}
            }
            // `docs` is the last line of those that have it; a worker and stats end with `serving`.
            let last = if arguments[0] == "up" || arguments[0] == "api" { "docs" } else { "serving" };
            if line.trim_start().starts_with(last) {
                break;
            }
        }
        let Some(url) = url else {
            let _ = child.kill();
            let _ = child.wait();
            panic!("waybill {arguments:?} ended without an address; it printed: {said}");
        };
        Self { child, url, s3_url }
    }

    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Ends it as a crash does.
    pub fn kill(mut self) {
        self.child.kill().expect("a child can be killed");
        self.child.wait().expect("a killed child can be waited for");
    }

    /// Ends it with SIGTERM, and returns its exit code.
    pub async fn terminate(self) -> Option<i32> {
        self.send_sigterm();
        self.exit_code(Duration::from_secs(30)).await
    }

    /// Sends SIGTERM, and does not wait for what comes of it.
    pub fn send_sigterm(&self) {
        self.signal("TERM");
    }

    /// Sends a signal by its name, such as `STOP`.
    pub fn signal(&self, name: &str) {
        let pid = self.child.id().to_string();
        let status = Command::new("kill").args(["-s", name, &pid]).status().expect("kill can be run");
        assert!(status.success());
    }

    /// Waits for its end, and returns its exit code; it must come within this time.
    pub async fn exit_code(mut self, within: Duration) -> Option<i32> {
        let start = Instant::now();
        loop {
            if let Some(status) = self.child.try_wait().expect("a child can be waited for") {
                return status.code();
            }
            assert!(start.elapsed() < within, "waybill was to go down within {within:?}");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Runs `waybill {arguments}` to its end.
pub fn run(arguments: &[&str], environment: &[(String, String)]) -> Output {
    command(environment).args(arguments).output().expect("waybill can be run")
}

/// A command that inherits no setting of the environment but those given.
fn command(environment: &[(String, String)]) -> Command {
    let mut command = Command::new(binary());
    for (name, _) in std::env::vars() {
        if ["WAYBILL_", "AWS_", "OTEL_"].iter().any(|prefix| name.starts_with(prefix)) {
            command.env_remove(name);
        }
    }
    command.envs(environment.iter().map(|(name, value)| (name, value)));
    command
}

/// With WAYBILL_TEST_LOGS=1 logs are shown. A test that looks into them names a file in WAYBILL_TEST_LOG_FILE, to
/// which they are appended.
fn logs(environment: &[(String, String)]) -> Stdio {
    if let Some((_, file)) = environment.iter().find(|(name, _)| name == "WAYBILL_TEST_LOG_FILE") {
        return File::options().append(true).create(true).open(file).expect("logs can be written").into();
    }
    if std::env::var_os("WAYBILL_TEST_LOGS").is_some() { Stdio::inherit() } else { Stdio::null() }
}
