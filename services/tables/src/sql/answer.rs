//! The rows of an answer, as they are computed.

use std::{
    pin::Pin,
    task::{Context, Poll, ready},
    time::Duration,
};

use arrow::{array::RecordBatch, datatypes::SchemaRef};
use futures::{FutureExt, Stream, StreamExt};
use tokio::{
    sync::mpsc,
    task::JoinHandle,
    time::{Instant, Sleep, sleep_until},
};

use crate::sql::{QueryError, cancel::Stop};

/// Batches of rows. It ends after an error; whoever drops it cancels the query.
#[derive(Debug)]
pub struct Answer {
    schema: SchemaRef,
    batches: mpsc::Receiver<Result<RecordBatch, QueryError>>,
    query: Query,
    deadline: Pin<Box<Sleep>>,
    time: Duration,
    is_over: bool,
    /// The first batch, where somebody has waited for it.
    first: Option<RecordBatch>,
}

impl Answer {
    pub(super) fn new(
        schema: SchemaRef,
        batches: mpsc::Receiver<Result<RecordBatch, QueryError>>,
        query: Query,
        (deadline, time): (Instant, Duration),
    ) -> Self {
        Self { schema, batches, query, deadline: Box::pin(sleep_until(deadline)), time, is_over: false, first: None }
    }

    /// Its columns.
    pub fn schema(&self) -> SchemaRef {
        SchemaRef::clone(&self.schema)
    }

    /// Waits until there are rows, or there will be none. May be given up at any time.
    ///
    /// # Errors
    /// The query failed before its first row.
    pub async fn begin(&mut self) -> Result<(), QueryError> {
        if self.first.is_none() {
            self.first = self.next().await.transpose()?;
        }
        Ok(())
    }
}

impl Stream for Answer {
    type Item = Result<RecordBatch, QueryError>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        if let Some(first) = self.first.take() {
            return Poll::Ready(Some(Ok(first)));
        }
        if self.is_over {
            return Poll::Ready(None);
        }
        // The time is up also for a client that takes one batch a minute.
        if self.deadline.poll_unpin(context).is_ready() {
            self.is_over = true;
            self.query.stop();
            return Poll::Ready(Some(Err(QueryError::Timeout(self.time))));
        }
        if let Some(batch) = ready!(self.batches.poll_recv(context)) {
            self.is_over = batch.is_err();
            return Poll::Ready(Some(batch));
        }
        let ended = ready!(self.query.task.poll_unpin(context));
        self.is_over = true;
        // What panicked has sent no end.
        Poll::Ready(ended.err().map(|error| Err(QueryError::Internal(error.to_string()))))
    }
}

/// A query that runs until this is dropped.
#[derive(Debug)]
pub(super) struct Query {
    pub(super) task: JoinHandle<()>,
    pub(super) stop: Stop,
}

impl Query {
    fn stop(&self) {
        self.stop.stop();
        self.task.abort();
    }
}

impl Drop for Query {
    fn drop(&mut self) {
        self.stop();
    }
}
