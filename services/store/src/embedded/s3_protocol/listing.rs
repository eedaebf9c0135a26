//! Both versions of ListObjects.

use std::time::SystemTime;

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};
use s3s::{
    S3Request, S3Result,
    dto::{
        CommonPrefix, ETag, EncodingType, ListObjectsInput, ListObjectsOutput, ListObjectsV2Input, ListObjectsV2Output,
        Object, ObjectStorageClass,
    },
    s3_error,
};

use crate::embedded::{
    dir_index::key_after,
    listing::{self, Item, Page, Query, key_after_folder},
    object::time,
    s3_protocol::Service,
};

/// S3's own limit, and its default.
const MOST_KEYS: i32 = 1_000;
/// What `encoding-type=url` leaves as it is.
const ENCODED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.').remove(b'~').remove(b'/');

/// What both versions have in common.
struct Asked {
    bucket: String,
    prefix: Option<String>,
    delimiter: Option<String>,
    encoding_type: Option<EncodingType>,
    max_keys: i32,
}

/// A page in S3's own types.
struct Answer {
    contents: Vec<Object>,
    common_prefixes: Vec<CommonPrefix>,
    last: Option<String>,
    next: Option<String>,
}

impl Asked {
    fn encode(&self, key: &str) -> String {
        match self.encoding_type {
            Some(_) => utf8_percent_encode(key, ENCODED).to_string(),
            None => key.to_owned(),
        }
    }

    fn answer(&self, page: Page) -> Answer {
        let last = page.items.last().map(|item| item.key().to_owned());
        let mut answer = Answer { contents: Vec::new(), common_prefixes: Vec::new(), last, next: page.next };
        for item in page.items {
            match item {
                Item::Object(key, facts) => answer.contents.push(Object {
                    key: Some(self.encode(&key)),
                    size: i64::try_from(facts.size).ok(),
                    e_tag: Some(ETag::Strong(facts.etag.into())),
                    last_modified: Some(SystemTime::into(time(facts.modified))),
                    storage_class: Some(ObjectStorageClass::from_static(ObjectStorageClass::STANDARD)),
                    ..Object::default()
                }),
                Item::Folder(key) => answer.common_prefixes.push(CommonPrefix { prefix: Some(self.encode(&key)) }),
            }
        }
        answer
    }
}

impl Service {
    pub(super) async fn list(&self, request: S3Request<ListObjectsV2Input>) -> S3Result<ListObjectsV2Output> {
        let input = request.input;
        let from = match (&input.continuation_token, &input.start_after) {
            (Some(token), _) => token_to_key(token)?,
            (None, Some(key)) if !key.is_empty() => key_after(key),
            _ => String::new(),
        };
        let asked = Asked {
            bucket: input.bucket,
            prefix: input.prefix,
            delimiter: input.delimiter.filter(|delimiter| !delimiter.is_empty()),
            encoding_type: input.encoding_type,
            max_keys: input.max_keys.unwrap_or(MOST_KEYS).clamp(0, MOST_KEYS),
        };
        let (asked, answer) = self.page(asked, from).await?;
        let count = answer.contents.len() + answer.common_prefixes.len();
        Ok(ListObjectsV2Output {
            prefix: Some(asked.encode(asked.prefix.as_deref().unwrap_or_default())),
            delimiter: asked.delimiter,
            encoding_type: asked.encoding_type,
            name: Some(asked.bucket),
            max_keys: Some(asked.max_keys),
            key_count: i32::try_from(count).ok(),
            start_after: input.start_after,
            continuation_token: input.continuation_token,
            is_truncated: Some(answer.next.is_some()),
            next_continuation_token: answer.next.map(|key| key_to_token(&key)),
            contents: Some(answer.contents),
            common_prefixes: Some(answer.common_prefixes),
            ..ListObjectsV2Output::default()
        })
    }

    pub(super) async fn list_v1(&self, request: S3Request<ListObjectsInput>) -> S3Result<ListObjectsOutput> {
        let input = request.input;
        let delimiter = input.delimiter.filter(|delimiter| !delimiter.is_empty());
        let prefix_len = input.prefix.as_ref().map_or(0, String::len);
        let from = match input.marker.as_deref() {
            None | Some("") => String::new(),
            // A marker that is a folder of the last page stands for all that is in it.
            Some(marker) if delimiter.is_some() && marker.ends_with('/') && marker.len() > prefix_len => {
                key_after_folder(marker)
            }
            Some(marker) => key_after(marker),
        };
        let asked = Asked {
            bucket: input.bucket,
            prefix: input.prefix,
            delimiter,
            encoding_type: input.encoding_type,
            max_keys: input.max_keys.unwrap_or(MOST_KEYS).clamp(0, MOST_KEYS),
        };
        let (asked, answer) = self.page(asked, from).await?;
        let truncated = answer.next.is_some();
        Ok(ListObjectsOutput {
            prefix: Some(asked.encode(asked.prefix.as_deref().unwrap_or_default())),
            marker: Some(asked.encode(input.marker.as_deref().unwrap_or_default())),
            next_marker: answer.last.filter(|_| truncated).map(|key| asked.encode(&key)),
            delimiter: asked.delimiter,
            encoding_type: asked.encoding_type,
            name: Some(asked.bucket),
            max_keys: Some(asked.max_keys),
            is_truncated: Some(truncated),
            contents: Some(answer.contents),
            common_prefixes: Some(answer.common_prefixes),
            ..ListObjectsOutput::default()
        })
    }

    async fn page(&self, asked: Asked, from: String) -> S3Result<(Asked, Answer)> {
        self.bucket(&asked.bucket)?;
        let folders = match asked.delimiter.as_deref() {
            None => false,
            Some("/") => true,
            Some(_) => return Err(s3_error!(NotImplemented, "the one delimiter that this store knows is /")),
        };
        self.disk
            .run(move |tree| {
                let query = Query {
                    bucket: &asked.bucket,
                    prefix: asked.prefix.as_deref().unwrap_or_default(),
                    from: &from,
                    folders,
                    limit: usize::try_from(asked.max_keys).unwrap_or(0),
                };
                let answer = asked.answer(listing::page(tree, &query)?);
                Ok((asked, answer))
            })
            .await
    }
}

/// A token is the first key of the next page; encoded, because XML cannot carry every character.
fn key_to_token(key: &str) -> String {
    utf8_percent_encode(key, ENCODED).to_string()
}

fn token_to_key(token: &str) -> S3Result<String> {
    let key = percent_decode_str(token).decode_utf8();
    Ok(key.map_err(|error| s3_error!(error, InvalidArgument, "not a continuation token of this store"))?.into_owned())
}
