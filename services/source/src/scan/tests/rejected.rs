//! What is wrong, and how it is said. Every line is what an operator finds in a quarantine report.

use insta::assert_snapshot;

use super::*;

/// One line for each input.
fn all<T: AsRef<[u8]>>(scan: impl Fn(&[u8]) -> Result<Scanned, Rejection>, inputs: impl IntoIterator<Item = (&'static str, T)>) -> String {
    let line = |(name, input): (&str, T)| match scan(input.as_ref()) {
        Ok(scanned) => panic!("{name}: accepted as {scanned:?}"),
        Err(rejection) => format!("{name}: {rejection}\n"),
    };
    inputs.into_iter().map(line).collect()
}

/// A file whose second record has one text replaced by another.
fn second(from: &str, to: &str) -> String {
    assert!(RIGHT.contains(from));
    format!("[{{{RIGHT}}},{{{}}}]", RIGHT.replacen(from, to, 1))
}

#[test]
fn files_that_are_none() {
    assert_snapshot!(all(|bytes| scan(bytes), [
        ("empty", ""),
        ("only a mark", "\u{feff}"),
        ("half a mark", "\u{feff}["),
        ("white space", " \n"),
        ("HTML", "<html>\n<head><title>502 Bad Gateway</title></head><body>nginx</body>"),
        ("text", "Too Many Requests"),
        ("an object", r#"{"error":"no such city"}"#),
        ("null", "null"),
        ("a string", "\"[]\""),
        ("truncated in the array", "["),
        ("truncated behind a record", &format!("[{{{RIGHT}}}")),
        ("truncated in a record", &format!("[{{{RIGHT}")),
        ("truncated in a value", "[{\"passengers\":7"),
        ("truncated in a text", "[{\"bus-type\":\"BUS"),
        ("truncated in a literal", "[{\"accident\":tr"),
        ("truncated in a character", "[{\"bus-type\":\"B\\u00"),
        ("behind the end", "[]\n[]"),
        ("no records", "[1,2]"),
        ("nested arrays", &"[".repeat(10_000)),
        ("a comma before the first", &format!("[,{{{RIGHT}}}]")),
        ("a comma behind the last", &format!("[{{{RIGHT}}},]")),
        ("no comma", &format!("[{{{RIGHT}}}{{{RIGHT}}}]")),
        ("a strange space", "[\u{a0}]"),
    ]), @"");
}

#[test]
fn records_that_are_wrong() {
    assert_snapshot!(all(|bytes| scan(bytes), [
        ("missing", second("\"delay\":\"PT1980S\",", "")),
        ("empty", format!("[{{{RIGHT}}},{{}}]")),
        ("null", second("71", "null")),
        ("twice", second("\"accident\":true", "\"\\u0064elay\":\"PT1S\"")),
        ("negative", second("71", "-5")),
        ("30 digits", second("71", "123456789012345678901234567890")),
        ("2^63", second("71", "9223372036854775808")),
        ("a fraction", second("71", "71.0")),
        ("an exponent", second("71", "1e2")),
        ("a leading zero", second("71", "071")),
        ("a plus", second("71", "+71")),
        ("NaN", second("71", "NaN")),
        ("digits and letters", second("71", "71x")),
        ("a number in quotes", second("71", "\"71\"")),
        ("an object for a number", second("71", "{\"total\":71}")),
        ("a number for a text", second("\"BUS-1\"", "1")),
        ("an impossible date", second("2024-05-01", "2023-02-29")),
        ("a month too many", second("2024-05-01", "2024-13-01")),
        ("an hour too many", second("08:44:00", "24:00:00")),
        ("a leap second", second("08:44:00", "23:59:60")),
        ("another calendar", second("2024-05-01T08:44:00", "01.05.2024, 8:44 o'clock in the early morning")),
        ("months", second("PT1980S", "P1M")),
        ("no duration", second("PT1980S", "PT")),
        ("seconds", second("\"PT1980S\"", "1980")),
        ("a truth in quotes", second("true", "\"true\"")),
        ("a truth in capitals", second("true", "True")),
        ("a number for a truth", second("true", "1")),
        ("too large", second("\"accident\":true", "\"rating\":10.500000001")),
        ("too small", second("\"accident\":true", "\"rating\":-1e1000000000000")),
        ("no colour", second("\"accident\":true", "\"colour\":\"r\\u0065d \\n\"")),
        ("no day", second("\"accident\":true", "\"day\":\"2024-06-31\"")),
    ]), @"");
}

#[test]
fn json_that_is_wrong() {
    let broken = |bytes: &[u8]| [format!("[{{{RIGHT},\"x\":").as_bytes(), bytes, b"}]"].concat();
    assert_snapshot!(all(|bytes| scan(bytes), [
        ("nested 10,000 deep", broken("[{\"a\":".repeat(5_000).as_bytes())),
        ("no value", broken(b"")),
        ("a comma too many", broken(b"[1,]")),
        ("a comma too many in an object", broken(b"{\"a\":1,}")),
        ("the wrong bracket", broken(b"[{]}")),
        ("a name without quotes", broken(b"{a:1}")),
        ("single quotes", broken(b"'a'")),
        ("no colon", broken(b"{\"a\" 1}")),
        ("a leading zero", broken(b"-01")),
        ("a bare point", broken(b"1.")),
        ("a bare exponent", broken(b"1e+")),
        ("infinity", broken(b"-Infinity")),
        ("a comment", broken(b"/* 1 */ 1")),
        ("a control character", broken(b"\"a\nb\"")),
        ("a zero byte", broken(b"\0")),
        ("an escape that there is not", broken(b"\"\\x41\"")),
        ("three hexadecimal digits", broken(b"\"\\u12G4\"")),
        ("half a surrogate pair", broken(b"\"\\ud83d!\"")),
        ("the wrong half", broken(b"\"\\ud83d\\u0041\"")),
        ("the second half alone", broken(b"\"\\ude00\"")),
        ("invalid UTF-8", broken(b"\"caf\xe9\"")),
        ("an overlong slash", broken(b"[\"\xc0\xaf\"]")),
        ("a surrogate in UTF-8", broken(b"{\"\xed\xa0\x80\":1}")),
    ]), @"");
    let known = second("BUS-1", "BUS\u{7f}1").into_bytes();
    let invalid: Vec<u8> = known.into_iter().map(|byte| if byte == 0x7f { 0xff } else { byte }).collect();
    assert_snapshot!(all(|bytes| scan(bytes), [("invalid UTF-8 in a field", invalid)]), @"");
}

#[test]
fn envelopes_that_are_wrong() {
    let scan = |bytes: &[u8]| scan_at(Format::Json, &["data", "items"], bytes);
    assert_snapshot!(all(scan, [
        ("an array", "[]"),
        ("missing", r#"{"items":[]}"#),
        ("missing inside", r#"{"data":{"item":[]},"items":[]}"#),
        ("null", r#"{"data":null}"#),
        ("null inside", r#"{"data":{"items":null}}"#),
        ("twice", r#"{"data":{"items":[]},"\u0064ata":{"items":[]}}"#),
        ("twice inside", r#"{"data":{"items":[],"items":[]}}"#),
        ("truncated behind", r#"{"data":{"items":[]}"#),
        ("something behind", r#"{"data":{"items":[]}}}"#),
        ("wrong before", r#"{"a":[1 2],"data":{"items":[]}}"#),
        ("wrong behind", r#"{"data":{"items":[],"a":tru}}"#),
        ("a comma behind", r#"{"data":{"items":[],}}"#),
        ("a number without end", r#"{"a":1"#),
    ]), @"");
}

#[test]
fn lines_that_are_wrong() {
    let scan = |bytes: &[u8]| scan_at(Format::Ndjson, &[], bytes);
    assert_snapshot!(all(scan, [
        ("an array", format!("[{{{RIGHT}}}]")),
        ("two on a line", format!("{{{RIGHT}}} {{{RIGHT}}}\n")),
        ("a comma", format!("{{{RIGHT}}},\n")),
        ("broken in a record", format!("{{{RIGHT}}}\n{{{RIGHT}\n}}")),
        ("broken in a value", format!("{{{RIGHT},\"x\":[1,\n2]}}")),
        ("truncated", format!("{{{RIGHT}}}\n{{{RIGHT}")),
        ("wrong", format!("\n{{{RIGHT}}}\n{{\"passengers\":-1}}")),
    ]), @"");
}

#[test]
fn rows_that_are_wrong() {
    let scan = |bytes: &[u8]| scan_at(Format::Csv, &[], bytes);
    let rows = |rows: &[u8]| [b"departure-time,bus-type,passengers,delay,new\n2024-05-01T08:44:00,b,71,PT1S,\n".as_slice(), rows].concat();
    assert_snapshot!(all(scan, [
        ("empty", Vec::new()),
        ("HTML", b"<html>\n<head>".to_vec()),
        ("a column lacks", b"departure-time,bus-type,\"delay\"\n".to_vec()),
        ("a column twice", b"delay,bus-type,\"delay\"\n".to_vec()),
        ("too few", rows(b"2024-05-01T08:44:00,b,71,PT1S\n")),
        ("too many", rows(b"2024-05-01T08:44:00,b,71,PT1S,,x\n")),
        ("one", rows(b"x\n")),
        ("no value", rows(b"2024-05-01T08:44:00,b,,PT1S,\n")),
        ("an empty text", rows(b"2024-05-01T08:44:00,\"\",1,PT1S,\n")),
        ("no integer", rows(b"2024-05-01T08:44:00,b,7\"\"1,PT1S,\n")),
        ("negative", rows(b"2024-05-01T08:44:00,b,-5,PT1S,\n")),
        ("blank", rows(b"2024-05-01T08:44:00,b, 5,PT1S,\n")),
        ("a quote within", rows(b"2024-05-01T08:44:00,a \"b\",5,PT1S,\n")),
        ("text behind a quote", rows(b"2024-05-01T08:44:00,\"b\"c,5,PT1S,\n")),
        ("no closing quote", rows(b"2024-05-01T08:44:00,\"b,5,PT1S,\n")),
        ("a bare carriage return", rows(b"2024-05-01T08:44:00,b,5,PT1S,\r2024")),
        ("truncated", rows(b"2024-05-01T08:44:00,b,5")),
        ("invalid UTF-8", rows(b"2024-05-01T08:44:00,b,5,PT1S,caf\xe9\n")),
    ]), @"");
}

#[test]
fn a_spent_scanner_says_the_same_again() {
    let mut scanner = scanner(Format::Json, &[]);
    let rejection = scanner.push(&[b'x'; 1_000]).unwrap_err();
    assert_eq!(scanner.push(b"[]"), Err(rejection.clone()));
    assert_eq!(scanner.finish(), Err(rejection));
}

#[test]
fn a_sum_that_is_too_large_is_refused() {
    let mut tally = Tally::new(&statistics());
    let mut row = shape::Row::new(8);
    row.set(2, shape::Value::Number(i128::MAX));
    assert_eq!(tally.add(&row), Ok(()));
    assert_eq!(tally.add(&row), Err(2));
}
