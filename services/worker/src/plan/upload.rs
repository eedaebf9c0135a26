//! The tasks of a job whose items are the rows of an upload: the file is read once, a part at a time, and cut into batches.

use waybill_ledger::Request;
use waybill_source::{Definition, Item, RowBatch, UploadSplitter};

use crate::{context::Context, delivery::outcome::TaskError};

/// What is read at a time, in bytes.
const PART: usize = 8 << 20;
/// The most tasks of a job: 200 million rows in batches of 200.
const MOST: usize = 1_000_000;

pub(crate) async fn tasks(
    context: &Context,
    definition: &Definition,
    request: &Request,
) -> Result<Vec<Vec<Item>>, TaskError> {
    let failed = |reason: String| TaskError::Failed { reason };
    let upload = request.upload.as_ref().ok_or_else(|| failed("the job names no upload".to_owned()))?;
    let (mut splitter, mut batches) = (UploadSplitter::new(definition), Vec::<RowBatch>::new());
    let mut offset = 0;
    while offset < upload.bytes {
        if context.shutdown.is_cancelled() {
            return Err(TaskError::Interrupted);
        }
        let part = context.worker.ledger.read_upload(upload, offset, PART).await?;
        let part = part.ok_or_else(|| failed("the upload is not there any more".to_owned()))?;
        if part.is_empty() {
            return Err(failed(format!("the upload ends after {offset} of {} bytes", upload.bytes)));
        }
        splitter.push(&part, &mut batches).map_err(|error| failed(error.to_string()))?;
        if batches.len() > MOST {
            return Err(failed(format!("the upload makes more than {MOST} tasks")));
        }
        offset += part.len() as u64;
    }
    splitter.finish(&mut batches).map_err(|error| failed(error.to_string()))?;
    Ok(batches.into_iter().map(|batch| vec![batch.into_item(definition)]).collect())
}
