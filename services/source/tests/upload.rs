//! The CSVs of the wild: what the check of an upload says, how an upload is cut into batches, and what its rows are.

use proptest::prelude::*;
use waybill_source::{
    Catalog, Definition, Item, Row, RowBatch, UploadCheck, UploadError, UploadSplitter, UploadSummary,
};

const RELAY: &str = include_str!("../sources/relay.toml");

fn relay(changes: &[(&str, &str)]) -> Definition {
    let text = changes.iter().fold(RELAY.to_owned(), |text, (from, to)| {
        assert!(text.contains(from), "{from}");
        text.replacen(from, to, 1)
    });
    Definition::parse("x.toml", &text).unwrap_or_else(|mistakes| panic!("{mistakes}"))
}

/// A source of CSV files of the same records: what the scanner says of them.
fn files() -> Definition {
    let record = &RELAY[RELAY.find("\n[record]").expect("a table")..RELAY.find("\n[stats]").expect("a table")];
    let text = format!(
        "name = \"files\"\ntitle = \"x\"\nbase_url = \"http://x\"\n[[items]]\nname = \"x\"\nlist = [1]\nkey = \"{{{{ x.id }}}}\"\n\
         fields = [{{ name = \"id\", type = \"integer\" }}]\n[fetch]\npath = \"/\"\nformat = \"csv\"\n{record}\n[stats]\n\
         users = {{ sum = \"userId\" }}\n[store]\npartition = [\"a=b\"]"
    );
    Definition::parse("x.toml", &text).unwrap_or_else(|mistakes| panic!("{mistakes}"))
}

fn check_pieces<'a>(
    source: &Definition,
    pieces: impl IntoIterator<Item = &'a [u8]>,
) -> Result<UploadSummary, UploadError> {
    let mut check = UploadCheck::new(source);
    for piece in pieces {
        check.push(piece)?;
    }
    check.finish()
}

/// What the check says, whole and cut in several ways, which must be the same.
fn check_with(source: &Definition, bytes: &[u8]) -> Result<UploadSummary, UploadError> {
    let whole = check_pieces(source, [bytes]);
    for size in [1, 2, 3, 7, 1_000] {
        assert_eq!(check_pieces(source, bytes.chunks(size)), whole, "in pieces of {size}");
    }
    whole
}

fn check(bytes: &[u8]) -> String {
    match check_with(&relay(&[]), bytes) {
        Ok(UploadSummary { rows, bytes }) => format!("{rows} rows, {bytes} bytes"),
        Err(error) => error.to_string(),
    }
}

fn split_pieces<'a>(source: &Definition, pieces: impl IntoIterator<Item = &'a [u8]>) -> Vec<RowBatch> {
    let (mut splitter, mut batches) = (UploadSplitter::new(source), Vec::new());
    for piece in pieces {
        splitter.push(piece, &mut batches).expect("a good header");
    }
    splitter.finish(&mut batches).expect("a good header");
    batches
}

/// All rows, batch by batch, as a worker reads them: by way of an item.
fn rows_of(source: &Definition, bytes: &[u8]) -> Vec<Row> {
    let mut rows = Vec::new();
    for batch in split_pieces(source, [bytes]) {
        let item = batch.clone().into_item(source);
        assert_eq!(RowBatch::from_item(source, &item).as_ref(), Ok(&batch));
        let (from, length) = (batch.offset as usize, batch.length as usize);
        let read = source.rows(&batch, &bytes[from..from + length]);
        assert_eq!(read.len() as u64, batch.rows, "{batch:?}");
        assert_eq!(read[0].line, batch.line);
        rows.extend(read);
    }
    rows
}

fn shown(source: &Definition, text: &[u8]) -> String {
    let row = |row: Row| {
        let values = serde_json::to_string(&row.values).expect("JSON");
        format!("{}: {values}{}", row.line, row.problem.map_or_else(String::new, |problem| format!(" {problem}")))
    };
    rows_of(source, text).into_iter().map(row).collect::<Vec<_>>().join("\n")
}

