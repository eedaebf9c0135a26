//! What is wrong, and how it is said. Every line is what an operator finds in a quarantine report.

use insta::assert_snapshot;

use crate::scan::tests::*;

/// One line for each input.
fn all<T: AsRef<[u8]>>(
    scan: impl Fn(&[u8]) -> Result<Scanned, Rejection>,
    inputs: impl IntoIterator<Item = (&'static str, T)>,
) -> String {
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
        ("HTML in capitals", "<!DOCTYPE HTML>\n"),
        ("UTF-16", "[\0{\0"),
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
    ]), @r#"
    empty: record 1, byte 0: expected an array of records, found end of file
    only a mark: record 1, byte 3: expected an array of records, found end of file
    half a mark: record 1, byte 4: expected an object or `]`, found end of file
    white space: record 1, byte 2: expected an array of records, found end of file
    HTML: record 1, byte 0: expected an array of records, found an HTML page: "<html>\n<head><title>502 Bad Gateway</tit…"
    HTML in capitals: record 1, byte 0: expected an array of records, found an HTML page: "<!DOCTYPE HTML>\n"
    UTF-16: record 1, byte 1: expected an object or `]`, found UTF-16 text: "\0{\0"
    text: record 1, byte 0: expected an array of records, found "Too Many Requests"
    an object: record 1, byte 0: expected an array of records, found {"error":"no such city"}
    null: record 1, byte 0: expected an array of records, found null
    a string: record 1, byte 0: expected an array of records, found "[]"
    truncated in the array: record 1, byte 1: expected an object or `]`, found end of file
    truncated behind a record: record 2, byte 110: expected `,` or `]`, found end of file
    truncated in a record: record 1, byte 109: expected `,` or `}`, found end of file
    truncated in a value: record 1, byte 16, field `passengers`: expected an integer, at least 0, found end of file
    truncated in a text: record 1, byte 17, field `bus-type`: expected a closing quote, found end of file
    truncated in a literal: record 1, byte 15, field `accident`: expected true or false, found end of file
    truncated in a character: record 1, byte 19, field `bus-type`: expected a closing quote, found end of file
    behind the end: record 1, byte 3: expected nothing more, found []
    no records: record 1, byte 1: expected an object or `]`, found 1
    nested arrays: record 1, byte 1: expected an object or `]`, found [[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[…
    a comma before the first: record 1, byte 1: expected an object or `]`, found ,
    a comma behind the last: record 2, byte 111: expected an object, found ]
    no comma: record 2, byte 110: expected `,` or `]`, found {"departure-time":"2024-05-01T08:44:00",…
    a strange space: record 1, byte 1: expected an object or `]`, found "\u{a0}]"
    "#);
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
        ("a fraction", second("71", "71.5")),
        ("an exponent", second("71", "1e-2")),
        ("more than 64 bits", second("71", "9223372036854775808.0")),
        ("a number in quotes", second("\"accident\":true", "\"rating\":\"1.5\"")),
        ("a number too large", second("\"accident\":true", "\"rating\":1e18")),
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
    ]), @r#"
    missing: record 2, byte 201, field `delay`: expected a duration such as PT1980S, found nothing
    empty: record 2, byte 112, field `departure-time`: expected a date and time such as 2024-05-01T08:44:00, found nothing
    null: record 2, byte 183, field `passengers`: expected an integer, at least 0, found null
    twice: record 2, byte 204, field `delay`: expected every member once, found "\u0064elay"
    negative: record 2, byte 183, field `passengers`: expected an integer, at least 0, found -5
    30 digits: record 2, byte 183, field `passengers`: expected an integer of 64 bits, found 123456789012345678901234567890
    2^63: record 2, byte 183, field `passengers`: expected an integer of 64 bits, found 9223372036854775808
    a fraction: record 2, byte 183, field `passengers`: expected an integer, at least 0, found 71.5
    an exponent: record 2, byte 183, field `passengers`: expected an integer, at least 0, found 1e-2
    more than 64 bits: record 2, byte 183, field `passengers`: expected an integer of 64 bits, found 9223372036854775808.0
    a number in quotes: record 2, byte 213, field `rating`: expected a number, from -10 to 10.5, found the string "1.5"
    a number too large: record 2, byte 213, field `rating`: expected a number below 1e18, found 1e18
    a leading zero: record 2, byte 183, field `passengers`: expected an integer, at least 0, found 071
    a plus: record 2, byte 183, field `passengers`: expected an integer, at least 0, found +71
    NaN: record 2, byte 183, field `passengers`: expected an integer, at least 0, found NaN
    digits and letters: record 2, byte 185: expected `,` or `}`, found x
    a number in quotes: record 2, byte 183, field `passengers`: expected an integer, at least 0, found the string "71"
    an object for a number: record 2, byte 183, field `passengers`: expected an integer, at least 0, found {"total":71},"delay":"PT1980S","accident…
    a number for a text: record 2, byte 162, field `bus-type`: expected a string, found 1
    an impossible date: record 2, byte 129, field `departure-time`: expected a date and time such as 2024-05-01T08:44:00, found "2023-02-29T08:44:00"
    a month too many: record 2, byte 129, field `departure-time`: expected a date and time such as 2024-05-01T08:44:00, found "2024-13-01T08:44:00"
    an hour too many: record 2, byte 129, field `departure-time`: expected a date and time such as 2024-05-01T08:44:00, found "2024-05-01T24:00:00"
    a leap second: record 2, byte 129, field `departure-time`: expected a date and time such as 2024-05-01T08:44:00, found "2024-05-01T23:59:60"
    another calendar: record 2, byte 129, field `departure-time`: expected a date and time such as 2024-05-01T08:44:00, found "01.05.2024, 8:44 o'clock in the early m…
    months: record 2, byte 194, field `delay`: expected a duration such as PT1980S, found "P1M"
    no duration: record 2, byte 194, field `delay`: expected a duration such as PT1980S, found "PT"
    seconds: record 2, byte 194, field `delay`: expected a duration such as PT1980S, found 1980
    a truth in quotes: record 2, byte 215, field `accident`: expected true or false, found the string "true"
    a truth in capitals: record 2, byte 215, field `accident`: expected true or false, found True
    a number for a truth: record 2, byte 215, field `accident`: expected true or false, found 1
    too large: record 2, byte 213, field `rating`: expected a number, from -10 to 10.5, found 10.500000001
    too small: record 2, byte 213, field `rating`: expected a number below 1e18, found -1e1000000000000
    no colour: record 2, byte 213, field `colour`: expected one of "red", "grün", found "r\u0065d \n"
    no day: record 2, byte 210, field `day`: expected a date such as 2024-05-01, found "2024-06-31"
    "#);
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
    ]), @r#"
    nested 10,000 deep: record 1, byte 492: expected at most 128 levels, found [{"a":[{"a":[{"a":[{"a":[{"a":[{"a":[{"a…
    no value: record 1, byte 114: expected a value, found }
    a comma too many: record 1, byte 117: expected a value, found ]
    a comma too many in an object: record 1, byte 121: expected a name in quotes, found }
    the wrong bracket: record 1, byte 116: expected a name in quotes or `}`, found ]
    a name without quotes: record 1, byte 115: expected a name in quotes or `}`, found a
    single quotes: record 1, byte 114: expected a value, found "'a'}]"
    no colon: record 1, byte 119: expected `:`, found 1
    a leading zero: record 1, byte 114: expected a number, found -01
    a bare point: record 1, byte 114: expected a number, found 1.
    a bare exponent: record 1, byte 114: expected a number, found 1e+
    infinity: record 1, byte 114: expected a number, found -Infinity
    a comment: record 1, byte 114: expected a value, found "/* 1 */ 1}]"
    a control character: record 1, byte 116: expected a control character to be escaped, found "\nb"}]"
    a zero byte: record 1, byte 114: expected a value, found "\0}]"
    an escape that there is not: record 1, byte 115: expected an escape such as \n or \u00e9, found "\x41"}]"
    three hexadecimal digits: record 1, byte 115: expected four hexadecimal digits after \u, found "\u12G4"}]"
    half a surrogate pair: record 1, byte 121: expected the second half of a surrogate pair, found "!"}]"
    the wrong half: record 1, byte 115: expected the second half of a surrogate pair to follow, found "\ud83d\u0041"}]"
    the second half alone: record 1, byte 115: expected the first half of a surrogate pair before the second, found "\ude00"}]"
    invalid UTF-8: record 1, byte 118: expected UTF-8, found "\xe9"}]"
    an overlong slash: record 1, byte 116: expected UTF-8, found "\xc0\xaf"]}]"
    a surrogate in UTF-8: record 1, byte 116: expected UTF-8, found "\xed\xa0\x80":1}}]"
    "#);
    let known = second("BUS-1", "BUS\u{7f}1").into_bytes();
    let invalid: Vec<u8> = known.into_iter().map(|byte| if byte == 0x7f { 0xff } else { byte }).collect();
    assert_snapshot!(all(|bytes| scan(bytes), [("invalid UTF-8 in a field", invalid)]), @r#"invalid UTF-8 in a field: record 2, byte 166, field `bus-type`: expected UTF-8, found "\xff1","passengers":71,"delay":"PT1980S","a…""#);
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
    ]), @r#"
    an array: record 1, byte 0: expected an object with the member `data`, found []
    missing: record 1, byte 11: expected the member `data`, found }
    missing inside: record 1, byte 18: expected the member `items`, found }
    null: record 1, byte 8: expected an object with the member `items`, found null
    null inside: record 1, byte 17: expected an array of records, found null
    twice: record 1, byte 21: expected the member `data` once, found "\u0064ata"
    twice inside: record 1, byte 20: expected the member `items` once, found "items"
    truncated behind: record 1, byte 20: expected `,` or `}`, found end of file
    something behind: record 1, byte 21: expected nothing more, found }
    wrong before: record 1, byte 8: expected `,` or `]`, found 2
    wrong behind: record 1, byte 24: expected true, found tru
    a comma behind: record 1, byte 20: expected a name in quotes, found }
    a number without end: record 1, byte 6: expected the end of a number, found end of file
    "#);
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
    ]), @r#"
    an array: record 1, byte 0: expected an object, found [{"departure-time":"2024-05-01T08:44:00"…
    two on a line: record 1, byte 110: expected one object a line, found {"departure-time":"2024-05-01T08:44:00",…
    a comma: record 1, byte 109: expected one object a line, found ,
    broken in a record: record 2, byte 218: expected `,` or `}`, found end of line
    broken in a value: record 1, byte 116: expected a value, found end of line
    truncated: record 2, byte 218: expected `,` or `}`, found end of file
    wrong: record 2, byte 125, field `passengers`: expected an integer, at least 0, found -1
    "#);
}

#[test]
fn rows_that_are_wrong() {
    let scan = |bytes: &[u8]| scan_at(Format::Csv, &[], bytes);
    let rows = |rows: &[u8]| {
        [b"departure-time,bus-type,passengers,delay,new\n2024-05-01T08:44:00,b,71,PT1S,\n".as_slice(), rows].concat()
    };
    assert_snapshot!(all(scan, [
        ("empty", Vec::new()),
        ("HTML", b"<html>\n<head>".to_vec()),
        ("a column lacks", b"departure-time,bus-type,\"delay\"\n".to_vec()),
        ("semicolons", b"departure-time;bus-type;passengers;delay\n".to_vec()),
        ("tabs", b"departure-time\tbus-type\tpassengers\tdelay\n".to_vec()),
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
    ]), @r#"
    empty: record 1, byte 0: expected a header line, found end of file
    HTML: record 1, byte 0, field `departure-time`: expected the column `departure-time`, found an HTML page: "<html>"
    a column lacks: record 1, byte 0, field `passengers`: expected the column `passengers`, found "departure-time,bus-type,delay"
    semicolons: record 1, byte 0, field `departure-time`: expected the column `departure-time`, found "departure-time;bus-type;passengers;delay" (separated by `;`?)
    tabs: record 1, byte 0, field `departure-time`: expected the column `departure-time`, found "departure-time\tbus-type\tpassengers\tdelay" (separated by tabs?)
    a column twice: record 1, byte 15, field `delay`: expected every column once, found "delay"
    too few: record 2, byte 76: expected 5 columns, as in the header, found 4 columns
    too many: record 2, byte 107: expected 5 columns, as in the header, found x
    one: record 2, byte 76: expected 5 columns, as in the header, found 1 column
    no value: record 2, byte 98, field `passengers`: expected an integer, at least 0, found nothing
    an empty text: record 2, byte 96, field `bus-type`: expected a string, found nothing
    no integer: record 2, byte 99: expected quotes around the whole cell, found ""
    negative: record 2, byte 98, field `passengers`: expected an integer, at least 0, found "-5"
    blank: record 2, byte 98, field `passengers`: expected an integer, at least 0, found " 5"
    a quote within: record 2, byte 98: expected quotes around the whole cell, found "b"
    text behind a quote: record 2, byte 99: expected `,` or the end of the line behind the closing quote, found c
    no closing quote: record 2, byte 107: expected a closing quote, found end of file
    a bare carriage return: record 2, byte 105: expected a line feed behind the carriage return, found "\r2024"
    truncated: record 2, byte 76: expected 5 columns, as in the header, found 3 columns
    invalid UTF-8: record 2, byte 108: expected UTF-8, found "\xe9\n"
    "#);
}

#[test]
fn files_of_another_kind() {
    let gzip = [0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 3].as_slice();
    let utf16 = [0xff, 0xfe, b'[', 0, b']', 0].as_slice();
    let kinds = [("gzip", gzip), ("UTF-16", utf16)];
    assert_snapshot!(all(|bytes| scan(bytes), kinds), @r#"
    gzip: record 1, byte 0: expected an array of records, found gzip data: "\u{1f}\x8b\u{8}\0\0\0\0\0\0\u{3}"
    UTF-16: record 1, byte 0: expected an array of records, found UTF-16 text: "\xff\xfe[\0]\0"
    "#);
    assert_snapshot!(all(|bytes| scan_at(Format::Csv, &[], bytes), kinds), @r#"
    gzip: record 1, byte 1: expected UTF-8, found gzip data: "\x8b\u{8}\0\0\0\0\0\0\u{3}"
    UTF-16: record 1, byte 0: expected UTF-8, found UTF-16 text: "\xff\xfe[\0]\0"
    "#);
    assert_snapshot!(all(|bytes| scan_at(Format::Ndjson, &[], bytes), kinds), @r#"
    gzip: record 1, byte 0: expected an object, found gzip data: "\u{1f}\x8b\u{8}\0\0\0\0\0\0\u{3}"
    UTF-16: record 1, byte 0: expected an object, found UTF-16 text: "\xff\xfe[\0]\0"
    "#);
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
    let mut tally = Accumulator::new(&statistics());
    let mut row = compiled_schema::Row::new(8);
    row.set(2, compiled_schema::Value::Number(i128::MAX));
    assert_eq!(tally.add(&row), Ok(()));
    assert_eq!(tally.add(&row), Err(2));
}
