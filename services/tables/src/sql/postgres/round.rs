//! `round`, which PostgreSQL does half to even of floats, and half away from zero of decimals.

use std::sync::{Arc, LazyLock};

use arrow::{
    array::{Array, ArrayRef, AsArray},
    compute::cast,
    datatypes::{DataType, FieldRef, Float32Type, Float64Type},
};
use datafusion::{
    common::DataFusionError,
    functions::{math, utils::make_scalar_function},
    logical_expr::{ColumnarValue, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature},
};

/// Takes the place of DataFusion's, which does the rest.
pub(super) fn round() -> Arc<ScalarUDF> {
    static ROUND: LazyLock<Arc<ScalarUDF>> = LazyLock::new(|| Arc::new(ScalarUDF::from(Round(math::round()))));
    Arc::clone(&ROUND)
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct Round(Arc<ScalarUDF>);

impl ScalarUDFImpl for Round {
    fn name(&self) -> &str {
        "round"
    }

    fn signature(&self) -> &Signature {
        self.0.signature()
    }

    fn return_type(&self, arguments: &[DataType]) -> Result<DataType, DataFusionError> {
        self.0.return_type(arguments)
    }

    fn return_field_from_args(&self, arguments: ReturnFieldArgs<'_>) -> Result<FieldRef, DataFusionError> {
        self.0.return_field_from_args(arguments)
    }

    fn invoke_with_args(&self, arguments: ScalarFunctionArgs) -> Result<ColumnarValue, DataFusionError> {
        let is_float = arguments.arg_fields.first().is_some_and(|field| field.data_type().is_floating());
        if is_float && arguments.args.len() == 1 {
            return make_scalar_function(half_to_even, vec![])(&arguments.args);
        }
        self.0.invoke_with_args(arguments)
    }
}

fn half_to_even(arguments: &[ArrayRef]) -> Result<ArrayRef, DataFusionError> {
    let array = &arguments[0];
    Ok(match array.data_type() {
        DataType::Float32 => {
            Arc::new(array.as_primitive::<Float32Type>().unary::<_, Float32Type>(f32::round_ties_even)) as ArrayRef
        }
        _ => Arc::new(
            cast(array, &DataType::Float64)?
                .as_primitive::<Float64Type>()
                .unary::<_, Float64Type>(f64::round_ties_even),
        ),
    })
}
