//! Bodies that are files: alone, or in place of JSON.

use poem::{Body, Request, RequestBody, Result};
use poem_openapi::{
    ApiExtractor, ApiExtractorType, ExtractParamOptions,
    payload::{ParsePayload, Payload},
    registry::{MetaMediaType, MetaRequest, MetaSchema, MetaSchemaRef, Registry},
};
use waybill_source::Format;
use waybill_web::{JsonBody, Problem};

use crate::submit::NewJob;

/// A file, which is read as it arrives.
#[derive(Debug)]
pub(crate) struct FileBody {
    body: Body,
    content_type: Option<String>,
}

impl FileBody {
    fn take(request: &Request, body: &mut RequestBody) -> Result<Self> {
        Ok(Self { body: body.take()?, content_type: request.content_type().map(str::to_owned) })
    }

    /// What is in it, if it is spelled so.
    pub(crate) fn spelled(self, format: Format) -> Result<Body, Problem> {
        let expected = format.media_type();
        if media_type(self.content_type.as_deref()) != expected {
            return Err(Problem::unsupported_media_type(expected, self.content_type.as_deref()));
        }
        Ok(self.body)
    }
}

/// A job to be made: in JSON, or as its file. A file that is JSON is sent before, and named.
#[derive(Debug)]
pub(crate) enum JobBody {
    Json(NewJob),
    File(FileBody),
}

/// A file in the documentation.
pub(crate) fn file_schema(description: &'static str) -> MetaSchemaRef {
    let file = MetaSchema::new_with_format("string", "binary");
    MetaSchemaRef::Inline(Box::new(MetaSchema { description: Some(description), ..file }))
}

fn file_media_type(format: Format) -> MetaMediaType {
    let description = match format {
        Format::Csv => "A CSV in UTF-8, whose first line names its columns.",
        Format::Ndjson => "A JSON object a line.",
        Format::Json | Format::Rows => "A JSON document with the records.",
    };
    MetaMediaType { content_type: format.media_type(), schema: file_schema(description) }
}

/// The media type of a body, in lower case and without its parameters.
pub(crate) fn media_type(content_type: Option<&str>) -> String {
    content_type.unwrap_or_default().split(';').next().unwrap_or_default().trim().to_ascii_lowercase()
}

impl<'a> ApiExtractor<'a> for FileBody {
    const TYPES: &'static [ApiExtractorType] = &[ApiExtractorType::RequestObject];

    type ParamType = ();
    type ParamRawType = ();

    fn request_meta() -> Option<MetaRequest> {
        let content = [Format::Csv, Format::Json, Format::Ndjson].map(file_media_type).into();
        Some(MetaRequest { description: None, content, required: true })
    }

    async fn from_request(request: &'a Request, body: &mut RequestBody, _: ExtractParamOptions<()>) -> Result<Self> {
        Self::take(request, body)
    }
}

impl<'a> ApiExtractor<'a> for JobBody {
    const TYPES: &'static [ApiExtractorType] = &[ApiExtractorType::RequestObject];

    type ParamType = ();
    type ParamRawType = ();

    fn register(registry: &mut Registry) {
        <JsonBody<NewJob> as Payload>::register(registry);
    }

    fn request_meta() -> Option<MetaRequest> {
        let json =
            MetaMediaType { content_type: JsonBody::<NewJob>::CONTENT_TYPE, schema: JsonBody::<NewJob>::schema_ref() };
        let content = vec![json, file_media_type(Format::Csv), file_media_type(Format::Ndjson)];
        Some(MetaRequest { description: None, content, required: true })
    }

    async fn from_request(request: &'a Request, body: &mut RequestBody, _: ExtractParamOptions<()>) -> Result<Self> {
        match request.content_type() {
            of if [Format::Csv, Format::Ndjson].map(Format::media_type).contains(&media_type(of).as_str()) => {
                Ok(Self::File(FileBody::take(request, body)?))
            }
            Some(of) if JsonBody::<NewJob>::check_content_type(of) => {
                let JsonBody(new) = <JsonBody<NewJob> as ParsePayload>::from_request(request, body).await?;
                Ok(Self::Json(new))
            }
            other => {
                let expected = "application/json, text/csv or application/x-ndjson";
                Err(Problem::unsupported_media_type(expected, other).into())
            }
        }
    }
}
