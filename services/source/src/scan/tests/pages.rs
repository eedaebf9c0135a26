//! Records in all places, rows with a header of their own, and what is kept of a page.

use insta::assert_snapshot;
use serde_json::{Value as Json, json};

use crate::scan::{body::BODY_BYTES, tests::*};

const ALL: PageParts = PageParts { body: true, last: true, lines: true };

/// Fields as `name type path`, with `!` behind the type of those that are required.
fn fields(fields: &[&str]) -> Schema {
    let field = |text: &&str| {
        let [name, kind, path] = text.split(' ').collect::<Vec<_>>()[..] else { panic!("{text}") };
        let constraints = Constraints { required: kind.ends_with('!'), ..Constraints::default() };
        let kind = serde_json::from_value(kind.trim_end_matches('!').into()).unwrap();
        Field { name: name.into(), path: path.parse().unwrap(), kind, format: TimeFormat::Iso, constraints }
    };
    Schema { fields: fields.iter().map(field).collect(), is_closed: false }
}

fn page_of(scanner: impl Fn() -> Scanner, bytes: &[u8]) -> Result<Page, Rejection> {
    let read = |size: usize| {
        let mut scanner = scanner();
        let mut lines = Vec::new();
        for piece in bytes.chunks(size) {
            scanner.push(piece)?;
            lines.extend(scanner.take_lines());
        }
        let page = scanner.finish_page()?;
        Ok(Page { lines: [lines, page.lines.clone()].concat(), ..page })
    };
    let whole = read(bytes.len().max(1));
    for size in [1, 2, 7, 1_000] {
        assert_eq!(read(size), whole, "in pieces of {size}: {:?}", String::from_utf8_lossy(bytes));
    }
    whole
}

fn page(format: Format, path: &str, schema: &Schema, text: &str) -> Result<Page, Rejection> {
    let path = path.parse().unwrap();
    page_of(|| Scanner::new(format, &path, schema, &Statistics::default()).for_page(ALL), text.as_bytes())
}

fn lines(page: &Page) -> &str {
    str::from_utf8(&page.lines).unwrap()
}

#[test]
fn a_page_is_its_records_and_what_is_around_them() {
    let text = "{\"data\":[{\"id\":1,\r\n\"n\":{}},{\"id\":2}],\"has_more\":true,\"next\":{\"url\":\"a\\u0062\"}}";
    let page = page(Format::Json, "$.data[*]", &fields(&["id integer! $.id"]), text).unwrap();
    assert_eq!(page.scanned.records, 2);
    assert_eq!(page.body, json!({ "data": [], "has_more": true, "next": { "url": "ab" } }));
    assert_eq!(page.last, Some(json!({ "id": 2 })));
    assert_eq!(lines(&page), "{\"id\":1,  \"n\":{}}\n{\"id\":2}\n");
}

#[test]
fn nothing_is_kept_that_nobody_asked_for() {
    let mut scanner = scanner(Format::Json, &["a"]);
    scanner.push(format!("{{\"a\":[{{{RIGHT}}}],\"b\":1}}").as_bytes()).unwrap();
    assert_eq!((scanner.take_lines(), scanner.header()), (Vec::new(), None));
    let page = scanner.finish_page().unwrap();
    assert_eq!((page.scanned.records, page.body, page.last, page.lines), (1, Json::Null, None, Vec::new()));
}

