//! What is right, however unusual.

use crate::scan::tests::*;

/// Records and statistics of what must be accepted.
fn shown(scanned: Result<Scanned, Rejection>) -> String {
    let scanned = scanned.unwrap();
    let json = statistics().to_json(&scanned.totals);
    let json: Vec<_> = json.iter().map(|(name, value)| format!("{name}={value}")).collect();
    format!("{} records: {}", scanned.records, json.join(" "))
}

#[test]
fn nothing_at_all() {
    let nothing = "0 records: average_delay_s=0 bus_count=0 empty=0 exist_accident=false green=0 least_rating=null \
                   most_passengers=null nines=0 only_accidents=true passenger_count=0 quiet=0 rating=0 red=0";
    for text in ["[]", " \n[ \t\r]\n ", "\u{feff}[]"] {
        assert_eq!(shown(scan(text)), nothing, "{text}");
    }
    assert_eq!(shown(scan_at(Format::Ndjson, &[], b"")), nothing);
    assert_eq!(shown(scan_at(Format::Ndjson, &[], b"\n \r\n\n")), nothing);
    assert_eq!(shown(scan_at(Format::Csv, &[], b"departure-time,bus-type,passengers,delay")), nothing);
}

const ONE: &str = "1 records: average_delay_s=1980 bus_count=1 empty=0 exist_accident=true green=0 least_rating=null \
                   most_passengers=71 nines=0 only_accidents=true passenger_count=71 quiet=0 rating=0 red=0";

