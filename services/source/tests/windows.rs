//! Windows of time as items, and parameters with defaults.

use std::collections::BTreeMap;

use jiff::civil::date;
use waybill_source::{DefaultsFrom, Definition, Env, ItemDraft, JobContext};

const RATES: &str = include_str!("definitions/rates.toml");

fn planned(source: &Definition, given: &[(&str, &str)]) -> String {
    planned_after(source, None, given)
}

/// Every item of a job of 2024-05-02 with what is asked for and where it goes.
fn planned_after(source: &Definition, previous: Option<&str>, given: &[(&str, &str)]) -> String {
    let given: BTreeMap<_, _> = given.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    let params = match source.bind(&given, DefaultsFrom { day: date(2024, 5, 2), previous }) {
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

fn incremental() -> Definition {
    let text = RATES.replace(r#"default = "2024-04-29""#, r#"default = "{{ previous.to | default('2024-04-30') }}""#);
    let text =
        text.replace("params   = [", "params   = [\n  { name = \"kind\", type = \"string\", default = \"spot\" },");
    Definition::parse("rates.toml", &text).expect("it is right")
}

#[test]
fn a_job_goes_on_where_an_earlier_one_ended() {
    let source = incremental();
    assert_eq!(planned(&source, &[]).lines().count(), 4);
    insta::assert_snapshot!(planned_after(&source, Some("2024-05-01"), &[]), @"
    /historical/2024%2F05%2F01?base=EUR&since=1714521600&until=2024-05-01 → date=2024-05-01 EUR
    /historical/2024%2F05%2F01?base=USD&since=1714521600&until=2024-05-01 → date=2024-05-01 USD
    ");
    assert_eq!(planned_after(&source, Some("2024-05-02"), &[]), "");
    let source = Definition::parse("rates.toml", &RATES.replace("2024-04-29", "{{ previous.to }}")).unwrap();
    insta::assert_snapshot!(planned(&source, &[]), @"parameter `from`: expected a date such as 2024-05-01, in the years 1900 to 2199, found nothing, and no earlier job to go on from");
}

#[test]
fn a_mark_is_shared_by_jobs_whose_other_parameters_are_the_same() {
    let source = incremental();
    let from = DefaultsFrom { day: date(2024, 5, 2), previous: None };
    let mark = |given: &[(&str, &str)]| {
        let given = given.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        let params = source.bind(&given, from).unwrap();
        let job = JobContext { date: "2024-05-02".into(), params, ..JobContext::default() };
        let wanted = source.wants_mark(&given, from).unwrap();
        (source.mark(&job).unwrap().map(|mark| (mark.to, mark.others)), wanted)
    };
    let (left, wanted) = mark(&[]);
    let (to, others) = left.unwrap();
    assert_eq!((to.as_str(), others.0["kind"].as_str(), others.0.len()), ("2024-05-02", "spot", 1));
    assert_eq!(wanted, Some(others.clone()));
    assert_eq!(mark(&[("to", "2024-05-01")]).0, Some(("2024-05-01".to_owned(), others.clone())));
    let ahead = mark(&[("to", "2024-06-01")]).0;
    assert_eq!(ahead, Some(("2024-05-02".to_owned(), others.clone())), "what was still to come is fetched again");
    assert_eq!(mark(&[("from", "2024-05-03"), ("to", "2024-06-01")]).0, None, "all of it was still to come");
    assert_eq!(mark(&[("from", "2024-05-02")]), (None, None), "it has no windows, and needs no mark");
    let (other, wanted) = mark(&[("kind", "future")]);
    assert_ne!(other.as_ref().unwrap().1, others);
    assert_eq!(wanted, other.map(|(_, others)| others));
    let plain = Definition::parse("rates.toml", RATES).unwrap();
    let job = JobContext {
        date: "2024-05-02".into(),
        params: plain.bind(&BTreeMap::new(), from).unwrap(),
        ..JobContext::default()
    };
    assert_eq!(plain.mark(&job), Ok(None), "nobody asks for it");
}
