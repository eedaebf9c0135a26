//! Whole files, by definitions that are shipped with the binary.

use bytes::Bytes;
use futures::stream;
use waybill_source::{Catalog, Definition};

use crate::{LoadError, Refused, load::tests::world::World};

fn pieces(text: &str, size: usize) -> impl futures::Stream<Item = Result<Bytes, std::io::Error>> {
    let pieces: Vec<_> = text.as_bytes().chunks(size).map(|piece| Ok(Bytes::copy_from_slice(piece))).collect();
    stream::iter(pieces)
}

fn shipped(name: &str) -> std::sync::Arc<Definition> {
    Catalog::shipped().with_tables().get(name).unwrap().clone()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_csv_becomes_a_table_and_a_newer_one_updates_it() {
    let world = World::new().await;
    let movie = shipped("movie");
    let first = "title,duration_mins,original_language,size_mb\nAlien,117,en,900\nBrazil,long,en,1\nClue,94,,700\n";
    let loaded = world.tables.load(&movie, "1", pieces(first, 7)).await.unwrap();
    assert_eq!((loaded.rows, loaded.inserted, loaded.rejected), (2, 2, 1));
    assert_eq!(loaded.report.iter().map(|row| row.place).collect::<Vec<_>>(), [3]);
    let second = "title,duration_mins,original_language,size_mb\nAlien,116,en,901\nDune,137,en,1200\n";
    let loaded = world.tables.load(&movie, "2", pieces(second, 1_000)).await.unwrap();
    assert_eq!((loaded.inserted, loaded.replaced), (1, 1));
    assert_eq!(world.read("movie").await, ["Alien,116,en,901", "Clue,94,,700", "Dune,137,en,1200"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_read_is_refused_and_leaves_no_table() {
    let world = World::new().await;
    let error = world.tables.load(&shipped("movie"), "1", pieces("PK\u{3}\u{4}, a zip\n", 5)).await.unwrap_err();
    assert!(matches!(error, LoadError::Refused(Refused::Unreadable(_))), "{error:?}");
    let no_table = world.tables.load(&shipped("weather"), "1", pieces("", 1)).await.unwrap_err();
    assert!(matches!(no_table, LoadError::Refused(Refused::NoTable { .. })), "{no_table:?}");

    let row = "title,duration_mins,original_language,size_mb\nAlien,117,en,900\n";
    let cut = [Ok(Bytes::from_static(row.as_bytes())), Err(std::io::Error::other("the line is dead"))];
    let error = world.tables.load(&shipped("movie"), "1", stream::iter(cut)).await.unwrap_err();
    assert!(matches!(error, LoadError::Transient(_)), "{error:?}");
    assert!(world.tables.names().await.unwrap().is_empty());
}
