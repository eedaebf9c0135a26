//! What people see of a wrong definition.

use proptest::prelude::*;
use waybill_source::Definition;

const BUSES: &str = include_str!("../sources/buses.toml");
const RATES: &str = include_str!("definitions/rates.toml");
const STATIONS: &str = include_str!("definitions/stations.toml");

/// A definition with some of its text replaced, each once, and what is said of it.
fn said(text: &str, changes: &[(&str, &str)]) -> String {
    let mut wrong = text.to_owned();
    for (from, to) in changes {
        assert!(wrong.contains(from), "{from}");
        wrong = wrong.replacen(from, to, 1);
    }
    match Definition::parse("x.toml", &wrong) {
        Err(diagnostics) => {
            let shown = diagnostics.to_string();
            assert_eq!(shown.lines().filter(|line| line.starts_with("x.toml:")).count(), diagnostics.0.len());
            shown
        }
        Ok(_) => panic!("accepted: {changes:?}"),
    }
}

fn buses(changes: &[(&str, &str)]) -> String {
    said(BUSES, changes)
}

fn stations(changes: &[(&str, &str)]) -> String {
    said(STATIONS, changes)
}

/// One change each, and what is said of it.
fn each(changes: &[(&str, &str)]) -> String {
    changes.iter().map(|change| buses(std::slice::from_ref(change))).collect::<Vec<_>>().join("\n")
}

