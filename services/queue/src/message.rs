//! The messages, as code; their spelling on the wire is in proto/waybill.proto. Nothing here knows how
//! they travel.

use prost::Message as _;

/// The generated code.
mod wire {
    #![expect(unreachable_pub, reason = "prost writes it, and the envelope stays in here")]
    include!(concat!(env!("OUT_DIR"), "/waybill.v1.rs"));
}

use wire::{Envelope, envelope::Body};
pub use wire::{FieldValue, ItemFields, PlanJob, RunTask, TaskItem, field_value};

/// A message on a queue.
#[derive(Debug, Clone, PartialEq)]
pub enum Message {
    /// On [`crate::QueueName::Plans`].
    PlanJob(PlanJob),
    /// On [`crate::QueueName::Source`].
    RunTask(RunTask),
}

/// Bytes that are no message of ours, or one of a later release: nothing to be done with them here.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// Not an envelope at all.
    #[error("not a message: {0}")]
    Malformed(String),
    /// An envelope with nothing in it that this program knows.
    #[error("an envelope without a message that this release knows")]
    Unknown,
}

impl Message {
    /// As it travels: the bytes of an `Envelope`.
    pub fn encode(&self) -> Vec<u8> {
        let body = match self.clone() {
            Self::PlanJob(plan) => Body::PlanJob(plan),
            Self::RunTask(task) => Body::RunTask(task),
        };
        Envelope { body: Some(body) }.encode_to_vec()
    }

    /// Reads what [`Message::encode`] wrote, here or in another release.
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        let envelope = Envelope::decode(bytes).map_err(|error| DecodeError::Malformed(error.to_string()))?;
        match envelope.body {
            Some(Body::PlanJob(plan)) => Ok(Self::PlanJob(plan)),
            Some(Body::RunTask(task)) => Ok(Self::RunTask(task)),
            None => Err(DecodeError::Unknown),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_encoded_decodes_to_the_same() {
        let plan = PlanJob { job_id: "018f3f6e".into(), source: "buses".into(), attempt: 3, requeued: true };
        let items = vec![TaskItem { key: "köln".into(), ..TaskItem::default() }];
        let task = RunTask { task: 7, resent: true, items, ..RunTask::default() };
        for message in [Message::PlanJob(plan), Message::RunTask(task)] {
            assert_eq!(Message::decode(&message.encode()), Ok(message));
        }
    }

    #[test]
    fn what_is_no_message_is_an_error() {
        assert!(matches!(Message::decode(b"hello"), Err(DecodeError::Malformed(_))));
        assert!(matches!(Message::decode(&[0xff; 40]), Err(DecodeError::Malformed(_))));
        assert_eq!(Message::decode(b""), Err(DecodeError::Unknown));
        // Field 15, as a later release might send it, and field 2 of an earlier one.
        for bytes in [[0x7a, 0x00], [0x12, 0x00]] {
            assert_eq!(Message::decode(&bytes), Err(DecodeError::Unknown));
        }
    }

    #[test]
    fn a_truncated_message_is_an_error() {
        let bytes = Message::PlanJob(PlanJob { source: "buses".into(), ..PlanJob::default() }).encode();
        for end in 1..bytes.len() {
            assert!(Message::decode(&bytes[..end]).is_err());
        }
    }
}
