//! The object index: of every item, the fetch that counts, with its statistics. It is a view of journals, one for each
//! source and month ([`month_of`]), so that nobody reads ten years to answer for a day.
//!
//! The objects in data/ stay the truth: [`Index::rebuild`] makes the index again from them.

mod entry;
mod keys;
mod listing;
mod object_index;
mod proto;
mod rebuild;
mod rows;
#[cfg(test)]
mod tests;

pub use entry::{month_of, object_keys, stored};
pub use listing::{Built, Months};
pub use object_index::{Index, Known, Month};
pub use proto::{Entry, Fetch as IndexedFetch, Object as IndexedObject, entry::Fact};
pub use rebuild::{RebuildError, Rebuilt, Reconciled};
pub use rows::{Folder, Row, Rows};
