//! The check of an upload while it streams in.

use crate::{
    Definition, UploadError,
    scan::{HEAD, file_kind},
    upload::columns::ColumnsThenRows,
};

/// Checks that an upload is a CSV whose header line has the columns that rows must have. What comes out depends on the
/// bytes alone, never on where they were cut. Memory: the header line, at most 1 MiB.
///
/// A row that is not as `[record]` says is no error here: its outcome says so later.
#[derive(Debug)]
pub struct UploadCheck {
    /// The first bytes, until there are enough of them to say what kind of file it is; `None` behind them.
    head: Option<Vec<u8>>,
    /// The beginning of a character that broke off.
    carry: Vec<u8>,
    rows: ColumnsThenRows,
    found: UploadSummary,
    error: Option<UploadError>,
}

/// What was uploaded.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct UploadSummary {
    /// Rows, good or not. The header line and empty lines are none.
    pub rows: u64,
    /// The length of the file.
    pub bytes: u64,
}

impl UploadCheck {
    /// A check of one upload. Where the source's items are not an upload, every file is refused.
    pub fn new(definition: &Definition) -> Self {
        let upload = definition.upload();
        let source_name = definition.name().to_owned();
        Self {
            head: Some(Vec::new()),
            carry: Vec::new(),
            rows: ColumnsThenRows::new(upload.map(|upload| upload.schema().clone()).unwrap_or_default()),
            found: UploadSummary::default(),
            error: upload.is_none().then_some(UploadError::NotAnUpload { source_name }),
        }
    }

    /// Takes the next bytes, cut anywhere. After an error the check is spent, and says the same again.
    pub fn push(&mut self, bytes: &[u8]) -> Result<(), UploadError> {
        if self.error.is_none() {
            self.error = self.begin_or_read(bytes).err();
        }
        self.error.clone().map_or(Ok(()), Err)
    }

    /// Says that the last byte was seen.
    pub fn finish(mut self) -> Result<UploadSummary, UploadError> {
        if let Some(error) = self.error {
            return Err(error);
        }
        if let Some(head) = self.head.take() {
            self.begin(&head)?;
        }
        if let [byte, ..] = self.carry[..] {
            let offset = self.found.bytes - self.carry.len() as u64;
            return Err(UploadError::NotUtf8 { offset, line: self.rows.line(), byte });
        }
        let mut found = self.found;
        self.rows.finish(|_, _| found.rows += 1)?;
        if found.rows == 0 { Err(UploadError::NoRows) } else { Ok(found) }
    }

    fn begin_or_read(&mut self, bytes: &[u8]) -> Result<(), UploadError> {
        let Some(mut head) = self.head.take() else { return self.read(bytes) };
        let (more, rest) = bytes.split_at(bytes.len().min(HEAD - head.len()));
        head.extend_from_slice(more);
        if head.len() < HEAD {
            self.head = Some(head);
            return Ok(());
        }
        self.begin(&head)?;
        self.read(rest)
    }

    fn begin(&mut self, head: &[u8]) -> Result<(), UploadError> {
        match file_kind(head) {
            Some(kind) => Err(UploadError::NotText { kind }),
            None => self.read(head),
        }
    }

    /// Finds the rows in text, and refuses what is none.
    fn read(&mut self, bytes: &[u8]) -> Result<(), UploadError> {
        let mut rest = bytes;
        while !self.carry.is_empty()
            && let Some((byte, after)) = rest.split_first()
        {
            self.carry.push(*byte);
            self.found.bytes += 1;
            rest = after;
            match str::from_utf8(&self.carry) {
                Ok(_) => {
                    let character = std::mem::take(&mut self.carry);
                    self.find_rows(&character)?;
                }
                Err(error) if error.error_len().is_none() => {}
                Err(_) => {
                    let offset = self.found.bytes - self.carry.len() as u64;
                    return Err(UploadError::NotUtf8 { offset, line: self.rows.line(), byte: self.carry[0] });
                }
            }
        }
        let (text, wrong) = match str::from_utf8(rest) {
            Ok(_) => (rest.len(), None),
            Err(error) => (error.valid_up_to(), error.error_len()),
        };
        self.find_rows(&rest[..text])?;
        if wrong.is_some() {
            let offset = self.found.bytes + text as u64;
            return Err(UploadError::NotUtf8 { offset, line: self.rows.line(), byte: rest[text] });
        }
        self.carry.extend_from_slice(&rest[text..]);
        self.found.bytes += rest.len() as u64;
        Ok(())
    }

    fn find_rows(&mut self, text: &[u8]) -> Result<(), UploadError> {
        let rows = &mut self.found.rows;
        self.rows.push(text, |_, _| *rows += 1)
    }
}
