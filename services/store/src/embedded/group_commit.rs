//! Makes a folder's names durable, one fsync for all writers that wait at the time.
//!
//! A rename or an unlink survives a power failure once its folder was synced after it. Nothing may be
//! acknowledged before.

use std::{
    fs::File,
    io,
    path::Path,
    sync::{Condvar, Mutex, PoisonError},
};

/// Which changes of a folder are on disk. Changes are numbered; a number is a *ticket*.
#[derive(Debug)]
pub(super) struct GroupCommit {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug)]
struct State {
    /// The newest change.
    wanted: u64,
    /// Everything up to here is on disk.
    synced: u64,
    /// Everything up to here was part of a sync that failed, so nobody knows.
    failed: u64,
    busy: bool,
}

impl Default for GroupCommit {
    fn default() -> Self {
        // What an earlier process did last may not be on disk yet, so the first one to ask syncs.
        let state = State { wanted: 1, synced: 0, failed: 0, busy: false };
        Self { state: Mutex::new(state), changed: Condvar::new() }
    }
}

impl GroupCommit {
    /// Notes a change that has just been made; call [`Self::wait`] with the ticket.
    pub(super) fn note(&self) -> u64 {
        let mut state = self.lock();
        state.wanted += 1;
        state.wanted
    }

    /// Waits for everything that has been done so far, by whomever.
    pub(super) fn settle(&self, folder: &Path) -> io::Result<()> {
        let ticket = {
            let mut state = self.lock();
            if state.wanted <= state.failed {
                state.wanted += 1;
            }
            state.wanted
        };
        self.wait(folder, ticket)
    }

    /// Returns once the change is on disk. Whoever comes first syncs, for all who came before it began.
    pub(super) fn wait(&self, folder: &Path, ticket: u64) -> io::Result<()> {
        let mut state = self.lock();
        loop {
            if ticket <= state.failed {
                return Err(io::Error::other(format!("{} could not be made durable", folder.display())));
            }
            if ticket <= state.synced {
                return Ok(());
            }
            if state.busy {
                state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
                continue;
            }
            state.busy = true;
            let all = state.wanted;
            drop(state);
            let result = sync(folder);
            state = self.lock();
            state.busy = false;
            match result {
                Ok(()) => state.synced = all,
                // Only part of it may be on disk, and a second fsync would not say so: all who waited fail.
                Err(_) => state.failed = all,
            }
            self.changed.notify_all();
            result?;
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, State> {
        // The state is numbers only, valid after every statement.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Makes the names in a folder durable.
pub(super) fn sync(folder: &Path) -> io::Result<()> {
    File::open(folder)?.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_fails_those_who_waited_and_nobody_later() {
        let folder = tempfile::tempdir().unwrap();
        let gone = folder.path().join("gone");
        let commits = GroupCommit::default();
        let early = commits.note();
        let late = commits.note();
        assert!(commits.wait(&gone, late).is_err());
        assert!(commits.wait(folder.path(), early).is_err());
        assert!(commits.settle(folder.path()).is_ok());
        let next = commits.note();
        assert!(commits.wait(folder.path(), next).is_ok());
        assert!(commits.settle(&gone).is_ok(), "nothing is left to sync");
    }
}
