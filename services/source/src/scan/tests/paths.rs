//! Random documents, paths and fields: the records found, their values and what is around them are those of a naive
//! look at the whole document, wherever the bytes are cut.

use proptest::prelude::*;
use serde_json::{Map, Value as Json};

use crate::{
    path::{Segment, ValuePath},
    scan::tests::{
        properties::{cut, mutated, pick, spell},
        *,
    },
};

const NAMES: [&str; 5] = ["a", "b", "list", "é \"x\"", ""];

fn name(random: &mut fastrand::Rng) -> String {
    pick(random, &NAMES).to_owned()
}

fn steps(random: &mut fastrand::Rng) -> Vec<RecordStep> {
    (0..random.usize(0..4))
        .map(|_| if random.u8(0..3) > 0 { RecordStep::Each } else { RecordStep::Member(name(random)) })
        .collect()
}

/// Some fields, no two of one path.
fn schema(random: &mut fastrand::Rng) -> Schema {
    let mut fields: Vec<Field> = Vec::new();
    for at in 0..random.usize(0..6) {
        let segment = |random: &mut fastrand::Rng| match random.u8(0..8) {
            0 => Segment::Index(random.usize(0..3)),
            _ => Segment::Member(name(random)),
        };
        let path = match random.u8(0..8) {
            0 => FieldPath::Name,
            _ => {
                let segments = (0..[0, 1, 1, 1, 2, 3][random.usize(0..6)]).map(|_| segment(random)).collect();
                FieldPath::Value(ValuePath { segments })
            }
        };
        if fields.iter().any(|field| field.path == path) {
            continue;
        }
        let kinds = [
            FieldType::Any,
            FieldType::Any,
            FieldType::Any,
            FieldType::Any,
            FieldType::Object,
            FieldType::Array,
            FieldType::String,
        ];
        let kind = if path == FieldPath::Name { FieldType::String } else { kinds[random.usize(0..kinds.len())] };
        let constraints = Constraints { required: random.u8(0..20) == 0, ..Constraints::default() };
        fields.push(Field { name: format!("f{at}"), path, kind, format: TimeFormat::Iso, constraints });
    }
    Schema { fields, is_closed: false }
}

fn anything(random: &mut fastrand::Rng, depth: usize) -> Json {
    match random.u8(0..if depth > 3 { 5 } else { 9 }) {
        0 => Json::Null,
        1 => random.bool().into(),
        2 => random.i64(-10..1 << 40).into(),
        3 | 4 => pick(random, &["", "x", "]}{[,:\"\\", "tab\tand\nline", "Žluťoučký 😀"]).into(),
        5 => (0..random.usize(0..4)).map(|_| anything(random, depth + 1)).collect(),
        _ => object(random, depth),
    }
}

fn object(random: &mut fastrand::Rng, depth: usize) -> Json {
    (0..random.usize(0..8)).map(|_| (name(random), anything(random, depth + 1))).collect::<Map<_, _>>().into()
}

/// A value that the steps lead through, most of the time.
fn along(steps: &[RecordStep], random: &mut fastrand::Rng, depth: usize) -> Json {
    if random.u8(0..60) == 0 {
        return anything(random, depth);
    }
    match steps {
        [] if random.u8(0..10) == 0 => anything(random, depth),
        [] => object(random, depth),
        [RecordStep::Member(member), rest @ ..] => {
            let mut around = object(random, depth);
            if random.u8(0..20) > 0 {
                around[member] = along(rest, random, depth + 1);
            }
            around
        }
        [RecordStep::Each, rest @ ..] if random.bool() => {
            (0..random.usize(0..4)).map(|_| along(rest, random, depth + 1)).collect()
        }
        [RecordStep::Each, rest @ ..] => {
            let members = (0..random.usize(0..4)).map(|_| (name(random), along(rest, random, depth + 1)));
            members.collect::<Map<_, _>>().into()
        }
    }
}

