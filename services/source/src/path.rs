//! Where the records are: the part of RFC 9535 (JSONPath) that a stream can follow.

/// `$`, then member names, then `[*]` at the end: `$[*]`, `$.list[*]`, `$.data['bus stops'][*]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RecordPath {
    /// The members to descend into before the array of records.
    pub members: Vec<String>,
}
