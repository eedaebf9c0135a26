//! Lets a query be stopped wherever it computes.
//!
//! A task can be stopped only where it yields, and a join does not: one that compares a million rows with a million, and
//! finds nothing, computes for hours within one poll. So its condition is preceded by one that fails once the query is
//! stopped, and what it finds passes an operator that yields.

use std::{
    hash::{Hash, Hasher},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use arrow::datatypes::DataType;
use datafusion::{
    common::{
        DataFusionError, ScalarValue,
        tree_node::{Transformed, TreeNode},
    },
    logical_expr::{
        ColumnarValue, Expr, LogicalPlan, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility, and,
        expr::ScalarFunction,
    },
    physical_plan::{ExecutionPlan, coop::CooperativeExec},
};

/// Whether a query was stopped. Clones are of the same query.
#[derive(Debug, Clone, Default)]
pub(super) struct Stop(Arc<AtomicBool>);

impl Stop {
    pub(super) fn stop(&self) {
        self.0.store(true, Ordering::Relaxed);
    }

    /// Makes the conditions of joins fail once this is stopped. Comes after all rules, which would move it.
    pub(super) fn check_joins(&self, plan: LogicalPlan) -> Result<LogicalPlan, DataFusionError> {
        let check = Expr::ScalarFunction(ScalarFunction::new_udf(
            Arc::new(ScalarUDF::from(StillRunning {
                stop: self.clone(),
                signature: Signature::nullary(Volatility::Volatile),
            })),
            Vec::new(),
        ));
        let checked = plan.transform_up_with_subqueries(|plan| match plan {
            LogicalPlan::Join(mut join) => {
                let Some(filter) = join.filter else { return Ok(Transformed::no(LogicalPlan::Join(join))) };
                // The other way round it would not be asked where nothing is found.
                join.filter = Some(and(check.clone(), filter));
                Ok(Transformed::yes(LogicalPlan::Join(join)))
            }
            other => Ok(Transformed::no(other)),
        });
        Ok(checked?.data)
    }
}

/// What joins find is yielded between: few rows become many there, without a source that would yield.
pub(super) fn yield_after_joins(plan: Arc<dyn ExecutionPlan>) -> Result<Arc<dyn ExecutionPlan>, DataFusionError> {
    let yielding = plan.transform_up(|plan| {
        if plan.name().contains("Join") {
            return Ok(Transformed::yes(Arc::new(CooperativeExec::new(plan)) as Arc<dyn ExecutionPlan>));
        }
        Ok(Transformed::no(plan))
    });
    Ok(yielding?.data)
}

/// True, or an error once the query is stopped.
#[derive(Debug)]
struct StillRunning {
    stop: Stop,
    signature: Signature,
}

impl PartialEq for StillRunning {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.stop.0, &other.stop.0)
    }
}

impl Eq for StillRunning {}

impl Hash for StillRunning {
    fn hash<H: Hasher>(&self, state: &mut H) {
        Arc::as_ptr(&self.stop.0).hash(state);
    }
}

impl ScalarUDFImpl for StillRunning {
    fn name(&self) -> &str {
        "still_running"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType, DataFusionError> {
        Ok(DataType::Boolean)
    }

    fn invoke_with_args(&self, _: ScalarFunctionArgs) -> Result<ColumnarValue, DataFusionError> {
        if self.stop.0.load(Ordering::Relaxed) {
            return Err(DataFusionError::Execution("the query was stopped".to_owned()));
        }
        Ok(ColumnarValue::Scalar(ScalarValue::Boolean(Some(true))))
    }
}
