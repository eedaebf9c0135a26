//! What `/metrics` answers, read as strictly as Prometheus does; and what a query names.

use std::collections::{BTreeMap, BTreeSet};

/// One line of `/metrics`.
#[derive(Debug, Clone, PartialEq)]
pub struct Sample {
    /// With its suffix, such as `_total` or `_bucket`.
    pub name: String,
    /// By name.
    pub labels: BTreeMap<String, String>,
    /// What is counted or measured.
    pub value: f64,
}

/// All that a process has counted.
#[derive(Debug, Clone, Default)]
pub struct Exposition {
    /// Line by line.
    pub samples: Vec<Sample>,
}

/// A metric that a query names, and the labels by which it is chosen.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Named {
    /// With its suffix.
    pub metric: String,
    /// Names of labels.
    pub labels: BTreeSet<String>,
}

impl Exposition {
    /// Reads OpenMetrics text.
    ///
    /// # Panics
    /// At whatever is none.
    pub fn parse(text: &str) -> Self {
        let body = text.strip_suffix("# EOF\n").expect("it ends with `# EOF`");
        let mut types: BTreeMap<&str, &str> = BTreeMap::new();
        let mut samples: Vec<Sample> = Vec::new();
        for line in body.lines() {
            if let Some(comment) = line.strip_prefix("# ") {
                if let Some((name, kind)) = comment.strip_prefix("TYPE ").and_then(|rest| rest.split_once(' ')) {
                    assert_eq!(types.insert(name, kind), None, "{name} is there twice");
                }
                continue;
            }
            let sample = sample(line).unwrap_or_else(|| panic!("not a sample: {line}"));
            let family = |suffixes: &[&str]| {
                suffixes.iter().find_map(|suffix| types.get(sample.name.strip_suffix(suffix)?).copied())
            };
            let is_typed = match family(&["_total", "_bucket", "_sum", "_count", "_info", ""]) {
                Some("counter") => sample.name.ends_with("_total") && sample.value >= 0.0,
                Some("histogram") => ["_bucket", "_sum", "_count"].iter().any(|end| sample.name.ends_with(end)),
                Some(kind) => ["gauge", "info"].contains(&kind),
                None => false,
            };
            assert!(is_typed, "not as its type says: {line}");
            let is_new = !samples.iter().any(|other| other.name == sample.name && other.labels == sample.labels);
            assert!(is_new, "twice: {line}");
            samples.push(sample);
        }
        Self { samples }
    }

    /// The sum of all samples of this name that have these labels.
    pub fn sum(&self, name: &str, labels: &[(&str, &str)]) -> f64 {
        let has = |sample: &&Sample| {
            let is = |(name, value): &(&str, &str)| sample.labels.get(*name).is_some_and(|found| found == value);
            sample.name == name && labels.iter().all(is)
        };
        self.samples.iter().filter(has).map(|sample| sample.value).sum()
    }
}

/// `name{label="value",…} 1.5`
fn sample(line: &str) -> Option<Sample> {
    let end = line.find(['{', ' '])?;
    let (name, mut rest) = line.split_at(end);
    let mut labels = BTreeMap::new();
    if let Some(inner) = rest.strip_prefix('{') {
        rest = inner;
        while !rest.starts_with('}') {
            let (label, quoted) = rest.trim_start_matches(',').split_once("=\"")?;
            let mut escaped = false;
            let end = quoted.find(|c| {
                let is_end = c == '"' && !escaped;
                escaped = c == '\\' && !escaped;
                is_end
            })?;
            if labels.insert(label.to_owned(), quoted[..end].to_owned()).is_some() {
                return None;
            }
            rest = &quoted[end + 1..];
        }
        rest = &rest[1..];
    }
    let is_name = |name: &str| !name.is_empty() && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
    if !is_name(name) || !labels.keys().all(|label| is_name(label)) {
        return None;
    }
    Some(Sample { name: name.to_owned(), labels, value: rest.strip_prefix(' ')?.parse().ok()? })
}

/// The metrics of ours that a text names: those that begin with `waybill_` or `process_`.
pub fn named(text: &str) -> BTreeSet<Named> {
    let is_word = |c: char| c.is_ascii_alphanumeric() || c == '_';
    let mut found = BTreeSet::new();
    let mut rest = text;
    while let Some(start) = rest.find(is_word) {
        let word = &rest[start..];
        let end = word.find(|c| !is_word(c)).unwrap_or(word.len());
        let (word, after) = word.split_at(end);
        rest = after;
        if word.starts_with("waybill_") || word.starts_with("process_") {
            let matchers = after.strip_prefix('{').and_then(|inner| inner.split_once('}')).map_or("", |(all, _)| all);
            found.insert(Named { metric: word.to_owned(), labels: matched(matchers) });
        }
    }
    found
}

/// The labels by which a text groups: those in `by (…)`.
pub fn grouped(text: &str) -> BTreeSet<String> {
    let lists = text.split("by (").skip(1).filter_map(|rest| Some(rest.split_once(')')?.0));
    lists.flat_map(|list| list.split(',')).map(|label| label.trim().to_owned()).collect()
}

/// `a="b", c=~"d|e"`
fn matched(mut matchers: &str) -> BTreeSet<String> {
    let mut labels = BTreeSet::new();
    while let Some((label, rest)) = matchers.split_once('"') {
        labels.insert(label.trim_matches([',', ' ', '=', '!', '~']).to_owned());
        matchers = rest.split_once('"').map_or("", |(_, rest)| rest);
    }
    labels
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_is_read() {
        let text = "# HELP a A.\n# TYPE a counter\na_total{x=\"1\",y=\"q\\\"}\"} 2\na_total{x=\"2\"} 3\n# EOF\n";
        let page = Exposition::parse(text);
        assert_eq!(page.samples[0].labels["y"], "q\\\"}");
        assert_eq!((page.sum("a_total", &[]), page.sum("a_total", &[("x", "2")])), (5.0, 3.0));
    }

    #[test]
    fn a_query_names_metrics_and_labels() {
        let query = r#"sum by (le, source) (rate(waybill_a_bucket{x=~"5..|}", y!="z"}[1m])) / process_b > up{q="1"}"#;
        let labels: Vec<_> = named(query).into_iter().map(|it| (it.metric, it.labels.len())).collect();
        // A brace within a value ends the search for labels early: what is found is there all the same.
        assert_eq!(labels, [("process_b".to_owned(), 0), ("waybill_a_bucket".to_owned(), 1)]);
        assert_eq!(grouped(query).into_iter().collect::<Vec<_>>(), ["le", "source"]);
    }
}
