//! The messages, as code; their spelling on the wire is in proto/waybill.proto.

include!(concat!(env!("OUT_DIR"), "/waybill.v1.rs"));

/// A message on a lane.
#[derive(Debug, Clone, PartialEq)]
pub enum Message {
    /// On [`crate::Lane::Plans`].
    PlanJob(PlanJob),
    /// On [`crate::Lane::Source`].
    RunTask(RunTask),
}