#[test]
fn unknown_keys() {
    insta::assert_snapshot!(
        buses(&[("records = \"$[*]\"                                         #", "recrods = \"$[*]\" #"), ("[store]", "[stroe]"), ("timeout ", "time_out ")]), @r#"
    x.toml:1:1: a definition lacks `store`
    x.toml:7:1: [[items]] lacks `records`
    x.toml:10:1: unknown key `recrods` in [[items]]
      help: did you mean `records`?
    x.toml:24:1: unknown key `time_out` in [fetch]
      help: did you mean `timeout`?
    x.toml:42:2: unknown key `stroe` in a definition
      help: did you mean `store`?
    "#);
}

/// One change each of the definition with windows, and what is said of it.
fn rates(changes: &[(&str, &str)]) -> String {
    changes.iter().map(|change| said(RATES, std::slice::from_ref(change))).collect::<Vec<_>>().join("\n")
}

#[test]
fn windows_of_time() {
    insta::assert_snapshot!(rates(&[
        (", step = \"P1D\"", ""),
        ("step = \"P1D\"", "step = \"1d\""),
        ("step = \"P1D\"", "step = \"P0D\""),
        ("step = \"P1D\"", "step = \"P1M1D\""),
        ("step = \"P1D\"", "step = \"PT1H\""),
        ("step = \"P1D\"", "step = \"P1D\", unit = \"P2D\""),
        ("step = \"P1D\"", "step = \"P1D\", future = \"no\""),
        ("step = \"P1D\"", "step = \"P1D\", until = \"now\""),
        ("{{ params.to }}", "{{ params.till }}"),
        ("{{ params.to }}", "{{ env.TO }}"),
        ("step = \"P1D\" }", "step = \"P1D\" }\nlist = [1]"),
        ("day.last", "day.end"),
        ("day.from | epoch", "day.from | epoc"),
        ("date={{ day.from }}", "date={{ job.date }}"),
    ]), @r#"
    x.toml:17:9: `dates` lacks `step`
      help: how long a window is: P1D, P7D, P1M, P1Y, PT1H
    x.toml:17:70: `1d` is no length for `step`
      help: one unit of the calendar: P1D, P7D, P1M, P1Y, PT1H, PT15M
    x.toml:17:70: `P0D` is no length for `step`
      help: one unit of the calendar: P1D, P7D, P1M, P1Y, PT1H, PT15M
    x.toml:17:70: `P1M1D` is no length for `step`
      help: one unit of the calendar: P1D, P7D, P1M, P1Y, PT1H, PT15M
    x.toml:17:9: `unit` is longer than `step`
      help: `last` is `to` less a `unit`: say `unit = "PT1S"`, or what the upstream counts in
    x.toml:33:14: the part `date` must be a date such as 2024-05-01
      help: make it of `job.date`, or of a parameter or a field whose type is `date`
    x.toml:17:84: `unit` is longer than `step`
      help: `last` is `to` less a `unit`: say `unit = "PT1S"`, or what the upstream counts in
    x.toml:17:86: `future` must be true or false, found a string
    x.toml:17:77: unknown key `until` in `dates`
      help: known: `from`, `to`, `step`, `unit`, `lookback`, `future`
    x.toml:17:48: there is no parameter `till`
      help: known: `from`, `to`
    x.toml:17:44: `env` is not offered here
      help: windows are in keys, which everybody sees
    x.toml:18:8: `list` has no meaning beside `dates`
      help: the items are windows of time, each with `from`, `to` and `last`
    x.toml:22:89: `day` has no field `end`
      help: known: `from`, `to`, `last`
    x.toml:22:66: unknown filter `epoc`
      help: known: `slug`, `lower`, `upper`, `replace`, `trim`, `default`, `int`, `round`, `string`, `length`, `map`, `join`
    x.toml:15:1: the windows of `day` are neither in the key nor in the partition
      help: one would take the place of another: write `{{ day.from }}` into one of them
    "#);
}

#[test]
fn defaults_of_parameters() {
    insta::assert_snapshot!(rates(&[
        ("{{ job.date }}", "{{ previous.from }}"),
        ("{{ job.date }}", "{{ job.date"),
        ("{{ job.date }}", "tomorrow"),
        ("default = \"2024-04-29\"", "default = 7"),
        ("type = \"date\", default = \"2024-04-29\"", "type = \"boolean\", default = \"yes\""),
        ("type = \"date\", default = \"2024-04-29\"", "type = \"day\""),
    ]), @r#"
    x.toml:7:43: `previous.from` is not offered in `default`
      help: a default is a text, or made of `job.date`, the day on which the job is submitted, and `previous.to`
    x.toml:7:43: template: unexpected end of input, expected end of variable block
    x.toml:7:43: `default` must be a date such as 2024-05-01, in the years 1900 to 2199, found "tomorrow"
    x.toml:6:45: `default` must be a string, found an integer
    x.toml:6:48: `default` must be `true` or `false`, found "yes"
    x.toml:6:27: no parameter has the type `day`
      help: known: `date`, `datetime`, `string`, `integer`, `boolean`
    "#);
}

#[test]
fn a_default_that_no_job_can_fill() {
    insta::assert_snapshot!(said(RATES, &[("2024-04-29", "{{ previous.to }}"), ("from = \"{{ params.from }}", "from = \"{{ currency.code }}")]), @"
    x.toml:6:45: `previous.to` is not offered here
      help: it is where the windows of an earlier job ended, and needs `dates` that are made of `params` and `job` only
    ");
    let hours = [
        ("2024-04-29", "{{ previous.to | default('2024-04-29') }}"),
        ("\"P1D\" }", "\"PT6H\", unit = \"PT1S\" }"),
        ("key   = \"{{ currency.code }}", "key   = \"{{ currency.code }}-{{ day.from | slug }}"),
        ("date={{ day.from }}", "date={{ params.to }}"),
    ];
    insta::assert_snapshot!(said(RATES, &hours), @"
    x.toml:6:45: `previous.to` is no date here
      help: windows that are shorter than a day end at a time: say `type = \"datetime\"`
    ");
}

#[test]
fn formats_of_dates() {
    let with = |format: &str| format!("type = \"datetime\", format = \"{format}\",");
    for format in ["default", "any", "%d/%m/%Y %H:%M", "%s"] {
        let text = BUSES.replacen("type = \"datetime\",", &with(format), 1);
        assert!(Definition::parse("x.toml", &text).is_ok(), "{format}");
    }
    insta::assert_snapshot!(each(&[
        ("type = \"datetime\",", &with("%m/%Y")),
        ("type = \"datetime\",", &with("iso")),
        ("type = \"datetime\",", &with("%Q")),
        ("type = \"duration\",", "type = \"duration\", format = \"any\","),
    ]), @r#"
    x.toml:29:58: no day can be read by the format `%m/%Y`: date required to parse datetime: a month/day, day-of-year or week date must be present to create a date, but none were found
      help: `default`, `any`, or a pattern of strptime such as `%d/%m/%Y`
    x.toml:29:58: no day can be read by the format `iso`: date required to parse datetime: year required to parse date
      help: `default`, `any`, or a pattern of strptime such as `%d/%m/%Y`
    x.toml:29:58: no day can be read by the format `%Q`: date required to parse datetime: year required to parse date
      help: `default`, `any`, or a pattern of strptime such as `%d/%m/%Y`
    x.toml:32:58: `format` is for dates and times, not for a duration
    "#);
}

#[test]
fn planned_keys_are_refused_as_such() {
    insta::assert_snapshot!(buses(&[("concurrency = 16", "where = \"record.id > 7\"")]), @r"
    x.toml:23:1: unknown key `where` in [fetch]
      help: it is planned, but this version does not understand it
    ");
}

#[test]
fn syntax() {
    insta::assert_snapshot!(buses(&[("name     = \"buses\"", "name     = buses")]), @"x.toml:2:12: string values must be quoted, expected literal string");
    insta::assert_snapshot!(buses(&[("title ", "name = \"again\"\ntitle ")]), @"x.toml:3:1: duplicate key");
}

#[test]
fn everything_missing() {
    insta::assert_snapshot!(said("", &[]), @r#"
    x.toml:1:1: a definition lacks `name`
    x.toml:1:1: a definition lacks `title`
    x.toml:1:1: a definition lacks `base_url`
    x.toml:1:1: a definition lacks `items`
    x.toml:1:1: a definition lacks `fetch`
    x.toml:1:1: a definition lacks `record`
    x.toml:1:1: a definition lacks `store`
    "#);
    insta::assert_snapshot!(said("[[items]]\n[fetch]\n[record]\n[store]\n", &[]), @r#"
    x.toml:1:1: a definition lacks `name`
    x.toml:1:1: a definition lacks `title`
    x.toml:1:1: a definition lacks `base_url`
    x.toml:1:1: [[items]] lacks `name`
    x.toml:1:1: [[items]] lacks `fields`
    x.toml:1:1: [[items]] lacks `path`
    x.toml:1:1: [[items]] lacks `records`
    x.toml:1:1: [[items]] lacks `key`
    x.toml:2:1: [fetch] lacks `path`
    x.toml:2:1: [fetch] lacks `records`
    x.toml:3:1: [record] lacks `fields`
    x.toml:4:1: [store] lacks `partition`
    "#);
}

#[test]
fn names_and_addresses() {
    insta::assert_snapshot!(each(&[
        ("\"buses\"", "\"City Buses\""),
        ("\"Bus departures of every city on one day\"", "\"\""),
        ("http://127.0.0.1:8000", "ftp://example.com"),
        ("http://127.0.0.1:8000", "127.0.0.1:8000"),
        ("http://127.0.0.1:8000", "https://user:secret@example.com"),
        ("http://127.0.0.1:8000", "https://example.com/?key=1"),
        ("name = \"date\", type = \"date\"", "name = \"date\", type = \"dat\""),
        ("{ name = \"date\", type = \"date\" }", "{ name = \"date\", type = \"date\" }, { name = \"date\", type = \"integer\" }"),
        ("name    = \"city\"", "name    = \"params\""),
    ]), @r#"
    x.toml:2:12: `City Buses` cannot be the name of a source
      help: a letter, then letters, digits and `-`, lower-case, at most 63; try `city-buses`
    x.toml:3:12: `title` must be one line of 1 to 200 characters
    x.toml:4:12: `base_url` must begin with http:// or https://
      help: an address such as https://api.example.com/v1
    x.toml:4:12: `base_url` is no URL: relative URL without a base
      help: an address such as https://api.example.com/v1
    x.toml:4:12: `base_url` must not contain credentials
      help: an address such as https://api.example.com/v1
    x.toml:4:12: `base_url` must not contain `?` or `#`
      help: an address such as https://api.example.com/v1
    x.toml:5:37: no parameter has the type `dat`
      help: did you mean `date`?
    x.toml:5:47: there are two parameters `date`
    x.toml:8:11: the name `params` means something else in templates
    x.toml:11:15: there is no item set `city`
      help: known: `params`
    x.toml:11:29: there is no item set `city`
      help: known: `params`
    x.toml:19:27: there is no item set `city`
      help: known: `params`, `job`, `env`
    x.toml:43:26: there is no item set `city`
      help: known: `params`, `job`
    "#);
}

#[test]
fn wrong_types() {
    insta::assert_snapshot!(each(&[
        ("\"buses\"", "7"),
        ("query       = { date = \"{{ params.date }}\" }", "query = { date = [] }"),
        ("partition = [", "partition = \"\" #"),
        ("required = true", "required = \"yes\""),
        ("concurrency = 16", "concurrency = 1.5"),
    ]), @r#"
    x.toml:2:12: `name` must be a string, found an integer
    x.toml:20:18: `date` must be a string, a whole number or a boolean, found a list
    x.toml:43:13: `partition` must be a list, found a string
    x.toml:29:76: `required` must be true or false, found a string
    x.toml:23:15: `concurrency` must be a whole number, found a float
    "#);
}

#[test]
fn templates() {
    insta::assert_snapshot!(each(&[
        ("{{ city.id }}/stats", "{{ city.id /stats"),
        ("{{ city.id }}/stats", "{{ city.ident }}/stats"),
        ("{{ city.id }}/stats", "{{ city.idd }}/stats"),
        ("{{ city.id }}/stats", "{{ town.id }}/stats"),
        ("{{ city.id }}/stats", "{{ city }}/stats"),
        ("{{ city.id }}/stats", "{{ city.name.first }}/stats"),
        ("{{ city.id }}/stats", "{{ env.TOKEN.first }}/stats"),
        ("{{ city.id }}/stats", "{{ range(3) }}/stats"),
        ("{{ params.date }}", "{{ params.day }}"),
        ("city.name | slug", "city.name | slugify"),
        ("city.name | slug", "(city.name if city.id else city.name | nope)"),
        ("city.name | slug", "city.name is nope"),
        ("\"/cities\"", "\"cities\""),
        ("\"/cities\"", "\"/cities?page=1\""),
        ("\"/cities\"", "\"/all cities\""),
        ("\"{{ city.id }}-{{ city.name | slug }}\"", "\"\""),
    ]), @r#"
    x.toml:19:36: template: unexpected end of input, expected end of variable block
    x.toml:19:27: `city` has no field `ident`
      help: did you mean `id`?
    x.toml:19:27: `city` has no field `idd`
      help: did you mean `id`?
    x.toml:19:27: there is no item set `town`
      help: known: `params`, `job`, `env`, `city`
    x.toml:19:27: template: a map is no text: name one of its values
    x.toml:19:27: `city.name` is a single value
      help: write `city.name`
    x.toml:19:27: `env` is not offered in a path
      help: paths are shown and stored: a secret goes into `auth`, `headers` or `query`
    x.toml:19:27: there is no item set `range`
      help: known: `params`, `job`, `env`, `city`
    x.toml:20:28: there is no parameter `day`
      help: known: `date`
    x.toml:11:41: unknown filter `slugify`
      help: did you mean `slug`?
    x.toml:11:68: unknown filter `nope`
      help: known: `slug`, `lower`, `upper`, `replace`, `trim`, `default`, `int`, `round`, `string`, `length`, `map`, `join`
    x.toml:11:42: template: test nope is unknown
    x.toml:9:11: the path `cities` must begin with `/`
    x.toml:9:11: the path `/cities?page=1` has a `?`: what follows it belongs in `query`
    x.toml:9:11: the path `/all cities` has a character that must be percent-encoded: ' '
    x.toml:11:11: the result is empty
    "#);
}

#[test]
fn items() {
    insta::assert_snapshot!(each(&[
        ("\"$[*]\"", "\"$.cities[0]\""),
        ("\"$[*]\"", "\"$..cities[*]\""),
        ("key     =", "keys    ="),
        ("{ name = \"name\",    type = \"string\" },", "{ name = \"id\", type = \"strin\" },"),
    ]), @r#"
    x.toml:10:20: one element cannot be picked: `[*]` is every element
      help: a path such as `$[*]` or `$.data.items[*]`
    x.toml:10:13: `..` would need the whole document in memory: name the members
      help: a path such as `$[*]` or `$.data.items[*]`
    x.toml:7:1: [[items]] lacks `key`
    x.toml:11:1: unknown key `keys` in [[items]]
      help: did you mean `key`?
    x.toml:11:29: `city` has no field `name`
      help: known: `id`, `country`
    x.toml:14:12: there are two fields `id`
    x.toml:14:25: no field has the type `strin`
      help: did you mean `string`?
    "#);
    insta::assert_snapshot!(stations(&[("\"/regions\"", "\"/{{ station.id }}/regions\"")]), @r#"
    x.toml:9:16: `station` is not known yet
      help: it is listed by a later [[items]]; known here: `params`, `job`, `env`
    "#);
    insta::assert_snapshot!(stations(&[("\"$.data.regions[*]\"", "\"$.data.regions[*]\"\nkey = \"{{ region.code }}\"")]), @"x.toml:11:7: only the last [[items]] has a key");
    insta::assert_snapshot!(stations(&[("name    = \"station\"", "name    = \"region\"")]), @r#"
    x.toml:17:11: there are two item sets `region`
    x.toml:20:15: there is no item set `station`
      help: known: `params`, `region`
    x.toml:20:32: there is no item set `station`
      help: known: `params`, `region`
    x.toml:27:29: there is no item set `station`
      help: known: `params`, `job`, `env`, `region`
    "#);
}

#[test]
fn fetch() {
    insta::assert_snapshot!(each(&[
        ("\"json\"", "\"xml\""),
        ("\"json\"", "\"csv\""),
        ("concurrency = 16", "concurrency = 0"),
        ("\"PT10M\"", "\"10 minutes\""),
        ("\"PT10M\"", "\"PT0S\""),
        ("\"PT10M\"", "\"P2D\""),
        ("\"10 GB\"", "\"10 GBit\""),
        ("\"10 GB\"", "\"99999999999 TB\""),
        ("\"10 GB\"", "0"),
    ]), @r#"
    x.toml:21:15: there is no format `xml`
      help: known: `json`, `ndjson`, `csv`, `rows`
    x.toml:22:15: `records` is for json only: here every line is a record
      help: leave it out
    x.toml:23:15: `concurrency` must be between 1 and 1000, found 0
    x.toml:24:15: `10 minutes` cannot be a timeout
      help: an ISO 8601 duration such as `PT30S`, `PT10M` or `PT2H`, at most a day
    x.toml:24:15: `PT0S` cannot be a timeout
      help: an ISO 8601 duration such as `PT30S`, `PT10M` or `PT2H`, at most a day
    x.toml:24:15: `P2D` cannot be a timeout
      help: an ISO 8601 duration such as `PT30S`, `PT10M` or `PT2H`, at most a day
    x.toml:25:15: `max_bytes` is no size
      help: a size such as "10 GB", "500 MiB" or a number of bytes
    x.toml:25:15: `max_bytes` is no size
      help: a size such as "10 GB", "500 MiB" or a number of bytes
    x.toml:25:15: `max_bytes` is no size
      help: a size such as "10 GB", "500 MiB" or a number of bytes
    "#);
}

#[test]
fn paths_of_records_and_fields() {
    let day = "\"departure-time\", type = \"datetime\"";
    insta::assert_snapshot!(each(&[
        ("records     = \"$[*]\"", "records = \"$..list[*]\""),
        ("records     = \"$[*]\"", "records = \"$.list[?@.a > 1]\""),
        ("records     = \"$[*]\"", "records = \"$.list[-1]\""),
        (day, "\"day\", type = \"datetime\", path = \"$.a[*]\""),
        (day, "\"day\", type = \"datetime\", path = \"a.b\""),
        (day, "\"day\", type = \"object\", path = \"~\""),
        (day, "\"day\", type = \"datetime\", path = \"$.passengers\""),
        (day, "\"day\", type = \"any\", format = \"any\""),
        ("[record] ", "[record]\nfieldsMatch = \"exact\""),
        ("type = \"integer\" },\n  { name = \"name\"", "type = \"any\" },\n  { name = \"name\""),
    ]), @r#"
    x.toml:22:13: `..` would need the whole document in memory: name the members
      help: a path such as `$[*]` or `$.data.items[*]`
    x.toml:22:18: a filter cannot be in a path: every record is read
      help: a path such as `$[*]` or `$.data.items[*]`
    x.toml:22:18: the end of an array is not known while it is read: `[*]` is every element
      help: a path such as `$[*]` or `$.data.items[*]`
    x.toml:29:49: a path leads to one value: name members and indices
      help: a path in the record such as `$.id` or `$.period.from`; `$` is the record, `~` its own name
    x.toml:29:46: a path begins with `$`
      help: a path in the record such as `$.id` or `$.period.from`; `$` is the record, `~` its own name
    x.toml:29:3: a member's name is text, and `day` is an object
      help: such as `string`
    x.toml:31:3: `passengers` and `day` have the same path
    x.toml:29:42: `format` is for dates and times, not for any value
    x.toml:28:15: there is no fieldsMatch `exact`
      help: known: `partial`, `superset`
    x.toml:13:3: a value of an item is a text, a number or a boolean, and `id` is any value
      help: name a value in it by its `path`
    "#);
    let flat = |path: &str, format: &str, kind: &str| {
        let field = format!("\"day\", type = \"{kind}\", path = \"{path}\"");
        buses(&[("format      = \"json\"", format), (day, &field)])
    };
    let name =
        buses(&[("records     = \"$[*]\"", "records = \"$.a\""), (day, "\"day\", type = \"datetime\", path = \"~\"")]);
    let csv = "format = \"csv\"";
    insta::assert_snapshot!([name, flat("$.a.b", csv, "any"), flat("~", csv, "any"), flat("$.a", csv, "array")].join("\n"), @r#"
    x.toml:18:1: `day` is a member's name, and these records have none
      help: only members of an object have names: `records` in json that ends in `[*]`
    x.toml:18:1: the path of `day` leads into a record, and a row of csv is flat
      help: a column is a path such as `$.id` or `$['post id']`
    x.toml:22:15: `records` is for json only: here every line is a record
      help: leave it out
    x.toml:18:1: the path of `day` leads into a record, and a row of csv is flat
      help: a column is a path such as `$.id` or `$['post id']`
    x.toml:22:15: `records` is for json only: here every line is a record
      help: leave it out
    x.toml:29:3: a member's name is text, and `day` is any value
      help: such as `string`
    x.toml:18:1: a cell is text, and `day` is an array
    x.toml:22:15: `records` is for json only: here every line is a record
      help: leave it out
    "#);
    let size = |size: &str| buses(&[("max_bytes ", &format!("max_record = {size}\nmax_bytes "))]);
    insta::assert_snapshot!([size("\"65 MiB\""), size("0")].join("\n"), @r#"
    x.toml:25:14: `max_record` is too large
      help: a record is held in memory: at most "64 MiB"
    x.toml:25:14: `max_record` is no size
      help: a size such as "4 MiB" or a number of bytes
    "#);
    let rows =
        buses(&[("format      = \"json\"", "format = \"rows\""), ("records     = \"$[*]\"", "records = \"$.values\"")]);
    insta::assert_snapshot!([rows, flat("$.a.b", "format = \"rows\"", "any")].join("\n"), @r#"
    x.toml:22:11: the records of `rows` are the elements of an array
      help: a path such as `$[*]` or `$.values[*]`; the first row names the columns
    x.toml:18:1: the path of `day` leads into a record, and a row of rows is flat
      help: a column is a path such as `$.id` or `$['post id']`
    "#);
}

#[test]
fn records_need_no_fields() {
    let (before, after) = BUSES.split_once("[record]").unwrap();
    let (_, after) = after.split_once("[stats]").unwrap();
    let stats = after.split_once("[store]").unwrap().1;
    let text = format!("{before}[record]\nfields = []\n[stats]\nbus_count = \"count\"\n[store]{stats}");
    let source = Definition::parse("x.toml", &text).unwrap();
    let mut scanner = source.scanner();
    scanner.push(b"[{\"a\":1},{}]").unwrap();
    assert_eq!(scanner.finish().unwrap().records, 2);
}

#[test]
fn records() {
    insta::assert_snapshot!(each(&[
        ("minimum = 0", "minimum = 10, maximum = 9"),
        ("minimum = 0", "minimum = \"many\""),
        ("minimum = 0", "enum = [\"1\"]"),
        ("minimum = 0", "minLength = 1"),
        ("type = \"boolean\",  constraints = { required = true", "type = \"boolean\",  constraints = { minimum = 1"),
        ("type = \"datetime\"", "type = \"timestamp\""),
        ("type = \"duration\", constraints = { required = true", "type = \"duration\", constraints = { minimum = \"P1M\""),
        ("\"bus-type\",  ", "\"accident\","),
    ]), @r#"
    x.toml:31:106: `maximum` is less than `minimum`: no value could satisfy both
    x.toml:31:92: `minimum` cannot be compared with an integer
      help: a plain decimal number such as 0, -1.5 or "0.000000001"
    x.toml:31:89: `enum` is for strings, not for an integer
    x.toml:31:82: unknown key `minLength` in `constraints`
      help: known: `required`, `minimum`, `maximum`, `enum`
    x.toml:33:75: `minimum` is for numbers and durations, not for a boolean
    x.toml:29:37: no field has the type `timestamp`
      help: known: `string`, `integer`, `number`, `boolean`, `datetime`, `date`, `duration`, `object`, `array`, `any`
    x.toml:32:75: `minimum` cannot be compared with a duration
      help: an ISO 8601 duration such as `PT1H`, or a number of seconds
    x.toml:33:12: there are two fields `accident`
    "#);
}

#[test]
fn statistics() {
    insta::assert_snapshot!(each(&[
        ("{ sum = \"passengers\" }", "{ sum = \"passenger\" }"),
        ("{ sum = \"passengers\" }", "{ sum = \"bus-type\" }"),
        ("{ sum = \"passengers\" }", "{ all = \"passengers\" }"),
        ("{ sum = \"passengers\" }", "{ sum = \"passengers\", max = \"passengers\" }"),
        ("{ sum = \"passengers\" }", "{ median = \"passengers\" }"),
        ("{ sum = \"passengers\" }", "{ sum = \"passengers\", decimals = 2 }"),
        ("{ avg = \"delay\" }", "{ avg = \"delay\", decimals = 10 }"),
        ("{ sum = \"passengers\" }", "{ count = \"accident\" }"),
        ("{ sum = \"passengers\" }", "{ count = {} }"),
        ("{ sum = \"passengers\" }", "{ count = { accident = true, passengers = 1 } }"),
        ("{ sum = \"passengers\" }", "{ count = { acident = true } }"),
        ("{ sum = \"passengers\" }", "{ count = { accident = \"true\" } }"),
        ("{ sum = \"passengers\" }", "{ count = { passengers = 1.5 } }"),
        ("{ sum = \"passengers\" }", "{ count = { delay = \"PT1M\" } }"),
        ("{ sum = \"passengers\" }", "{ count = { accident = true }, decimals = 2 }"),
        ("= \"count\"", "= \"number\""),
        ("bus_count ", "Bus-Count "),
        ("bus_count ", "records "),
        ("passenger_count =", "total_delay_s ="),
    ]), @r#"
    x.toml:38:27: no record has a field `passenger`
      help: did you mean `passengers`?
    x.toml:38:27: `sum` is of a number or a duration, and `bus-type` is a string
      help: fields that would do: `passengers`, `delay`
    x.toml:38:27: `all` is of a boolean, and `passengers` is an integer
      help: fields that would do: `accident`
    x.toml:38:19: statistic `passenger_count` must have exactly one of `count`, `sum`, `min`, `max`, `any`, `all`, `avg`
    x.toml:38:19: statistic `passenger_count` must have exactly one of `count`, `sum`, `min`, `max`, `any`, `all`, `avg`
    x.toml:38:21: unknown key `median` in statistic `passenger_count`
      help: known: `count`, `sum`, `min`, `max`, `any`, `all`, `avg`, `decimals`
    x.toml:38:52: `decimals` is for `avg` only: the others are exact
    x.toml:40:47: `decimals` must be between 0 and 9, found 10
    x.toml:38:29: `count` must name one field
      help: a field and the value that is counted: { count = { accident = true } }; of all records: "count"
    x.toml:38:29: `count` must name one field
      help: a field and the value that is counted: { count = { accident = true } }; of all records: "count"
    x.toml:38:29: `count` must name one field
      help: a field and the value that is counted: { count = { accident = true } }; of all records: "count"
    x.toml:38:31: no record has a field `acident`
      help: did you mean `accident`?
    x.toml:38:42: the value of `accident` must be a boolean, found a string
    x.toml:38:44: the value of `passengers` must be an integer, found a float
    x.toml:38:39: `count` compares with a value, and `delay` is a duration
      help: types that can be compared: `string`, `integer`, `boolean`
    x.toml:38:61: `decimals` is for `avg` only: the others are exact
    x.toml:37:19: there is no statistic `number`
      help: write "count", or a kind and a field: { sum = "passengers" }
    x.toml:37:1: `Bus-Count` cannot be a name
      help: a letter, then letters, digits and `_`, lower-case, at most 63
    x.toml:37:1: `records` would be stored as `records`, which says where an object came from
      help: give it another name
    x.toml:40:1: `average_delay_s` and `total_delay_s` would both be stored as `total-delay-s`
      help: give one of them another name
    "#);
}

#[test]
fn partitions() {
    insta::assert_snapshot!(each(&[
        ("\"country={{ city.country | slug }}\", \"date={{ params.date }}\"", "\"date={{ params.date }}\", \"country={{ city.country }}\""),
        ("\"date={{ params.date }}\"", "\"country={{ params.date }}\""),
        ("\"date={{ params.date }}\"", "\"{{ params.date }}\""),
        ("\"date={{ params.date }}\"", "\"date={{ city.name }}\""),
        ("\"date={{ params.date }}\"", "\"date=\""),
        ("\"date={{ params.date }}\"", "\"Date/{{ params.date }}=x\""),
        ("\"date={{ params.date }}\"", "\"b={{ params.date }}\", \"c=x\", \"d=x\", \"e=x\""),
    ]), @r#"
    x.toml:43:14: the part `date` must be the last
      help: then a range of dates is one run of keys
    x.toml:43:51: there are two parts `country`
    x.toml:43:51: `{{ params.date }}` is no part of a partition
      help: a part is `name={{ … }}`, such as "country={{ city.country | slug }}"
    x.toml:43:51: the part `date` must be a date such as 2024-05-01
      help: make it of `job.date`, or of a parameter or a field whose type is `date`
    x.toml:43:51: `date=` is no part of a partition
      help: a part is `name={{ … }}`, such as "country={{ city.country | slug }}"
    x.toml:43:51: `Date/{{ params.date }}` cannot be a name
      help: a letter, then letters, digits and `_`, lower-case, at most 63
    x.toml:43:14: with so many parts a key could be longer than S3's 1024 bytes
    "#);
}

#[test]
fn all_mistakes_are_told_at_once_in_the_order_of_the_file() {
    insta::assert_snapshot!(buses(&[
        ("\"buses\"", "\"Buses\""), ("type = \"date\"", "type = \"day\""), ("$[*]", "[*]"), ("city.id }}/stats", "city.no }}/stats"),
        ("16 ", "0 "), ("\"passengers\",     type = \"integer\"", "\"passengers\", type = \"int\""), ("= \"count\"", "= \"total\""),
    ]), @r#"
    x.toml:2:12: `Buses` cannot be the name of a source
      help: a letter, then letters, digits and `-`, lower-case, at most 63; try `buses`
    x.toml:5:37: no parameter has the type `day`
      help: known: `date`, `datetime`, `string`, `integer`, `boolean`
    x.toml:10:12: a record path begins with `$`
      help: a path such as `$[*]` or `$.data.items[*]`
    x.toml:19:27: `city` has no field `no`
      help: known: `id`, `name`, `country`
    x.toml:23:15: `concurrency` must be between 1 and 1000, found 0
    x.toml:31:33: no field has the type `int`
      help: did you mean `integer`?
    x.toml:37:19: there is no statistic `total`
      help: write "count", or a kind and a field: { sum = "passengers" }
    "#);
}

#[test]
fn escapes_do_not_mislead() {
    insta::assert_snapshot!(buses(&[("\"/cities\"", "\"/\\u0063ities/{{ params.daet }}\"")]), @r#"
    x.toml:9:11: there is no parameter `daet`
      help: did you mean `date`?
    "#);
    insta::assert_snapshot!(buses(&[("Bus departures", "Būs départs"), ("name     =", "ナ = 1\nname     =")]), @"x.toml:2:1: invalid unquoted key, expected letters, numbers, `-`, `_`");
}

#[test]
fn variations_are_accepted() {
    let good = [
        ("max_bytes   = \"10 GB\"", "max_bytes = 1000"),
        ("max_bytes   = \"10 GB\"", "max_bytes = \"1gib\""),
        ("max_bytes   = \"10 GB\"", ""),
        ("timeout     = \"PT10M\"", ""),
        ("concurrency = 16", ""),
        ("http://127.0.0.1:8000", "https://example.com/v1/"),
        (
            "query       = { date = \"{{ params.date }}\" }",
            "query = { date = '{{ params.date }}', limit = 100, all = true }",
        ),
        ("{{ city.id }}/stats", "{{ city['id'] }}/{{ 'a' if city.id > 3 else 'b' | upper }}/stats"),
        (
            "{ name = \"name\",    type = \"string\" }",
            "{ name = \"name\", type = \"string\" }, { name = \"the-code\", type = \"string\" }",
        ),
        ("minimum = 0", "minimum = -1.5, maximum = \"10\""),
        ("{ avg = \"delay\" }", "{ avg = \"passengers\", decimals = 9 }"),
        ("{ avg = \"delay\" }", "{ count = { passengers = -1 } }"),
        ("{ avg = \"delay\" }", "{ count = { accident = false } }"),
        ("{ avg = \"delay\" }", "{ count = { bus-type = '\"x\"' } }"),
    ];
    for (from, to) in good {
        assert!(BUSES.contains(from), "{from}");
        if let Err(diagnostics) = Definition::parse("x.toml", &BUSES.replacen(from, to, 1)) {
            panic!("{to}: {diagnostics}");
        }
    }
    let slash = Definition::parse("x.toml", &BUSES.replace(":8000", ":8000/v1/")).unwrap();
    assert_eq!(slash.base_url(), "http://127.0.0.1:8000/v1");
    assert_eq!(slash.text().len(), BUSES.len() + 4);
    assert_eq!(slash.hash().len(), 64);
}

proptest! {
    /// Whatever is wrong, it is told: nothing panics, and nothing is refused without a reason.
    #[test]
    fn any_cut_definition_is_told_about(text in prop_oneof![Just(BUSES), Just(STATIONS)], from: prop::sample::Index, length in 0usize..200) {
        let from = text.floor_char_boundary(from.index(text.len()));
        let to = text.floor_char_boundary((from + length).min(text.len()));
        if let Err(diagnostics) = Definition::parse("x.toml", &format!("{}{}", &text[..from], &text[to..])) {
            prop_assert!(!diagnostics.0.is_empty());
        }
    }

    #[test]
    fn any_value_of_a_wrong_kind_is_told_about(
        from in prop::sample::select(vec!["\"date\"", "\"string\"", "true", " 0", "16", "\"$[*]\"", "\"count\"", "\"PT10M\"", "\"delay\"", "\"city\""]),
        to in prop::sample::select(vec!["7", "-1", "1.5", "nan", "\"\"", "\"x\"", "[]", "[[]]", "{}", "{ a = {} }", "true", "2024-05-01", "\"{{\""]),
        nth: prop::sample::Index,
    ) {
        let (at, _) = BUSES.match_indices(from).nth(nth.index(BUSES.matches(from).count())).unwrap();
        let wrong = format!("{}{to}{}", &BUSES[..at], &BUSES[at + from.len()..]);
        if let Err(diagnostics) = Definition::parse("x.toml", &wrong) {
            prop_assert!(diagnostics.to_string().starts_with("x.toml:"));
        }
    }
}
