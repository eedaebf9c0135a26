//! Random documents: the same as serde_json and a naive sum over its values say, wherever the bytes are cut.

use proptest::prelude::*;
use serde_json::Value as Json;

use crate::scan::tests::*;

/// A text in quotes, some of its characters escaped that need not be.
pub(super) fn spell(text: &str, random: &mut fastrand::Rng) -> String {
    let mut spelled = String::from("\"");
    for c in text.chars() {
        let must = c == '"' || c == '\\' || c < ' ';
        if must || random.u8(..) < 20 {
            for unit in c.encode_utf16(&mut [0; 2]) {
                spelled.push_str(&format!("\\u{unit:04x}"));
            }
        } else {
            spelled.push(c);
        }
    }
    spelled + "\""
}

fn space(random: &mut fastrand::Rng, airy: bool) -> &'static str {
    if airy { ["", "", " ", "\t", " \r", "    "][random.usize(0..6)] } else { "" }
}

pub(super) fn pick<'a>(random: &mut fastrand::Rng, from: &[&'a str]) -> &'a str {
    from[random.usize(0..from.len())]
}

/// Any JSON.
fn anything(random: &mut fastrand::Rng, depth: usize, airy: bool) -> String {
    let gap = space(random, airy);
    match random.u8(0..if depth > 3 { 4 } else { 6 }) {
        0 => pick(random, &["null", "true", "false"]).into(),
        1 => pick(random, &["0", "-0", "12", "-1.5", "1e5", "0.1E-3", "123456789012345678901234567890"]).into(),
        2 | 3 => {
            let text =
                pick(random, &["", "a", "passengers", "\"\\/", "tab\tand\nline", "Žluťoučký kůň", "😀", "]}{[,:"]);
            spell(text, random)
        }
        4 => {
            let items: Vec<_> = (0..random.usize(0..4)).map(|_| anything(random, depth + 1, airy)).collect();
            format!("[{gap}{}{gap}]", items.join(&format!("{gap},")))
        }
        _ => {
            let name = |index: usize| ["delay", "a b", "", "ключ"][index];
            let items: Vec<_> = (0..random.usize(0..4))
                .map(|index| {
                    let name = spell(name(index), random);
                    format!("{gap}{name}{gap}:{gap}{}", anything(random, depth + 1, airy))
                })
                .collect();
            format!("{{{}{gap}}}", items.join(&format!("{gap},")))
        }
    }
}

/// The members of a record that is right, in any order.
fn members(random: &mut fastrand::Rng, airy: bool) -> Vec<(String, String)> {
    let text =
        |text: String, random: &mut fastrand::Rng| if airy { spell(&text, random) } else { format!("\"{text}\"") };
    let second = random.u32(0..60);
    let offset = pick(random, &["", "", "Z", ".5", "+02:00"]);
    let seconds = random.u32(0..100_000_000) >> random.u32(0..27);
    let delay = match random.u8(0..8) {
        0 => format!("-PT{seconds}S"),
        1 => format!("PT{seconds}M"),
        2 => format!("PT{}.{:03}S", seconds, random.u32(0..1_000)),
        3 => format!("P{}DT{}H", seconds % 50, seconds % 7),
        _ => format!("PT{seconds}S"),
    };
    let passengers = random.u64(0..i64::MAX as u64) >> random.u32(0..63);
    let rating = match random.u8(0..4) {
        0 => format!("{}", random.i32(-10..=10)),
        1 => format!("{}.{:09}", random.i32(-9..10), random.u32(0..1_000_000_000)),
        2 => format!("{}e-{}", random.u32(0..1_000), random.u32(2..15)),
        _ => "null".into(),
    };
    let mut members = vec![
        ("departure-time".to_owned(), text(format!("2024-02-29T23:59:{second:02}{offset}"), random)),
        ("bus-type".to_owned(), if airy { spell("Linie \"9¾\"", random) } else { format!("\"BUS-{second}\"") }),
        ("passengers".to_owned(), passengers.to_string()),
        ("delay".to_owned(), text(delay, random)),
    ];
    if random.u8(..) < 200 {
        members.push(("accident".to_owned(), pick(random, &["true", "false", "null"]).into()));
    }
    if random.bool() {
        members.push(("rating".to_owned(), rating));
    }
    if random.bool() {
        members.push(("colour".to_owned(), text(pick(random, &["red", "grün"]).into(), random)));
    }
    for index in 0..random.usize(0..3) {
        members.push((["x", "Passengers", "Ünknown"][index].to_owned(), anything(random, 0, airy)));
    }
    if airy {
        random.shuffle(&mut members);
    }
    members
}

