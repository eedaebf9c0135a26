//! The journal: facts in the bucket, committed together, merged, and followed.
//!
//! Processes commit **entries**. A [`Committer`] writes many of them as one immutable **segment**. A [`Compactor`]
//! merges segments and older snapshots into a new **snapshot** and then deletes what it has read. A [`Follower`] keeps
//! a [`View`] that is folded from both. What an entry means is the view's matter; this crate knows nothing of jobs.
//!
//! No lock and no conditional write is needed, because merging is idempotent, commutative and associative, names are
//! unique, objects are immutable, and a snapshot's name sorts after the names of everything that it replaces.

mod bucket;
mod committer;
mod compactor;
mod follower;
mod frame;
mod journal;
mod name;
mod options;
mod unreadable;
mod view;

pub use self::{
    bucket::Bucket,
    committer::{CommitError, Committer, CommitterTask, Urgency},
    compactor::{Compacted, CompactionError, Compactor},
    follower::{Follower, ReadError},
    frame::{decode_framed, encode_framed},
    journal::Journal,
    options::Options,
    unreadable::{Reason, Unreadable},
    view::{InvalidSnapshot, View},
};

/// What prost made of proto/journal.proto.
mod proto {
    #![expect(unreachable_pub, reason = "generated code")]

    include!(concat!(env!("OUT_DIR"), "/waybill.journal.v1.rs"));
}
