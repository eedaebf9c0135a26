//! The form with a file: `multipart/form-data` (RFC 7578), read as it arrives.

use std::{
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    task::{Context, Poll},
};

use bytes::Bytes;
use futures::{Stream, StreamExt, stream};
use multer::{Field, Multipart};
use poem::{Request, RequestBody, Result, http::StatusCode};
use poem_openapi::{
    ApiExtractor, ApiExtractorType, ExtractParamOptions,
    registry::{MetaMediaType, MetaRequest, MetaSchema, MetaSchemaRef},
};
use waybill_web::{Problem, quoted};

use crate::{
    bodies::{file_schema, media_type},
    receive::{self, Chunks},
};

const FORM: &str = "multipart/form-data";
const FILE: &str = "file";

/// The most bytes of a form besides the file: headers of its fields, and other fields.
const BESIDES: usize = 1024 * 1024;

/// A form that is being received.
pub(super) struct FileForm {
    fields: Multipart<'static>,
    besides: Arc<AtomicUsize>,
}

/// A form whose field `file` has begun.
pub(super) struct FormFile {
    form: FileForm,
    file: Option<Field<'static>>,
}

impl<'a> ApiExtractor<'a> for FileForm {
    const TYPES: &'static [ApiExtractorType] = &[ApiExtractorType::RequestObject];

    type ParamType = ();
    type ParamRawType = ();

    fn request_meta() -> Option<MetaRequest> {
        let properties = vec![(FILE, file_schema("A CSV in UTF-8, whose first line names its columns."))];
        let schema = MetaSchema { properties, required: vec![FILE], ..MetaSchema::new("object") };
        let content = MetaMediaType { content_type: FORM, schema: MetaSchemaRef::Inline(Box::new(schema)) };
        Some(MetaRequest { description: None, content: vec![content], required: true })
    }

    async fn from_request(request: &'a Request, body: &mut RequestBody, _: ExtractParamOptions<()>) -> Result<Self> {
        let content_type = request.content_type();
        if media_type(content_type) != FORM {
            return Err(Problem::unsupported_media_type(FORM, content_type).into());
        }
        let boundary = multer::parse_boundary(content_type.unwrap_or_default()).map_err(|error| unreadable(&error))?;
        let besides = Arc::<AtomicUsize>::default();
        let body = Paced { chunks: receive::chunks(body.take()?), was_ready: false, besides: Arc::clone(&besides) };
        Ok(Self { fields: Multipart::new(body, boundary), besides })
    }
}

impl FileForm {
    /// Reads as far as the field `file`, and checks its type.
    pub(super) async fn file(mut self) -> Result<FormFile, Problem> {
        let missing = || wrong("the form has no field `file`").expecting("one field `file` with a CSV");
        loop {
            let field = self.fields.next_field().await.map_err(problem)?.ok_or_else(missing)?;
            if field.name() == Some(FILE) {
                check_type(&field)?;
                return Ok(FormFile { form: self, file: Some(field) });
            }
        }
    }
}

impl FormFile {
    /// What is in the file. The last chunk comes before the form was read to its end, an error where that is not as it must
    /// be after it.
    pub(super) fn chunks(self) -> Chunks {
        stream::try_unfold(self, FormFile::next).boxed()
    }

    async fn next(mut self) -> Result<Option<(Bytes, Self)>, Problem> {
        if let Some(file) = &mut self.file {
            if let Some(chunk) = file.chunk().await.map_err(problem)? {
                self.form.besides.store(0, Ordering::Relaxed);
                return Ok(Some((chunk, self)));
            }
            self.file = None;
        }
        while let Some(other) = self.form.fields.next_field().await.map_err(problem)? {
            if other.name() == Some(FILE) {
                return Err(wrong("the form has more than one field `file`").expecting("one file at a time"));
            }
        }
        Ok(None)
    }
}

fn check_type(field: &Field<'static>) -> Result<(), Problem> {
    let file_name = field.file_name().unwrap_or_default();
    // What a browser sends where nobody chose a file.
    if field.file_name() == Some("") {
        return Err(wrong("no file was chosen").expecting("a CSV file"));
    }
    let content_type = field.content_type().map(|of| of.essence_str().to_ascii_lowercase());
    let is_csv = match content_type.as_deref() {
        Some("text/csv") => true,
        // What browsers on Windows say of a CSV, with and without Excel.
        Some("application/vnd.ms-excel" | "application/octet-stream") => {
            file_name.len() > 4 && file_name.to_ascii_lowercase().ends_with(".csv")
        }
        _ => false,
    };
    if is_csv {
        return Ok(());
    }
    let found = content_type.as_deref().map_or_else(|| "none".to_owned(), quoted);
    let detail = format!("field `file`: expected a CSV file (text/csv), found the type {found}");
    Err(Problem::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "unsupported-media-type", detail)
        .at(FILE)
        .expecting("text/csv"))
}

