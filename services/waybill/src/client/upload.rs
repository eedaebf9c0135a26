//! A file that is streamed to Waybill, from disk or standard input.

use std::{io::IsTerminal, path::Path, pin::Pin, time::Duration};

use anyhow::{Context, ensure};
use futures::TryStreamExt;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use reqwest::Body;
use tokio::{
    fs::File,
    io::{AsyncRead, stdin},
};
use tokio_util::io::ReaderStream;

/// Bytes that are read together.
const CHUNK: usize = 64 * 1024;

/// A file to send.
pub(crate) struct Upload {
    reader: Pin<Box<dyn AsyncRead + Send>>,
    /// Its size; none of standard input.
    size: Option<u64>,
}

impl Upload {
    /// What is read elsewhere.
    #[cfg(feature = "tables")]
    pub(crate) fn new(reader: impl AsyncRead + Send + 'static, size: Option<u64>) -> Self {
        Self { reader: Box::pin(reader), size }
    }

    /// Opens a file that this flag names; `-` is standard input.
    pub(crate) async fn open(flag: &str, path: &Path) -> anyhow::Result<Self> {
        if path == Path::new("-") {
            return Ok(Self { reader: Box::pin(stdin()), size: None });
        }
        let file = File::open(path).await.with_context(|| format!("{flag}: cannot open {}", path.display()))?;
        let metadata = file.metadata().await?;
        ensure!(!metadata.is_dir(), "{flag}: expected a file, found the folder {}", path.display());
        // Of a pipe nobody knows the size.
        let size = metadata.is_file().then_some(metadata.len());
        Ok(Self { reader: Box::pin(file), size })
    }

    /// The size, where it is known.
    pub(crate) fn size(&self) -> Option<u64> {
        self.size
    }

    /// The request's body. On a terminal a bar shows how much was sent.
    pub(crate) fn body(self) -> (Body, ProgressBar) {
        let bar = bar(self.size);
        let sent = bar.clone();
        let chunks = ReaderStream::with_capacity(self.reader, CHUNK);
        (Body::wrap_stream(chunks.inspect_ok(move |chunk| sent.inc(chunk.len() as u64))), bar)
    }
}

fn bar(size: Option<u64>) -> ProgressBar {
    if !std::io::stderr().is_terminal() {
        return ProgressBar::with_draw_target(size, ProgressDrawTarget::hidden());
    }
    let (bar, template) = match size {
        Some(size) => {
            (ProgressBar::new(size), "upload {bar:24} {bytes} of {total_bytes}, {binary_bytes_per_sec}, {eta} left")
        }
        None => (ProgressBar::no_length(), "upload {spinner} {bytes}, {binary_bytes_per_sec}"),
    };
    bar.enable_steady_tick(Duration::from_millis(250));
    bar.with_style(ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar()))
}
