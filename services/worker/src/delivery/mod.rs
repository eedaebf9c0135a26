//! From a message to its end: redeliveries, leases, and how work is settled.

pub(crate) mod lease;
pub(crate) mod outcome;
pub(crate) mod redelivery;
pub(crate) mod run_delivery;
pub(crate) mod settle;
pub(crate) mod work_delivery;