fn wrong(detail: &str) -> Problem {
    Problem::invalid_body(detail).at(FILE)
}

fn unreadable(error: &multer::Error) -> Problem {
    Problem::new(StatusCode::BAD_REQUEST, "invalid-body", format!("the form cannot be read: {error}"))
}

/// What is wrong with a form that cannot be read on.
fn problem(error: multer::Error) -> Problem {
    use multer::Error as E;
    match error {
        E::StreamReadFailed(error) => match error.downcast::<Problem>() {
            Ok(problem) => *problem,
            Err(error) => Problem::internal(error),
        },
        E::IncompleteStream | E::IncompleteFieldData { .. } | E::IncompleteHeaders => {
            Problem::new(StatusCode::BAD_REQUEST, "invalid-body", "the form ended before it was complete")
        }
        error => unreadable(&error),
    }
}

/// A body that comes one chunk at a time: multer takes all that is ready into memory. It ends where too much comes that
/// is not the file's.
struct Paced {
    chunks: Chunks,
    was_ready: bool,
    /// Bytes since the file's last chunk.
    besides: Arc<AtomicUsize>,
}

impl Stream for Paced {
    type Item = Result<Bytes, Problem>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        if std::mem::take(&mut self.was_ready) {
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        if self.besides.load(Ordering::Relaxed) > BESIDES {
            let detail = format!("the form has more than {BESIDES} bytes besides the file");
            return Poll::Ready(Some(Err(wrong(&detail).expecting("one field `file` with a CSV"))));
        }
        let chunk = self.chunks.poll_next_unpin(cx);
        if let Poll::Ready(Some(Ok(chunk))) = &chunk {
            self.was_ready = true;
            self.besides.fetch_add(chunk.len(), Ordering::Relaxed);
        }
        chunk
    }
}

#[cfg(test)]
mod tests {
    use futures::TryStreamExt;

    use super::*;

    /// A form in chunks of so many bytes; what comes out of its file.
    async fn read(form: &str, size: usize) -> Result<String, Problem> {
        let chunks: Vec<_> = form.as_bytes().chunks(size).map(|chunk| Ok(Bytes::copy_from_slice(chunk))).collect();
        let besides = Arc::<AtomicUsize>::default();
        let chunks: Chunks = stream::iter(chunks).boxed();
        let body = Paced { chunks, was_ready: false, besides: Arc::clone(&besides) };
        let form = FileForm { fields: Multipart::new(body, "X"), besides };
        let chunks: Vec<Bytes> = form.file().await?.chunks().try_collect().await?;
        Ok(String::from_utf8_lossy(&chunks.concat()).into_owned())
    }

    fn field(name: &str, content_type: &str, text: &str) -> String {
        let disposition = format!("Content-Disposition: form-data; name=\"{name}\"; filename=\"rows.CSV\"");
        format!("--X\r\n{disposition}\r\nContent-Type: {content_type}\r\n\r\n{text}\r\n")
    }

    #[tokio::test]
    async fn a_file_is_the_same_however_the_form_was_cut() {
        let text = "userId,title,body\r\n1,\"a\r\n--Y\r\n-X\",b\r\n\r\n--";
        let form = field("other", "text/plain", "1") + &field("file", "text/csv", text) + "--X--\r\n";
        for size in 1..=form.len() {
            assert_eq!(read(&form, size).await.unwrap(), text, "{size}");
        }
    }

    #[tokio::test]
    async fn a_form_is_not_kept_in_memory() {
        let rows = "1,a,b\r\n".repeat(500_000);
        let form = field("file", "application/vnd.ms-excel", &rows) + &field("note", "text/plain", "1") + "--X--";
        assert_eq!(read(&form, 1 << 16).await.unwrap().len(), rows.len());
        for besides in [
            field("note", "text/plain", &rows) + &field("file", "text/csv", ""),
            field("file", "text/csv", "") + &field("note", "text/plain", &rows),
            format!("--X\r\nContent-Disposition: {rows}"),
        ] {
            let problem = read(&besides, 1 << 16).await.unwrap_err();
            assert_eq!(problem.detail, "the form has more than 1048576 bytes besides the file");
        }
    }
}
