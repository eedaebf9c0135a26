//! The outcomes of a sealed job, in pieces: objects in the job's folder, written before the entry that seals it. Each is
//! derived, and any process writes the same into it, but for a task that was done twice.

use std::sync::Arc;

use bytes::Bytes;
use waybill_journal::{View, decode_framed, encode_framed};

use crate::{
    JobId, Ledger, LedgerError,
    jobs::{Ended, Sealed, Slot, outcome::ended, outcome::outcome, proto::Outcomes},
    layout::{
        keys::{self, Name},
        objects::within,
    },
};

/// The kind in a piece's header.
const KIND: u8 = b'O';
/// The most that is read of a piece: its outcomes have about 140 bytes each, and the longest key 1,024.
const PIECE_BYTES: usize = 16 << 20;

/// Outcomes by the number of their task in the piece, each done.
pub(crate) type Piece = Arc<Vec<Ended>>;

/// The outcomes of the tasks from `first` on as an object.
fn encode(first: u32, outcomes: &[Ended]) -> Bytes {
    let outcomes = (first..).zip(outcomes).map(|(task, ended)| outcome(task, ended)).collect();
    encode_framed(KIND, Slot::SCHEMA, &Outcomes { outcomes })
}

/// The outcomes of `tasks` tasks from `first` on.
fn decode(object: Bytes, first: u32, tasks: u32) -> Result<Vec<Ended>, String> {
    let Outcomes { outcomes } = decode_framed(KIND, Slot::SCHEMA, object).map_err(|reason| reason.to_string())?;
    if outcomes.len() != tasks as usize {
        return Err(format!("it has {} outcomes, not {tasks}", outcomes.len()));
    }
    let done = |(task, outcome)| {
        let ended = ended(outcome).filter(|ended| outcome.task == task && matches!(ended, Ended::Done(_)));
        ended.ok_or_else(|| format!("it does not say how task {task} was done"))
    };
    (first..).zip(&outcomes).map(done).collect()
}

impl Ledger {
    /// How many pieces a job of so many tasks has.
    pub(crate) fn pieces(&self, tasks: u32) -> u32 {
        tasks.div_ceil(self.memory.sealing.piece)
    }

    /// The piece of a task.
    pub(crate) fn piece_of(&self, task: u32) -> u32 {
        task / self.memory.sealing.piece
    }

    /// The first task of a piece, and how many it has, of a job with so many.
    pub(crate) fn tasks_of_piece(&self, piece: u32, tasks: u32) -> (u32, u32) {
        let size = self.memory.sealing.piece;
        let first = piece.saturating_mul(size);
        (first, tasks.saturating_sub(first).min(size))
    }

    pub(crate) async fn write_piece(&self, job: JobId, piece: u32, outcomes: &[Ended]) -> Result<(), LedgerError> {
        let (key, (first, _)) = (keys::of(job, Name::Outcomes { piece }), self.tasks_of_piece(piece, u32::MAX));
        Ok(self.store.put(&key, "application/octet-stream", encode(first, outcomes)).await?)
    }

    /// A piece of a sealed job's outcomes. Cached; one at a time is read and decoded.
    pub(crate) async fn piece(&self, job: JobId, piece: u32, sealed: Sealed) -> Result<Piece, LedgerError> {
        let cached = || self.memory.pieces.get(&(job, piece));
        if let Some(outcomes) = cached() {
            return Ok(outcomes);
        }
        let _turn = self.memory.large_reads.lock().await;
        // Whoever had the turn may have read it.
        if let Some(outcomes) = cached() {
            return Ok(outcomes);
        }
        let key = keys::of(job, Name::Outcomes { piece });
        let object = within(&key, self.store.get(&key, PIECE_BYTES).await)?;
        let object = object.ok_or_else(|| LedgerError::damaged(&key, "it was there, and is gone"))?;
        let (first, tasks) = self.tasks_of_piece(piece, sealed.tasks());
        let outcomes = decode(object, first, tasks).map_err(|reason| LedgerError::damaged(key, reason))?;
        let outcomes = Arc::new(outcomes);
        self.memory.pieces.insert((job, piece), outcomes.clone(), outcomes.len());
        Ok(outcomes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        Outcome,
        testing::{done, failure},
    };

    #[test]
    fn a_piece_is_read_back_as_it_was_written_and_nothing_else_is() {
        let outcomes = [done(Outcome::Stored, 3), done(Outcome::Unchanged, 4)].map(Ended::Done);
        let object = encode(20, &outcomes);
        assert_eq!(decode(object.clone(), 20, 2).unwrap(), outcomes);
        let refused = |object, first, tasks| decode(object, first, tasks).unwrap_err();
        insta::assert_snapshot!(refused(object.clone(), 20, 3), @"it has 2 outcomes, not 3");
        insta::assert_snapshot!(refused(object.clone(), 10, 2), @"it does not say how task 10 was done");
        let failed = encode(20, &[Ended::Failed(0, failure("gone", 5))]);
        insta::assert_snapshot!(refused(failed, 20, 1), @"it does not say how task 20 was done");
        insta::assert_snapshot!(refused(Bytes::from_static(b"{}"), 20, 1), @"it is neither a segment nor a snapshot");
        insta::assert_snapshot!(refused(object.slice(..object.len() - 1), 20, 2), @"it should have 296 bytes and has 295");
        let mut changed = object.to_vec();
        changed[100] ^= 1;
        insta::assert_snapshot!(refused(changed.into(), 20, 2), @"its checksum does not match");
    }
}
