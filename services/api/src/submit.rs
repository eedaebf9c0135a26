//! Reads and checks the request that submits a job.

use std::{borrow::Cow, collections::BTreeMap, fmt, sync::Arc};

use jiff::{Timestamp, tz::TimeZone};
use poem::Request;
use poem_openapi::{
    Object,
    registry::{MetaSchema, MetaSchemaRef},
    types::{ParseFromJSON, ParseResult, ToJSON, Type},
};
use serde::{
    Deserialize, Deserializer,
    de::{Error, MapAccess, Visitor},
};
use serde_json::Value;
use waybill_ledger::Ledger;
use waybill_source::{DefaultsFrom, Definition, ParamError, Params};
use waybill_web::{Caller, Problem, known_query, quoted};

use crate::error;

/// The header by which a client names its own request.
pub(crate) const IDEMPOTENCY_KEY: &str = "Idempotency-Key";

/// A job to be made.
#[derive(Debug, Object, Deserialize)]
#[serde(deny_unknown_fields)]
#[oai(deny_unknown_fields)]
pub(crate) struct NewJob {
    /// The source's name.
    #[serde(deserialize_with = "source")]
    pub(crate) source: String,
    /// What the source asks for, by name.
    #[serde(default, deserialize_with = "params")]
    #[oai(default)]
    pub(crate) params: BTreeMap<String, Scalar>,
    /// The id of the upload whose rows are the job's items, or that is loaded, where the source takes one.
    #[serde(default)]
    pub(crate) upload: Option<String>,
}

/// A parameter's value in JSON; the definition says what it has to be, and how it is spelled.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Scalar(pub(crate) String);

impl<'de> Deserialize<'de> for Scalar {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct AnyScalar;

        impl Visitor<'_> for AnyScalar {
            type Value = Scalar;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a string, an integer or a boolean")
            }

            fn visit_str<E: Error>(self, value: &str) -> Result<Scalar, E> {
                Ok(Scalar(value.to_owned()))
            }

            fn visit_u64<E: Error>(self, value: u64) -> Result<Scalar, E> {
                Ok(Scalar(value.to_string()))
            }

            fn visit_i64<E: Error>(self, value: i64) -> Result<Scalar, E> {
                Ok(Scalar(value.to_string()))
            }

            fn visit_bool<E: Error>(self, value: bool) -> Result<Scalar, E> {
                Ok(Scalar(value.to_string()))
            }
        }

        deserializer.deserialize_any(AnyScalar)
    }
}

fn source<'de, D: Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    String::deserialize(deserializer).map_err(|error| D::Error::custom(format_args!("`source`: {error}")))
}

/// Names the parameter at fault, and takes none of them twice.
fn params<'de, D: Deserializer<'de>>(deserializer: D) -> Result<BTreeMap<String, Scalar>, D::Error> {
    struct Named;

    impl<'de> Visitor<'de> for Named {
        type Value = BTreeMap<String, Scalar>;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("an object of names and values")
        }

        fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
            let mut params = BTreeMap::new();
            while let Some(name) = map.next_key::<String>()? {
                let value = map.next_value();
                let value = value.map_err(|error| A::Error::custom(format_args!("`params.{name}`: {error}")))?;
                if params.contains_key(&name) {
                    return Err(A::Error::custom(format_args!("`params.{name}`: expected it once, found it twice")));
                }
                params.insert(name, value);
            }
            Ok(params)
        }
    }

    // What a single parameter's mistake says already is not said again.
    deserializer.deserialize_map(Named).map_err(|error| match error.to_string() {
        message if message.starts_with("`params.") => error,
        message => D::Error::custom(format_args!("`params`: {message}")),
    })
}

impl Type for Scalar {
    const IS_REQUIRED: bool = true;
    type RawValueType = Self;
    type RawElementValueType = Self;

    fn name() -> Cow<'static, str> {
        "scalar".into()
    }

    fn schema_ref() -> MetaSchemaRef {
        let any_of = vec![String::schema_ref(), i64::schema_ref(), bool::schema_ref()];
        MetaSchemaRef::Inline(Box::new(MetaSchema { any_of, ..MetaSchema::ANY }))
    }

    fn as_raw_value(&self) -> Option<&Self> {
        Some(self)
    }

    fn raw_element_iter<'a>(&'a self) -> Box<dyn Iterator<Item = &'a Self> + 'a> {
        Box::new(std::iter::once(self))
    }
}

