//! What people see of a wrong definition of an upload that is loaded into a table.

use waybill_source::Definition;

const ALL: &str = r#"name  = "plays"
title = "Plays"

[[items]]
upload  = "json"
records = "$.plays[*]"

[record]
fields = [
  { name = "title", type = "string" },
  { name = "price", type = "number" },
  { name = "acts", type = "array" },
  { name = "length", type = "duration" },
  { name = "first-night", type = "date" },
]

[table]
key     = ["title"]
columns = [
  { name = "title" },
  { name = "price", type = "decimal", precision = 12, scale = 2 },
  { name = "last_act", value = "{{ record.acts | last }}" },
  { name = "seconds", field = "length", type = "integer" },
  { name = "first_night", field = "first-night" },
]
"#;

fn changed(change: &(&str, &str)) -> String {
    let (from, to) = change;
    assert!(ALL.contains(from), "{from}");
    ALL.replacen(from, to, 1)
}

/// One change each, and what is said of it.
fn each(changes: &[(&str, &str)]) -> String {
    let said = |change| match Definition::parse("x.toml", &changed(change)) {
        Err(diagnostics) => diagnostics.to_string(),
        Ok(_) => panic!("accepted: {change:?}"),
    };
    changes.iter().map(said).collect::<Vec<_>>().join("\n")
}

#[test]
fn it_is_right() {
    let definition = Definition::parse("x.toml", ALL).unwrap_or_else(|mistakes| panic!("{mistakes}"));
    assert_eq!(definition.level_name(0), "record");
    let names = Definition::parse("x.toml", &ALL.replacen("\"plays\"", "\"best-plays\"", 1)).unwrap();
    assert_eq!(names.table().unwrap().name, "best_plays");
}

