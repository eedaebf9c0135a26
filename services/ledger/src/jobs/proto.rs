//! What prost made of proto/jobs.proto.

#![allow(
    clippy::doc_markdown,
    missing_docs,
    unreachable_pub,
    reason = "generated code; proto/jobs.proto says what it means"
)]

include!(concat!(env!("OUT_DIR"), "/waybill.jobs.v1.rs"));
