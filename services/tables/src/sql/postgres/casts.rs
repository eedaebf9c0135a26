//! Casts that somebody wrote, as PostgreSQL does them.

use std::sync::Arc;

use arrow::datatypes::{DataType, TimeUnit};
use datafusion::{
    common::{
        DFSchema, DataFusionError,
        config::ConfigOptions,
        tree_node::{Transformed, TreeNode},
    },
    logical_expr::{
        Cast, Expr, ExprSchemable, LogicalPlan, ScalarUDF, expr::ScalarFunction, expr_rewriter::NamePreserver,
        utils::merge_schema,
    },
    optimizer::AnalyzerRule,
};

use crate::sql::postgres::{
    intervals,
    round::round,
    text::{has_text_of, text},
    timestamp::timestamp_text,
};

/// Of a text, a timestamp without time zone is what the text says, whatever its offset. Of a number with a fraction, an
/// integer is the nearest; of two as near, the even one of a float, and the one further from zero of a decimal.
#[derive(Debug)]
pub(super) struct ExplicitCasts;

impl AnalyzerRule for ExplicitCasts {
    fn name(&self) -> &str {
        "postgres_casts"
    }

    fn analyze(&self, plan: LogicalPlan, _: &ConfigOptions) -> Result<LogicalPlan, DataFusionError> {
        each_expression(plan, |expr, schema| match expr {
            Expr::Cast(cast) => self::cast(cast, schema),
            Expr::BinaryExpr(binary) if intervals::is_comparison(binary.op) => intervals::compared(binary, schema),
            Expr::Between(between) => intervals::between(between, schema),
            Expr::BinaryExpr(binary) => intervals::time_of_date(binary, schema),
            // DataFusion takes the pattern for a regular expression.
            Expr::SimilarTo(_) => Err(DataFusionError::NotImplemented("SIMILAR TO; use LIKE, or ~".to_owned())),
            other => Ok(Transformed::no(other)),
        })
    }
}

/// Rewrites every expression of a plan, its parts first. Columns keep their names.
pub(super) fn each_expression(
    plan: LogicalPlan,
    rewrite: impl Fn(Expr, &DFSchema) -> Result<Transformed<Expr>, DataFusionError>,
) -> Result<LogicalPlan, DataFusionError> {
    let rewritten = plan.transform_up_with_subqueries(|plan| {
        let mut schema = merge_schema(&plan.inputs());
        if let LogicalPlan::TableScan(scan) = &plan {
            schema.merge(&DFSchema::try_from_qualified_schema(scan.table_name.clone(), &scan.source.schema())?);
        }
        let names = NamePreserver::new(&plan);
        let plan = plan.map_expressions(|expr| {
            let name = names.save(&expr);
            Ok(expr.transform_up(|expr| rewrite(expr, &schema))?.update_data(|expr| name.restore(expr)))
        })?;
        if plan.transformed { plan.map_data(LogicalPlan::recompute_schema) } else { Ok(plan) }
    })?;
    Ok(rewritten.data)
}

fn cast(cast: Cast, schema: &DFSchema) -> Result<Transformed<Expr>, DataFusionError> {
    let (from, to) = (cast.expr.get_type(schema)?, cast.field.data_type().clone());
    let Cast { expr, field } = cast;
    let expr = match (&from, &to) {
        (
            DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View,
            DataType::Timestamp(TimeUnit::Microsecond, zone),
        ) => call(timestamp_text(zone.is_some()), *expr),
        (from, to) if from.is_floating() && to.is_integer() => call(round(), *expr),
        // Arrow rounds half away from zero where a decimal loses digits.
        (DataType::Decimal128(..), to) if to.is_integer() => Expr::Cast(Cast::new(expr, DataType::Decimal128(38, 0))),
        (from, DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View) if has_text_of(from) => call(text(), *expr),
        _ => return Ok(Transformed::no(Expr::Cast(Cast { expr, field }))),
    };
    Ok(Transformed::yes(Expr::Cast(Cast { expr: Box::new(expr), field })))
}

fn call(function: Arc<ScalarUDF>, argument: Expr) -> Expr {
    Expr::ScalarFunction(ScalarFunction::new_udf(function, vec![argument]))
}
