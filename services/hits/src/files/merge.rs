//! Merges files into one that covers them.

use std::{
    io::{Seek, SeekFrom},
    sync::Arc,
};

use tempfile::{SpooledData, spooled_tempfile};
use waybill_store::{Store, Upload, UploadBody};

use crate::{
    HitsError,
    files::{covers::Covers, encoder::Encoder, name::FileName, visible::Listed},
    query::{add_files, blocking},
    totals::Totals,
};

/// What Parquet is called.
pub(crate) const CONTENT_TYPE: &str = "application/vnd.apache.parquet";

/// The longest file that needs no temporary one, in bytes.
const IN_MEMORY: usize = 4 << 20;

/// Writes the counts of `inputs` as a file of this name, and returns it. The same inputs again make the same file.
pub(crate) async fn merge(store: &Store, inputs: &[Listed], name: FileName) -> Result<Listed, HitsError> {
    let totals = add_files(store, inputs, "", Totals::default()).await?;
    let mut covers = Covers::default();
    inputs.iter().for_each(|input| covers.add(&input.covers));
    let of_file = covers.clone();
    let (body, len) = blocking(move || write(totals, &of_file)).await?;
    store.upload(&name.to_string(), Upload { content_type: CONTENT_TYPE, metadata: Vec::new(), body }).await?;
    Ok(Listed { name, size: len, covers })
}

fn write(totals: Totals, covers: &Covers) -> Result<(UploadBody, u64), HitsError> {
    let mut encoder = Encoder::new(spooled_tempfile(IN_MEMORY), covers)?;
    for row in totals.finish()? {
        let row = row?;
        encoder.push(&row.path, row.count)?;
    }
    let mut file = encoder.finish()?;
    let len = file.seek(SeekFrom::End(0))?;
    let body = match file.into_inner() {
        SpooledData::InMemory(bytes) => UploadBody::Bytes(bytes.into_inner().into()),
        SpooledData::OnDisk(file) => UploadBody::File { file: Arc::new(file), len },
    };
    Ok((body, len))
}
