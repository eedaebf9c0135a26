//! What PostgreSQL means by its types, casts and functions, where DataFusion means something else.

mod bounded;
mod casts;
mod checked;
mod functions;
mod intervals;
mod numbers;
mod parts;
mod round;
mod series;
mod text;
mod timestamp;
mod to_char;
mod types;

use std::sync::Arc;

use arrow::{
    array::{RecordBatch, StringArray},
    datatypes::{DataType, Field, Schema},
};
use datafusion::{
    common::DataFusionError,
    datasource::{MemTable, provider_as_source},
    execution::SessionStateBuilder,
    logical_expr::{LogicalPlan, LogicalPlanBuilder},
    optimizer::analyzer::Analyzer,
};

/// Adds PostgreSQL's meaning to a state that has the default functions.
pub(super) fn configure(state: SessionStateBuilder) -> SessionStateBuilder {
    let mut rules = Analyzer::new().rules;
    // Before types are coerced, a cast is one that somebody wrote.
    rules.insert(0, Arc::new(casts::ExplicitCasts));
    rules.insert(1, Arc::new(numbers::ExactAggregates));
    rules.push(Arc::new(checked::CheckedArithmetic));
    let mut state = state
        .with_analyzer_rules(rules)
        .with_type_planner(Arc::new(types::PostgresTypes))
        .with_table_function_list(vec![series::generate_series()]);
    let scalar = state.scalar_functions().get_or_insert_default();
    scalar.retain(|function| !bounded::REMOVED.contains(&function.name()));
    scalar.extend(functions::scalar().into_iter().chain(bounded::bounded()));
    state.aggregate_functions().get_or_insert_default().extend(functions::aggregate());
    state.expr_planners().get_or_insert_default().insert(0, Arc::new(parts::Extract));
    state
}

/// A table of one column.
pub(super) fn table_of_names(mut names: Vec<String>) -> Result<LogicalPlan, DataFusionError> {
    names.sort_unstable();
    let schema = Arc::new(Schema::new(vec![Field::new("table_name", DataType::Utf8, false)]));
    let batch = RecordBatch::try_new(Arc::clone(&schema), vec![Arc::new(StringArray::from(names))])?;
    let table = MemTable::try_new(schema, vec![vec![batch]])?;
    LogicalPlanBuilder::scan("tables", provider_as_source(Arc::new(table)), None)?.build()
}
