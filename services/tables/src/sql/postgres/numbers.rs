//! Sums and means of integers, which are exact in PostgreSQL.

use arrow::datatypes::DataType;
use datafusion::{
    common::{DataFusionError, ScalarValue, config::ConfigOptions, tree_node::Transformed},
    logical_expr::{Cast, Expr, ExprSchemable, LogicalPlan},
    optimizer::AnalyzerRule,
};

use crate::sql::postgres::casts::each_expression;

/// Of 64 bits, `sum` is a decimal (DataFusion's wraps around without a word); of any integer, `avg` is.
#[derive(Debug)]
pub(super) struct ExactAggregates;

impl AnalyzerRule for ExactAggregates {
    fn name(&self) -> &str {
        "postgres_aggregates"
    }

    fn analyze(&self, plan: LogicalPlan, _: &ConfigOptions) -> Result<LogicalPlan, DataFusionError> {
        each_expression(plan, |mut expr, schema| {
            let (name, arguments) = match &mut expr {
                Expr::AggregateFunction(aggregate) => (aggregate.func.name(), &mut aggregate.params.args),
                Expr::WindowFunction(window) => (window.fun.name(), &mut window.params.args),
                _ => return Ok(Transformed::no(expr)),
            };
            let exact = match &arguments[..] {
                [argument] if !is_small(argument) => exact(name, &argument.get_type(schema)?),
                _ => None,
            };
            let Some(exact) = exact else { return Ok(Transformed::no(expr)) };
            for argument in arguments {
                *argument = Expr::Cast(Cast::new(Box::new(std::mem::take(argument)), exact.clone()));
            }
            Ok(Transformed::yes(expr))
        })
    }
}

/// What an integer is added up as. Nineteen digits are 64 bits; the others are room for as many rows. A mean has four
/// digits more after its point than what it is of.
fn exact(function: &str, of: &DataType) -> Option<DataType> {
    match (function, of) {
        ("sum", DataType::Int64 | DataType::UInt64) => Some(DataType::Decimal128(20, 0)),
        ("avg", of) if of.is_integer() => Some(DataType::Decimal128(32, 12)),
        _ => None,
    }
}

/// Whether an integer is of 32 bits in PostgreSQL, whose sum is no decimal: `sum(case when … then 1 else 0 end)`.
fn is_small(expr: &Expr) -> bool {
    match expr {
        Expr::Literal(ScalarValue::Int64(number), _) => number.is_none_or(|number| i32::try_from(number).is_ok()),
        Expr::Literal(ScalarValue::Null, _) => true,
        Expr::Case(case) => {
            let thens = case.when_then_expr.iter().map(|(_, then)| &**then);
            thens.chain(case.else_expr.as_deref()).all(is_small)
        }
        _ => false,
    }
}
