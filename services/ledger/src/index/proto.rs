//! What prost made of proto/index.proto.

#![allow(
    clippy::doc_markdown,
    missing_docs,
    unreachable_pub,
    reason = "generated code; proto/index.proto says what it means"
)]

include!(concat!(env!("OUT_DIR"), "/waybill.index.v1.rs"));
