//! Where requests are counted by path. What counts them is injected; this room only tells it.

use std::{fmt, sync::Arc};

use poem::http::StatusCode;

use crate::Problem;

/// The line of all requests without a valid API key: strangers choose no names in the counts. No path begins so.
const UNAUTHORISED: &str = "(unauthorised)";

/// Is told the path of each request, without its query, percent-encoded as it was received. The default tells nobody.
#[derive(Clone, Default)]
pub struct HitCounter(Option<Count>);

type Count = Arc<dyn Fn(&str) + Send + Sync>;

impl HitCounter {
    /// Tells `count`, which must not block.
    pub fn new(count: impl Fn(&str) + Send + Sync + 'static) -> Self {
        Self(Some(Arc::new(count)))
    }

    /// Counts a request that was let in, or refused.
    pub(crate) fn count<T>(&self, path: &str, admitted: &Result<T, Problem>) {
        let Some(count) = &self.0 else { return };
        let is_stranger = admitted.as_ref().is_err_and(|problem| problem.status == StatusCode::UNAUTHORIZED.as_u16());
        count(if is_stranger { UNAUTHORISED } else { path });
    }
}

impl fmt::Debug for HitCounter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("HitCounter").field(&self.0.is_some()).finish()
    }
}