/// The value as text, with white space between tokens.
fn spelled(value: &Json, random: &mut fastrand::Rng) -> String {
    let gap = |random: &mut fastrand::Rng| pick(random, &["", "", "", " ", "\r\n", "\t"]).to_owned();
    let text = match value {
        Json::Array(elements) => {
            let elements: Vec<_> = elements.iter().map(|element| spelled(element, random)).collect();
            format!("[{}{}]", elements.join(","), gap(random))
        }
        Json::Object(members) => {
            let member = |(name, value): (&String, &Json)| {
                format!("{}{}{}:{}", gap(random), spell(name, random), gap(random), spelled(value, random))
            };
            format!("{{{}}}", members.iter().map(member).collect::<Vec<_>>().join(","))
        }
        Json::String(text) => spell(text, random),
        scalar => scalar.to_string(),
    };
    format!("{}{text}{}", gap(random), gap(random))
}

type Records<'a> = Vec<(Option<&'a str>, &'a Json)>;

/// The records behind the steps, each with its name where it is a member. `None` where the document is not of that
/// shape.
fn records<'a>(
    (name, value): (Option<&'a str>, &'a Json),
    steps: &[RecordStep],
    each: bool,
    found: &mut Records<'a>,
    at_top: bool,
) -> Option<()> {
    match (steps, value) {
        ([], _) => found.push((name, value)),
        (_, Json::Null) if each => {}
        ([RecordStep::Member(member), rest @ ..], Json::Object(members)) => match members.get(member) {
            Some(value) => records((None, value), rest, each, found, false)?,
            None => each.then_some(())?,
        },
        ([RecordStep::Each, rest @ ..], Json::Array(elements)) => {
            elements.iter().try_for_each(|value| records((None, value), rest, true, found, false))?;
        }
        ([RecordStep::Each, _rest @ ..], Json::Object(members)) if at_top && members.is_empty() => return None,
        ([RecordStep::Each, rest @ ..], Json::Object(members)) => {
            members.iter().try_for_each(|(name, value)| records((Some(name), value), rest, true, found, false))?;
        }
        _ => return None,
    }
    Some(())
}

/// The value without the records.
fn around(value: &Json, steps: &[RecordStep]) -> Option<Json> {
    let (step, rest) = steps.split_first()?;
    Some(match value {
        Json::Array(elements) => elements.iter().filter_map(|element| around(element, rest)).collect(),
        Json::Object(members) => {
            let member = |(name, value): (&String, &Json)| match step {
                RecordStep::Member(member) if member != name => Some((name.clone(), value.clone())),
                _ => Some((name.clone(), around(value, rest)?)),
            };
            members.iter().filter_map(member).collect::<Map<_, _>>().into()
        }
        other => other.clone(),
    })
}

/// The values of a record, by field; `None` where it is not as the schema says.
fn values(schema: &Schema, name: Option<&str>, record: &Json) -> Option<Vec<Option<Json>>> {
    let first = |is_member: bool| {
        schema.fields.iter().any(|field| match &field.path {
            FieldPath::Value(path) => {
                path.segments.first().is_some_and(|s| matches!(s, Segment::Member(_)) == is_member)
            }
            FieldPath::Name => false,
        })
    };
    let is_whole = schema.fields.iter().any(|field| field.path == "$".parse().unwrap());
    match (first(true), first(false)) {
        (true, false) if !is_whole && !record.is_object() => return None,
        (false, true) if !is_whole && !record.is_array() => return None,
        _ => {}
    }
    let value = |field: &Field| {
        let name = name.map(Json::from);
        let found = match &field.path {
            FieldPath::Name => name.as_ref(),
            FieldPath::Value(path) => path.segments.iter().try_fold(record, |value, segment| match segment {
                Segment::Member(name) => value.get(name),
                Segment::Index(at) => value.get(at),
            }),
        };
        let found = found.filter(|value| !value.is_null());
        let fits = match (field.kind, found) {
            (_, None) => !field.constraints.required,
            (FieldType::Object, Some(value)) => value.is_object(),
            (FieldType::Array, Some(value)) => value.is_array(),
            (FieldType::String, Some(value)) => value.is_string(),
            _ => true,
        };
        // Containers are checked and not kept.
        fits.then(|| found.filter(|value| !value.is_object() && !value.is_array()).cloned())
    };
    schema.fields.iter().map(value).collect()
}

/// What comes of the pieces: the values of all records, the page, and the lines.
type Read = Result<(Values, Page, Vec<u8>), Rejection>;

