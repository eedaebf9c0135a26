//! The commit of a load. Its application transaction has the load's id, and as its version that of the commit, in which
//! the numbers of the load stand: a load that comes again finds them.

use std::collections::HashSet;

use datafusion::arrow::datatypes::SchemaRef;
use deltalake_core::{
    DeltaTable, DeltaTableError,
    kernel::{
        Action, Add, MetadataExt, StructType, Transaction,
        engine::arrow_conversion::TryIntoKernel,
        transaction::{CommitBuilder, TableReference},
    },
    logstore::get_actions,
    protocol::{DeltaOperation, SaveMode},
};
use serde_json::{Value, json};
use waybill_source::{Mode, Table};

use crate::{
    delta::once,
    errors::{LoadError, Refused},
    load::merge::Counts,
};

/// Where the numbers stand in a commit's information.
const NUMBERS: &str = "waybill";

/// What a load changes.
pub(super) struct Commit<'a> {
    /// The version that the load was made from: the commit is the next one, or fails.
    pub(super) there: &'a DeltaTable,
    pub(super) id: &'a str,
    pub(super) schema: &'a SchemaRef,
    pub(super) added: Vec<Add>,
    /// Addresses of data files whose rows are in others now.
    pub(super) removed: HashSet<String>,
    pub(super) counts: Counts,
}

impl Commit<'_> {
    pub(super) async fn write(self, table: &Table) -> Result<(), LoadError> {
        let version = self.there.snapshot()?.version() + 1;
        let transaction = Transaction::new_with_last_update(
            app_id(self.id),
            i64::try_from(version).unwrap_or(i64::MAX),
            Some(jiff::Timestamp::now().as_millisecond()),
        );
        let Counts { inserted, replaced } = self.counts;
        // The id of this attempt: of two that commit at once, only one finds its own bytes there.
        let numbers = json!({ "inserted": inserted, "replaced": replaced, "attempt": uuid::Uuid::now_v7() });
        let properties =
            once().with_application_transaction(transaction).with_metadata([(NUMBERS.to_owned(), numbers)]);
        let operation = match table.mode {
            Mode::Append => DeltaOperation::Write { mode: SaveMode::Append, partition_by: None, predicate: None },
            Mode::Upsert => DeltaOperation::Merge {
                predicate: None,
                merge_predicate: None,
                matched_predicates: Vec::new(),
                not_matched_predicates: Vec::new(),
                not_matched_by_source_predicates: Vec::new(),
            },
        };
        let there = self.there;
        let actions = self.actions()?;
        let state: &dyn TableReference = there.snapshot()?;
        let commit = CommitBuilder::from(properties).with_actions(actions);
        commit.build(Some(state), there.log_store(), operation).await?;
        Ok(())
    }

    fn actions(mut self) -> Result<Vec<Action>, LoadError> {
        let snapshot = self.there.snapshot()?;
        let mut actions: Vec<_> = self.added.into_iter().map(Action::Add).collect();
        for file in snapshot.log_data() {
            let address = self.there.table_url().join(&file.path()).map(String::from).unwrap_or_default();
            if self.removed.remove(&address) {
                actions.push(Action::Remove(file.remove_action(true)));
            }
        }
        if let Some(unknown) = self.removed.into_iter().next() {
            return Err(DeltaTableError::generic(format!("{unknown} was read, and is not in the table's log")).into());
        }
        let fields = snapshot.snapshot().arrow_schema();
        if fields.fields().len() < self.schema.fields().len() {
            let new: StructType = self.schema.as_ref().try_into_kernel().map_err(DeltaTableError::from)?;
            let known = snapshot.schema();
            let new = new.fields().filter(|field| known.field(field.name()).is_none());
            let all = StructType::try_new(known.fields().chain(new).cloned()).map_err(DeltaTableError::from)?;
            let metadata = snapshot.metadata().clone().with_schema(&all).map_err(DeltaTableError::from)?;
            actions.push(Action::Metadata(metadata));
        }
        Ok(actions)
    }
}

/// What the load did when it came before; `None` if it never has.
pub(super) async fn done(table: &DeltaTable, id: &str) -> Result<Option<Counts>, LoadError> {
    let log = table.log_store();
    let Some(version) = table.snapshot()?.snapshot().transaction_version(&log, app_id(id)).await? else {
        return Ok(None);
    };
    let version = u64::try_from(version).unwrap_or_default();
    // The log is kept for longer than transactions are.
    let Some(bytes) = log.read_commit_entry(version).await? else { return Ok(Some(Counts::default())) };
    let actions = get_actions(version, &bytes)?;
    let numbers = actions.into_iter().find_map(|action| match action {
        Action::CommitInfo(info) => info.info.get(NUMBERS).cloned(),
        _ => None,
    });
    let number = |name| numbers.as_ref().and_then(|numbers| numbers.get(name)).and_then(Value::as_u64).unwrap_or(0);
    Ok(Some(Counts { inserted: number("inserted"), replaced: number("replaced") }))
}

fn app_id(id: &str) -> String {
    format!("waybill/{id}")
}

/// Refuses tables whose files say less than the table does, or must say more: partitions, column mapping, generated
/// columns, constraints, a feed of changes.
pub(super) fn check(there: &DeltaTable, table: &Table) -> Result<(), LoadError> {
    const PROPERTIES: [&str; 3] = ["delta.columnMapping.mode", "delta.constraints.", "delta.enableChangeDataFeed"];
    let snapshot = there.snapshot()?;
    let metadata = snapshot.metadata();
    let refused = |reason: String| Err(Refused::Foreign { table: table.name.clone(), reason }.into());
    if !metadata.partition_columns().is_empty() {
        return refused("it is partitioned".to_owned());
    }
    if let Some(property) = metadata.configuration().keys().find(|key| PROPERTIES.iter().any(|p| key.starts_with(p))) {
        return refused(format!("it has the property {property}"));
    }
    let schema = snapshot.schema();
    let special = schema.fields().find(|field| field.metadata().keys().any(|key| key.starts_with("delta.")));
    special.map_or(Ok(()), |field| refused(format!("its column {} is generated or checked", field.name())))
}