fn record(random: &mut fastrand::Rng, airy: bool) -> String {
    let members = members(random, airy);
    let member = |(name, value): (String, String)| {
        let gap = space(random, airy);
        let name = if airy { spell(&name, random) } else { format!("\"{name}\"") };
        format!("{gap}{name}{gap}:{gap}{value}{gap}")
    };
    format!("{{{}}}", members.into_iter().map(member).collect::<Vec<_>>().join(","))
}

fn records(seed: u64) -> Vec<String> {
    let mut random = fastrand::Rng::with_seed(seed);
    let airy = random.bool();
    (0..random.usize(0..12)).map(|_| record(&mut random, airy)).collect()
}

fn document(seed: u64) -> String {
    format!("[{}]", records(seed).join(","))
}

/// The same statistics from the whole document, as simply as can be.
fn naive(document: &str) -> serde_json::Map<String, Json> {
    let records: Vec<Json> = serde_json::from_str(document).unwrap();
    let values = |name: &str| {
        records.iter().map(|record| record[name].clone()).filter(|value| !value.is_null()).collect::<Vec<_>>()
    };
    let passengers: Vec<i128> = values("passengers").iter().map(|value| value.as_i64().unwrap().into()).collect();
    let accidents: Vec<bool> = values("accident").iter().map(|value| value.as_bool().unwrap()).collect();
    let ratings: Vec<f64> = values("rating").iter().map(|value| value.as_f64().unwrap()).collect();
    let delays: Vec<f64> = values("delay")
        .iter()
        .map(|value| {
            // Signs, and each part by its letter.
            let text = value.as_str().unwrap();
            let sign = if text.starts_with('-') { -1.0 } else { 1.0 };
            let mut seconds = 0.0;
            for part in text.trim_start_matches(['-', 'P']).replace('T', "").split_inclusive(char::is_alphabetic) {
                let unit = match part.chars().last().unwrap() {
                    'D' => 86_400.0,
                    'H' => 3_600.0,
                    'M' => 60.0,
                    _ => 1.0,
                };
                seconds += part[..part.len() - 1].parse::<f64>().unwrap() * unit;
            }
            sign * seconds
        })
        .collect();
    let mean = |values: &[f64]| if values.is_empty() { 0.0 } else { values.iter().sum::<f64>() / values.len() as f64 };
    let equal = |name: &str, value: Json| values(name).iter().filter(|found| **found == value).count();
    let json = serde_json::json!({
        "bus_count": records.len(),
        "passenger_count": passengers.iter().sum::<i128>() as f64,
        "exist_accident": accidents.contains(&true),
        "only_accidents": !accidents.contains(&false),
        "average_delay_s": mean(&delays),
        "least_rating": ratings.iter().copied().reduce(f64::min),
        "most_passengers": passengers.iter().max().map(|most| *most as f64),
        "rating": mean(&ratings),
        "red": equal("colour", "red".into()),
        "green": equal("colour", "grün".into()),
        "nines": equal("bus-type", "Linie \"9¾\"".into()),
        "empty": equal("passengers", 0.into()),
        "quiet": equal("accident", false.into()),
    });
    json.as_object().unwrap().clone()
}

/// Whether both are the same, up to what the naive doubles lose, to the ninth decimal, and to how many decimals
/// are shown.
fn assert_near(ours: &serde_json::Map<String, Json>, theirs: &serde_json::Map<String, Json>) {
    assert_eq!(ours.len(), theirs.len());
    for (name, value) in ours {
        match (value.as_f64(), theirs[name].as_f64()) {
            (Some(a), Some(b)) => {
                let shown = [("average_delay_s", 0.5), ("rating", 0.0005)];
                let slack = shown.iter().find(|(shown, _)| shown == name).map_or(0.0, |(_, slack)| *slack);
                assert!((a - b).abs() <= slack + 1e-9 + b.abs() * 1e-12, "{name}: {a}, naively {b}");
            }
            _ => assert_eq!(value, &theirs[name], "{name}"),
        }
    }
}

/// `bytes` cut at places that the seed decides.
pub(super) fn cut(bytes: &[u8], seed: u64) -> Vec<&[u8]> {
    let mut random = fastrand::Rng::with_seed(seed);
    let most = 1 << random.u32(0..10);
    let mut pieces = Vec::new();
    let mut rest = bytes;
    while !rest.is_empty() {
        let (piece, after) = rest.split_at(random.usize(0..=most).min(rest.len()));
        pieces.push(piece);
        rest = after;
    }
    pieces
}

