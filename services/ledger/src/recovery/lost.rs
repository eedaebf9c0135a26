//! Decides whether a job's messages are lost. A message may be on a queue, at a worker, in a delay queue, or gone, and
//! no broker tells which; so a job counts as lost once nothing has happened to it for long enough. A slow job must
//! not count as lost again and again: its queue would fill with copies.

use jiff::{SignedDuration, Timestamp};
use waybill_queue::QueueName;

use crate::{JobId, Ledger, jobs::Facts, recovery::Pass};

/// However often a job was sent again, it is not left alone for longer than this.
const LONGEST_PATIENCE: SignedDuration = SignedDuration::from_mins(30);

/// What was seen of an unfinished job.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Watch {
    round: u32,
    activity: u64,
    /// Whether it was looked at before in this round.
    seen: bool,
    /// Tasks that have ended, as far as they are counted for the queue.
    ended_tasks: u64,
    /// So many tasks will have ended on the queue when all that waited there, at the first still look, is through.
    through_at: Option<u64>,
    /// Since when there has been no new fact of the job, and nothing of it can be on its queue.
    still_since: Option<Timestamp>,
    /// How often it was sent again in this round.
    sent: u32,
}

impl Watch {
    fn lost_after(self, lost_after: SignedDuration) -> SignedDuration {
        let doubled = lost_after.checked_mul(1 << self.sent.min(16)).unwrap_or(LONGEST_PATIENCE);
        doubled.min(LONGEST_PATIENCE.max(lost_after))
    }
}

/// Whether the facts of a job say by themselves that nothing has happened for so long: whoever begins to look need not
/// watch the job for all of that time. A clock that is ahead only makes them say it later.
fn is_older(latest: Option<Timestamp>, than: SignedDuration, now: Timestamp) -> bool {
    latest.is_some_and(|latest| now.duration_since(latest) >= than)
}

impl Ledger {
    /// Whether nothing has happened to a job for so long, with none of its messages on its queue: neither a new fact
    /// of the job, nor a look at the queue that found anything which may be the job's. Doubled with every time that the
    /// job was sent again. Where the facts are old enough, the looks at the queue need only go back as far as messages are in
    /// workers' hands with nothing said of them.
    pub(crate) async fn is_lost(
        &self,
        job: JobId,
        facts: &Facts,
        queue_name: QueueName,
        lost_after: SignedDuration,
        pass: &Pass,
    ) -> bool {
        let waiting = pass.waiting(self, queue_name.clone()).await;
        let mut watch = self.watch(job, facts);
        if watch.activity != facts.activity() {
            watch = Watch { activity: facts.activity(), through_at: None, still_since: None, ..watch };
        } else if waiting == Some(0) || self.is_through(&mut watch, facts, &queue_name, waiting) {
            watch.still_since.get_or_insert(pass.now);
        } else {
            watch.still_since = None;
        }
        watch.seen = true;
        self.memory.watched.insert(job, watch, 1);
        let Some(still) = watch.still_since.map(|since| pass.now.duration_since(since)) else { return false };
        still >= watch.lost_after(lost_after)
            || watch.sent == 0 && still >= pass.lost_after && is_older(facts.latest(), lost_after, pass.now)
    }

    /// A queue that other jobs keep full must not hide what was lost from it. It is first in, first out: once as many
    /// tasks were settled on it as waited there, nothing of a job that stood still meanwhile waits there any more, save
    /// what comes back from a delay queue. What was in workers' hands, or is counted late, makes this true too
    /// early by less than the patience that follows.
    fn is_through(&self, watch: &mut Watch, facts: &Facts, queue_name: &QueueName, waiting: Option<u64>) -> bool {
        let (QueueName::Source(source), Some(waiting)) = (queue_name, waiting) else { return false };
        // At the first look, outcomes may just have been counted that are old.
        if !watch.seen || facts.has_retries {
            return false;
        }
        let ended_tasks = self.memory.ended_tasks.get(source).unwrap_or(0);
        ended_tasks >= *watch.through_at.get_or_insert(ended_tasks + waiting.max(1))
    }

    /// Counts what was settled on a source's queue since the last look at this job.
    pub(crate) fn count_ended(&self, job: JobId, source: &str, facts: &Facts) {
        let watch = self.watch(job, facts);
        let more = facts.ended_tasks.saturating_sub(watch.ended_tasks);
        if more > 0 {
            let ended_tasks = self.memory.ended_tasks.get(&source.to_owned()).unwrap_or(0);
            self.memory.ended_tasks.insert(source.to_owned(), ended_tasks + more, 1);
        }
        self.memory.watched.insert(job, Watch { ended_tasks: facts.ended_tasks, ..watch }, 1);
    }

    /// Says that a job was sent again just now.
    pub(crate) fn record_republish(&self, job: JobId, facts: &Facts) {
        let watch = self.watch(job, facts);
        let sent = watch.sent + 1;
        self.memory.watched.insert(job, Watch { through_at: None, still_since: None, sent, ..watch }, 1);
    }