#[test]
fn uploads_that_are_accepted() {
    insta::assert_snapshot!([
        "userId,title,body\n1,abc,123\n",
        "userId,title,body\n1,abc,123",
        "\u{feff}userId,title,body\r\n1,abc,123\r\n",
        "\u{feff}\"userId\",\"title\",\"body\"\n1,abc,123\n\n\n2,abc,123\n",
        "userId,title,body\n1,\"a\nb\",123\n,abc,123\nx,abc\n\"\n",
        "new,body,\"title\",x,userId\n,b,t,,1\n",
    ].map(|text| check(text.as_bytes())).join("\n"), @r#"
    1 rows, 28 bytes
    1 rows, 27 bytes
    1 rows, 33 bytes
    2 rows, 49 bytes
    4 rows, 47 bytes
    1 rows, 34 bytes
    "#);
    let large = format!("userId,title,body\n1,{},b\n2,a,b\n", "x".repeat(3 << 20));
    assert_eq!(check_pieces(&relay(&[]), large.as_bytes().chunks(9_999)).unwrap().rows, 2);
}

#[test]
fn uploads_that_are_refused() {
    let many = (0..30).map(|column| format!("column {column}")).collect::<Vec<_>>().join(",");
    let cases: [(&str, &[u8]); 28] = [
        ("empty", b""),
        ("a mark alone", b"\xef\xbb\xbf"),
        ("a blank line", b"\n\n"),
        ("header only", b"userId,title,body"),
        ("header and blank lines", b"userId,title,body\r\n\r\n\n"),
        ("no header", b"1,abc,123\n2,abc,123\n"),
        ("a column lacks", b"userId,title\n1,a\n"),
        ("all lack", many.as_bytes()),
        ("semicolons", b"userId;title;body\n1;a;b\n"),
        ("tabs", b"userId\ttitle\tbody\n1\ta\tb\n"),
        ("spaces", b"userId, title, body\n1,a,b\n"),
        ("other case", b"UserID,Title,Body\n1,a,b\n"),
        ("a column twice", b"userId,title,body,title\n1,a,b,c\n"),
        ("a quote within", b"userId,ti\"tle,body\n1,a,b\n"),
        ("text behind a quote", b"userId,\"title\"x,body\n1,a,b\n"),
        ("a quote that is not closed", b"userId,\"title,body\n1,a,b\n"),
        ("bare returns", b"userId,title,body\r1,a,b\r"),
        ("Latin-1", b"userId,title,body\n1,caf\xe9,b\n"),
        ("cut in a character", b"userId,title,body\n1,a,\xc3"),
        ("Latin-1 in the header", b"userId,title,body,caf\xe9\n"),
        ("PNG", b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR"),
        ("ZIP", b"PK\x03\x04\x14\0\0\0\x08\0\0\0!\0"),
        ("PDF", b"%PDF-1.7\n%\xe2\xe3\xcf\xd3\n"),
        ("gzip", b"\x1f\x8b\x08\0\0\0\0\0\0\x03abcdefgh"),
        ("UTF-16", b"\xff\xfeu\0s\0e\0r\0I\0d\0,\0"),
        ("UTF-16 without a mark", b"u\0s\0e\0r\0I\0d\0,\0t\0\n\0"),
        ("HTML", b"<!DOCTYPE html><html></html>"),
        ("JSON", b"[{\"userId\": 1}]"),
    ];
    insta::assert_snapshot!(cases.map(|(name, bytes)| format!("{name}: {}", check(bytes))).join("\n"), @r#"
    empty: the file is empty: its first line must name the columns `userId`, `title`, `body`
    a mark alone: the file is empty: its first line must name the columns `userId`, `title`, `body`
    a blank line: the header line lacks `userId`, `title`, `body`: it is an empty line
    header only: the file has a header line and no rows: add a line for each row
    header and blank lines: the file has a header line and no rows: add a line for each row
    no header: the header line lacks `userId`, `title`, `body`, and has `1`, `abc`, `123`: names must be equal to the letter
    a column lacks: the header line lacks `body`, and has `userId`, `title`: names must be equal to the letter
    all lack: the header line lacks `userId`, `title`, `body`, and has `column 0`, `column 1`, `column 2`, `column 3`, `column 4`, `column 5`, `column 6`, `column 7`, `column 8`, `column 9` and 20 more: names must be equal to the letter
    semicolons: the header line lacks `userId`, `title`, `body`, and has `userId;title;body`: columns seem to be separated by `;`; save the file with `,`
    tabs: the header line lacks `userId`, `title`, `body`, and has `userId\ttitle\tbody`: columns seem to be separated by tabs; save the file with `,`
    spaces: the header line lacks `title`, `body`, and has `userId`, ` title`, ` body`: names must be equal to the letter
    other case: the header line lacks `userId`, `title`, `body`, and has `UserID`, `Title`, `Body`: names must be equal to the letter
    a column twice: the header line has the column `title` more than once: leave one, since each row has one value of it
    a quote within: the header line: expected quotes around the whole cell, found "tle,body: put a name with a quote or a comma in it into quotes, and double those within
    text behind a quote: the header line: expected `,` or the end of the line behind the closing quote, found x: put a name with a quote or a comma in it into quotes, and double those within
    a quote that is not closed: the header line: expected a closing quote, found the end of the row: put a name with a quote or a comma in it into quotes, and double those within
    bare returns: lines end in a carriage return without a line feed: save the file as CSV UTF-8
    Latin-1: line 2, byte 23: expected UTF-8, found \xe9: save the file as UTF-8
    cut in a character: line 2, byte 22: expected UTF-8, found \xc3: save the file as UTF-8
    Latin-1 in the header: line 1, byte 21: expected UTF-8, found \xe9: save the file as UTF-8
    PNG: the file is a PNG image: upload a CSV file, which is text (in a spreadsheet: save as CSV UTF-8)
    ZIP: the file is a ZIP archive: upload a CSV file, which is text (in a spreadsheet: save as CSV UTF-8)
    PDF: the file is a PDF document: upload a CSV file, which is text (in a spreadsheet: save as CSV UTF-8)
    gzip: the file is gzip data: upload a CSV file, which is text (in a spreadsheet: save as CSV UTF-8)
    UTF-16: the file is UTF-16 text: upload a CSV file, which is text (in a spreadsheet: save as CSV UTF-8)
    UTF-16 without a mark: the header line lacks `userId`, `title`, `body`, and has `u\0s\0e\0r\0I\0d\0`, `\0t\0`: names must be equal to the letter
    HTML: the file is an HTML page: upload a CSV file, which is text (in a spreadsheet: save as CSV UTF-8)
    JSON: the header line: expected quotes around the whole cell, found "userId": put a name with a quote or a comma in it into quotes, and double those within
    "#);
    let long = "x".repeat((1 << 20) + 1);
    for text in [long.clone(), format!("{long}\n1,a,b\n"), format!("\"{}", "x\n".repeat(1 << 20))] {
        let said = check_pieces(&relay(&[]), text.as_bytes().chunks(10_007));
        assert_eq!(
            (said, check_pieces(&relay(&[]), [text.as_bytes()])),
            (Err(UploadError::HeaderTooLong), Err(UploadError::HeaderTooLong))
        );
    }
    let buses = Catalog::shipped().get("buses").unwrap().clone();
    insta::assert_snapshot!(UploadCheck::new(&buses).push(b"x").unwrap_err(), @"the source `buses` takes no upload: submit a job without a file");
    let mut check = UploadCheck::new(&relay(&[]));
    let error = check.push(b"userId;title;body\n1;a;b\n").unwrap_err();
    assert_eq!(check.push(b"x"), Err(error.clone()));
    assert_eq!(check.finish(), Err(error));
}

#[test]
fn rows_of_the_wild() {
    let text = "\u{feff}userId,title,body\r\n1,abc,123\r\n,abc,123\nx,abc,123\n\n2,\"a \"\"b\"\"\nc\",\"d,e\"\n3,abc\n4,abc,123,5\n\
                5,a\"b,c\n6,\"a\"b,c\n7.0,é,\"\"\n9223372036854775808,a,b\n8,a\rb,c\n,,\n9,abc,\"123";
    insta::assert_snapshot!(shown(&relay(&[]), text.as_bytes()), @r#"
    2: {"body":"123","title":"abc","userId":1}
    3: {"body":"123","title":"abc"} column `userId`: expected an integer, found nothing
    4: {"body":"123","title":"abc"} column `userId`: expected an integer, found "x"
    6: {"body":"d,e","title":"a \"b\"\nc","userId":2}
    8: {} expected 3 columns, as in the header, found 2
    9: {} expected 3 columns, as in the header, found 4
    10: {} expected quotes around the whole cell, found "b,c
    11: {} expected `,` or the end of the line behind the closing quote, found b
    12: {"title":"é","userId":7} column `body`: expected a string, found nothing
    13: {"body":"b","title":"a"} column `userId`: expected an integer of 64 bits, found "9223372036854775808"
    14: {} expected a line feed behind the carriage return, found "\rb,c"
    15: {} column `userId`: expected an integer, found nothing; column `title`: expected a string, found nothing; column `body`: expected a string, found nothing
    16: {} expected a closing quote, found the end of the row
    "#);
    insta::assert_snapshot!(shown(&relay(&[]), b"body,x,title,userId\nb,x,t,1\n"), @r#"2: {"body":"b","title":"t","userId":1}"#);
    insta::assert_snapshot!(shown(&relay(&[]), b"userId,title,body\n1,caf\xe9,b\n2,a,b"), @r#"
    2: {} expected UTF-8, found "\xe9,b"
    3: {"body":"b","title":"a","userId":2}
    "#);
}

#[test]
fn rows_of_every_type() {
    let fields = r#"fields = [
  { name = "n", type = "number", constraints = { maximum = 10 } },
  { name = "b", type = "boolean" },
  { name = "d", type = "date", format = "%d/%m/%Y" },
  { name = "t", type = "duration" },
  { name = "s", type = "string", constraints = { enum = ["red", "green"] } },
"#;
    let (from, to) = (RELAY.find("fields = [").unwrap(), RELAY.find("]\n\n[stats]").unwrap());
    let text = format!("{}{fields}{}", &RELAY[..from], &RELAY[to..])
        .replacen("userId = \"{{ row.userId }}\", title = \"{{ row.title }}\", body = \"{{ row.body }}\"", "", 1)
        .replacen("userId = \"{{ row.userId }}\"", "n = \"{{ row.n }}\", b = \"{{ row.b }}\", d = \"{{ row.d }}\"", 1);
    let source = Definition::parse("x.toml", &text).unwrap_or_else(|mistakes| panic!("{mistakes}"));
    let csv = b"n,b,d,t,s\n1.50,TRUE,31/12/2024,PT1M,red\n1e-3,0,,,\n0.12345678901234567891,,,,\n11,yes,2024-12-31,1m,blue\n-2,,,,";
    insta::assert_snapshot!(shown(&source, csv), @r#"
    2: {"b":true,"d":"31/12/2024","n":1.5,"s":"red","t":"PT1M"}
    3: {"b":false,"n":0.001}
    4: {"n":0.12345678901234568}
    5: {} column `n`: expected a number, at most 10, found "11"; column `b`: expected true or false, found "yes"; column `d`: expected a date as `%d/%m/%Y`, found "2024-12-31"; column `t`: expected a duration such as PT1980S, found "1m"; column `s`: expected one of "red", "green", found "blue"
    6: {"n":-2}
    "#);
    let mut scanner = source.scanner();
    for row in rows_of(&source, csv) {
        let outcome = source.outcome(&row, waybill_source::RowResult::Done, None, None);
        scanner.push((outcome.to_json_line() + "\n").as_bytes()).unwrap();
    }
    assert_eq!(scanner.finish().map(|scanned| scanned.records), Ok(5));
    // One column: an empty line is a row.
    assert_eq!(shown(&source, b"s\nred\n\ngreen"), "2: {\"s\":\"red\"}\n3: {}\n4: {\"s\":\"green\"}");
    insta::assert_snapshot!(check_with(&source, b"x,y\n1,2\n").unwrap_err(), @"the header line lacks `n`, `b`, `d`, `t`, `s`, and has `x`, `y`: names must be equal to the letter");
}

#[test]
fn batches_are_full_or_four_mebibytes() {
    let source = relay(&[("batch      = 200", "batch      = 3")]);
    let text = b"userId,title,body\n1,a,b\n\n2,\"a\nb\",b\n3,a,b\n\n4,a,b\n";
    let items: Vec<Item> =
        split_pieces(&source, [&text[..]]).into_iter().map(|batch| batch.into_item(&source)).collect();
    insta::assert_snapshot!(items.iter().map(|item| serde_json::to_string(item).unwrap()).collect::<Vec<_>>().join("\n"), @r#"
    {"key":"rows-000000001-000000003","values":{"row":{"columns":"3:0,1,2","first_row":1,"length":23,"line":2,"offset":18,"rows":3}}}
    {"key":"rows-000000004-000000004","values":{"row":{"columns":"3:0,1,2","first_row":4,"length":6,"line":8,"offset":42,"rows":1}}}
    "#);
    let wide = format!("userId,title,body\n{}", format!("1,{},b\n", "x".repeat(900_000)).repeat(10));
    let lengths: Vec<_> =
        split_pieces(&relay(&[]), [wide.as_bytes()]).iter().map(|batch| (batch.rows, batch.length)).collect();
    assert_eq!(lengths, [(4, 3_600_020), (4, 3_600_020), (2, 1_800_010)]);
    rows_of(&relay(&[]), wide.as_bytes());
}

#[test]
fn a_row_of_ten_megabytes_is_a_batch_of_its_own() {
    let source = relay(&[]);
    let text = format!("userId,title,body\n1,a,b\n2,\"{}\",b\n3,a,b\n", "line\n".repeat(2_000_000));
    let batches = split_pieces(&source, text.as_bytes().chunks(65_536));
    let rows: Vec<_> =
        batches.iter().map(|batch| (batch.line, batch.first_row, batch.rows, batch.is_oversized())).collect();
    assert_eq!(rows, [(2, 1, 1, false), (3, 2, 1, true), (2_000_004, 3, 1, false)]);
    assert_eq!(source.rows(&batches[1], b""), source.rows(&batches[1], &text.as_bytes()[..100]));
    insta::assert_snapshot!(source.rows(&batches[1], b"")[0].problem.as_deref().unwrap(), @"expected at most 1 MiB for one row, found 10000007 bytes; a quote that is not closed makes one row of all that follows");
    let unclosed = format!("userId,title,body\n1,a,b\n2,\"{}", "3,a,b\n".repeat(400_000));
    let batches = split_pieces(&source, [unclosed.as_bytes()]);
    assert_eq!(batches.iter().map(|batch| batch.rows).collect::<Vec<_>>(), [1, 1]);
}

#[test]
fn items_that_are_no_batches() {
    let source = relay(&[]);
    let item = split_pieces(&source, [&b"userId,title,body\n1,a,b\n"[..]]).remove(0).into_item(&source);
    let with = |name: &str, value: serde_json::Value| {
        let mut item = item.clone();
        item.values.get_mut("row").unwrap().insert(name.into(), value);
        RowBatch::from_item(&source, &item).unwrap_err().to_string()
    };
    let buses = Catalog::shipped().get("buses").unwrap().clone();
    insta::assert_snapshot!([
        with("offset", "x".into()),
        with("rows", (-1).into()),
        with("columns", "3:0,1,3".into()),
        with("columns", "3:0,1".into()),
        with("columns", 3.into()),
        RowBatch::from_item(&source, &Item::default()).unwrap_err().to_string(),
        RowBatch::from_item(&buses, &item).unwrap_err().to_string(),
    ].join("\n"), @r#"
    the item `rows-000000001-000000001` is no batch of rows: `offset` is not a whole number
    the item `rows-000000001-000000001` is no batch of rows: `rows` is not a whole number
    the item `rows-000000001-000000001` is no batch of rows: `columns` are not those of [record]
    the item `rows-000000001-000000001` is no batch of rows: `columns` are not those of [record]
    the item `rows-000000001-000000001` is no batch of rows: `columns` are not those of [record]
    the item `` is no batch of rows: it has no values of a row
    the item `rows-000000001-000000001` is no batch of rows: the items of this source are not an upload
    "#);
    let mut splitter = UploadSplitter::new(&source);
    insta::assert_snapshot!(splitter.push(b"userId,title\n", &mut Vec::new()).unwrap_err(), @"the header line lacks `body`, and has `userId`, `title`: names must be equal to the letter");
}

/// Text that is often nearly CSV.
fn nearly_csv() -> impl Strategy<Value = Vec<u8>> {
    let good = prop::sample::select(vec!["1,abc,123", "2,\"a\nb\",c", "-3,\"a \"\"b\"\"\",\"c,\r\nd\"", "4,é😀,\"\""]);
    let bad = prop::sample::select(vec![
        ",abc,123",
        "x,abc,123",
        "1,a",
        "1,a,b,c",
        "1,a\"b,c",
        "1,\"a\"b,c",
        "\"",
        "1,\"",
        "1,a,b\"",
        "\r",
        "\"\"",
        "1,a\rb,c",
    ]);
    let odd = "[1a,\"\n\r;\u{feff}]{0,8}";
    let end = prop::sample::select(vec!["\n", "\r\n", "\n\n", "\r\n\n", ""]);
    let line = prop_oneof![
        6 => good.prop_map(str::to_owned),
        1 => bad.prop_map(str::to_owned),
        1 => odd.prop_map(|text| text),
    ];
    let header = prop::sample::select(vec![
        "userId,title,body\n",
        "\u{feff}userId,\"title\",body\r\n",
        "x,body,title,userId\n",
        "userId;title\n",
        "\u{feff}",
        "",
    ]);
    let rest = prop::collection::vec((line, end), 0..12);
    let cut = prop::option::weighted(0.1, (any::<prop::sample::Index>(), any::<u8>()));
    (prop_oneof![3 => Just("userId,title,body\n"), 1 => header], rest, cut).prop_map(|(header, rest, cut)| {
        let lines: String = rest.into_iter().map(|(line, end)| line + end).collect();
        let mut bytes = (header.to_owned() + &lines).into_bytes();
        if let Some((at, byte)) = cut.filter(|_| !bytes.is_empty()) {
            let at = at.index(bytes.len());
            bytes[at] = byte;
        }
        bytes
    })
}

fn cut(bytes: &[u8], seed: u64) -> Vec<&[u8]> {
    let mut random = fastrand::Rng::with_seed(seed);
    let most = 1 << random.u32(0..8);
    let (mut pieces, mut rest) = (Vec::new(), bytes);
    while !rest.is_empty() {
        let (piece, after) = rest.split_at(random.usize(0..=most).min(rest.len()));
        pieces.push(piece);
        rest = after;
    }
    pieces
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(600))]

    #[test]
    fn where_an_upload_is_cut_makes_no_difference(text in nearly_csv(), seed: u64) {
        let source = relay(&[("batch      = 200", "batch      = 3")]);
        let whole = check_pieces(&source, [&*text]);
        prop_assert_eq!(&check_pieces(&source, cut(&text, seed)), &whole);
        if let Ok(summary) = whole {
            let batches = split_pieces(&source, [&*text]);
            prop_assert_eq!(&split_pieces(&source, cut(&text, seed)), &batches);
            prop_assert_eq!(batches.iter().map(|batch| batch.rows).sum::<u64>(), summary.rows);
            prop_assert!(batches.iter().all(|batch| (1..=3).contains(&batch.rows)));
            let firsts: Vec<_> = batches.iter().map(|batch| batch.first_row).collect();
            prop_assert!(firsts.iter().enumerate().all(|(at, first)| *first == 3 * at as u64 + 1));
        }
    }

    /// The scanner reads a file of the same records. It stops at the first mistake, so it accepts what has none.
    #[test]
    fn the_scanner_sees_the_same_rows(text in nearly_csv()) {
        let (source, files) = (relay(&[]), files());
        let Ok(summary) = check_pieces(&source, [&*text]) else { return Ok(()) };
        let rows = rows_of(&source, &text);
        prop_assert_eq!(rows.len() as u64, summary.rows);
        let mut scanner = files.scanner();
        let scanned = scanner.push(&text).and_then(|()| scanner.finish());
        let good: Vec<_> = rows.iter().take_while(|row| row.problem.is_none()).collect();
        match scanned {
            Ok(scanned) => {
                prop_assert_eq!(good.len(), rows.len());
                prop_assert_eq!(scanned.records, summary.rows);
                let sum: i64 = rows.iter().map(|row| row.values["userId"].as_i64().unwrap()).sum();
                prop_assert_eq!(&files.statistics().to_json(&scanned.totals)["users"], &sum);
            }
            Err(rejection) => prop_assert_eq!(rejection.record, good.len() as u64 + 1, "{}", rejection),
        }
    }

    #[test]
    fn no_bytes_make_the_check_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let _ = check_pieces(&relay(&[]), [&*bytes]);
        let _ = UploadSplitter::new(&relay(&[])).push(&bytes, &mut Vec::new());
    }
}
