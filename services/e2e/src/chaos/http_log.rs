//! Judges how the APIs answered POSTs while things were broken: in time, and only with statuses that are allowed.

use std::time::Duration;

use crate::chaos::{
    Report,
    fleet::{Answered, Posted},
};

/// Reports the answers, and whether any was wrong or late.
pub(super) fn judge(posts: &[Posted], report: &mut Report) {
    let (mut answered, mut unavailable, mut disconnected, mut wrong) = (0, 0, 0, Vec::new());
    let (mut slowest_submit, mut slowest_other) = (Duration::ZERO, Duration::ZERO);
    for post in posts {
        match &post.answer {
            Answered::Status { status, has_retry_after, text } => {
                answered += 1;
                let slowest = if post.is_submit { &mut slowest_submit } else { &mut slowest_other };
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
    let promise = format!(
        "{answered} answers to POST, {unavailable} of them 503 with Retry-After, {disconnected} connections lost; the \
         slowest submit took {:.1} s, the slowest other {:.1} s",
        slowest_submit.as_secs_f64(),
        slowest_other.as_secs_f64(),
    );
    report.expect(wrong.is_empty(), &promise, || {
        let shown: Vec<_> = wrong.iter().take(5).cloned().collect();
        format!("{} are wrong: {}", wrong.len(), shown.join("; "))
    });
}
