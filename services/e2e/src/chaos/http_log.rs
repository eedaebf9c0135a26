//! Judges how the APIs answered POSTs while things were broken: in time, and only with statuses that are allowed.

use std::{collections::BTreeMap, time::Duration};

use crate::chaos::{
    Report,
    fleet::{Answered, Posted},
};

/// Reports the answers, and whether any was wrong or late.
pub(super) fn judge(posts: &[Posted], report: &mut Report) {
    let (mut answered, mut unavailable, mut disconnected, mut wrong) = (0, 0, 0, Vec::new());
    // By limit: a submit, any other request, a submit with a file.
    let mut slowest = BTreeMap::<Duration, Duration>::new();
    for post in posts {
        match &post.answer {
            Answered::Status { status, has_retry_after, text } => {
                answered += 1;
                let slowest = slowest.entry(post.limit).or_default();
                *slowest = post.elapsed.max(*slowest);
                if *status == 503 && *has_retry_after {
                    unavailable += 1;
                } else if !post.allowed.contains(status) {
                    wrong.push(format!("{} is answered with {status}: {text}", post.path));
                }
            }
            Answered::TimedOut => wrong.push(format!("{} is not answered within {:?}", post.path, post.limit)),
            Answered::Disconnected => disconnected += 1,
        }
    }
    let seconds = |(limit, took): (&Duration, &Duration)| format!("{:.1} of {}", took.as_secs_f64(), limit.as_secs());
    let promise = format!(
        "{answered} answers to POST, {unavailable} of them 503 with Retry-After, {disconnected} connections lost; the \
         slowest took {} seconds",
        slowest.iter().map(seconds).collect::<Vec<_>>().join(", "),
    );
    report.expect(wrong.is_empty(), &promise, || {
        let shown: Vec<_> = wrong.iter().take(5).cloned().collect();
        format!("{} are wrong: {}", wrong.len(), shown.join("; "))
    });
}
