//! The embedded queue: lanes in memory.

/// Lanes in this process. Cheap to clone; clones share the lanes.
#[derive(Debug, Clone, Default)]
pub struct Embedded {}

impl Embedded {
    /// Lanes that hold at most `capacity` waiting messages each; a publisher beyond that waits.
    pub fn new(capacity: usize) -> Self {
        todo!()
    }
}
