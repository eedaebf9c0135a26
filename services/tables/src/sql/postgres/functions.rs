//! Functions that PostgreSQL has otherwise, or under another name.

use std::sync::Arc;

use datafusion::{
    functions::{math, string},
    functions_aggregate::{bool_and_or, variance},
    logical_expr::{AggregateUDF, ScalarUDF},
};

use crate::sql::postgres::{parts::date_part, round::round, to_char::to_char};

/// Functions that take the place of DataFusion's of the same name.
pub(super) fn scalar() -> Vec<Arc<ScalarUDF>> {
    let named = |function: Arc<ScalarUDF>, name| Arc::new(Arc::unwrap_or_clone(function).with_aliases([name]));
    vec![
        round(),
        date_part(),
        to_char(),
        named(math::ceil(), "ceiling"),
        named(math::signum(), "sign"),
        named(string::uuid(), "gen_random_uuid"),
    ]
}

/// The same of aggregates.
pub(super) fn aggregate() -> Vec<Arc<AggregateUDF>> {
    let named = |function: Arc<AggregateUDF>, name| Arc::new(Arc::unwrap_or_clone(function).with_aliases([name]));
    vec![named(bool_and_or::bool_and_udaf(), "every"), named(variance::var_samp_udaf(), "variance")]
}
