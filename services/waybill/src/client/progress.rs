//! Jobs followed until they end: bars on a terminal, plain lines elsewhere.

use std::{
    collections::HashMap,
    io::{IsTerminal, Write},
    time::{Duration, Instant},
};

use indicatif::{HumanBytes, HumanCount, MultiProgress, ProgressBar, ProgressStyle};

use crate::client::{Client, Job};

/// Often enough to look alive, seldom enough to cost the server nothing.
const POLL: Duration = Duration::from_millis(250);
/// Without a terminal: a line for each job at most so often.
const LINE_EVERY: Duration = Duration::from_secs(2);

/// Follows jobs until all have ended, and returns them as they ended, in the same order.
pub(crate) async fn follow(client: &Client, ids: &[String]) -> anyhow::Result<Vec<Job>> {
    let mut view = if std::io::stderr().is_terminal() { View::Bars(Bars::new()) } else { View::Lines(HashMap::new()) };
    let mut ended: HashMap<&String, Job> = HashMap::new();
    loop {
        for id in ids {
            if !ended.contains_key(id) {
                let job = client.job(id).await?;
                view.show(&job);
                if job.is_terminal() {
                    ended.insert(id, job);
                }
            }
        }
        if ended.len() == ids.len() {
            return Ok(ids.iter().filter_map(|id| ended.get(id).cloned()).collect());
        }
        tokio::time::sleep(POLL).await;
    }
}

enum View {
    Bars(Bars),
    Lines(HashMap<String, (String, Instant)>),
}

impl View {
    fn show(&mut self, job: &Job) {
        match self {
            Self::Bars(bars) => bars.show(job),
            Self::Lines(last) => {
                let (state, since) = last.get(&job.id).cloned().unzip();
                if state.as_ref() != Some(&job.state) || since.is_some_and(|since| since.elapsed() >= LINE_EVERY) {
                    last.insert(job.id.clone(), (job.state.clone(), Instant::now()));
                    // A closed pipe is no reason to stop following.
                    let _ = writeln!(std::io::stderr(), "{}", line(job));
                }
            }
        }
    }
}

/// `buses date=2024-05-01: running, 3 of 12 cities…`
fn line(job: &Job) -> String {
    let done = job.tasks.stored + job.tasks.unchanged + job.tasks.failed;
    format!("{}: {}, {done} of {} tasks, {}", job.title(), job.state, job.tasks.total, amounts(job))
}

fn amounts(job: &Job) -> String {
    let mut text = format!("{}, {} records", HumanBytes(job.bytes), HumanCount(job.records));
    if job.tasks.unchanged > 0 {
        text += &format!(", {} unchanged", job.tasks.unchanged);
    }
    if job.tasks.failed > 0 {
        text += &format!(", {} failed", job.tasks.failed);
    }
    match job.eta_seconds {
        Some(eta) if !job.is_terminal() => format!("{text}, about {eta:.0} s left"),
        _ => text,
    }
}

struct Bars {
    all: MultiProgress,
    by_job: HashMap<String, ProgressBar>,
}

impl Bars {
    fn new() -> Self {
        Self { all: MultiProgress::new(), by_job: HashMap::new() }
    }

    fn show(&mut self, job: &Job) {
        let style = "{prefix:<24} {bar:24} {pos:>5}/{len} {msg}";
        let bar = self.by_job.entry(job.id.clone()).or_insert_with(|| {
            let style = ProgressStyle::with_template(style).unwrap_or_else(|_| ProgressStyle::default_bar());
            self.all.add(ProgressBar::new(0).with_style(style).with_prefix(job.title()))
        });
        bar.set_length(job.tasks.total);
        bar.set_position(job.tasks.stored + job.tasks.unchanged + job.tasks.failed);
        bar.set_message(format!("{}, {}", job.state, amounts(job)));
        if job.is_terminal() {
            bar.abandon();
        }
    }
}
