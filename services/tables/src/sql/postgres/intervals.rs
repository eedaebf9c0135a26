//! Intervals: added to days, and compared.

use arrow::datatypes::{DataType, TimeUnit};
use datafusion::{
    common::{DFSchema, DataFusionError, tree_node::Transformed},
    logical_expr::{Between, BinaryExpr, Cast, Expr, ExprSchemable, Operator, expr::ScalarFunction, lit},
};

use crate::sql::postgres::parts::date_part;

/// A day and an interval are a time: what is less than a day of the interval would be lost.
pub(super) fn time_of_date(mut binary: BinaryExpr, schema: &DFSchema) -> Result<Transformed<Expr>, DataFusionError> {
    if !matches!(binary.op, Operator::Plus | Operator::Minus) {
        return Ok(Transformed::no(Expr::BinaryExpr(binary)));
    }
    let types = (binary.left.get_type(schema)?, binary.right.get_type(schema)?);
    let date = match types {
        (DataType::Date32, DataType::Interval(_)) => &mut binary.left,
        (DataType::Interval(_), DataType::Date32) => &mut binary.right,
        _ => return Ok(Transformed::no(Expr::BinaryExpr(binary))),
    };
    let time = Cast::new(std::mem::take(date), DataType::Timestamp(TimeUnit::Microsecond, None));
    **date = Expr::Cast(time);
    Ok(Transformed::yes(Expr::BinaryExpr(binary)))
}

/// Whether two values are compared by an operator.
pub(super) fn is_comparison(operator: Operator) -> bool {
    use Operator::{Eq, Gt, GtEq, IsDistinctFrom, IsNotDistinctFrom, Lt, LtEq, NotEq};
    matches!(operator, Eq | NotEq | Lt | LtEq | Gt | GtEq | IsDistinctFrom | IsNotDistinctFrom)
}

/// Compares an interval by its length: Arrow compares its months, then its days, then its time, so that 25 hours were less
/// than a day.
pub(super) fn compared(binary: BinaryExpr, schema: &DFSchema) -> Result<Transformed<Expr>, DataFusionError> {
    if !are_lengths(&[&binary.left, &binary.right], schema)? {
        return Ok(Transformed::no(Expr::BinaryExpr(binary)));
    }
    let (left, right) = (Box::new(length(*binary.left)), Box::new(length(*binary.right)));
    Ok(Transformed::yes(Expr::BinaryExpr(BinaryExpr::new(left, binary.op, right))))
}

/// The same of BETWEEN.
pub(super) fn between(between: Between, schema: &DFSchema) -> Result<Transformed<Expr>, DataFusionError> {
    if !are_lengths(&[&between.expr, &between.low, &between.high], schema)? {
        return Ok(Transformed::no(Expr::Between(between)));
    }
    let of = |expr: Box<Expr>| Box::new(length(*expr));
    let between = Between::new(of(between.expr), between.negated, of(between.low), of(between.high));
    Ok(Transformed::yes(Expr::Between(between)))
}

/// Whether all are intervals or differences of times, and one is an interval.
fn are_lengths(exprs: &[&Expr], schema: &DFSchema) -> Result<bool, DataFusionError> {
    let types = exprs.iter().map(|expr| expr.get_type(schema)).collect::<Result<Vec<_>, _>>()?;
    let is_interval = |of: &DataType| matches!(of, DataType::Interval(_));
    Ok(types.iter().any(is_interval) && types.iter().all(|of| is_interval(of) || matches!(of, DataType::Duration(_))))
}

fn length(expr: Expr) -> Expr {
    Expr::ScalarFunction(ScalarFunction::new_udf(date_part(), vec![lit("epoch"), expr]))
}
