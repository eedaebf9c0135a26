//! JSON bodies. An error names the member, what was expected, the line and the column.

use poem::{Request, RequestBody, Result};
use poem_openapi::{
    impl_apirequest_for_payload,
    payload::{ParsePayload, Payload},
    registry::{MetaSchemaRef, Registry},
    types::Type,
};
use serde::de::{DeserializeOwned, IgnoredAny};
use serde_json::error::Category;

use crate::{Problem, request::body_limit::BODY_LIMIT};

/// A JSON object as body, read by serde and documented by its OpenAPI type. What is not JSON is a 400, what is
/// JSON of another shape a 422; a serde error that begins with a member's name in backticks, or with
/// `unknown field`, `missing field` or `duplicate field`, names that member in the problem.
#[derive(Debug)]
pub struct JsonBody<T>(pub T);

impl<T: Type> Payload for JsonBody<T> {
    const CONTENT_TYPE: &'static str = "application/json";

    fn check_content_type(content_type: &str) -> bool {
        poem_openapi::payload::Json::<T>::check_content_type(content_type)
    }

    fn schema_ref() -> MetaSchemaRef {
        T::schema_ref()
    }

    fn register(registry: &mut Registry) {
        T::register(registry);
    }
}

impl<T: Type + DeserializeOwned> ParsePayload for JsonBody<T> {
    const IS_REQUIRED: bool = true;

    async fn from_request(_request: &Request, body: &mut RequestBody) -> Result<Self> {
        let bytes = body.take()?.into_bytes_limit(BODY_LIMIT).await?;
        // serde takes an array for a struct, member by member; a client that sends one means something else.
        if !bytes.trim_ascii_start().starts_with(b"{") {
            let _: IgnoredAny = serde_json::from_slice(&bytes).map_err(problem)?;
            return Err(Problem::invalid_body("the body is JSON, but no object").expecting("an object").into());
        }
        Ok(Self(serde_json::from_slice(&bytes).map_err(problem)?))
    }
}

impl_apirequest_for_payload!(JsonBody<T>, T: Type + DeserializeOwned);

fn problem(error: serde_json::Error) -> Problem {
    let classified = error.classify();
    let message = readable(error.to_string());
    match classified {
        Category::Data => match member(&message) {
            Some(member) => Problem::invalid_body(message.clone()).at(member),
            None => Problem::invalid_body(message),
        },
        Category::Syntax | Category::Eof | Category::Io => Problem::malformed_body(message),
    }
}

/// A message may repeat what came, all of it: the middle of a long one is left out, not its end, which says where.
fn readable(message: String) -> String {
    let characters = message.chars().count();
    if characters <= 300 {
        return message;
    }
    let (begin, end): (String, String) =
        (message.chars().take(200).collect(), message.chars().skip(characters - 80).collect());
    format!("{begin} … {end}")
}

/// The member that a serde message is about.
fn member(message: &str) -> Option<&str> {
    let rest = ["unknown field ", "missing field ", "duplicate field "]
        .iter()
        .find_map(|prefix| message.strip_prefix(prefix))
        .unwrap_or(message);
    rest.strip_prefix('`')?.split('`').next()
}