fn read<'a>(path: &RecordPath, schema: &Schema, pieces: impl IntoIterator<Item = &'a [u8]>) -> Read {
    let parts = PageParts { body: true, last: true, lines: true };
    let mut scanner = Scanner::new(Format::Json, path, schema, &Statistics::default()).for_page(parts);
    scanner.sheet.kept = Kept::Values(Vec::new());
    let mut lines = Vec::new();
    for piece in pieces {
        scanner.push(piece)?;
        lines.extend(scanner.take_lines());
    }
    let page = scanner.end_page()?;
    lines.extend(&page.lines);
    let Kept::Values(mut rows) = scanner.sheet.kept else { panic!("values are kept") };
    rows.truncate(page.scanned.records as usize);
    Ok((rows, Page { lines: Vec::new(), ..page }, lines))
}

/// What a look at the whole document comes to.
fn naive(path: &RecordPath, schema: &Schema, document: &Json) -> Option<(Values, Page, Vec<Json>)> {
    let mut found = Vec::new();
    records((None, document), &path.steps, false, &mut found, true)?;
    let rows: Vec<_> = found.iter().map(|(name, record)| values(schema, *name, record)).collect::<Option<_>>()?;
    let wants_name = schema.fields.iter().any(|field| field.path == FieldPath::Name);
    let line = |(name, record): &(Option<&str>, &Json)| match name.filter(|_| wants_name) {
        Some(name) => Json::from(Map::from_iter([(name.to_owned(), (*record).clone())])),
        None => (*record).clone(),
    };
    let scanned = Scanned { records: found.len() as u64, totals: Totals::default() };
    let page = Page {
        scanned,
        body: around(document, &path.steps).unwrap_or_default(),
        last: found.last().map(|(_, record)| (*record).clone()),
        lines: Vec::new(),
    };
    Some((rows, page, found.iter().map(line).collect()))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn any_path_finds_what_a_look_at_the_document_finds(seed: u64, cuts: u64) {
        let mut random = fastrand::Rng::with_seed(seed);
        let path = RecordPath { steps: steps(&mut random) };
        let schema = schema(&mut random);
        let document = along(&path.steps, &mut random, 0);
        // A number alone ends only with what follows it.
        let text = spelled(&document, &mut random) + "\n";
        let ours = read(&path, &schema, [text.as_bytes()]);
        prop_assert_eq!(&read(&path, &schema, cut(text.as_bytes(), cuts)), &ours);
        match (ours, naive(&path, &schema, &document)) {
            (Ok((rows, page, lines)), Some((their_rows, their_page, their_lines))) => {
                prop_assert_eq!(rows, their_rows);
                prop_assert_eq!(page, their_page);
                prop_assert!(!lines.contains(&b'\r'));
                let lines: Vec<Json> = lines.split_inclusive(|byte| *byte == b'\n').map(|line| serde_json::from_slice(line).unwrap()).collect();
                prop_assert_eq!(lines, their_lines);
            }
            (Err(_), None) => {}
            (ours, theirs) => prop_assert!(false, "{path} of {text}: {ours:?}, naively {theirs:?}"),
        }
    }

    #[test]
    fn where_a_page_is_cut_makes_no_difference(seed: u64, cuts: u64, changes: u64) {
        let mut random = fastrand::Rng::with_seed(seed);
        let path = RecordPath { steps: steps(&mut random) };
        let schema = schema(&mut random);
        let document = along(&path.steps, &mut random, 0);
        let bytes = mutated(spelled(&document, &mut random).into_bytes(), changes);
        prop_assert_eq!(read(&path, &schema, cut(&bytes, cuts)), read(&path, &schema, [&*bytes]));
    }
}

#[test]
fn paths_and_documents_meet_often_enough() {
    let mut found = [0; 3];
    for seed in 0..1_000 {
        let mut random = fastrand::Rng::with_seed(seed);
        let path = RecordPath { steps: steps(&mut random) };
        let schema = schema(&mut random);
        let document = along(&path.steps, &mut random, 0);
        match naive(&path, &schema, &document) {
            None => found[0] += 1,
            Some((rows, ..)) if rows.iter().flatten().flatten().next().is_some() => found[1] += 1,
            Some(_) => found[2] += 1,
        }
    }
    assert!(found.iter().all(|count| *count > 100), "{found:?}");
}
