//! Loads, one after the other, beside each other, and cut short.

mod faults;
mod files;
mod properties;
mod requests;
mod world;

use datafusion::prelude::SessionContext;
use waybill_source::{Cell, Column, ColumnType, Mode, Table, TableRow};

use super::*;
use crate::load::tests::world::{World, film, films, number, text};

fn added(inserted: u64, replaced: u64, rows: u64) -> Loaded {
    Loaded { rows, inserted, replaced, rejected: 0, report: Vec::new() }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_that_comes_again_replaces_its_row_and_others_stay() {
    let world = World::new().await;
    let first = world.load(&films(), "1", [film("Alien", 117), film("Brazil", 132), film("Clue", 94)]).await.unwrap();
    assert_eq!(first, added(3, 0, 3));
    let second = world.load(&films(), "2", [film("Brazil", 143), film("Dune", 137)]).await.unwrap();
    assert_eq!(second, added(1, 1, 2));
    assert_eq!(world.read("film").await, ["Alien,117", "Brazil,143", "Clue,94", "Dune,137"]);
    assert_eq!(world.tables.names().await.unwrap(), ["film"]);
    assert!(world.tables.provider("none").await.unwrap().is_none());
}

#[tokio::test(flavor = "multi_thread")]
async fn of_several_rows_with_a_key_the_last_counts() {
    let world = World::new().await;
    let rows = || [film("Alien", 1), film("Brazil", 2), film("Alien", 3), film("Alien", 4)];
    assert_eq!(world.load(&films(), "1", rows()).await.unwrap(), added(2, 0, 4));
    assert_eq!(world.read("film").await, ["Alien,4", "Brazil,2"]);
    assert_eq!(world.load(&films(), "2", rows()).await.unwrap(), added(0, 2, 4));
    assert_eq!(world.read("film").await, ["Alien,4", "Brazil,2"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_load_that_comes_again_changes_nothing_and_says_what_it_had_done() {
    let world = World::new().await;
    for mode in [Mode::Upsert, Mode::Append] {
        let table = match mode {
            Mode::Upsert => films(),
            Mode::Append => Table { name: "log".to_owned(), mode, key: Vec::new(), ..films() },
        };
        let first = world.load(&table, "1", [film("Alien", 117), film("Brazil", 132)]).await.unwrap();
        world.load(&table, "2", [film("Alien", 118)]).await.unwrap();
        let rows = world.read(&table.name).await;
        let again = world.load(&table, "1", [film("Alien", 117), film("Brazil", 132)]).await.unwrap();
        assert_eq!(again, first);
        assert_eq!(world.read(&table.name).await, rows);
    }
    assert_eq!(world.read("log").await, ["Alien,117", "Alien,118", "Brazil,132"]);
}

/// In delta-rs 4471, 4475 and 4572, rows of several files that lie at the same place in their files were taken for one
/// row that matches twice.
#[tokio::test(flavor = "multi_thread")]
async fn rows_at_the_same_place_of_many_files_are_replaced_each_by_its_own() {
    let world = World::new().await;
    for part in 0..6 {
        let rows = (0..50).map(|n| film(&format!("{:03}", n * 6 + part), 1));
        world.load(&films(), &format!("part {part}"), rows).await.unwrap();
    }
    let all = world.load(&films(), "all", (0..300).map(|n| film(&format!("{n:03}"), n))).await.unwrap();
    assert_eq!(all, added(0, 300, 300));
    let expected: Vec<_> = (0..300).map(|n| format!("{n:03},{n}")).collect();
    assert_eq!(world.read("film").await, expected);
}

#[tokio::test(flavor = "multi_thread")]
async fn only_files_that_have_a_key_of_the_load_are_written_again() {
    let world = World::new().await;
    world.load(&films(), "1", [film("a", 1), film("m", 1)]).await.unwrap();
    world.load(&films(), "2", [film("b", 1), film("z", 1)]).await.unwrap();
    let before = world.files("film").await;
    // Within the range of both files, and in one of them.
    world.load(&films(), "3", [film("b", 2), film("c", 2)]).await.unwrap();
    let after = world.files("film").await;
    assert_eq!(before.intersection(&after).count(), 1);
    assert_eq!(world.read("film").await, ["a,1", "b,2", "c,2", "m,1", "z,1"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_without_a_key_or_of_another_shape_are_rejected_with_their_place() {
    let world = World::new().await;
    let unreadable = TableRow { place: 9, cells: Err("minutes is no integer: \"long\"".to_owned()) };
    let rows = [
        TableRow { place: 2, cells: Ok(vec![Cell::Null, number(1)]) },
        TableRow { place: 4, cells: Ok(vec![text("Alien"), text("117")]) },
        unreadable,
        TableRow { place: 12, cells: Ok(vec![text("Brazil"), Cell::Null]) },
    ];
    let loaded = world.load(&films(), "1", rows.clone()).await.unwrap();
    assert_eq!((loaded.rows, loaded.rejected), (1, 3));
    let report: Vec<_> = loaded.report.iter().map(|row| (row.place, row.reason.as_str())).collect();
    assert_eq!(
        report,
        [
            (2, "title is null, and it is of the key"),
            (4, "minutes is not of its column's type"),
            (9, "minutes is no integer: \"long\""),
        ]
    );
    assert_eq!(world.read("film").await, ["Brazil,"]);
    assert_eq!(world.load(&films(), "1", rows).await.unwrap(), loaded, "the report is made again");

    let many = (0..1_500).map(|place| TableRow { place, cells: Err("x".repeat(2_000)) });
    let loaded = world.load(&films(), "2", many).await.unwrap();
    assert_eq!((loaded.rows, loaded.rejected, loaded.report.len()), (0, 1_500, 1_000));
    assert!(loaded.report.iter().map(|row| row.reason.len()).sum::<usize>() < 1_000 * 500);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_column_is_added_and_one_that_is_missing_keeps_its_values() {
    let world = World::new().await;
    world.load(&films(), "1", [film("Alien", 117), film("Brazil", 132)]).await.unwrap();
    let column = |name: &str, kind| Column { name: name.to_owned(), kind, is_required: false };
    let columns = vec![column("Year", ColumnType::Integer), column("title", ColumnType::String)];
    let years = Table { columns, key: vec![1], ..films() };
    let row = |title: &str, year| TableRow { place: 1, cells: Ok(vec![number(year), text(title)]) };
    world.load(&years, "2", [row("Brazil", 1985), row("Clue", 1985)]).await.unwrap();
    assert_eq!(world.read("film").await, ["Alien,117,", "Brazil,132,1985", "Clue,,1985"]);
    world.load(&films(), "3", [film("Clue", 94), film("Alien", 116)]).await.unwrap();
    assert_eq!(world.read("film").await, ["Alien,116,", "Brazil,132,1985", "Clue,94,1985"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_column_of_another_type_is_refused_with_both_types() {
    let world = World::new().await;
    world.load(&films(), "1", [film("Alien", 117)]).await.unwrap();
    let mut numbers = films();
    numbers.columns[1].kind = ColumnType::Number;
    let row = TableRow { place: 1, cells: Ok(vec![text("Alien"), Cell::Number(1.5)]) };
    let error = world.load(&numbers, "2", [row]).await.unwrap_err();
    assert_eq!(error.to_string(), "column minutes of table film is integer, and the definition says number");
    assert!(matches!(error, LoadError::Refused(_)));
    let mut cased = films();
    cased.columns[1].name = "Minutes".to_owned();
    let error = world.load(&cased, "3", [film("Alien", 1)]).await.unwrap_err();
    assert!(error.to_string().contains("differs from Minutes in case only"), "{error}");
    assert_eq!(world.read("film").await, ["Alien,117"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn every_type_of_column_can_be_a_key_and_is_read_back() {
    let world = World::new().await;
    let kinds = [
        (ColumnType::Boolean, Cell::Boolean(true), "true"),
        (ColumnType::Integer, number(-7), "-7"),
        (ColumnType::Number, Cell::Number(-0.5), "-0.5"),
        (ColumnType::Decimal(10, 2), Cell::Decimal(12_345), "123.45"),
        (ColumnType::String, text("ä, \"b\""), "ä, \"b\""),
        (ColumnType::Date, Cell::Date(19_844), "2024-05-01"),
        (ColumnType::Timestamp, Cell::Timestamp(32_503_680_000_000_001), "3000-01-01T00:00:00.000001Z"),
    ];
    let columns = kinds.iter().enumerate();
    let columns = columns.map(|(at, (kind, ..))| Column { name: format!("c{at}"), kind: *kind, is_required: true });
    let columns: Vec<_> = columns.collect();
    let row = || [TableRow { place: 1, cells: Ok(kinds.iter().map(|(_, cell, _)| cell.clone()).collect()) }];
    let shown = kinds.iter().map(|(_, _, shown)| *shown).collect::<Vec<_>>().join(",");
    for key in [vec![0], vec![1], vec![2], vec![3], vec![4], vec![5], vec![6], (0..7).collect()] {
        let name = format!("by_{}_{}", key[0], key.len());
        let table = Table { name, mode: Mode::Upsert, columns: columns.clone(), key };
        assert_eq!(world.load(&table, "1", row()).await.unwrap(), added(1, 0, 1));
        assert_eq!(world.load(&table, "2", row()).await.unwrap(), added(0, 1, 1), "{}", table.name);
        assert_eq!(world.read(&table.name).await, [shown.as_str()]);
    }

    let table = Table { name: "all".to_owned(), mode: Mode::Upsert, columns, key: vec![0] };
    let [TableRow { place, cells }] = row();
    let mut cells = cells.unwrap();
    cells[3] = Cell::Decimal(10_000_000_000);
    let too_long = TableRow { place, cells: Ok(cells) };
    assert_eq!(world.load(&table, "1", [too_long]).await.unwrap().rejected, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn of_two_writers_at_once_one_loads_again() {
    let world = World::new().await;
    world.load(&films(), "0", [film("Alien", 1)]).await.unwrap();
    let stale = delta::open(world.tables.objects(), "film").await.unwrap().unwrap();
    world.load(&films(), "1", [film("Alien", 2)]).await.unwrap();
    let late = world.staged(&films(), [film("Brazil", 3)]);
    let error = world.tables.upsert(&stale, &films(), "2", &late).await.unwrap_err();
    assert!(matches!(error, LoadError::Transient(_)), "{error}");
    assert_eq!(world.read("film").await, ["Alien,2"]);

    let writers = (0..4).map(async |writer| {
        for n in 0..3 {
            let id = format!("writer {writer}, {n}");
            let row = || [film(&format!("{writer}"), n), film("Alien", writer)];
            while let Err(error) = world.load(&films(), &id, row()).await {
                assert!(matches!(error, LoadError::Transient(_)), "{error}");
            }
        }
    });
    futures::future::join_all(writers).await;
    assert_eq!(world.read("film").await[..4], ["0,2", "1,2", "2,2", "3,2"]);
    assert_eq!(world.read("film").await.len(), 5);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_load_that_is_made_by_two_at_once_is_done_once() {
    let world = World::new().await;
    let log = Table { name: "log".to_owned(), mode: Mode::Append, key: Vec::new(), ..films() };
    let twice = (0..2).map(async |_| {
        loop {
            match world.load(&log, "same", [film("Alien", 117)]).await {
                Ok(loaded) => break loaded,
                Err(error) => assert!(matches!(error, LoadError::Transient(_)), "{error}"),
            }
        }
    });
    assert_eq!(futures::future::join_all(twice).await, [added(1, 0, 1), added(1, 0, 1)]);
    assert_eq!(world.read("log").await, ["Alien,117"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_load_that_does_not_fit_into_memory_is_sorted_on_the_disk() {
    let world = World::with_memory(24 * 1024 * 1024).await;
    let title = |n: i64| format!("{:064}", n * 7_919 % 150_000);
    world.load(&films(), "1", (0..150_000).map(|n| film(&title(n), 1))).await.unwrap();
    let second = world.load(&films(), "2", (0..150_000).step_by(3).map(|n| film(&title(n), 2))).await.unwrap();
    assert_eq!(second, added(0, 50_000, 50_000));
    let session = SessionContext::new();
    session.register_table("film", world.tables.provider("film").await.unwrap().unwrap()).unwrap();
    let query = "select count(*), count(distinct title), sum(minutes) from film";
    let counts = session.sql(query).await.unwrap().collect().await.unwrap();
    assert_eq!(world::shown(&counts), ["150000,150000,200000"]);
    assert_eq!(
        std::fs::read_dir(world.scratch())
            .unwrap()
            .flat_map(|entry| std::fs::read_dir(entry.unwrap().path()))
            .flatten()
            .count(),
        0
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn maintenance_leaves_the_rows_and_fewer_files() {
    let world = World::new().await;
    for n in 0..12 {
        world.load(&films(), &n.to_string(), [film(&format!("{n:02}"), n)]).await.unwrap();
    }
    let rows = world.read("film").await;
    assert_eq!(world.files("film").await.len(), 12);
    let maintained = world.tables.maintain("film").await.unwrap().unwrap();
    assert_eq!((maintained.compacted, maintained.deleted, maintained.forgotten), (12, 0, 0));
    assert_eq!(world.files("film").await.len(), 1);
    assert_eq!(world.read("film").await, rows);
    assert_eq!(world.load(&films(), "3", [film("03", 3)]).await.unwrap(), added(1, 0, 1), "it is still known");
    world.load(&films(), "new", [film("03", 99)]).await.unwrap();
    assert_eq!(world.read("film").await[3], "03,99");
    assert_eq!(world.tables.maintain("none").await.unwrap(), None);
}
