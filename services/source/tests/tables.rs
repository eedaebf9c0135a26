//! Uploads that are loaded into tables: the rows of each format, and what is said of those that are none.

use std::{fmt::Write as _, sync::Arc};

use proptest::prelude::*;
use waybill_source::{Catalog, Cell, ColumnType, Definition, Format, Limit, Mode, RowReader, TableRow};

const HEADS: &str = "name = \"t\"\ntitle = \"T\"\n";

/// A definition of an upload in this format, with these fields and the rest of [table].
fn definition(upload: &str, fields: &str, table: &str) -> Definition {
    let text = format!("{HEADS}[[items]]\n{upload}\n[record]\nfields = [{fields}]\n[table]\n{table}\n");
    Definition::parse("t.toml", &text).unwrap_or_else(|mistakes| panic!("{mistakes}"))
}

fn shipped(name: &str) -> Arc<Definition> {
    let catalog = Catalog::shipped().with_tables();
    Arc::clone(catalog.get(name).expect("it is shipped"))
}

/// The rows of a file in these pieces; and why it could not be read to its end.
fn read<'a>(
    definition: &Definition,
    pieces: impl IntoIterator<Item = &'a [u8]>,
) -> (Vec<TableRow>, Result<(), String>) {
    let mut rows = Vec::new();
    let mut reader = RowReader::new(definition).expect("it has a table");
    let mut each = |row| rows.push(row);
    let pushed = pieces.into_iter().try_for_each(|piece| reader.push(piece, &mut each));
    let ended = pushed.and_then(|()| reader.finish(&mut each));
    (rows, ended.map_err(|error| error.to_string()))
}

fn cell(cell: &Cell) -> String {
    match cell {
        Cell::Null => "-".to_owned(),
        Cell::Boolean(value) => value.to_string(),
        Cell::Integer(value) => value.to_string(),
        Cell::Number(value) => format!("{value:?}"),
        Cell::Decimal(value) => format!("{value}d"),
        Cell::String(value) => format!("{value:?}"),
        Cell::Date(value) => format!("day {value}"),
        Cell::Timestamp(value) => format!("{value}us"),
    }
}

/// One line for each row.
fn shown(definition: &Definition, file: &[u8]) -> String {
    let (rows, ended) = read(definition, [file]);
    let mut text = String::new();
    for TableRow { place, cells } in rows {
        let written = match cells {
            Ok(cells) => writeln!(text, "{place}: {}", cells.iter().map(cell).collect::<Vec<_>>().join(" ")),
            Err(reason) => writeln!(text, "{place}! {reason}"),
        };
        written.expect("a string takes any text");
    }
    if let Err(reason) = ended {
        text.push_str(&format!("unreadable: {reason}\n"));
    }
    text
}

#[test]
fn a_load_has_no_requests() {
    let movie = shipped("movie");
    assert_eq!(
        (movie.loads_upload(), movie.format(), movie.upload().is_none()),
        (Some(Format::Csv), Format::Csv, true)
    );
    assert_eq!((movie.limit(), movie.batch(), movie.levels()), (Limit::Concurrency(1), 1, 1));
    assert!(movie.partition_names().is_empty() && movie.fetch_path().is_empty() && !movie.has_pages());
    let job = waybill_source::JobContext::default();
    assert!(movie.fetch_pages(&job, &[waybill_source::Item::default()]).is_err());
    let relay = shipped("relay");
    assert!(relay.table().is_none() && relay.loads_upload().is_none() && RowReader::new(&relay).is_none());
}