#[test]
fn what_a_load_cannot_have() {
    let (fetch, relay) = ("[fetch]\npath = \"/\"\n\n[record]", include_str!("../sources/relay.toml"));
    insta::assert_snapshot!(each(&[
        ("title = \"Plays\"\n", "title = \"Plays\"\nbase_url = \"http://127.0.0.1\"\nparams = [{ name = \"day\", type = \"date\" }]\n"),
        ("[table]", "[stats]\nplays = \"count\"\n\n[store]\npartition = [\"date={{ job.date }}\"]\n\n[table]"),
        ("[record]", fetch),
        ("[record]", "[[items]]\nname = \"other\"\n\n[record]"),
        ("upload  = \"json\"\n", "upload  = \"json\"\nkey = \"x\"\nmax_record = \"1 GiB\"\n"),
        ("upload  = \"json\"", "upload = \"rows\""),
        ("upload  = \"json\"", "upload = \"ndjson\""),
        ("type = \"date\"", "type = \"date\", path = \"~\""),
    ]), @r#"
    x.toml:3:12: `base_url` has no meaning where an upload is loaded
      help: nothing is asked of an upstream: leave it out
    x.toml:4:10: `params` has no meaning where an upload is loaded
      help: a row is made of its record alone: leave it out
    x.toml:17:1: `stats` has no meaning where an upload is loaded
      help: what is in a table is asked in SQL: leave it out
    x.toml:20:1: `store` has no meaning where an upload is loaded
      help: the rows are kept in the table: leave it out
    x.toml:1:1: a definition lacks `base_url`
    x.toml:1:1: a definition lacks `store`
    x.toml:4:1: [[items]] lacks `name`
    x.toml:5:11: there is no upload `json`
      help: known: `csv`
    x.toml:6:11: `records` has no meaning beside `upload`
      help: the rows are what the client uploads, and [record] says what a row must be
    x.toml:15:3: `acts` of an upload is a column of this name, and a cell is a text or a number
      help: leave `path` out, and take another type
    x.toml:20:1: tables of fetched sources are not there yet
      help: only an `upload` without [fetch] is loaded into a table: leave [table] out, or [fetch]
    x.toml:8:1: `upload` must be the only [[items]]
      help: a job has one upload, which is loaded whole
    x.toml:6:1: unknown key `key` in [[items]]
      help: known: `name`, `upload`, `records`, `max_record`
    x.toml:7:14: `max_record` is too large
      help: a record is held in memory: at most "64 MiB"
    x.toml:5:10: there is no upload `rows`
      help: known: `csv`, `ndjson`, `json`
    x.toml:6:11: `records` is for json only: here every line is a record
      help: leave it out
    x.toml:8:1: `first-night` is a member's name, which is not read of an upload
      help: take a value below the record
    "#);
    let text = ALL.split("[table]").next().unwrap();
    insta::assert_snapshot!(Definition::parse("x.toml", text).unwrap_err().to_string(), @r#"
    x.toml:1:1: a definition lacks `table`
      help: an upload without [fetch] is loaded into a table: say its `key`; or in [fetch] how rows are sent
    "#);
    let text = relay.replace("[store]", "[table]\nkey = [\"userId\"]\n\n[store]");
    insta::assert_snapshot!(Definition::parse("x.toml", &text).unwrap_err().to_string(), @r#"
    x.toml:34:1: tables of fetched sources are not there yet
      help: only an `upload` without [fetch] is loaded into a table: leave [table] out, or [fetch]
    "#);
}

#[test]
fn tables() {
    insta::assert_snapshot!(each(&[
        ("[\"title\"]", "[]"),
        ("[\"title\"]", "[\"titel\"]"),
        ("[\"title\"]", "[\"title\", \"title\"]"),
        ("key     = [\"title\"]\n", ""),
        ("key     = [\"title\"]\n", "key = [\"title\"]\nmode = \"append\"\n"),
        ("key     = [\"title\"]\n", "key = [\"title\"]\nmode = \"insert\"\n"),
        ("key     = [\"title\"]\n", "key = [\"title\"]\nname = \"Plays\"\n"),
        ("key     = [\"title\"]\n", "key = [\"title\"]\npartition = [\"title\"]\n"),
    ]), @r#"
    x.toml:18:11: `key` is empty
    x.toml:18:12: there is no column `titel`
      help: did you mean `title`?
    x.toml:18:21: `title` is in the key twice
    x.toml:17:1: [table] lacks `key`
      help: the columns that identify a row, such as key = ["id"]; or `mode = "append"`, which adds every row
    x.toml:18:7: `key` has no meaning with `mode = "append"`
      help: every row is added: leave `key` out, or the mode
    x.toml:19:8: there is no mode `insert`
      help: known: `upsert`, `append`
    x.toml:19:8: `Plays` cannot be the name of a table
      help: a letter, then letters, digits and `_`, lower-case, at most 63; try `plays`
    x.toml:19:1: unknown key `partition` in [table]
      help: known: `name`, `mode`, `columns`, `key`
    "#);
    let (head, _) = ALL.split_once("columns = ").unwrap();
    insta::assert_snapshot!(Definition::parse("x.toml", head).unwrap_err().to_string(), @r#"
    x.toml:17:1: the field `first-night` cannot be the name of a column
      help: name it in `columns`, such as { name = "first_night", field = "first-night" }
    "#);
    let empty =
        "name = \"a\"\ntitle = \"A\"\nitems = [{ upload = \"json\" }]\nrecord.fields = []\ntable.mode = \"append\"\n";
    insta::assert_snapshot!(Definition::parse("x.toml", empty).unwrap_err().to_string(), @r#"
    x.toml:5:1: the table has no columns
      help: name the fields in [record], or say `columns`
    "#);
}

#[test]
fn columns() {
    insta::assert_snapshot!(each(&[
        ("{ name = \"title\" },\n  { name = \"price\", type = \"decimal\"", "{ name = \"title\" }, { name = \"title\" },\n  { name = \"price\", type = \"decimal\""),
        ("\"seconds\", field", "\"lengthInSeconds\", field"),
        ("field = \"length\"", "field = \"lenght\""),
        ("field = \"length\"", "field = \"length\", value = \"1\""),
        ("type = \"integer\"", "type = \"int\""),
        ("type = \"integer\"", "type = \"date\""),
        ("type = \"integer\"", "type = \"integer\", scale = 2"),
        ("type = \"integer\"", "type = \"integer\", constraint = { required = true }"),
        ("type = \"integer\"", "type = \"integer\", constraints = { minimum = 1 }"),
        ("precision = 12, ", ""),
        ("precision = 12", "precision = 39"),
        ("scale = 2", "scale = 13"),
        ("record.acts", "record.act"),
        ("record.acts", "acts"),
        ("record.acts", "job.date"),
        ("record.acts", "record.title.acts"),
        ("| last", "| lats"),
        ("| last", "| last("),
    ]), @r#"
    x.toml:20:23: there are two columns `title`
    x.toml:23:12: `lengthInSeconds` cannot be the name of a column
      help: a letter, then letters, digits and `_`, lower-case, at most 63; try `lengthinseconds`
    x.toml:23:31: no record has a field `lenght`
      help: did you mean `length`?
    x.toml:23:49: a column has a `field` or a `value`, not both
      help: leave one of them out
    x.toml:23:48: no column has the type `int`
      help: did you mean `integer`?
    x.toml:23:3: the field `length` is a duration, which no date is made of
      help: types that would do: `string`, `integer`, `number`, `decimal`
    x.toml:23:67: `scale` is for `type = "decimal"` only
    x.toml:23:59: unknown key `constraint` in a column
      help: did you mean `constraints`?
    x.toml:23:75: unknown key `minimum` in `constraints`
      help: known: `required`
    x.toml:21:3: a column lacks `precision`
    x.toml:21:51: `precision` must be between 1 and 38, found 39
    x.toml:21:63: `scale` must be between 0 and 12, found 13
    x.toml:22:36: `record` has no field `act`
      help: did you mean `acts`?
    x.toml:22:36: there is no item set `acts`
      help: known: `record`
    x.toml:22:36: `job` is not offered in [table]
      help: a row is made of its `record` alone
    x.toml:22:36: `record.title` is a single value
      help: write `record.title`
    x.toml:22:50: unknown filter `lats`
      help: known: `slug`, `lower`, `upper`, `replace`, `trim`, `default`, `int`, `round`, `string`, `length`, `map`, `join`
    x.toml:22:56: template: unexpected `}`
    "#);
    // What an array holds is not known before there is one.
    for value in ["record.acts[0].title", "record.acts | map(attribute='a') | select | first", "record.acts.size"] {
        Definition::parse("x.toml", &changed(&("record.acts | last", value)))
            .unwrap_or_else(|it| panic!("{value}: {it}"));
    }
}