    fn watch(&self, job: JobId, facts: &Facts) -> Watch {
        let known = self.memory.watched.get(&job);
        known.filter(|watch| watch.round == facts.round).unwrap_or(Watch {
            round: facts.round,
            activity: facts.activity(),
            seen: false,
            ended_tasks: known.map_or(0, |watch| watch.ended_tasks),
            through_at: None,
            still_since: None,
            sent: 0,
        })
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::Ordering;

    use super::*;
    use crate::{
        Outcome, Wait,
        testing::{Fixture, at, attempt, attempt_at, done, id, lease, plan},
    };

    /// A job whose tasks were all sent.
    async fn sent(fixture: &Fixture, job: JobId, tasks: usize) {
        let request = fixture.planned(job, tasks).await;
        fixture.ledger.publish_tasks(&request, &plan(tasks), false).await.unwrap();
        fixture.queue.sent();
    }

    /// Recovers every half minute, and says at which seconds how much was sent.
    async fn sends(ledger: &Ledger, from: i64, to: i64) -> Vec<(i64, u64)> {
        sends_every(30, ledger, from, to).await
    }

    async fn sends_every(seconds: usize, ledger: &Ledger, from: i64, to: i64) -> Vec<(i64, u64)> {
        let mut sends = Vec::new();
        for second in (from..to).step_by(seconds) {
            match ledger.recover(at(second), false).await.unwrap() {
                0 => {}
                messages => sends.push((second, messages)),
            }
        }
        sends
    }

    #[tokio::test]
    async fn waiting_messages_are_not_lost_however_slow_the_queue() {
        let fixture = Fixture::new().await;
        let job = id(0, 1);
        sent(&fixture, job, 100_000).await;
        fixture.queue.waiting.store(99_990, Ordering::Relaxed);
        let mut seconds = 0;
        for task in 0..3 {
            assert_eq!(sends_every(1_200, &fixture.ledger, seconds, seconds + 7_200).await, []);
            fixture.ledger.record_done(job, task, 0, &done(Outcome::Stored, seconds)).await.unwrap();
            seconds += 7_200;
        }
        // The last messages are at workers, and the queue is empty for the first time.
        fixture.queue.waiting.store(0, Ordering::Relaxed);
        assert_eq!(sends(&fixture.ledger, seconds, seconds + 120).await, []);
        assert_eq!(fixture.queue.sent(), [""; 0]);
    }

    #[tokio::test]
    async fn lost_messages_are_republished_at_growing_intervals() {
        let fixture = Fixture::new().await;
        let [queued, planning, running] = [1, 2, 3].map(|n| id(0, n));
        fixture.job(queued).await;
        fixture.job(planning).await;
        fixture.ledger.record_start(planning, at(1)).await.unwrap();
        sent(&fixture, running, 3).await;
        fixture.ledger.record_done(running, 1, 0, &done(Outcome::Stored, 3)).await.unwrap();
        fixture.queue.sent();

        let housekeeper = fixture.another();
        let hours = sends(&housekeeper, 0, 2 * 3_600).await;
        assert_eq!(hours[0], (90, 1), "the one that nobody began");
        assert_eq!(hours[1], (120, 2), "the two tasks that were not done");
        // After twice the time of doing nothing, from the next look on.
        assert_eq!(hours[2], (390, 2));
        assert!(hours.iter().filter(|(_, messages)| *messages == 2).count() <= 8, "{hours:?}");
        let sent = fixture.queue.sent();
        for expected in [
            format!("plan {queued}"),
            format!("plan {planning}"),
            format!("again {running} 0"),
            format!("again {running} 2"),
        ] {
            assert!(sent.contains(&expected), "{expected}");
        }
        assert!(!sent.contains(&format!("again {running} 1")));
        assert!(sent.iter().filter(|message| **message == format!("plan {planning}")).count() <= 7, "{sent:?}");
    }

    #[tokio::test]
    async fn lost_tasks_are_found_on_a_queue_that_is_never_empty() {
        let fixture = Fixture::new().await;
        let (lost, busy) = (id(0, 1), id(0, 2));
        sent(&fixture, lost, 2).await;
        sent(&fixture, busy, 400).await;
        fixture.queue.waiting.store(100, Ordering::Relaxed);
        // Both stand still while the queue does: what waits there may be of either.
        assert_eq!(sends(&fixture.ledger, 0, 600).await, []);
        let mut sends_at = Vec::new();
        for task in 0..200 {
            fixture.ledger.record_done(busy, task, 0, &done(Outcome::Stored, 600)).await.unwrap();
            let second = 600 + i64::from(task) * 3;
            sends_at.extend(sends(&fixture.ledger, second, second + 1).await);
        }
        // A hundred were settled at 897, which is counted then or at the next look, and the patience is 120.
        assert!(matches!(sends_at[..], [(1_017 | 1_020, 2)]), "{sends_at:?}");
        assert_eq!(fixture.queue.sent(), [format!("again {lost} 0"), format!("again {lost} 1")]);
    }

    #[tokio::test]
    async fn every_new_fact_of_a_job_restarts_its_lost_timer() {
        let fixture = Fixture::new().await;
        let job = id(0, 1);
        sent(&fixture, job, 40).await;
        for task in 0..30 {
            let second = i64::from(task) * 90;
            assert_eq!(sends(&fixture.ledger, second, second + 90).await, []);
            match task % 3 {
                0 => fixture.ledger.record_done(job, task, 0, &done(Outcome::Stored, second)).await.unwrap(),
                1 => fixture.ledger.record_lease(job, Some(task), 0, lease("one", second)).await.unwrap(),
                _ => drop(fixture.ledger.record_attempt(job, Some(task), 0, attempt(1)).await.unwrap()),
            }
        }
    }

    #[tokio::test]
    async fn leased_tasks_are_not_republished() {
        let fixture = Fixture::new().await;
        let job = id(0, 1);
        sent(&fixture, job, 3).await;
        fixture.ledger.record_lease(job, Some(0), 0, lease("one", 10_000)).await.unwrap();
        fixture.ledger.record_lease(job, Some(1), 0, lease("gone", 60)).await.unwrap();
        assert_eq!(sends(&fixture.another(), 0, 150).await, [(120, 2)]);
        assert_eq!(fixture.queue.sent(), [format!("again {job} 1"), format!("again {job} 2")]);
        // While all remaining tasks are leased, nothing is published.
        let job = id(0, 2);
        sent(&fixture, job, 1).await;
        fixture.ledger.record_lease(job, Some(0), 0, lease("one", 10_000)).await.unwrap();
        let another = fixture.another();
        sends(&another, 0, 9_990).await;
        assert!(!fixture.queue.sent().contains(&format!("again {job} 0")));
        assert_eq!(sends(&another, 10_020, 10_050).await.len(), 1);
    }

    #[tokio::test]
    async fn tasks_with_several_attempts_may_wait_in_a_delay_queue() {
        let fixture = Fixture::new().await;
        let job = id(0, 1);
        sent(&fixture, job, 2).await;
        fixture.ledger.record_attempt(job, Some(0), 0, attempt(1)).await.unwrap();
        assert_eq!(sends(&fixture.another(), 0, 1_200).await, [(960, 2)]);
        fixture.ledger.record_done(job, 0, 0, &done(Outcome::Stored, 3)).await.unwrap();
        assert_eq!(sends(&fixture.another(), 0, 150).await, [(120, 1)]);
    }

    /// Housekeepers change, and none of them looks for as long as a task may wait in a delay queue.
    #[tokio::test]
    async fn another_housekeeper_goes_on_from_what_the_facts_say() {
        let fixture = Fixture::new().await;
        let job = id(0, 1);
        sent(&fixture, job, 2).await;
        fixture.ledger.record_attempt(job, Some(0), 0, attempt_at(10)).await.unwrap();
        let wait = Wait { task: Some(0), until: at(40), reason: "500".to_owned() };
        fixture.ledger.record_wait(job, 0, 2, wait).await.unwrap();
        for second in [0, 300, 600] {
            assert_eq!(sends(&fixture.another(), second, second + 300).await, []);
        }
        // 16 minutes after the wait was over, not after its first look.
        assert_eq!(sends(&fixture.another(), 900, 1_200).await, [(1_020, 2)]);
        // However old the facts are, what workers have in hand is waited for; and what was sent again is left its time.
        let late = fixture.another();
        assert_eq!(sends(&late, 3_000, 4_900).await, [(3_120, 2)]);
        // A clock that is ahead does not hide anything for longer than looks would.
        fixture.ledger.record_attempt(job, Some(0), 0, attempt_at(99_000)).await.unwrap();
        assert_eq!(sends(&fixture.another(), 5_000, 6_000).await, [(5_960, 2)]);
    }

    /// It is the planner's message that is sent then: it knows how far it was, and the plan may be large.
    #[tokio::test]
    async fn a_plan_message_is_republished_when_its_planner_died() {
        let fixture = Fixture::new().await;
        let job = id(0, 1);
        let request = fixture.planned(job, 40).await;
        fixture.queue.take_only(10);
        fixture.ledger.publish_tasks(&request, &plan(40), false).await.unwrap_err();
        fixture.queue.take_all();
        fixture.queue.sent();
        assert_eq!(sends(&fixture.another(), 0, 660).await, [(600, 1)]);
        assert_eq!(fixture.queue.sent(), [format!("plan {job}")]);
    }

    #[tokio::test]
    async fn an_interrupted_republish_goes_on_where_it_ended() {
        let fixture = Fixture::new().await;
        let job = id(0, 1);
        sent(&fixture, job, 200).await;
        let housekeeper = fixture.another();
        assert_eq!(sends(&housekeeper, 0, 120).await, []);
        fixture.queue.take_only(70);
        let first = housekeeper.recover(at(120), false).await.unwrap();
        fixture.queue.take_all();
        let second = housekeeper.recover(at(121), false).await.unwrap();
        assert_eq!(first + second, 200);
        let mut all = fixture.queue.sent();
        all.dedup();
        assert_eq!(all.len(), 200);
        assert_eq!(housekeeper.recover(at(150), false).await.unwrap(), 0);
    }
}