impl ParseFromJSON for Scalar {
    fn parse_from_json(value: Option<Value>) -> ParseResult<Self> {
        Ok(serde_json::from_value(value.unwrap_or_default())?)
    }
}

/// Asked for by the derived shape; no route answers with one.
impl ToJSON for Scalar {
    fn to_json(&self) -> Option<Value> {
        Some(self.0.clone().into())
    }
}

/// Names and values, as the client wrote them.
pub(crate) type Given = BTreeMap<String, String>;

/// Who submits a job, and how.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Submitter<'a> {
    pub(crate) caller: &'a Caller,
    pub(crate) route: &'static str,
    /// The idempotency key.
    pub(crate) key: Option<&'a str>,
    /// Where the client wrote the parameters: `params.`, or nothing.
    pub(crate) place: &'static str,
}

/// Checks what a job is given. Defaults take the place of what is missing: those of the first time where the request
/// comes again, since the day may be another by now, and an earlier job may have ended.
pub(crate) async fn bind(
    ledger: &Ledger,
    definition: &Definition,
    mut given: Given,
    by: Submitter<'_>,
    now: Timestamp,
) -> Result<Params, Problem> {
    let wrong = |ParamError { name, expected, found }: ParamError| {
        Problem::invalid_parameter(&format!("{}{name}", by.place), &expected, found)
    };
    let needs_defaults = definition.params().any(|(name, _, default)| default.is_some() && !given.contains_key(name));
    if needs_defaults
        && let Some(key) = by.key
        && let Some(first) =
            ledger.find(by.route, by.caller.name(), definition.name(), key).await.map_err(error::ledger)?
    {
        for (name, value) in first.params.0 {
            given.entry(name).or_insert(value);
        }
    }
    let mut from = DefaultsFrom { day: now.to_zoned(TimeZone::UTC).date(), previous: None };
    let previous = match definition.wants_mark(&given, from).map_err(wrong)? {
        Some(others) => ledger.mark(definition.name(), &others).await.map_err(error::ledger)?,
        None => None,
    };
    from.previous = previous.as_deref();
    definition.bind(&given, from).map_err(wrong)
}

/// The parameters of a job in a query, and its source.
pub(crate) fn from_query(
    request: &Request,
    source: impl Fn(&str) -> Result<Arc<Definition>, Problem>,
) -> Result<(Arc<Definition>, Given), Problem> {
    let given: Vec<(String, String)> = request.params().unwrap_or_default();
    let named = given.iter().find(|(name, _)| name == "source").map(|(_, value)| value.as_str());
    let expected = "the name of a source, as in `?source=relay`";
    let definition = source(named.ok_or_else(|| Problem::invalid_parameter("source", expected, "nothing"))?)?;
    let params = definition.params().map(|(name, ..)| name);
    known_query(request, &std::iter::once("source").chain(params).collect::<Vec<_>>())?;
    Ok((definition, given.into_iter().filter(|(name, _)| name != "source").collect()))
}

/// The client's own name for its request, if it gave one.
pub(crate) fn idempotency_key(request: &Request) -> Result<Option<String>, Problem> {
    let wrong = |found: String| Problem::invalid_parameter(IDEMPOTENCY_KEY, "1 to 255 visible ASCII characters", found);
    let mut values = request.headers().get_all(IDEMPOTENCY_KEY).iter();
    let Some(value) = values.next() else { return Ok(None) };
    if values.next().is_some() {
        return Err(wrong("more than one".to_owned()));
    }
    let bytes = value.as_bytes();
    match std::str::from_utf8(bytes) {
        Ok(key) if (1..=255).contains(&key.len()) && bytes.iter().all(u8::is_ascii_graphic) => Ok(Some(key.to_owned())),
        _ if bytes.len() > 255 => Err(wrong(format!("{} bytes", bytes.len()))),
        _ => Err(wrong(quoted(&String::from_utf8_lossy(bytes)))),
    }
}
