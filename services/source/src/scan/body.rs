//! What is around the records of a JSON document, as JSON without them: kept only for those who ask for it.

use crate::scan::error::{Step, wrong};

/// The most that is kept. Around the records are counts and links; a document with more of anything else has its
/// records elsewhere.
pub(super) const BODY_BYTES: usize = 1 << 20;

/// The bytes so far.
#[derive(Debug, Default)]
pub(super) struct Body {
    bytes: Vec<u8>,
    /// Whether more than is kept is no mistake: then nothing is.
    is_optional: bool,
    is_too_large: bool,
}

impl Body {
    /// Of a file that is stored as it is, whatever is around its records.
    pub(super) fn of_file() -> Self {
        Self { is_optional: true, ..Self::default() }
    }

    /// Takes bytes that were read at `pos`.
    pub(super) fn take(&mut self, bytes: &[u8], pos: usize) -> Step<()> {
        if self.is_too_large {
            return Ok(());
        }
        let room = BODY_BYTES - self.bytes.len();
        if bytes.len() > room && self.is_optional {
            (self.bytes, self.is_too_large) = (Vec::new(), true);
            return Ok(());
        }
        if bytes.len() > room {
            // In words, so that the answer does not wait for what follows.
            return Err(wrong(pos + room, "at most 1 MiB around the records").saying("more"));
        }
        self.bytes.extend_from_slice(bytes);
        Ok(())
    }

    pub(super) fn bytes(&self) -> &[u8] {
        &self.bytes
    }
}
