//! Functions that make much of little: `repeat('a', 1000000000)`. What they make is in no count of memory.

use std::sync::Arc;

use arrow::{
    array::{Array, AsArray},
    compute::cast,
    datatypes::{DataType, FieldRef, Int64Type},
};
use datafusion::{
    common::DataFusionError,
    functions::{string, unicode},
    logical_expr::{ColumnarValue, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature},
};

/// Bytes or characters that are made at once, for some thousand rows.
const MOST: u64 = 64 * 1024 * 1024;

/// Functions that make lists of any length. PostgreSQL has none of them in this sense.
pub(super) const REMOVED: [&str; 4] = ["generate_series", "range", "array_repeat", "array_resize"];

/// `repeat`, `lpad` and `rpad`, which refuse to make too much.
pub(super) fn bounded() -> Vec<Arc<ScalarUDF>> {
    let functions = [string::repeat(), unicode::lpad(), unicode::rpad()];
    functions.into_iter().map(|builtin| Arc::new(ScalarUDF::from(Bounded(builtin)))).collect()
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct Bounded(Arc<ScalarUDF>);

impl ScalarUDFImpl for Bounded {
    fn name(&self) -> &str {
        self.0.name()
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
        if made(self.name(), &arguments)? > MOST {
            let what = format!("{} would make more than {MOST} bytes of some thousand rows", self.name());
            return Err(DataFusionError::Execution(what));
        }
        self.0.invoke_with_args(arguments)
    }
}

/// How many bytes or characters a call makes.
fn made(name: &str, arguments: &ScalarFunctionArgs) -> Result<u64, DataFusionError> {
    let [texts, counts, ..] = &arguments.args[..] else { return Ok(0) };
    let counts = cast(&counts.to_array(arguments.number_rows)?, &DataType::Int64)?;
    let texts = cast(&texts.to_array(arguments.number_rows)?, &DataType::Utf8)?;
    let texts = texts.as_string::<i32>();
    let counts = counts.as_primitive::<Int64Type>().iter().enumerate();
    let made = counts.map(|(row, count)| {
        let count = count.and_then(|count| u64::try_from(count).ok()).unwrap_or_default();
        let each = if name == "repeat" && texts.is_valid(row) { texts.value(row).len() as u64 } else { 1 };
        count.saturating_mul(each)
    });
    Ok(made.fold(0, u64::saturating_add))
}