#[test]
fn members_of_an_object_are_records_with_a_name() {
    let schema = fields(&["currency string ~", "rate number! $"]);
    let text = r#"{"base":"USD","rates":{"AED":3.67,"AFN":66}}"#;
    let read = page(Format::Json, "$.rates[*]", &schema, text).unwrap();
    assert_eq!((read.scanned.records, &read.body), (2, &json!({ "base": "USD", "rates": {} })));
    assert_eq!((lines(&read), &read.last), ("{\"AED\":3.67}\n{\"AFN\":66}\n", &Some(json!(66))));
    let none = page(Format::Json, "$.rates[*]", &schema, r#"{"rates":{}}"#).unwrap();
    assert_eq!((none.scanned.records, none.last), (0, None));
    let wrong = page(Format::Json, "$.rates[*]", &schema, r#"{"rates":{"AED":"3.67"}}"#);
    assert_snapshot!(wrong.unwrap_err(), @"record 1, byte 16, field `rate`: expected a number, found the string \"3.67\"");
    let names = fields(&["day date! ~"]);
    let wrong = page(Format::Json, "$[*]", &names, r#"{"2024-05-01":{},"2024-06-31":{}}"#);
    assert_snapshot!(wrong.unwrap_err(), @r#"record 2, byte 30, field `day`: expected a date such as 2024-05-01, found the name "2024-06-31""#);
    let wrong = page(Format::Json, "$[*]", &names, "[{}]");
    assert_snapshot!(wrong.unwrap_err(), @"record 1, byte 2, field `day`: expected a date such as 2024-05-01, found nothing");
}

#[test]
fn lists_within_lists_may_lack() {
    let schema = fields(&["id integer! $.id"]);
    let read = |text| page(Format::Json, "$.a[*].b[*]", &schema, text);
    let text =
        r#"{"a":[{"n":1,"b":[{"id":1},{"id":2}]},{"n":2},{"b":null},null,{"b":[],"n":3},{"b":{"x":{"id":4}}}],"c":1}"#;
    let found = read(text).unwrap();
    assert_eq!(lines(&found), "{\"id\":1}\n{\"id\":2}\n{\"id\":4}\n");
    let around = json!([{ "n": 1, "b": [] }, { "n": 2 }, { "b": null }, null, { "b": [], "n": 3 }, { "b": {} }]);
    assert_eq!(found.body, json!({ "a": around, "c": 1 }));
    let wrong = [r#"{"c":1}"#, r#"{"a":null}"#, r#"{"a":[1]}"#, r#"{"a":[{"b":"x"}]}"#, r#"{"a":[{"b":{"x":1}}]}"#];
    let said: Vec<_> = wrong.into_iter().map(|text| read(text).unwrap_err().to_string()).collect();
    assert_snapshot!(said.join("\n"), @r#"
    record 1, byte 6: expected the member `a`, found }
    record 1, byte 5: expected an array, found null
    record 1, byte 6: expected an object with the member `b` or `]`, found 1
    record 1, byte 11: expected an array of records, found "x"
    record 1, byte 11: expected an array of records, found {"x":1}}]}
    "#);
}

#[test]
fn one_object_is_one_record() {
    let schema = fields(&["id integer! $.data.id", "all object $"]);
    let read = page(Format::Json, "$", &schema, " {\"data\":{\"id\":5}} ").unwrap();
    assert_eq!((read.scanned.records, read.body), (1, Json::Null));
    let read =
        page(Format::Json, "$.data", &fields(&["id integer! $.id"]), r#"{"x":[],"data":{"id":5},"y":2}"#).unwrap();
    assert_eq!((read.scanned.records, read.body), (1, json!({ "x": [], "y": 2 })));
}

#[test]
fn values_that_lie_deeper() {
    let schema = fields(&[
        "day datetime! $.period.datetimeFrom.utc",
        "value number! $.value",
        "first any $.list[0]",
        "third integer $.list[2].n",
        "period object $.period",
        "list array $.list",
    ]);
    let statistics = Statistics { list: vec![("sum".into(), Statistic::Sum(1)), ("third".into(), Statistic::Max(3))] };
    let text = r#"[{"value":1.5,"period":{"x":{},"datetimeFrom":{"local":0,"utc":"2024-05-01T00:00:00Z"}},"list":[0,1,{"n":7}]},
        {"list":[],"v\u0061lue":2,"period":{"datetimeFrom":{"utc":"2024-05-01T00:00:00Z"}}},
        {"list":null,"value":2,"period":{"datetimeFrom":{"utc":"2024-05-01T00:00:00Z"},"datetimeTo":null}}]"#;
    let scanner = || Scanner::new(Format::Json, &RecordPath::default(), &schema, &statistics);
    let scanned = page_of(scanner, text.as_bytes()).unwrap().scanned;
    assert_eq!(Json::from(statistics.to_json(&scanned.totals)), json!({ "sum": 5.5, "third": 7 }));
    let right = r#"{"value":1,"period":{"datetimeFrom":{"utc":"2024-05-01T00:00:00Z"}}}"#;
    let wrong = [
        ("period\":{", "period\":5,\"x\":{"),
        ("\"utc\":", "\"local\":"),
        ("{\"utc\":", "[{\"utc\":"),
        ("00Z\"", "00Z\",\"utc\":1"),
        ("datetimeFrom\":", "datetimeFrom\":{},\"datetimeFrom\":"),
        ("1,", "1,\"list\":{},"),
        ("1,", "1,\"list\":[1,2,{\"n\":true}],"),
        ("{\"value\"", "[\"value\""),
        ("1,", "1,\"list\":[[1 2]],"),
    ];
    let said = wrong.map(|(from, to)| {
        let text = format!("[{}]", right.replacen(from, to, 1));
        page(Format::Json, "$[*]", &schema, &text).unwrap_err().to_string()
    });
    assert_snapshot!(said.join("\n"), @r#"
    record 1, byte 21, field `period`: expected an object, found 5
    record 1, byte 70, field `day`: expected a date and time such as 2024-05-01T08:44:00, found nothing
    record 1, byte 68: expected `,` or `]`, found }
    record 1, byte 67, field `day`: expected every member once, found "utc"
    record 1, byte 40: expected every member once, found "datetimeFrom"
    record 1, byte 19, field `list`: expected an array, found {},"period":{"datetimeFrom":{"utc":"2024…
    record 1, byte 29, field `third`: expected an integer, found true
    record 1, byte 1: expected an object or `]`, found ["value":1,"period":{"datetimeFrom":{"ut…
    record 1, byte 23: expected `,` or `]`, found 2
    "#);
}

#[test]
fn a_closed_schema_refuses_other_members() {
    let schema = Schema { is_closed: true, ..fields(&["id integer $.id", "x any $.a.b"]) };
    let read = |format, text| page(format, "$[*]", &schema, text).map(|page| page.scanned.records);
    assert_eq!(read(Format::Json, r#"[{"id":1},{"a":{"b":1,"c":2}},{}]"#), Ok(3));
    assert_snapshot!(read(Format::Json, r#"[{"id":1,"b":2}]"#).unwrap_err(), @r#"record 1, byte 9: expected no member that is not a field of [record], found "b""#);
    assert_snapshot!(read(Format::Ndjson, "{\"id\":1}\n{\"b\":2}\n").unwrap_err(), @r#"record 2, byte 10: expected no member that is not a field of [record], found "b""#);
    let schema = Schema { is_closed: true, ..fields(&["id integer $.id"]) };
    let read = |format, text| page(format, "$[*]", &schema, text).map(|page| page.scanned.records);
    assert_snapshot!(read(Format::Csv, "id,b\n1,2\n").unwrap_err(), @r#"record 1, byte 3: expected no column that is not a field of [record], found "b""#);
    assert_snapshot!(read(Format::Rows, r#"[["id","b"],[1,2]]"#).unwrap_err(), @r#"record 1, byte 1: expected no column that is not a field of [record], found "b""#);
}

#[test]
fn without_fields_anything_is_a_record() {
    for (format, text) in
        [(Format::Json, "[1,null,{},[]]"), (Format::Ndjson, "{}\n[]\n{}\n{}"), (Format::Csv, "a\n1\n2\n3\n4")]
    {
        assert_eq!(page(format, "$[*]", &Schema::default(), text).map(|page| page.scanned.records), Ok(4));
    }
}

#[test]
fn rows_have_a_header() {
    let schema = fields(&["n integer! $.pop", "name string $.NAME"]);
    let text = "{\"values\":[[\"NAME\",\r\n\"x\",\"pop\"],[\"Alabama\",[],5],[null,{},\n6]],\"range\":\"A1\"}";
    let read = page(Format::Rows, "$.values[*]", &schema, text).unwrap();
    assert_eq!((read.scanned.records, &read.body), (2, &json!({ "values": [], "range": "A1" })));
    assert_eq!(lines(&read), "[\"Alabama\",[],5]\n[null,{}, 6]\n");
    assert_eq!(read.last, Some(json!({ "NAME": null, "x": {}, "pop": 6 })));
    let read = |text| page(Format::Rows, "$[*]", &schema, text);
    assert_eq!(read("[]").unwrap().scanned.records, 0);
    assert_eq!(read(r#"[["pop"]]"#).unwrap().scanned.records, 0);
    assert_eq!(read(r#"[["pop","NAME"],[1]]"#).unwrap().last, Some(json!({ "pop": 1 })));
    let wrong = [
        "{}",
        r#"[{"pop":1}]"#,
        "[[1]]",
        r#"[["NAME"]]"#,
        r#"[["pop","pop"]]"#,
        r#"[["pop"],[]]"#,
        r#"[["pop"],[1,2]]"#,
        r#"[["pop"],["1"]]"#,
        r#"[["pop"],{"pop":1}]"#,
    ];
    let said: Vec<_> = wrong.into_iter().map(|text| read(text).unwrap_err().to_string()).collect();
    assert_snapshot!(said.join("\n"), @r#"
    record 1, byte 0: expected an array of records, found {}
    record 1, byte 1: expected an array or `]`, found {"pop":1}]
    record 1, byte 1: expected the names of the columns, in quotes, found [1]]
    record 1, byte 1, field `n`: expected the column `pop`, found "NAME"
    record 1, byte 1, field `n`: expected every column once, found ["pop","pop"]]
    record 1, byte 10, field `n`: expected an integer, found nothing
    record 1, byte 12: expected at most 1 column, as in the header, found 2
    record 1, byte 10, field `n`: expected an integer, found the string "1"
    record 1, byte 9: expected an array, found {"pop":1}]
    "#);
}

#[test]
fn rows_of_csv_are_kept_as_they_are() {
    let schema = fields(&["n integer! $.n"]);
    let text = "n,\"a b\"\r\n1,\"x\r\n\"\"y\"\"\"\r\n\r\n2,z";
    let path = RecordPath::default();
    let mut scanner = Scanner::new(Format::Csv, &path, &schema, &Statistics::default()).for_page(ALL);
    scanner.push(text.as_bytes()).unwrap();
    assert_eq!(scanner.header(), Some(b"n,\"a b\"".as_slice()));
    let read = page(Format::Csv, "$[*]", &schema, text).unwrap();
    assert_eq!(lines(&read), "1,\"x\r\n\"\"y\"\"\"\r\n2,z\n");
    assert_eq!((read.body, read.last), (Json::Null, Some(json!({ "n": "2", "a b": "z" }))));
    let first = page(Format::Csv, "$[*]", &schema, "n,\"a b\"\r\n1,\"x\r\n\"\"y\"\"\"\r\n").unwrap();
    assert_eq!(first.last, Some(json!({ "n": "1", "a b": "x\r\n\"y\"" })));
}

#[test]
fn values_are_those_of_any_format() {
    let schema = fields(&["n integer! $.id", "name string $.name", "ok boolean $.ok"]);
    let values = |format, text: &str| {
        let parts = PageParts { last: true, ..PageParts::default() };
        let (values, page) = Scanner::values(format, &RecordPath::default(), &schema, text.as_bytes(), parts).unwrap();
        assert_eq!((page.scanned.records, page.last.is_some()), (2, true));
        values
    };
    let large: u64 = 18_446_744_073_709_551_615;
    let expected =
        vec![vec![Some(json!(7)), Some(json!("a,b")), Some(json!(true))], vec![Some(json!(large)), None, None]];
    assert_eq!(values(Format::Json, r#"[{"id":7.0,"name":"a,b","ok":true},{"id":18446744073709551615}]"#), expected);
    assert_eq!(
        values(Format::Ndjson, "{\"ok\":true,\"id\":7,\"name\":\"a,b\"}\n{\"id\":18446744073709551615}"),
        expected
    );
    assert_eq!(values(Format::Csv, "id,name,ok\n7,\"a,b\",1\n18446744073709551615,,\n"), expected);
    assert_eq!(values(Format::Rows, r#"[["id","x","name","ok"],[7,[],"a,b",true],[18446744073709551615]]"#), expected);
}

#[test]
fn what_is_kept_around_the_records_is_bounded() {
    let scanner = |parts| {
        let path = "$.list[*]".parse().unwrap();
        Scanner::new(Format::Json, &path, &Schema::default(), &Statistics::default()).for_page(parts)
    };
    let document = |around: usize| {
        let frame = r#"{"a":"","list":[]}"#.len();
        format!(r#"{{"a":"{}","list":[{{}},{{}}]}}"#, "x".repeat(around - frame))
    };
    let most = document(BODY_BYTES);
    let more = document(BODY_BYTES + 1);
    for size in [more.len(), 64 << 10, 997] {
        let read = |text: &str, parts| {
            let mut scanner = scanner(parts);
            text.as_bytes().chunks(size).try_for_each(|piece| scanner.push(piece))?;
            scanner.finish_page().map(|page| page.scanned.records)
        };
        assert_eq!(read(&most, ALL), Ok(2));
        assert_eq!(read(&more, PageParts { body: false, ..ALL }), Ok(2));
        let rejection = read(&more, ALL).unwrap_err();
        assert_eq!((rejection.offset, &*rejection.found), (more.len() as u64 - 1, "more"));
        assert_eq!(rejection.expected, "at most 1 MiB around the records");
        let mut long = more.clone();
        long.insert_str(7, &"y".repeat(BODY_BYTES));
        assert_eq!(read(&long, ALL).unwrap_err().offset, BODY_BYTES as u64);
    }
}

#[test]
fn a_record_may_be_larger_where_that_is_said() {
    let record = |length: usize| format!("{{\"a\":\"{}\"}}", "x".repeat(length - 8));
    for (format, text) in
        [(Format::Json, format!("[{}]", record(3 << 20))), (Format::Ndjson, record((3 << 20) - 1) + "\n")]
    {
        for size in [text.len(), 64 << 10] {
            let read = |most| {
                let mut scanner =
                    Scanner::new(format, &RecordPath::default(), &Schema::default(), &Statistics::default())
                        .max_record(most);
                text.as_bytes().chunks(size).try_for_each(|piece| scanner.push(piece))?;
                scanner.finish().map(|scanned| scanned.records)
            };
            assert_eq!(read(3 << 20), Ok(1));
            assert_eq!(read(2 << 20).unwrap_err().expected, "at most 2 MiB for one record");
            assert_eq!(read((3 << 20) - 1).unwrap_err().expected, "at most 3145727 bytes for one record");
        }
    }
}

#[test]
fn what_cannot_be_a_value_is_said() {
    let deep = format!(r#"{{"a":{}1{},"list":[]}}"#, "[".repeat(127), "]".repeat(127));
    let said = |text: &str| page(Format::Json, "$.list[*]", &Schema::default(), text).unwrap_err().to_string();
    assert_snapshot!([said(&deep), said(r#"{"a":1e999,"list":[]}"#), said(r#"{"list":[1e999]}"#)].join("\n"), @r#"
    record 1, byte 271: expected what is around the records to be JSON that expressions can see, found recursion limit exceeded at line 1 column 132
    record 1, byte 21: expected what is around the records to be JSON that expressions can see, found number out of range at line 1 column 10
    record 1, byte 16: expected the last record to be JSON that expressions can see, found number out of range at line 1 column 5
    "#);
}
