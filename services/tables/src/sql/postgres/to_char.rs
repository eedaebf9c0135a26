//! `to_char` of times, with PostgreSQL's patterns.

use std::sync::{Arc, LazyLock};

use arrow::datatypes::DataType;
use datafusion::{
    common::{DataFusionError, ScalarValue},
    functions::datetime,
    logical_expr::{ColumnarValue, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature},
};

/// What patterns are made of, the longer first, and what `strftime` calls it. PostgreSQL pads names of months and days with
/// blanks, unless they begin with `FM`: only those are here.
const PATTERNS: [(&str, &str); 27] = [
    ("FMMonth", "%B"),
    ("FMDay", "%A"),
    ("FMDD", "%-d"),
    ("FMMM", "%-m"),
    ("FMHH24", "%-H"),
    ("IYYY", "%G"),
    ("YYYY", "%Y"),
    ("HH24", "%H"),
    ("HH12", "%I"),
    ("Mon", "%b"),
    ("DDD", "%j"),
    ("IW", "%V"),
    ("ID", "%u"),
    ("YY", "%y"),
    ("MM", "%m"),
    ("DD", "%d"),
    ("HH", "%I"),
    ("MI", "%M"),
    ("SS", "%S"),
    ("MS", "%3f"),
    ("US", "%6f"),
    ("AM", "%p"),
    ("PM", "%p"),
    ("Dy", "%a"),
    ("am", "%P"),
    ("pm", "%P"),
    ("T", "T"),
];

/// Takes the place of DataFusion's, which has the patterns of `strftime`.
pub(super) fn to_char() -> Arc<ScalarUDF> {
    static FUNCTION: LazyLock<Arc<ScalarUDF>> =
        LazyLock::new(|| Arc::new(ScalarUDF::from(ToChar(datetime::to_char()))));
    Arc::clone(&FUNCTION)
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct ToChar(Arc<ScalarUDF>);

impl ScalarUDFImpl for ToChar {
    fn name(&self) -> &str {
        "to_char"
    }

    fn signature(&self) -> &Signature {
        self.0.signature()
    }

    fn return_type(&self, arguments: &[DataType]) -> Result<DataType, DataFusionError> {
        self.0.return_type(arguments)
    }

    fn invoke_with_args(&self, mut arguments: ScalarFunctionArgs) -> Result<ColumnarValue, DataFusionError> {
        let Some(ColumnarValue::Scalar(pattern)) = arguments.args.get(1) else {
            return Err(DataFusionError::Execution("to_char needs a pattern that is the same for all rows".to_owned()));
        };
        if let Some(Some(pattern)) = pattern.try_as_str() {
            let pattern = strftime(pattern).map_err(DataFusionError::Execution)?;
            arguments.args[1] = ColumnarValue::Scalar(ScalarValue::Utf8(Some(pattern)));
        }
        self.0.invoke_with_args(arguments)
    }
}

/// `YYYY-MM-DD HH24:MI` → `%Y-%m-%d %H:%M`; or why not.
fn strftime(pattern: &str) -> Result<String, String> {
    let (mut rest, mut made) = (pattern, String::new());
    while let Some(first) = rest.chars().next() {
        // Seconds since midnight, and no seconds twice.
        let is_known = !rest.starts_with("SSSS");
        if let Some((known, directive)) = PATTERNS.iter().find(|(known, _)| is_known && rest.starts_with(known)) {
            made.push_str(directive);
            rest = &rest[known.len()..];
        } else if let Some((quoted, after)) = rest.strip_prefix('"').and_then(|rest| rest.split_once('"')) {
            made.push_str(&quoted.replace('%', "%%"));
            rest = after;
        } else if first.is_alphabetic() {
            return Err(format!("to_char: the pattern is not supported from {rest:?} on"));
        } else {
            made.push_str(if first == '%' { "%%" } else { &rest[..first.len_utf8()] });
            rest = &rest[first.len_utf8()..];
        }
    }
    Ok(made)
}

#[cfg(test)]
mod tests {
    use super::strftime;

    #[test]
    fn patterns_are_translated_or_refused() {
        assert_eq!(strftime("YYYY-MM-DD HH24:MI:SS.US").unwrap(), "%Y-%m-%d %H:%M:%S.%6f");
        assert_eq!(strftime("Dy, FMDD Mon YYYY \"at 100%\" HH12 am").unwrap(), "%a, %-d %b %Y at 100%% %I %P");
        assert_eq!(strftime("YYYY-MM-DDTHH24").unwrap(), "%Y-%m-%dT%H");
        assert_eq!(strftime("Day").unwrap_err(), "to_char: the pattern is not supported from \"Day\" on");
        assert!(strftime("Q").is_err() && strftime("\"open").is_err());
    }
}
