//! Windows of time as items, and parameters with defaults.

use std::collections::BTreeMap;

use jiff::civil::date;
use waybill_source::{Definition, Env, ItemDraft, JobContext};

const RATES: &str = include_str!("definitions/rates.toml");

/// Every item of a job of 2024-05-02 with what is asked for and where it goes.
fn planned(source: &Definition, given: &[(&str, &str)]) -> String {
    let given: BTreeMap<_, _> = given.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    let params = match source.bind(&given, date(2024, 5, 2)) {
        Ok(params) => params,
        Err(error) => return error.to_string(),
    };
    let job = JobContext { date: "2024-05-02".into(), params, ..JobContext::default() };
    let mut drafts = vec![ItemDraft::default()];
    for level in 0..source.levels() {
        let below = drafts.iter().map(|draft| source.fixed(level, &job, draft));
        match below.collect::<Result<Vec<_>, _>>() {
            Ok(lists) => drafts = lists.into_iter().flat_map(Option::unwrap).collect(),
            Err(error) => return error.to_string(),
        }
    }
    let line = |draft| {
        let item = source.item(&job.params, draft);
        let items = std::slice::from_ref(&item);
        let request = source.fetch(&job, items, &Env::new()).expect("a request");
        let query: Vec<_> = request.query.iter().map(|(name, value)| format!("{name}={value}")).collect();
        let partition = source.partition(&job, items).expect("a partition");
        format!("{}?{} → {partition} {}", request.path, query.join("&"), item.key)
    };
    drafts.into_iter().map(line).collect::<Vec<_>>().join("\n")
}

#[test]
fn windows_multiply_with_what_is_above_them() {
    let source = Definition::parse("rates.toml", RATES).unwrap();
    insta::assert_snapshot!(planned(&source, &[("to", "2024-05-01")]), @"
    /historical/2024%2F04%2F29?base=EUR&since=1714348800&until=2024-04-29 → date=2024-04-29 EUR
    /historical/2024%2F04%2F30?base=EUR&since=1714435200&until=2024-04-30 → date=2024-04-30 EUR
    /historical/2024%2F04%2F29?base=USD&since=1714348800&until=2024-04-29 → date=2024-04-29 USD
    /historical/2024%2F04%2F30?base=USD&since=1714435200&until=2024-04-30 → date=2024-04-30 USD
    ");
    insta::assert_snapshot!(planned(&source, &[("from", "2024-05-01")]), @"
    /historical/2024%2F05%2F01?base=EUR&since=1714521600&until=2024-05-01 → date=2024-05-01 EUR
    /historical/2024%2F05%2F01?base=USD&since=1714521600&until=2024-05-01 → date=2024-05-01 USD
    ");
    assert_eq!(planned(&source, &[("from", "2024-05-02")]), "", "the day is not over");
}

#[test]
fn bounds_that_make_no_windows_are_refused() {
    let source = Definition::parse("rates.toml", RATES).unwrap();
    insta::assert_snapshot!(planned(&source, &[("from", "2024-05-03")]), @"`dates`: `from`, 2024-05-03, is after `to`, 2024-05-02");
    insta::assert_snapshot!(planned(&source, &[("from", "today")]), @r#"parameter `from`: expected a date such as 2024-05-01, in the years 1900 to 2199, found "today""#);
}
