//! Bodies that are files: a CSV alone, or in place of JSON.

use poem::{Body, Request, RequestBody, Result};
use poem_openapi::{
    ApiExtractor, ApiExtractorType, ExtractParamOptions,
    payload::{ParsePayload, Payload},
    registry::{MetaMediaType, MetaRequest, MetaSchema, MetaSchemaRef, Registry},
};
use waybill_web::{JsonBody, Problem};

use crate::submit::NewJob;

const CSV: &str = "text/csv";

/// A CSV file, which is read as it arrives.
#[derive(Debug)]
pub(crate) struct CsvBody(pub(crate) Body);

/// A job to be made: in JSON, or as the file whose rows are its items.
#[derive(Debug)]
pub(crate) enum JobBody {
    Json(NewJob),
    Csv(Body),
}

/// A file in the documentation.
pub(crate) fn file_schema(description: &'static str) -> MetaSchemaRef {
    let file = MetaSchema::new_with_format("string", "binary");
    MetaSchemaRef::Inline(Box::new(MetaSchema { description: Some(description), ..file }))
}

fn csv_media_type() -> MetaMediaType {
    MetaMediaType { content_type: CSV, schema: file_schema("A CSV in UTF-8, whose first line names its columns.") }
}

/// The media type of a body, in lower case and without its parameters.
pub(crate) fn media_type(content_type: Option<&str>) -> String {
    content_type.unwrap_or_default().split(';').next().unwrap_or_default().trim().to_ascii_lowercase()
}

impl<'a> ApiExtractor<'a> for CsvBody {
    const TYPES: &'static [ApiExtractorType] = &[ApiExtractorType::RequestObject];

    type ParamType = ();
    type ParamRawType = ();

    fn request_meta() -> Option<MetaRequest> {
        Some(MetaRequest { description: None, content: vec![csv_media_type()], required: true })
    }

    async fn from_request(request: &'a Request, body: &mut RequestBody, _: ExtractParamOptions<()>) -> Result<Self> {
        if media_type(request.content_type()) != CSV {
            return Err(Problem::unsupported_media_type(CSV, request.content_type()).into());
        }
        Ok(Self(body.take()?))
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
        Some(MetaRequest { description: None, content: vec![json, csv_media_type()], required: true })
    }

    async fn from_request(request: &'a Request, body: &mut RequestBody, _: ExtractParamOptions<()>) -> Result<Self> {
        match request.content_type() {
            of if media_type(of) == CSV => Ok(Self::Csv(body.take()?)),
            Some(of) if JsonBody::<NewJob>::check_content_type(of) => {
                let JsonBody(new) = <JsonBody<NewJob> as ParsePayload>::from_request(request, body).await?;
                Ok(Self::Json(new))
            }
            other => Err(Problem::unsupported_media_type("application/json or text/csv", other).into()),
        }
    }
}
