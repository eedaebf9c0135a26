//! The check of a file that is loaded, while it streams in: whether its beginning can be read. What its rows are is the load's
//! matter.

use waybill_source::{Definition, RowReader, Unreadable};

/// How much of a file is read, in bytes: more than a header line needs.
const HEAD: usize = 64 << 10;

/// Reads the beginning of a file.
#[derive(Debug)]
pub(crate) struct LoadCheck {
    /// None once the beginning was read.
    reader: Option<RowReader>,
    left: usize,
}

impl LoadCheck {
    pub(crate) fn new(definition: &Definition) -> Self {
        Self { reader: RowReader::new(definition), left: HEAD }
    }

    /// Takes the next bytes, cut anywhere.
    pub(crate) fn push(&mut self, bytes: &[u8]) -> Result<(), Unreadable> {
        let Some(reader) = &mut self.reader else { return Ok(()) };
        let head = &bytes[..bytes.len().min(self.left)];
        reader.push(head, &mut |_| {})?;
        self.left -= head.len();
        if self.left == 0 {
            self.reader = None;
        }
        Ok(())
    }

    /// Says that the last byte was seen.
    pub(crate) fn finish(self) -> Result<(), Unreadable> {
        self.reader.map_or(Ok(()), |reader| reader.finish(&mut |_| {}))
    }
}
