//! The text of a float or a timestamp.

use std::sync::{Arc, LazyLock};

use arrow::{
    array::{Array, ArrayRef, AsArray, StringArray},
    compute::cast,
    datatypes::{DataType, Float32Type, Float64Type, TimeUnit, TimestampMicrosecondType},
};
use datafusion::{
    common::DataFusionError,
    functions::utils::make_scalar_function,
    logical_expr::{ColumnarValue, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility},
};
use jiff::{Timestamp, fmt::strtime};

/// The text of a value for which [`has_text_of`] holds.
pub(super) fn text() -> Arc<ScalarUDF> {
    static FUNCTION: LazyLock<Arc<ScalarUDF>> =
        LazyLock::new(|| Arc::new(ScalarUDF::from(Text(Signature::any(1, Volatility::Immutable)))));
    Arc::clone(&FUNCTION)
}

/// Whether PostgreSQL spells values of this type otherwise than Arrow.
pub(super) fn has_text_of(data_type: &DataType) -> bool {
    matches!(data_type, DataType::Float32 | DataType::Float64 | DataType::Timestamp(..))
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct Text(Signature);

impl ScalarUDFImpl for Text {
    fn name(&self) -> &str {
        "text"
    }

    fn signature(&self) -> &Signature {
        &self.0
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType, DataFusionError> {
        Ok(DataType::Utf8)
    }

    fn invoke_with_args(&self, arguments: ScalarFunctionArgs) -> Result<ColumnarValue, DataFusionError> {
        make_scalar_function(texts, vec![])(&arguments.args)
    }
}

fn texts(arguments: &[ArrayRef]) -> Result<ArrayRef, DataFusionError> {
    let array = &arguments[0];
    let texts: StringArray = match array.data_type() {
        DataType::Float32 => array
            .as_primitive::<Float32Type>()
            .iter()
            .map(|number| number.map(|number| float_text(&format!("{number:e}"))))
            .collect(),
        DataType::Timestamp(_, zone) => {
            let has_zone = zone.is_some();
            let micros = cast(array, &DataType::Timestamp(TimeUnit::Microsecond, zone.clone()))?;
            let micros = micros.as_primitive::<TimestampMicrosecondType>();
            micros
                .iter()
                .map(|micros| micros.map(|micros| timestamp_text(micros, has_zone)).transpose())
                .collect::<Result<_, _>>()?
        }
        _ => {
            let numbers = cast(array, &DataType::Float64)?;
            numbers
                .as_primitive::<Float64Type>()
                .iter()
                .map(|number| number.map(|number| float_text(&format!("{number:e}"))))
                .collect()
        }
    };
    Ok(Arc::new(texts))
}

/// PostgreSQL's spelling of a float from Rust's shortest: `1.25e1` → `12.5`, `1e15` → `1e+15`.
fn float_text(scientific: &str) -> String {
    let Some((mantissa, exponent)) = scientific.split_once('e') else {
        return match scientific {
            "inf" => "Infinity".to_owned(),
            "-inf" => "-Infinity".to_owned(),
            other => other.to_owned(),
        };
    };
    let exponent: i32 = exponent.parse().unwrap_or_default();
    let (sign, mantissa) = mantissa.strip_prefix('-').map_or(("", mantissa), |rest| ("-", rest));
    let digits: String = mantissa.chars().filter(|digit| *digit != '.').collect();
    if !(-4..15).contains(&exponent) {
        let direction = if exponent < 0 { '-' } else { '+' };
        return format!("{sign}{mantissa}e{direction}{:02}", exponent.abs());
    }
    let Ok(exponent) = usize::try_from(exponent) else {
        let zeros = "0".repeat(exponent.unsigned_abs() as usize - 1);
        return format!("{sign}0.{zeros}{digits}");
    };
    if digits.len() > exponent + 1 {
        return format!("{sign}{}.{}", &digits[..=exponent], &digits[exponent + 1..]);
    }
    format!("{sign}{digits}{}", "0".repeat(exponent + 1 - digits.len()))
}

fn timestamp_text(micros: i64, has_zone: bool) -> Result<String, DataFusionError> {
    let error = |error: jiff::Error| DataFusionError::Execution(error.to_string());
    let time = Timestamp::from_microsecond(micros).map_err(error)?;
    let zone = if has_zone { "+00" } else { "" };
    Ok(format!("{}{zone}", strtime::format("%Y-%m-%d %H:%M:%S%.f", time).map_err(error)?))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{float_text, timestamp_text};

    #[test]
    fn floats_are_spelled_as_by_postgresql() {
        for (number, text) in [
            (0.0, "0"),
            (-0.0, "-0"),
            (1.0, "1"),
            (-12.5, "-12.5"),
            (100.0, "100"),
            (123456.75, "123456.75"),
            (0.0001, "0.0001"),
            (0.00001, "1e-05"),
            (1.25e-7, "1.25e-07"),
            (1e14, "100000000000000"),
            (1e15, "1e+15"),
            (1.5e300, "1.5e+300"),
            (f64::NAN, "NaN"),
            (f64::NEG_INFINITY, "-Infinity"),
        ] {
            assert_eq!(float_text(&format!("{number:e}")), text);
        }
        assert_eq!(timestamp_text(1_640_415_600_500_000, true).unwrap(), "2021-12-25 07:00:00.5+00");
        assert_eq!(timestamp_text(-1_000_000, false).unwrap(), "1969-12-31 23:59:59");
    }

    proptest! {
        #[test]
        fn a_spelled_float_is_the_same_float(number in any::<f64>().prop_filter("equal to itself", |number| !number.is_nan())) {
            let text = float_text(&format!("{number:e}")).replace("Infinity", "inf");
            prop_assert_eq!(text.parse::<f64>().unwrap().to_bits(), number.to_bits());
        }
    }
}
