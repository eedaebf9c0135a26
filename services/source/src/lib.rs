//! Source definitions, templates, record checks and statistics.
//!
//! Everything here is pure: text and bytes in, values out. No file is opened, no request sent and no
//! clock read in this crate, so every rule in it can be tested with a literal.

mod catalog;
mod definition;
mod draft;
mod hash;
mod item;
mod job;
mod object_name;
mod object_versions;
mod params;
mod path;
mod record;
mod scan;
mod stats;
mod table;
mod upload;

pub use catalog::Catalog;
pub use definition::{
    Definition, Diagnostic, Diagnostics, Format, Hosts, Limit, Mark, PageAnswer, Pager, PagingError, is_provenance,
};
pub use draft::{Asked, AskedError, Draft, DraftAnswer, DraftError, Inference, InferredField, Looked, LookedRecord};
pub use item::{Credentials, Item, ItemDraft, ItemError, Method, Request, RequestBody};
pub use job::{Env, JobContext};
pub use object_name::{ObjectName, Piece, item_prefix};
pub use object_versions::{Fetch, ObjectVersions, Verdict};
pub use params::{DefaultsFrom, ParamError, Params, parse_date};
pub use path::{FieldPath, RecordPath, RecordPathError, ValuePath};
pub use record::{Constraints, Field, FieldType, Schema, TimeFormat};
pub use scan::{Page, PageParts, Rejection, Scanned, Scanner};
pub use stats::decimal::Decimal;
pub use stats::{Literal, Statistic, Statistics, Totals};
pub use table::{Cell, Column, ColumnType, Mode, RowReader, Table, TableRow, Unreadable};
pub use upload::{
    Columns, Judgement, OnUnknown, OutcomeError, Row, RowBatch, RowOutcome, RowResult, Upload, UploadCheck,
    UploadError, UploadSplitter, UploadSummary,
};
