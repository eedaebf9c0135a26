//! A source in responses.

use poem_openapi::Object;
use waybill_source::Definition;

/// A kind of upstream.
#[derive(Debug, Object)]
#[oai(skip_serializing_if_is_none)]
pub(crate) struct Source {
    name: String,
    /// One line for people.
    title: String,
    /// What a job is given.
    params: Vec<Param>,
    /// The names of the statistics that are kept.
    statistics: Vec<String>,
    /// The names of the parts by which objects are laid out and statistics grouped.
    partition: Vec<String>,
    /// Environment variables that are not set: until they are, no job is accepted.
    lacks: Vec<String>,
    /// The SHA-256 of the definition's text.
    definition: String,
    /// The definition, in TOML; only where one source is asked for.
    text: Option<String>,
    links: SourceLinks,
}

/// A named value that a job is given.
#[derive(Debug, Object)]
#[oai(skip_serializing_if_is_none)]
struct Param {
    name: String,
    /// `date`, `datetime`, `string`, `integer` or `boolean`.
    #[oai(rename = "type")]
    kind: String,
    /// What stands for it where it is not given: a text, or a template of the job's day. Without it, it must be given.
    default: Option<String>,
}

/// Where to go from a source.
#[derive(Debug, Object)]
struct SourceLinks {
    /// This source.
    #[oai(rename = "self")]
    this: String,
    /// Its jobs.
    jobs: String,
}

/// All sources, by name.
#[derive(Debug, Object)]
pub(crate) struct Sources {
    pub(crate) sources: Vec<Source>,
}

impl Source {
    /// A source in a list.
    pub(crate) fn brief(definition: &Definition, lacks: &[String]) -> Self {
        let name = definition.name();
        let param = |(name, kind, default): (&str, &str, Option<String>)| Param {
            name: name.to_owned(),
            kind: kind.to_owned(),
            default,
        };
        Self {
            name: name.to_owned(),
            title: definition.title().to_owned(),
            params: definition.params().map(param).collect(),
            statistics: definition.statistics().list.iter().map(|(name, _)| name.clone()).collect(),
            partition: definition.partition_names().to_vec(),
            lacks: lacks.to_vec(),
            definition: definition.hash().to_owned(),
            text: None,
            links: SourceLinks { this: format!("/v1/sources/{name}"), jobs: format!("/v1/jobs?source={name}") },
        }
    }

    /// A source by itself.
    pub(crate) fn whole(definition: &Definition, lacks: &[String]) -> Self {
        Self { text: Some(definition.text().to_owned()), ..Self::brief(definition, lacks) }
    }
}
