//! The names that are held in this process. A name is never in the set without somebody who will take it out.

use std::{
    collections::HashSet,
    sync::{Arc, Mutex},
};

use tokio_util::sync::CancellationToken;

use crate::{Lock, embedded::lock};

/// Names that somebody holds. Cheap to clone; clones share them.
#[derive(Debug, Clone, Default)]
pub(super) struct Held(Arc<Mutex<HashSet<String>>>);

impl Held {
    /// Takes a name, unless somebody has it. In process nothing is ever lost.
    pub(super) fn try_lock(&self, name: &str) -> Option<Lock> {
        let is_free = lock(&self.0).insert(name.to_owned());
        let grip = || Grip { held: self.clone(), name: name.to_owned() };
        is_free.then(|| Lock::new(name, CancellationToken::new(), None, grip()))
    }
}

struct Grip {
    held: Held,
    name: String,
}

impl Drop for Grip {
    fn drop(&mut self) {
        lock(&self.held.0).remove(&self.name);
    }
}
