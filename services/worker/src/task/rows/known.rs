//! What is known of a task's rows before they are sent: pure.

use std::collections::BTreeMap;

use waybill_ledger::RowRecord;
use waybill_source::{RowOutcome, RowResult};

/// What an earlier run of the task left of a row. Of other rows nothing was sent, or the upstream did nothing.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Known {
    /// It has ended.
    Ended(RowOutcome),
    /// It may have been sent, and nobody knows how it ended.
    Begun,
}

/// What counts in `round`, by line. A row that is done stays done. Anything else counts in its own round only: a retry
/// sends it again.
pub(crate) fn fold(stored: Vec<RowOutcome>, records: &[RowRecord], round: u32) -> BTreeMap<u64, Known> {
    // An object that this round has stored says what the log says, too.
    let done = stored.into_iter().filter(|outcome| outcome.result == RowResult::Done);
    let mut known: BTreeMap<u64, Known> = done.map(|outcome| (outcome.line, Known::Ended(outcome))).collect();
    for record in records {
        for outcome in &record.ended {
            if record.round == round || outcome.result == RowResult::Done {
                known.insert(outcome.line, Known::Ended(outcome.clone()));
            }
        }
        if record.round == round {
            for line in &record.begun {
                known.entry(*line).or_insert(Known::Begun);
            }
            for line in &record.withdrawn {
                if known.get(line) == Some(&Known::Begun) {
                    known.remove(line);
                }
            }
        }
    }
    known
}

#[cfg(test)]
mod tests {
    use proptest::{collection::vec, prelude::*};
    use serde_json::Map;
    use uuid::Uuid;

    use super::*;

    fn outcome(line: u64, result: RowResult) -> RowOutcome {
        RowOutcome { line, result, reason: None, values: Map::new() }
    }

    fn record(round: u32) -> RowRecord {
        let (begun, withdrawn, ended) = (Vec::new(), Vec::new(), Vec::new());
        RowRecord { writer: Uuid::nil(), round, begun, withdrawn, ended }
    }

    #[test]
    fn a_row_that_was_begun_is_sent_again_only_by_a_later_round() {
        let records = [RowRecord { begun: vec![2, 3, 4], ..record(0) }, RowRecord { withdrawn: vec![4], ..record(0) }];
        assert_eq!(fold(Vec::new(), &records, 0), BTreeMap::from([(2, Known::Begun), (3, Known::Begun)]));
        assert_eq!(fold(Vec::new(), &records, 1), BTreeMap::new());
    }

    #[test]
    fn what_is_done_stays_done_and_errors_are_of_their_round() {
        let ended = vec![outcome(2, RowResult::Done), outcome(3, RowResult::Error), outcome(4, RowResult::Unknown)];
        let records =
            [RowRecord { begun: vec![2, 3, 4], ..record(0) }, RowRecord { ended: ended.clone(), ..record(0) }];
        let all = ended.iter().map(|outcome| (outcome.line, Known::Ended(outcome.clone()))).collect();
        assert_eq!(fold(Vec::new(), &records, 0), all);
        let done = BTreeMap::from([(2, Known::Ended(ended[0].clone()))]);
        assert_eq!(fold(Vec::new(), &records, 1), done);
        assert_eq!(fold(ended, &[record(1)], 1), done);
    }

    proptest! {
        /// Whatever a run did before it was cut off: of the rows that it may have sent, none is sent again in its round.
        #[test]
        fn no_row_that_may_have_been_sent_is_unknown_to_the_next_run(
            runs in vec(vec((0..12_u64, 0..4_u8), 0..20), 1..4),
        ) {
            let (mut records, mut sent) = (Vec::new(), BTreeMap::new());
            for run in runs {
                records.push(record(0));
                for (line, step) in run {
                    // A run sends only what is not known.
                    if fold(Vec::new(), &records, 0).contains_key(&line) {
                        continue;
                    }
                    records.push(RowRecord { begun: vec![line], ..record(0) });
                    if step == 0 {
                        records.push(RowRecord { withdrawn: vec![line], ..record(0) });
                        continue;
                    }
                    *sent.entry(line).or_insert(0) += 1;
                    let result = [RowResult::Done, RowResult::Error].get(usize::from(step) - 1);
                    if let Some(result) = result {
                        records.push(RowRecord { ended: vec![outcome(line, *result)], ..record(0) });
                    }
                }
            }
            let known = fold(Vec::new(), &records, 0);
            for (line, times) in sent {
                prop_assert_eq!(times, 1, "line {} was sent {} times", line, times);
                prop_assert!(known.contains_key(&line));
            }
        }
    }
}
