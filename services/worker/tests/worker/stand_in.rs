//! Against the stand-in upstream, which shares no code with the server of the other tests: what both
//! understand is not a misreading of HTTP that they have in common.

use std::collections::HashMap;

use waybill_ledger::State;
use waybill_upstream::{CityFault, Options, Running, Upstream as StandIn};

use crate::support::{BUSES, PATIENCE, System, Upstream};

async fn system(options: Options) -> (System, StandIn, Running) {
    let stand_in = StandIn::new(options);
    let running = stand_in.start().await.unwrap();
    let mut system = System::stopped(BUSES, Upstream::start().await, PATIENCE).await;
    system.worker.base_urls = HashMap::from([("buses".to_owned(), running.base_url().to_owned())]);
    system.run();
    (system, stand_in, running)
}

#[tokio::test]
async fn faults_end_as_they_should_and_hold_nobody_up() {
    let (system, stand_in, _running) =
        system(Options { cities: 14, records: 50, exact: true, ..Options::default() }).await;
    let faults = [
        CityFault::Status(503),
        CityFault::Status(404),
        CityFault::Html,
        CityFault::Truncated,
        CityFault::WrongField,
        CityFault::MissingField,
        CityFault::Negative,
        CityFault::HugeNumber,
        CityFault::ImpossibleDate,
        CityFault::InvalidUtf8,
    ];
    let failed = faults.len() as u64;
    for (city, fault) in (0..).zip(faults) {
        stand_in.set_city_fault(city, fault);
    }
    for (city, no_fault) in [(10, CityFault::Bom), (11, CityFault::Empty), (12, CityFault::Odd)] {
        stand_in.set_city_fault(city, no_fault);
    }
    let status = system.job().await;
    assert_eq!(status.state, State::Partial);
    assert_eq!((status.tasks.failed, status.tasks.stored), (failed, 4), "{:?}", status.errors);
    // All but the two that never sent a file, each with its report.
    assert_eq!(system.objects("quarantine/").await.len(), 2 * 8);
    assert_eq!(system.data().await.len(), 4);
}

#[tokio::test]
async fn a_hang_up_is_resumed_and_a_second_job_finds_nothing_new() {
    let options = Options { cities: 2, records: 5_000, exact: true, etag: true, range: true, ..Options::default() };
    let (system, stand_in, _running) = system(options).await;
    stand_in.set_city_fault(0, CityFault::First { requests: 1, fault: Box::new(CityFault::HangUp) });
    let first = system.good_job().await;
    assert_eq!((first.tasks.stored, first.records), (2, 10_000));
    assert_eq!(stand_in.requests().answered(206), 1);
    let second = system.good_job().await;
    assert_eq!((second.tasks.unchanged, stand_in.requests().answered(304)), (2, 2));
    stand_in.set_version(1, 1);
    let third = system.good_job().await;
    assert_eq!((third.tasks.stored, third.tasks.unchanged), (1, 1));
    assert_eq!(system.data().await.len(), 2);
}
