//! Texts of timestamps, as Arrow reads them.

use std::sync::{Arc, LazyLock};

use arrow::{
    array::{ArrayRef, AsArray, StringArray},
    compute::cast,
    datatypes::DataType,
};
use datafusion::{
    common::DataFusionError,
    functions::utils::make_scalar_function,
    logical_expr::{ColumnarValue, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility},
};

/// The spelling of a timestamp that Arrow reads, with its offset only if `with_offset`.
pub(super) fn timestamp_text(with_offset: bool) -> Arc<ScalarUDF> {
    static FUNCTIONS: LazyLock<[Arc<ScalarUDF>; 2]> = LazyLock::new(|| {
        let function = |with_offset| {
            let signature = Signature::string(1, Volatility::Immutable);
            Arc::new(ScalarUDF::from(TimestampText { with_offset, signature }))
        };
        [function(false), function(true)]
    });
    Arc::clone(&FUNCTIONS[usize::from(with_offset)])
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct TimestampText {
    with_offset: bool,
    signature: Signature,
}

impl ScalarUDFImpl for TimestampText {
    fn name(&self) -> &str {
        if self.with_offset { "timestamptz_text" } else { "timestamp_text" }
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType, DataFusionError> {
        Ok(DataType::Utf8)
    }

    fn invoke_with_args(&self, arguments: ScalarFunctionArgs) -> Result<ColumnarValue, DataFusionError> {
        let with_offset = self.with_offset;
        make_scalar_function(move |arrays| texts(&arrays[0], with_offset), vec![])(&arguments.args)
    }
}

fn texts(array: &ArrayRef, with_offset: bool) -> Result<ArrayRef, DataFusionError> {
    let texts = cast(array, &DataType::Utf8)?;
    let texts = texts.as_string::<i32>().iter().map(|text| text.map(|text| spelled(text, with_offset)));
    Ok(Arc::new(texts.collect::<StringArray>()))
}

/// `2021-12-25T07:00+0100` → `2021-12-25T07:00:00`
fn spelled(text: &str, with_offset: bool) -> String {
    let text = text.trim();
    let Some((date_and_hour, rest)) = text.split_once(':') else { return text.to_owned() };
    let (time, offset) = rest.split_at(rest.find(['Z', 'z', '+', '-', ' ']).unwrap_or(rest.len()));
    let seconds = if time.contains(':') { "" } else { ":00" };
    // What is no offset stays, and is refused.
    let is_offset = offset.trim_start().bytes().all(|byte| byte.is_ascii_digit() || b"Zz+-:".contains(&byte));
    let offset = if with_offset || !is_offset { offset } else { "" };
    format!("{date_and_hour}:{time}{seconds}{offset}")
}

#[cfg(test)]
mod tests {
    use super::spelled;

    #[test]
    fn only_an_offset_is_dropped() {
        for (text, without, with) in [
            ("2021-12-25T07:00:00.000+0100", "2021-12-25T07:00:00.000", "2021-12-25T07:00:00.000+0100"),
            ("2021-12-25 07:00:00 -05:30", "2021-12-25 07:00:00", "2021-12-25 07:00:00 -05:30"),
            ("2021-12-25T07:00:00-08", "2021-12-25T07:00:00", "2021-12-25T07:00:00-08"),
            ("2021-12-25T07:00Z", "2021-12-25T07:00:00", "2021-12-25T07:00:00Z"),
            (" 2021-12-25T07:00:00z ", "2021-12-25T07:00:00", "2021-12-25T07:00:00z"),
            ("2021-12-25", "2021-12-25", "2021-12-25"),
            ("2021-12-25 07:00:00", "2021-12-25 07:00:00", "2021-12-25 07:00:00"),
            ("2021-12-25 07:00", "2021-12-25 07:00:00", "2021-12-25 07:00:00"),
            ("2021-12-25 07:00:00-never", "2021-12-25 07:00:00-never", "2021-12-25 07:00:00-never"),
            ("", "", ""),
        ] {
            assert_eq!((spelled(text, false).as_str(), spelled(text, true).as_str()), (without, with));
        }
    }
}
