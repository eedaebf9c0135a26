//! The request of one row, and what its answer means.

use bytes::BytesMut;
use jiff::Timestamp;
use reqwest::Response;
use tokio::time::{Instant, timeout_at};
use waybill_source::{Judgement, Row, RowOutcome, RowResult};

use crate::{
    download::{
        client::{SendError, Target},
        content_encoding::Decoder,
        refusal,
    },
    limits::{retry_after::retry_after, throttle::Passed},
    retry::{Fault, GaveUp, RetryBudget},
    task::Task,
};

/// How the sending of a row ended.
pub(super) enum Sent {
    /// It is known how, or known that nobody knows.
    Ended(RowOutcome),
    /// It is left for later.
    NotDone {
        why: GaveUp,
        /// Whether an earlier try may have reached the upstream, which may be asked twice.
        may_have_arrived: bool,
    },
}

/// What one try gave.
enum Try {
    Ended(RowOutcome),
    /// Nothing was done, or it may be done once more.
    Again {
        fault: Fault,
        may_have_arrived: bool,
    },
}

/// Sends a row, by a request that has passed the throttle, and further ones where the upstream did nothing.
pub(super) async fn send(task: &Task<'_>, row: &Row, mut passed: Passed<'_>) -> Sent {
    let (context, definition) = (task.context, task.definition);
    let request = match definition.row_request(&task.about, row, &context.worker.env) {
        Ok(request) => request,
        Err(error) => return Sent::Ended(definition.outcome(row, RowResult::Error, Some(error.to_string()), None)),
    };
    let target = match context.upstream.target(definition, &request) {
        Ok(target) => target,
        Err(reason) => return Sent::Ended(definition.outcome(row, RowResult::Error, Some(reason), None)),
    };
    let mut budget = RetryBudget::new(context.worker.retry, &context.shutdown);
    let mut may_have_arrived = false;
    loop {
        match attempt(task, row, &target, &mut passed).await {
            Try::Ended(outcome) => return Sent::Ended(outcome),
            Try::Again { fault, may_have_arrived: may } => {
                may_have_arrived |= may;
                drop(passed);
                if let Err(why) = budget.wait(fault).await {
                    return Sent::NotDone { why, may_have_arrived };
                }
            }
        }
        context.counts(definition.name()).retries.inc();
        passed = match task.throttle.pass(1, &context.shutdown).await {
            Ok(passed) => passed,
            Err(why) => return Sent::NotDone { why, may_have_arrived },
        };
    }
}

async fn attempt(task: &Task<'_>, row: &Row, target: &Target, passed: &mut Passed<'_>) -> Try {
    let (context, definition) = (task.context, task.definition);
    let counts = context.counts(definition.name());
    let within = definition.timeout();
    let deadline = Instant::now() + within;
    let request = context.upstream.request(target);
    let answered = context.upstream.send(request, target, counts, passed, &context.shutdown);
    let masked = |fault: &Fault| refusal::mask(&fault.to_string(), definition, &context.worker.env);
    let response = match timeout_at(deadline, answered).await {
        Ok(Ok(response)) => response,
        Ok(Err(SendError { fault, may_have_arrived: true })) => return unknown(task, row, masked(&fault)),
        Ok(Err(SendError { fault: fault @ Fault::Permanent(_), .. })) => {
            return Try::Ended(definition.outcome(row, RowResult::Error, Some(masked(&fault)), None));
        }
        Ok(Err(SendError { fault, .. })) => {
            return Try::Again { fault: Fault::transient(masked(&fault)), may_have_arrived: false };
        }
        Err(_) => {
            return unknown(task, row, format!("the upstream gave no answer for {} within {within:?}", target.path));
        }
    };
    let (status, headers) = (response.status(), response.headers().clone());
    task.throttle.pause_as_asked(status, &headers, Timestamp::now());
    let body = read(response, definition.max_bytes(), deadline).await;
    let reason = |reason: String| {
        let said = refusal::said_by(&body, definition, &context.worker.env);
        let reason = format!("the upstream answered with {reason}");
        if said.is_empty() { reason } else { format!("{reason}: {said}") }
    };
    match definition.judge(status.as_u16(), &body) {
        Judgement::Done => Try::Ended(definition.outcome(row, RowResult::Done, None, Some(&body))),
        Judgement::Error(why) => Try::Ended(definition.outcome(row, RowResult::Error, Some(reason(why)), Some(&body))),
        Judgement::Unknown(why) => unknown(task, row, reason(why)),
        Judgement::Retry { wait, reason: why } => {
            let retry_after = wait.or_else(|| retry_after(&headers, Timestamp::now()));
            Try::Again { fault: Fault::Transient { err: reason(why), retry_after }, may_have_arrived: false }
        }
    }
}

/// Nobody knows whether the upstream has the row.
fn unknown(task: &Task<'_>, row: &Row, reason: String) -> Try {
    if task.resends() {
        Try::Again { fault: Fault::transient(reason), may_have_arrived: true }
    } else {
        Try::Ended(task.definition.outcome(row, RowResult::Unknown, Some(reason), None))
    }
}

/// The body of an answer, as far as it came and within the limit: the status has said what counts.
async fn read(mut response: Response, max_bytes: u64, deadline: Instant) -> BytesMut {
    let mut decoder = Decoder::new(response.headers());
    let (mut body, mut is_last) = (BytesMut::new(), false);
    while !is_last {
        match timeout_at(deadline, response.chunk()).await {
            Ok(Ok(Some(chunk))) => decoder.push(chunk),
            Ok(Ok(None) | Err(_)) | Err(_) => {
                is_last = true;
                decoder.end();
            }
        }
        while let Ok(Some(piece)) = decoder.pull("") {
            if (body.len() + piece.len()) as u64 > max_bytes {
                return body;
            }
            body.extend_from_slice(&piece);
        }
    }
    body
}
