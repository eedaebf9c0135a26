//! Sums, differences and products of integers, which fail where they overflow. DataFusion's wrap around without a word.

use std::sync::{Arc, LazyLock};

use arrow::{
    array::{ArrayRef, Datum},
    compute::kernels::numeric,
    datatypes::DataType,
    error::ArrowError,
};
use datafusion::{
    common::{DataFusionError, config::ConfigOptions, tree_node::Transformed},
    logical_expr::{
        ColumnarValue, Expr, ExprSchemable, LogicalPlan, Operator, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl,
        Signature, Volatility, expr::ScalarFunction,
    },
    optimizer::AnalyzerRule,
    physical_expr_common::datum::apply,
};

use crate::sql::postgres::casts::each_expression;

/// Comes after types are coerced: both sides are of one type then.
#[derive(Debug)]
pub(super) struct CheckedArithmetic;

impl AnalyzerRule for CheckedArithmetic {
    fn name(&self) -> &str {
        "postgres_overflow"
    }

    fn analyze(&self, plan: LogicalPlan, _: &ConfigOptions) -> Result<LogicalPlan, DataFusionError> {
        each_expression(plan, |expr, schema| {
            let Expr::BinaryExpr(binary) = expr else { return Ok(Transformed::no(expr)) };
            let types = (binary.left.get_type(schema)?, binary.right.get_type(schema)?);
            match checked(binary.op) {
                Some(function) if types.0.is_integer() && types.0 == types.1 => {
                    let call = ScalarFunction::new_udf(function, vec![*binary.left, *binary.right]);
                    Ok(Transformed::yes(Expr::ScalarFunction(call)))
                }
                _ => Ok(Transformed::no(Expr::BinaryExpr(binary))),
            }
        })
    }
}

fn checked(operator: Operator) -> Option<Arc<ScalarUDF>> {
    static FUNCTIONS: LazyLock<[Arc<ScalarUDF>; 3]> = LazyLock::new(|| {
        [Operator::Plus, Operator::Minus, Operator::Multiply].map(|operator| {
            Arc::new(ScalarUDF::from(Checked { operator, signature: Signature::any(2, Volatility::Immutable) }))
        })
    });
    let at = match operator {
        Operator::Plus => 0,
        Operator::Minus => 1,
        Operator::Multiply => 2,
        _ => return None,
    };
    Some(Arc::clone(&FUNCTIONS[at]))
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct Checked {
    operator: Operator,
    signature: Signature,
}

impl ScalarUDFImpl for Checked {
    fn name(&self) -> &str {
        match self.operator {
            Operator::Plus => "checked_add",
            Operator::Minus => "checked_sub",
            _ => "checked_mul",
        }
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, arguments: &[DataType]) -> Result<DataType, DataFusionError> {
        Ok(arguments[0].clone())
    }

    fn invoke_with_args(&self, arguments: ScalarFunctionArgs) -> Result<ColumnarValue, DataFusionError> {
        let kernel: fn(&dyn Datum, &dyn Datum) -> Result<ArrayRef, ArrowError> = match self.operator {
            Operator::Plus => numeric::add,
            Operator::Minus => numeric::sub,
            _ => numeric::mul,
        };
        apply(&arguments.args[0], &arguments.args[1], kernel)
    }
}
