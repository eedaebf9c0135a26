//! What the APIs answer, whatever is broken behind them: within a time, and nothing that they may not.

use std::time::{Duration, Instant};

use serde_json::Value;

use crate::chaos::{Report, fleet::Fleet};

/// What was answered so far.
#[derive(Debug, Default)]
pub(super) struct HttpLog {
    answered: u64,
    unavailable: u64,
    /// Requests whose connection broke: their process was killed.
    lost: u64,
    slowest_submit: Duration,
    slowest: Duration,
    wrong: Vec<String>,
}

/// A request of a client.
#[derive(Debug, Clone, Copy)]
pub(super) struct Ask<'a> {
    pub(super) path: &'a str,
    /// The body and the idempotency key of a submit.
    pub(super) submit: Option<(&'a Value, &'a str)>,
    /// Statuses that are fine, beside 503.
    pub(super) fine: &'static [u16],
}

/// The 2 seconds that a submit may take, and what a busy machine adds to it.
const SUBMIT: Duration = Duration::from_secs(5);

/// The 30 seconds that any other request may take, and the same.
const OTHER: Duration = Duration::from_secs(33);

impl Fleet {
    /// Posts to the `n`th API that is up. `None` where the connection broke, or nobody is there.
    pub(super) async fn post(&self, n: usize, ask: Ask<'_>) -> Option<(u16, Value)> {
        let limit = if ask.submit.is_some() { SUBMIT } else { OTHER };
        let url = self.url("api", n)?;
        let mut request = self.http.post(format!("{url}{}", ask.path)).timeout(limit);
        if let Some((body, key)) = ask.submit {
            request = request.header("Idempotency-Key", key).json(body);
        }
        let start = Instant::now();
        let answered = async {
            let response = request.send().await?;
            let (status, patient) = (response.status().as_u16(), response.headers().contains_key("Retry-After"));
            Ok::<_, reqwest::Error>((status, patient, response.text().await?))
        };
        let answered = answered.await;
        let elapsed = start.elapsed();
        let mut http_log = self.http_log.lock().expect("no holder panics");
        match answered {
            Ok((status, patient, text)) => {
                http_log.answered += 1;
                let slowest = if ask.submit.is_some() { &mut http_log.slowest_submit } else { &mut http_log.slowest };
                *slowest = (*slowest).max(elapsed);
                if status == 503 && patient {
                    http_log.unavailable += 1;
                } else if !ask.fine.contains(&status) {
                    http_log.wrong.push(format!("{} is answered with {status}: {text}", ask.path));
                }
                Some((status, serde_json::from_str(&text).unwrap_or_default()))
            }
            Err(error) => {
                http_log.lost += 1;
                if error.is_timeout() {
                    http_log.wrong.push(format!("{} is not answered within {limit:?}", ask.path));
                }
                None
            }
        }
    }
}

impl HttpLog {
    pub(super) fn judge(&self, report: &mut Report) {
        let promise = format!(
            "{} answers to POST, {} of them 503 with Retry-After, {} connections lost; the slowest submit took {:.1} s, \
             the slowest other {:.1} s",
            self.answered,
            self.unavailable,
            self.lost,
            self.slowest_submit.as_secs_f64(),
            self.slowest.as_secs_f64(),
        );
        report.expect(self.wrong.is_empty(), &promise, || {
            let shown: Vec<_> = self.wrong.iter().take(5).cloned().collect();
            format!("{} are wrong: {}", self.wrong.len(), shown.join("; "))
        });
    }
}
