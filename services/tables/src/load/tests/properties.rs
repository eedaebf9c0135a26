//! Any loads, in any order of rows, leave what a map would.

use std::collections::BTreeMap;

use datafusion::arrow::{array::RecordBatch, compute::concat_batches};
use proptest::{collection::vec, prelude::*};
use waybill_source::{ColumnType, Table, TableRow};

use crate::load::{
    columns::{Columns, with_row},
    merge::Merge,
    tests::world::{World, film, films, number, shown, text},
};

/// Rows of few keys, so that they meet.
fn rows() -> impl Strategy<Value = Vec<(u8, i64)>> {
    vec((0..8_u8, 0..100_i64), 0..12)
}

/// Films whose title is an integer, or a text and an integer.
fn keyed_by(shape: u8) -> Table {
    let mut table = films();
    match shape {
        0 => {}
        1 => table.columns[0].kind = ColumnType::Integer,
        _ => {
            table.columns.push(table.columns[0].clone());
            table.columns[2].name = "country".to_owned();
            table.key = vec![2, 0];
        }
    }
    table
}

fn row(shape: u8, key: u8, minutes: i64) -> TableRow {
    let cells = match shape {
        0 => vec![text(&key.to_string()), number(minutes)],
        1 => vec![number(key.into()), number(minutes)],
        _ => vec![text(&(key % 3).to_string()), number(minutes), text(&(key / 3).to_string())],
    };
    TableRow { place: 1, cells: Ok(cells) }
}

fn shown_row(shape: u8, key: u8, minutes: i64) -> String {
    match shape {
        0 | 1 => format!("{key},{minutes}"),
        _ => format!("{},{minutes},{}", key % 3, key / 3),
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 12, ..ProptestConfig::default() })]

    #[test]
    fn loads_leave_what_a_map_would(loads in vec((rows(), any::<bool>()), 1..5), shape in 0..3_u8) {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        runtime.block_on(async {
            let world = World::new().await;
            let mut map = BTreeMap::new();
            for (n, (rows, twice)) in loads.iter().enumerate() {
                let (before, table) = (map.len(), keyed_by(shape));
                for _ in 0..=u8::from(*twice) {
                    let rows = rows.iter().map(|&(key, minutes)| row(shape, key, minutes));
                    let loaded = world.load(&table, &n.to_string(), rows).await.unwrap();
                    for &(key, minutes) in loads[n].0.iter() {
                        map.insert(key, minutes);
                    }
                    let keys = loads[n].0.iter().map(|row| row.0).collect::<std::collections::BTreeSet<_>>();
                    assert_eq!(loaded.inserted, (map.len() - before) as u64);
                    assert_eq!(loaded.inserted + loaded.replaced, keys.len() as u64);
                }
            }
            let mut expected: Vec<_> = map.iter().map(|(&key, &minutes)| shown_row(shape, key, minutes)).collect();
            expected.sort_unstable();
            assert_eq!(world.read("film").await, expected);
        });
    }
}

proptest! {
    #[test]
    fn a_merge_does_not_depend_on_where_batches_were_cut(
        mut rows in vec((0..6_u8, 0..2_i64), 1..40),
        cuts in vec(0..40_usize, 0..8),
    ) {
        // The table's rows have the number 0; within a key the load's come after them.
        rows.sort_by_key(|&(key, loaded)| (key, loaded));
        rows.dedup_by(|next, row| next == row && next.1 == 0);
        let batches = |cuts: &[usize]| -> Vec<RecordBatch> {
            let mut columns = Columns::new(&films());
            let mut batches = Vec::new();
            for (at, &(key, loaded)) in rows.iter().enumerate() {
                if cuts.contains(&at) {
                    batches.extend(columns.take().unwrap());
                }
                let cells = film(&key.to_string(), at as i64).cells.unwrap();
                columns.push(loaded * (at as i64 + 1), cells);
            }
            batches.extend(columns.take().unwrap());
            batches
        };
        let whole = merged(&batches(&[]));
        prop_assert_eq!(&whole, &merged(&batches(&cuts)));
        let last: BTreeMap<_, _> = rows.iter().enumerate().map(|(at, &(key, _))| (key, at)).collect();
        let expected: Vec<_> = last.iter().map(|(key, at)| format!("{key},{at}")).collect();
        prop_assert_eq!(whole, expected);
    }
}

fn merged(batches: &[RecordBatch]) -> Vec<String> {
    let schema = crate::delta::schema::arrow(&films());
    assert_eq!(batches[0].schema(), with_row(&schema));
    let mut merge = Merge::new(schema.clone(), vec![0], vec![true; 2]).unwrap();
    let mut out: Vec<_> = batches.iter().map(|batch| merge.push(batch).unwrap()).collect();
    out.push(merge.finish().unwrap());
    shown(&[concat_batches(&schema, &out).unwrap()])
}