/// Some bytes changed, taken out, doubled or put in.
pub(super) fn mutated(mut bytes: Vec<u8>, seed: u64) -> Vec<u8> {
    let mut random = fastrand::Rng::with_seed(seed);
    for _ in 0..random.usize(1..4) {
        let at = random.usize(0..bytes.len());
        match random.u8(0..5) {
            0 => bytes[at] = random.u8(..),
            1 => bytes[at] = b"\"\\{}[],:0-.eE \nntf\x80\xff"[random.usize(0..20)],
            2 => drop(bytes.drain(at..(at + random.usize(1..20)).min(bytes.len()))),
            3 => bytes.truncate(at.max(1)),
            _ => bytes.insert(at, b"\"\\{}[],:0-.eE \nntf\x80\xff"[random.usize(0..20)]),
        }
        if bytes.is_empty() {
            bytes.push(b' ');
        }
    }
    bytes
}

fn csv(seed: u64) -> String {
    let mut random = fastrand::Rng::with_seed(seed);
    let mut text = String::from("departure-time,bus-type,passengers,delay,x,accident\r\n");
    for _ in 0..random.usize(0..8) {
        let bus = pick(&mut random, &["b", "\"a\"\"b\"", "\"a,\r\nb\"", "é"]).to_owned();
        let end = pick(&mut random, &["\n", "\r\n", "\n\n"]).to_owned();
        let accident = pick(&mut random, &["", "true", "0"]).to_owned();
        text += &format!("2024-05-01T08:44:00,{bus},{},PT{}S,,{accident}{end}", random.u32(..), random.u32(..));
    }
    text
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn statistics_are_those_of_a_naive_sum(seed: u64) {
        let document = document(seed);
        let scanned = scan_pieces(scanner(Format::Json, &[]), [document.as_bytes()]).unwrap();
        assert_near(&statistics().to_json(&scanned.totals), &naive(&document));
        let lines = records(seed).join("\r\n");
        prop_assert_eq!(scan_pieces(scanner(Format::Ndjson, &[]), [lines.as_bytes()]), Ok(scanned));
    }

    #[test]
    fn statistics_of_parts_merge_to_those_of_the_whole(one: u64, other: u64) {
        let totals = |text: &str| scan_pieces(scanner(Format::Json, &[]), [text.as_bytes()]).unwrap().totals;
        let both = format!("[{}]", [records(one), records(other)].concat().join(","));
        let mut merged = totals(&document(one));
        statistics().merge(&mut merged, &totals(&document(other))).unwrap();
        prop_assert_eq!(merged, totals(&both));
    }

    #[test]
    fn where_the_bytes_are_cut_makes_no_difference(seed: u64, cuts: u64, changes in proptest::option::of(any::<u64>())) {
        let enveloped = format!(r#"{{"a":[{}],"data":{{"items":{},"b":"é😀"}}}}"#, anything(&mut fastrand::Rng::with_seed(seed), 0, true), document(seed));
        for (format, path, text) in [
            (Format::Json, vec![], document(seed)),
            (Format::Json, vec!["data", "items"], enveloped),
            (Format::Ndjson, vec![], records(seed).join("\n") + "\n"),
            (Format::Csv, vec![], csv(seed)),
        ] {
            let bytes = changes.map_or_else(|| text.clone().into_bytes(), |seed| mutated(text.clone().into_bytes(), seed));
            let whole = scan_pieces(scanner(format, &path), [&*bytes]);
            prop_assert!(changes.is_some() || whole.is_ok(), "{whole:?}");
            prop_assert_eq!(scan_pieces(scanner(format, &path), cut(&bytes, cuts)), whole);
        }
    }

    #[test]
    fn what_serde_json_refuses_is_refused(seed: u64, changes: u64) {
        let nothing = || Scanner::new(Format::Json, &RecordPath::default(), &Schema::default(), &Statistics::default());
        let bytes = mutated(document(seed).into_bytes(), changes);
        let theirs = serde_json::from_slice::<Vec<Json>>(&bytes);
        let ours = scan_pieces(nothing(), [&*bytes]);
        match theirs {
            Ok(records) => prop_assert_eq!(ours.map(|scanned| scanned.records), Ok(records.len() as u64)),
            // The one thing that it refuses and JSON does not: a number beyond the largest double.
            Err(error) if error.to_string().contains("out of range") => {}
            Err(error) => prop_assert!(ours.is_err(), "{error}"),
        }
    }

    #[test]
    fn any_bytes_come_to_an_end(bytes: Vec<u8>, cuts: u64) {
        for format in [Format::Json, Format::Ndjson, Format::Csv] {
            let whole = scan_pieces(scanner(format, &[]), [&*bytes]);
            prop_assert_eq!(scan_pieces(scanner(format, &[]), cut(&bytes, cuts)), whole);
        }
    }
}
