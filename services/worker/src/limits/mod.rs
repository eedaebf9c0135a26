//! What an upstream may be asked: rates, concurrency, and pauses that it wants.

pub(crate) mod ahead;
pub(crate) mod distributed_semaphore;
pub(crate) mod rate_limiter;
pub(crate) mod retry_after;
pub(crate) mod spent;
pub(crate) mod throttle;
