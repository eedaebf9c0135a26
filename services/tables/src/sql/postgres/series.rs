//! `generate_series` of timestamps in microseconds, as ours are.

use std::sync::Arc;

use arrow::datatypes::{DataType, TimeUnit};
use datafusion::{
    catalog::{TableFunction, TableFunctionArgs, TableFunctionImpl, TableProvider},
    common::DataFusionError,
    functions_table,
    logical_expr::Expr,
};

/// Takes the place of DataFusion's, which does the rest.
pub(super) fn generate_series() -> Arc<TableFunction> {
    Arc::new(TableFunction::new("generate_series".to_owned(), Arc::new(GenerateSeries)))
}

#[derive(Debug)]
struct GenerateSeries;

impl TableFunctionImpl for GenerateSeries {
    fn call_with_args(&self, arguments: TableFunctionArgs<'_, '_>) -> Result<Arc<dyn TableProvider>, DataFusionError> {
        let exprs = arguments.exprs().iter().map(|expr| match expr {
            Expr::Literal(value, metadata) => match value.data_type() {
                DataType::Timestamp(TimeUnit::Microsecond, zone) => {
                    let value = value.cast_to(&DataType::Timestamp(TimeUnit::Nanosecond, zone))?;
                    Ok(Expr::Literal(value, metadata.clone()))
                }
                _ => Ok(expr.clone()),
            },
            other => Ok(other.clone()),
        });
        let exprs = exprs.collect::<Result<Vec<_>, DataFusionError>>()?;
        functions_table::generate_series()
            .create_table_provider_with_args(TableFunctionArgs::new(&exprs, arguments.session()))
    }
}
