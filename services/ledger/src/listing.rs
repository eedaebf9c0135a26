//! Jobs, newest first.

use crate::{JobId, State, Status};

/// Which jobs to list.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct JobFilter {
    /// Of one source.
    pub source: Option<String>,
    /// In one state.
    pub state: Option<State>,
}

/// Jobs of a page, newest first.
#[derive(Debug, Clone, PartialEq)]
pub struct JobPage {
    /// The jobs; a page may be short, even empty, though more follow: a filter looks at a bounded number.
    pub jobs: Vec<Status>,
    /// Where the next page begins: after this job. None on the last page.
    pub next: Option<JobId>,
}