#[test]
fn one_record_in_many_spellings() {
    for record in [
        format!("{{{RIGHT}}}"),
        format!(
            "\r\n\t {{ \n{} }}\n",
            RIGHT.replace(':', " :\t").replace("08 :\t44 :\t00", "08:44:00").replace(',', "\n, ")
        ),
        format!(
            r#"{{"new":{{"a":[1,-2.5e+3,"x\"\\",null,true,{{}},[]],"b":false}},{RIGHT},"é\u00e9😀":"\ud83d\ude00"}}"#
        ),
        format!("{{{}}}", RIGHT.replace("passengers", r"\u0070assengers").replace("PT1980S", r"\u0050T1980S")),
        format!("{{{}}}", RIGHT.replace("2024-05-01T", r"2024\u002d05-01T").replace("BUS-1", "Ω\\n\u{7f}")),
        format!("{{{}}}", RIGHT.replace("BUS-1", "")),
        format!("{{{}}}", RIGHT.replace("08:44:00", "08:44:00.123-0400")),
        format!("{{{RIGHT},\"rating\":null,\"colour\":null,\"day\":null}}"),
        format!("{{{RIGHT},\"colour\":\"gr\\u00fcn\",\"day\":\"2024-02-29\",\"Passengers\":-1}}"),
        r#"{"accident":true,"delay":"PT33M","passengers":71,"bus-type":"","departure-time":"2024-05-01 08:44:00Z"}"#
            .into(),
    ] {
        let one = if record.contains("gr\\u00fcn") { ONE.replace("green=0", "green=1") } else { ONE.to_owned() };
        assert_eq!(shown(scan(format!("[{record}]"))), one, "{record}");
        let line = record.replace(['\n', '\r'], " ");
        assert_eq!(shown(scan_at(Format::Ndjson, &[], line.as_bytes())), one, "{record}");
        assert_eq!(
            shown(scan_at(Format::Ndjson, &[], format!("\u{feff}\n{line}\r\n\r\n").as_bytes())),
            one,
            "{record}"
        );
        let aside = r#""cnt":1,"lists":[[[{"list":[]}]]],"é":{"list":{"items":5}}"#;
        for document in [
            format!(r#"{{"list":{{"bus items":[{record}]}}}}"#),
            format!(r#" {{ {aside} , "l\u0069st" : {{ {aside} , "bus items" : [{record}] , {aside} }} , {aside} }} "#),
        ] {
            assert_eq!(shown(scan_at(Format::Json, &["list", "bus items"], document.as_bytes())), one, "{document}");
        }
    }
}

#[test]
fn rows_in_many_spellings() {
    let header = "new,accident,departure-time,bus-type,passengers,delay";
    for row in [
        "x,true,2024-05-01T08:44:00,BUS-1,71,PT1980S",
        ",1,2024-05-01 08:44:00,\"a,\r\n\"\"b\"\"\",71,PT33M",
        "\"\",TRUE,\"2024-05-01T08:44:00Z\",ä😀,\"71\",\"PT1980S\"",
    ] {
        for text in [
            format!("{header}\n{row}"),
            format!("\u{feff}{header}\r\n\r\n{row}\r\n\n"),
            format!("\"{}\"\n{row}\n", header.replace(',', "\",\"")),
        ] {
            assert_eq!(shown(scan_at(Format::Csv, &[], text.as_bytes())), ONE, "{text}");
        }
    }
    // Where there is one column, an empty line is a row.
    let only = Schema {
        fields: vec![Field {
            name: "n".into(),
            path: FieldPath::member("n"),
            kind: FieldType::Integer,
            format: TimeFormat::Iso,
            constraints: Constraints::default(),
        }],
        is_closed: false,
    };
    let statistics = Statistics { list: vec![("n".into(), Statistic::Sum(0))] };
    let mut scanner = Scanner::new(Format::Csv, &RecordPath::default(), &only, &statistics);
    scanner.push(b"n\n1\n\n2").unwrap();
    assert_eq!(scanner.finish().unwrap().records, 3);
}

#[test]
fn numbers_and_statistics_of_several() {
    let records: Vec<_> =
        ["-0.25", "10.5e0", "1E-12", "-10"].map(|rating| format!("{{{RIGHT},\"rating\":{rating}}}")).into();
    let odd = format!(
        "{{{}}}",
        RIGHT.replace("PT1980S", "-PT0.5S").replace("71", "9223372036854775807").replace("true", "false")
    );
    let text = format!("[{},{odd}]", records.join(","));
    insta::assert_snapshot!(shown(scan(text)), @"5 records: average_delay_s=1584 bus_count=5 empty=0 exist_accident=true green=0 least_rating=-10 most_passengers=9223372036854775807 nines=0 only_accidents=false passenger_count=9223372036854776091 quiet=1 rating=0.063 red=0");
}

#[test]
fn whole_numbers_in_every_spelling() {
    let sum = |format, spelled: &[&str]| {
        let body: String = match format {
            Format::Csv => ["n"].iter().chain(spelled).map(|line| format!("{line}\n")).collect(),
            _ => spelled.iter().map(|number| format!("{{\"n\":{number}}}\n")).collect(),
        };
        let field = Field {
            name: "n".into(),
            path: FieldPath::member("n"),
            kind: FieldType::Integer,
            format: TimeFormat::Iso,
            constraints: Constraints::default(),
        };
        let statistics = Statistics { list: vec![("n".into(), Statistic::Sum(0))] };
        let schema = Schema { fields: vec![field], is_closed: false };
        let mut scanner = Scanner::new(format, &RecordPath::default(), &schema, &statistics);
        scanner.push(body.as_bytes()).unwrap();
        statistics.to_json(&scanner.finish().unwrap().totals)["n"].to_string()
    };
    for format in [Format::Ndjson, Format::Csv] {
        assert_eq!(sum(format, &["7.0", "7e0", "70E-1", "-0.0", "0.7e1"]), "28");
        // Beyond 2^53 a float would be another number.
        assert_eq!(sum(format, &["9007199254740993.0"]), "9007199254740993");
        assert_eq!(sum(format, &["9007199254740993000e-3", "0"]), "9007199254740993");
    }
}

#[test]
fn depth_up_to_the_limit() {
    let nested = |levels: usize| format!("[{{{RIGHT},\"deep\":{}{}}}]", "[".repeat(levels), "]".repeat(levels));
    assert!(scan(nested(126)).is_ok());
    assert_eq!(scan(nested(127)).unwrap_err().expected, "at most 128 levels");
    assert!(serde_json::from_str::<serde_json::Value>(&nested(125)).is_ok());
}

#[test]
fn a_record_is_at_most_a_mebibyte() {
    let record = |length: usize| {
        let frame = format!("{{{RIGHT},\"long\":\"\"}}");
        frame.replace("\"long\":\"", &format!("\"long\":\"{}", "x".repeat(length - frame.len())))
    };
    for (format, before, after) in [(Format::Json, "[", "]"), (Format::Ndjson, "", "\n")] {
        // A line is counted with its end.
        let most = UNIT_BYTES - usize::from(format == Format::Ndjson);
        let text = format!("{before}{}{after}", record(most));
        for size in [text.len(), 64 << 10, 1_000] {
            let scanned = scan_pieces(scanner(format, &[]), text.as_bytes().chunks(size));
            assert_eq!(scanned.map(|scanned| scanned.records), Ok(1));
        }
        let text = format!("{before}{}{after}", record(most + 1));
        for size in [text.len(), 64 << 10, 1_000] {
            let rejection = scan_pieces(scanner(format, &[]), text.as_bytes().chunks(size)).unwrap_err();
            assert_eq!((rejection.offset, &*rejection.expected), (before.len() as u64, "at most 1 MiB for one record"));
        }
    }
}

#[test]
fn what_is_around_the_records_may_be_large() {
    let large = "\u{e9}x".repeat(UNIT_BYTES);
    let document =
        format!(r#"{{"before":["{large}",{{"{large}":1}}],"list":[{{{RIGHT}}}]{}}}"#, " ".repeat(2 * UNIT_BYTES));
    for size in [document.len(), 64 << 10, 1_000, 97] {
        let mut scanner = scanner(Format::Json, &["list"]);
        for piece in document.as_bytes().chunks(size) {
            scanner.push(piece).unwrap();
            assert!(scanner.carry.len() < 1_000);
        }
        assert_eq!(scanner.finish().unwrap().records, 1);
    }
}