#[test]
fn the_shipped_tables() {
    let mut text = String::new();
    for source in Catalog::shipped().with_tables().iter() {
        let Some(table) = source.table() else { continue };
        assert_eq!(table.mode, Mode::Upsert);
        let columns = table.columns.iter().enumerate().map(|(at, column)| {
            let key = if table.key.contains(&at) { "*" } else { "" };
            let null = if column.is_required { "" } else { "?" };
            format!("{key}{} {:?}{null}", column.name, column.kind)
        });
        let format = source.loads_upload().unwrap();
        writeln!(text, "{} of {}: {}", table.name, format.name(), columns.collect::<Vec<_>>().join(", ")).unwrap();
    }
    insta::assert_snapshot!(text, @r#"
    author of json: *name String, birth_date Date?, died_at Date?, nationality String?
    book of json: *title String, pages Integer?, author String?, publisher String?
    movie of csv: *title String, duration_mins Integer?, original_language String?, size_mb Integer?
    review of json: *id String, text String, rating Integer, movie_title String, book_title String?
    stream of csv: *id String, movie_title String, user_email String, size_mb Number?, start_at Timestamp, end_at Timestamp
    user of csv: *email String, first_name String?, last_name String?
    "#);
}

#[test]
fn csv_files_of_the_catalogue() {
    insta::assert_snapshot!(shown(
        &shipped("movie"),
        b"title,duration_mins,original_language,size_mb\nThe Trial,119,English,1204\n\"M, a city\",,German,\n,90,,1\nLong,1.5,,\n",
    ), @r#"
    2: "The Trial" 119 "English" 1204
    3: "M, a city" - "German" -
    4! field `title`: expected a string, found nothing
    5! field `duration_mins`: expected an integer, found "1.5"
    "#);
    insta::assert_snapshot!(shown(
        &shipped("stream"),
        b"movie_title,user_email,size_mb,start_at,end_at\r\n\
          M,a@example.org,613.4245936603365,2021-12-06T19:30:19.099+0100,2021-12-07T15:44:38.177+0100\r\n\
          M,a@example.org,x,2021-12-06 19:30:19,2021-12-07T15:44:38Z\r\n\
          M,a@example.org,1,2021-12-06 19:30:19,\r\n",
    ), @r#"
    2: "4ac04073e500529524a63d0485aa5604850c985f" "M" "a@example.org" 613.4245936603365 1638815419099000us 1638888278177000us
    3! field `size_mb`: expected a number, found "x"
    4! field `end_at`: expected a date and time such as 2024-05-01T08:44:00, found nothing
    "#);
    insta::assert_snapshot!(shown(
        &shipped("user"),
        b"first_name,last_name,email\nAda,Byron,ada@example.org\nNobody,,\n",
    ), @r#"
    2: "ada@example.org" "Ada" "Byron"
    3! field `email`: expected a string, found nothing
    "#);
}

#[test]
fn the_id_of_a_stream_is_a_hash_of_what_identifies_it() {
    let header = "movie_title,user_email,size_mb,start_at,end_at\n";
    let file = format!("{header}a,b,1,2022-01-01T00:00:00,2022-01-01T01:00:00\n");
    let (rows, _) = read(&shipped("stream"), [file.as_bytes()]);
    // Of `printf %s ab2022-01-01T00:00:002022-01-01T01:00:00 | sha1sum`.
    let id = rows[0].cells.as_ref().unwrap()[0].clone();
    assert_eq!(id, Cell::String("df4be22eb88f2058f1d201b627b457ab997e7ecf".to_owned()));
}

#[test]
fn json_files_of_the_catalogue() {
    insta::assert_snapshot!(shown(
        &shipped("author"),
        br#"[
          {"metadata": {"name": "Ada", "birth_date": "1956-05-07T00:00:00.000+0000", "died_at": null},
           "nationalities": [{"id": null, "label": "Guianese (French)", "slug": "guianese-french"}, {"id": null, "label": "", "slug": null}]},
          {"metadata": {"name": null, "birth_date": null, "died_at": null}, "nationalities": [{"label": "unknown", "slug": null}]},
          {"metadata": {"name": "Bo", "birth_date": null, "died_at": "2042-08-07"}, "nationalities": []},
          {"metadata": {"name": "Cy"}},
          {"metadata": {"name": ""}}
        ]"#,
    ), @r#"
    1: "Ada" day -4987 - "guianese-french"
    2! field `name`: expected a string, found null
    3: "Bo" - day 26516 -
    4: "Cy" - - -
    5! column `name`: expected a text, found nothing
    "#);
    insta::assert_snapshot!(shown(
        &shipped("book"),
        br#"[{"name": "The \"Waste\" Land", "pages": 8608, "author": "A", "publisher": "P"}, {"name": "X", "pages": "many"}, 7]"#,
    ), @r#"
    1: "The \"Waste\" Land" 8608 "A" "P"
    2! field `pages`: expected an integer, found the string "many"
    3! expected an object, found 7
    "#);
    insta::assert_snapshot!(shown(
        &shipped("review"),
        br#"[
          {"content": {"text": "Good."}, "rating": {"rate": 5, "label": "FIVE"}, "books": [{"id": null, "metadata": {"title": "B", "pages": "unknown"}}],
           "movies": [{"id": 0, "title": "M"}, {"id": 0, "title": "end"}], "updated": "2021-12-17T11:49:40.461+0100"},
          {"content": {"text": "Bad."}, "rating": {"rate": 1}, "books": [], "movies": [{"title": "end"}, {"title": null}]},
          {"content": {}, "rating": {"rate": 1}, "books": [], "movies": []}
        ]"#,
    ), @r#"
    1: "d803525b8291cbae0431987b85d1f77663c578a3" "Good." 5 "M" "B"
    2! column `id`: its `value` cannot be made: undefined value
    3! field `text`: expected a string, found nothing
    "#);
}

const TYPES: &str = r#"
  { name = "b", type = "boolean" }, { name = "i", type = "integer", constraints = { minimum = -5 } },
  { name = "n", type = "number" }, { name = "s", type = "string" }, { name = "d", type = "date" },
  { name = "t", type = "datetime" }, { name = "p", type = "duration" }, { name = "x", type = "number" },
"#;
const COLUMNS: &str = r#"
mode = "append"
columns = [
  { name = "b" }, { name = "i" }, { name = "n" }, { name = "s" }, { name = "d" }, { name = "t" }, { name = "p" },
  { name = "x", type = "decimal", precision = 20, scale = 2 },
]"#;

#[test]
fn each_type_has_its_cells() {
    let csv = definition("upload = \"csv\"", TYPES, COLUMNS);
    insta::assert_snapshot!(shown(
        &csv,
        "b,i,n,s,d,t,p,x\n\
         true,-5,1.5,ä,2024-02-29,2024-05-01T08:44:00.5+02:00,PT1H0.5S,123456789012345678.91\n\
         FALSE,9223372036854775807,1e300,\"a \"\"b\"\"\n\",1969-12-31,2024-05-01 08:44,-PT30S,1e3\n\
         ,,,,,,,\n\
         yes,,,,,,,\n\
         ,-6,,,,,,\n\
         ,9223372036854775808,,,,,,\n\
         ,,1e400,,,,,\n\
         ,,NaN,,,,,\n\
         ,,,,2023-02-29,,,\n\
         ,,,,,2024-05-01T25:00,,\n\
         ,,,,,,1h,\n\
         ,,,,,,,1.234\n\
         ,,,,,,,1234567890123456789.00\n\
         1,2,3\n\
         a\"b,,,,,,,\n"
            .as_bytes(),
    ), @r#"
    2: true -5 1.5 "ä" day 19782 1714545840500000us 3600.5 12345678901234567891d
    3: false 9223372036854775807 1e300 "a \"b\"\n" day -1 1714553040000000us -30.0 100000d
    5: - - - - - - - -
    6! field `b`: expected true or false, found "yes"
    7! field `i`: expected an integer, at least -5, found "-6"
    8! field `i`: expected an integer of 64 bits, found "9223372036854775808"
    9! column `n`: expected a number of 64 bits, found 1e400
    10! field `n`: expected a number, found "NaN"
    11! field `d`: expected a date such as 2024-05-01, found "2023-02-29"
    12! field `t`: expected a date and time such as 2024-05-01T08:44:00, found "2024-05-01T25:00"
    13! field `p`: expected a duration such as PT1980S, found "1h"
    14! column `x`: expected a decimal of at most 20 digits, 2 of them behind the point, found 1.234
    15! column `x`: expected a decimal of at most 20 digits, 2 of them behind the point, found 1234567890123456789.00
    16! expected 8 columns, as in the header, found 3
    17! expected quotes around the whole cell, found "b,,,,,,,
    "#);
    let json = definition("upload = \"ndjson\"", TYPES, COLUMNS);
    insta::assert_snapshot!(shown(
        &json,
        concat!(
            r#"{"b":true,"i":-5,"n":1.5,"s":"\u00e4\n","d":"2024-02-29","t":"2024-05-01T08:44Z","p":"PT1S","x":0.10}"#, "\r\n",
            "\n",
            r#"{"b":null,"i":7.0,"n":1e300,"x":12345678901234567890.12,"more":[1,{"a":2}]}"#, "\n",
            r#"{"x":123456789012345678.91}"#, "\n",
            r#"{"b":"true"}"#, "\n",
            r#"{"i":1.5}"#, "\n",
            r#"{"i":1e30}"#, "\n",
            r#"{"n":1e400}"#, "\n",
            r#"{"s":"a","s":"b"}"#, "\n",
            r#"{"s":"a"} {}"#, "\n",
            r#"{"s":"a""#, "\n",
            r#"["s"]"#, "\n",
            r#"{"t":"soon"}"#,
        )
        .as_bytes(),
    ), @r#"
    1: true -5 1.5 "ä\n" day 19782 1714553040000000us 1.0 10d
    3! column `x`: expected a decimal of at most 20 digits, 2 of them behind the point, found 12345678901234567890.12
    4: - - - - - - - 12345678901234567891d
    5! field `b`: expected true or false, found the string "true"
    6! field `i`: expected an integer, at least -5, found 1.5
    7! field `i`: expected an integer of 64 bits, found 1e30
    8! column `n`: expected a number of 64 bits, found 1e400
    9! field `s`: expected every member once, found "s"
    10! expected the end of the record, found {}
    11! expected `,` or `}`, found the end of the record
    12! expected an object, found ["s"]
    13! field `t`: expected a date and time such as 2024-05-01T08:44:00, found "soon"
    "#);
}

#[test]
fn templates_see_the_record() {
    let fields = r#"
      { name = "n", type = "integer" }, { name = "r", type = "number" }, { name = "s", type = "string" },
      { name = "o", type = "object" }, { name = "l", type = "array" }, { name = "a b", type = "string" },
    "#;
    let table = r#"
mode = "append"
columns = [
  { name = "next", type = "integer", value = "{{ record.n + 1 if record.n is not none else none }}" },
  { name = "half", type = "number", value = "{{ (record.r or 0) / 2 }}" },
  { name = "text", value = "{{ record.s or '' }}" },
  { name = "both", value = "<{{ record.s }}>" },
  { name = "deep", value = "{{ record.o.a }}" },
  { name = "list", value = "{{ record.l }}" },
  { name = "raw", field = "l" },
  { name = "quoted", value = "{{ record['a b'] }}" },
]"#;
    let definition = definition("upload = \"ndjson\"", fields, table);
    insta::assert_snapshot!(shown(
        &definition,
        concat!(
            r#"{"n":7,"r":3.0,"s":"x","o":{"a":"y"},"l":[1, {"b":null}],"a b":"z"}"#, "\n",
            r#"{"s":"","o":{}}"#, "\n",
            r#"{"n":"7","s":"x"}"#, "\n",
            r#"{"s":"x"}"#, "\n",
        )
        .as_bytes(),
    ), @r#"
    1: 8 1.5 "x" "<x>" "y" "[1,{\"b\":null}]" "[1, {\"b\":null}]" "z"
    2: - 0.0 - "<>" - - - -
    3! field `n`: expected an integer, found the string "7"
    4: - 0.0 "x" "<x>" - - - -
    "#);
}

#[test]
fn files_that_cannot_be_read() {
    let movie = shipped("movie");
    let book = shipped("book");
    let lines = definition("upload = \"ndjson\"", "{ name = \"a\", type = \"string\" }", "mode = \"append\"");
    let cases: [(&Definition, &[u8]); 15] = [
        (&movie, b""),
        (&movie, b"name,duration_mins\nA,1\n"),
        (&movie, b"title;duration_mins\nA;1\n"),
        (&movie, b"title,title\nA,1\n"),
        (&movie, b"\n"),
        (&movie, b"\x1f\x8b\x08\x00"),
        (&movie, b"title\nA\n\"B\nC\n"),
        (&movie, b"title\nA\nB\xff\nC\n"),
        (&book, b""),
        (&book, b"{}"),
        (&book, br#"[{"name": "A"}, {"name": ]"#),
        (&book, br#"[{"name": "A"}, {"name": "B"}"#),
        (&book, br#"<!DOCTYPE html><p>error"#),
        (&lines, b""),
        (&lines, b"PK\x03\x04"),
    ];
    insta::assert_snapshot!(cases.map(|(definition, file)| {
        format!("{:?}\n{}", String::from_utf8_lossy(file), shown(definition, file))
    }).concat(), @r#"
    ""
    unreadable: the file is empty: its first line must name the columns `title`
    "name,duration_mins\nA,1\n"
    unreadable: the header line lacks `title`, and has `name`, `duration_mins`: names must be equal to the letter
    "title;duration_mins\nA;1\n"
    unreadable: the header line lacks `title`, `duration_mins`, `original_language`, `size_mb`, and has `title;duration_mins`: columns seem to be separated by `;`; save the file with `,`
    "title,title\nA,1\n"
    unreadable: the header line has the column `title` more than once: leave one, since each row has one value of it
    "\n"
    unreadable: the header line lacks `title`, `duration_mins`, `original_language`, `size_mb`: it is an empty line
    "\u{1f}�\u{8}\0"
    unreadable: the file is gzip data: expected CSV, which is text
    "title\nA\n\"B\nC\n"
    2: "A" - - -
    3! expected a closing quote, found the end of the row
    "title\nA\nB�\nC\n"
    2: "A" - - -
    3! expected UTF-8, found "\xff"
    4: "C" - - -
    ""
    unreadable: record 1, byte 0: expected an array of records, found end of file
    "{}"
    unreadable: record 1, byte 0: expected an array of records, found {}
    "[{\"name\": \"A\"}, {\"name\": ]"
    1: "A" - - -
    unreadable: record 2, byte 25: expected a value, found ]
    "[{\"name\": \"A\"}, {\"name\": \"B\"}"
    1: "A" - - -
    2: "B" - - -
    unreadable: record 3, byte 29: expected `,` or `]`, found end of file
    "<!DOCTYPE html><p>error"
    unreadable: the file is an HTML page: expected JSON, which is text
    ""
    "PK\u{3}\u{4}"
    unreadable: the file is a ZIP archive: expected NDJSON, which is text
    "#);
}

#[test]
fn what_is_too_long_is_rejected_and_the_next_is_read() {
    let long = "x".repeat(40);
    let limit = "max_record = 30";
    let field = "{ name = \"a\", type = \"string\" }";
    let append = "mode = \"append\"";
    let csv = definition(&format!("upload = \"csv\"\n{limit}"), field, append);
    insta::assert_snapshot!(shown(&csv, format!("a\n1\n{long}\n2\n\"3\n{long}\n").as_bytes()), @r#"
    2: "1"
    3! expected at most 30 bytes for one row, found 41 bytes; a quote that is not closed makes one row of all that follows
    4: "2"
    5! expected at most 30 bytes for one row, found 44 bytes; a quote that is not closed makes one row of all that follows
    "#);
    let ndjson = definition(&format!("upload = \"ndjson\"\n{limit}"), field, append);
    let file = format!("{{\"a\":\"1\"}}\n{{\"a\":\"{long}\"}}\n{{\"a\":\"2\"}}\n");
    insta::assert_snapshot!(shown(&ndjson, file.as_bytes()), @r#"
    1: "1"
    2! expected at most 30 bytes for one record, found 48 bytes
    3: "2"
    "#);
    for size in 1..9 {
        assert_eq!(read(&ndjson, file.as_bytes().chunks(size)), read(&ndjson, [file.as_bytes()]), "{size}");
    }
    let json = definition(&format!("upload = \"json\"\n{limit}"), field, append);
    let file = format!("[{{\"a\":\"1\"}},\n{{\"a\":\"{long}\"}},{{\"a\":\"2\"}}]");
    insta::assert_snapshot!(shown(&json, file.as_bytes()), @r#"
    1: "1"
    unreadable: record 2, byte 12: expected at most 30 bytes for one record, found {"a":"xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx…
    "#);
}

#[test]
fn columns_may_be_called_otherwise_and_records_lie_deeper() {
    let csv = definition(
        "upload = \"csv\"",
        "{ name = \"id\", type = \"integer\", path = \"$['Post ID']\" }",
        "name = \"posts\"\nkey = [\"id\"]",
    );
    let file = b"\xef\xbb\xbfother,Post ID\nx,7\ny,\n\n";
    insta::assert_snapshot!(shown(&csv, file), @r#"
    2: 7
    3! column `id`: expected an integer, found nothing
    "#);
    assert_eq!(csv.table().map(|table| table.name.as_str()), Some("posts"));
    let json = definition(
        "upload = \"json\"\nrecords = \"$.data[*].items[*]\"",
        "{ name = \"id\", type = \"integer\", constraints = { required = true } }",
        "key = [\"id\"]",
    );
    let file = br#"{"total": 3, "data": [{"items": [{"id": 1}, {"id":
      2}]}, {}, {"items": [{"id": "x"}]}], "end": [1]}"#;
    insta::assert_snapshot!(shown(&json, file), @r#"
    1: 1
    2: 2
    3! field `id`: expected an integer, found the string "x"
    "#);
    assert_eq!(json.table().unwrap().columns[0].kind, ColumnType::Integer);
}

/// A row of the property tests.
type Values = (Option<i64>, String, bool);

fn csv_of(rows: &[Values]) -> String {
    let cell = |text: &str| format!("\"{}\"", text.replace('"', "\"\""));
    rows.iter().fold("s,i,b\r\n".to_owned(), |text, (number, string, truth)| {
        let number = number.map(|number| number.to_string()).unwrap_or_default();
        text + &format!("{},{number},{truth}\r\n", cell(string))
    })
}

fn cells_of((number, string, truth): &Values) -> Vec<Cell> {
    vec![number.map_or(Cell::Null, Cell::Integer), Cell::String(string.clone()), Cell::Boolean(*truth)]
}

/// A file cut at these places.
fn cut<'a>(file: &'a [u8], places: &[prop::sample::Index]) -> Vec<&'a [u8]> {
    let mut places: Vec<_> = places.iter().map(|place| place.index(file.len() + 1)).collect();
    places.sort_unstable();
    let ends = places.iter().copied().chain([file.len()]);
    let begins = [0].into_iter().chain(places.iter().copied());
    begins.zip(ends).map(|(begin, end)| &file[begin..end]).collect()
}

fn three_columns(upload: &str) -> Definition {
    let fields = "{ name = \"i\", type = \"integer\" }, { name = \"s\", type = \"string\" }, { name = \"b\", type = \"boolean\" }";
    definition(upload, fields, "mode = \"append\"")
}

proptest! {
    #[test]
    fn rows_do_not_depend_on_the_format_or_on_where_the_bytes_are_cut(
        rows in prop::collection::vec((any::<Option<i64>>(), "[a-z\"\\\\,\r\n ä🚌{}\\[\\]:]{1,12}", any::<bool>()), 0..12),
        places in prop::collection::vec(any::<prop::sample::Index>(), 0..8),
    ) {
        let expected: Vec<_> = rows.iter().map(cells_of).collect();
        let objects: Vec<_> = rows
            .iter()
            .map(|(number, string, truth)| serde_json::json!({ "s": string, "b": truth, "i": number }))
            .collect();
        let lines: String = objects.iter().map(|object| format!("{object}\n")).collect();
        let files = [
            ("upload = \"csv\"", csv_of(&rows)),
            ("upload = \"ndjson\"", lines),
            ("upload = \"json\"", serde_json::to_string_pretty(&objects).unwrap()),
        ];
        for (upload, file) in &files {
            let (read, ended) = read(&three_columns(upload), cut(file.as_bytes(), &places));
            prop_assert_eq!(ended, Ok(()));
            let cells: Vec<_> = read.into_iter().map(|row| row.cells.unwrap()).collect();
            prop_assert_eq!(&cells, &expected, "{}", upload);
        }
    }

    #[test]
    fn any_bytes_read_the_same_however_they_are_cut(
        file in prop::collection::vec(prop::sample::select(&b"si,b\n\r\"{}[]:1true\xff \\"[..]), 0..60),
        has_header: bool,
        places in prop::collection::vec(any::<prop::sample::Index>(), 0..8),
    ) {
        for upload in ["upload = \"csv\"", "upload = \"ndjson\"", "upload = \"json\""] {
            let definition = three_columns(upload);
            let head: &[u8] = if has_header && upload.contains("csv") { b"s,i\n" } else { b"" };
            let file = [head, &file].concat();
            prop_assert_eq!(read(&definition, cut(&file, &places)), read(&definition, [&file[..]]), "{}", upload);
        }
    }
}
