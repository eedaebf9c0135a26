//! `date_part` and `extract`, which are exact to the microsecond.

use std::sync::{Arc, LazyLock};

use arrow::{
    array::{Array, ArrayRef, AsArray, Float64Array},
    compute::cast,
    datatypes::{
        DataType, DurationMicrosecondType, IntervalMonthDayNanoType, IntervalUnit, TimeUnit, TimestampMicrosecondType,
    },
};
use datafusion::{
    common::{DataFusionError, ScalarValue},
    functions::{datetime, utils::make_scalar_function},
    logical_expr::{
        Cast, ColumnarValue, Expr, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature,
        expr::ScalarFunction,
        planner::{ExprPlanner, PlannerResult},
    },
};

const SECOND: i64 = 1_000_000;
const MINUTE: i64 = 60 * SECOND;
const HOUR: i64 = 60 * MINUTE;
const DAY: i64 = 24 * HOUR;

/// In PostgreSQL a year of an interval is 365.25 days, and a month 30.
const YEAR_OF_INTERVAL: i64 = 365 * DAY + 6 * HOUR;

/// Takes the place of DataFusion's, which does the rest.
pub(super) fn date_part() -> Arc<ScalarUDF> {
    static FUNCTION: LazyLock<Arc<ScalarUDF>> =
        LazyLock::new(|| Arc::new(ScalarUDF::from(DatePart(datetime::date_part()))));
    Arc::clone(&FUNCTION)
}

/// Plans `extract`, which is a decimal: `extract(year from …) / 2` has a fraction.
#[derive(Debug)]
pub(super) struct Extract;

impl ExprPlanner for Extract {
    fn plan_extract(&self, arguments: Vec<Expr>) -> Result<PlannerResult<Vec<Expr>>, DataFusionError> {
        let [Expr::Literal(ScalarValue::Utf8(Some(field)), _), _] = &arguments[..] else {
            return Ok(PlannerResult::Original(arguments));
        };
        let digits = match field.to_lowercase().as_str() {
            "epoch" | "second" | "seconds" => 6,
            "millisecond" | "milliseconds" => 3,
            _ => 0,
        };
        let part = Expr::ScalarFunction(ScalarFunction::new_udf(date_part(), arguments));
        Ok(PlannerResult::Planned(Expr::Cast(Cast::new(Box::new(part), DataType::Decimal128(20, digits)))))
    }
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct DatePart(Arc<ScalarUDF>);

impl ScalarUDFImpl for DatePart {
    fn name(&self) -> &str {
        "date_part"
    }

    fn signature(&self) -> &Signature {
        self.0.signature()
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType, DataFusionError> {
        Ok(DataType::Float64)
    }

    fn invoke_with_args(&self, arguments: ScalarFunctionArgs) -> Result<ColumnarValue, DataFusionError> {
        if let [ColumnarValue::Scalar(field), of] = &arguments.args[..]
            && let Some(Some(field)) = field.try_as_str()
            && let Some(part) = Part::of(field, &of.data_type())
        {
            return make_scalar_function(move |arrays| part.exact(&arrays[0]), vec![])(&arguments.args[1..]);
        }
        self.0.inner().invoke_with_args(arguments)?.cast_to(&DataType::Float64, None)
    }
}

/// A part that DataFusion cuts to whole seconds, or does not have.
#[derive(Debug, Clone, Copy)]
enum Part {
    /// All of it, in seconds.
    Epoch,
    /// Since the last full minute, in so many parts of a second.
    Second(f64),
    /// Of a difference of two times: so much, after all that is larger, in microseconds.
    OfDuration { larger: i64, unit: i64 },
}

impl Part {
    fn of(field: &str, data_type: &DataType) -> Option<Self> {
        let has_time = matches!(data_type, DataType::Timestamp(..) | DataType::Duration(_) | DataType::Interval(_));
        match (field.to_lowercase().as_str(), data_type) {
            ("epoch", data_type) if has_time || data_type == &DataType::Date32 => Some(Self::Epoch),
            ("second" | "seconds", _) if has_time => Some(Self::Second(1.0)),
            ("millisecond" | "milliseconds", _) if has_time => Some(Self::Second(1e3)),
            ("microsecond" | "microseconds", _) if has_time => Some(Self::Second(1e6)),
            ("minute", DataType::Duration(_)) => Some(Self::OfDuration { larger: HOUR, unit: MINUTE }),
            ("hour", DataType::Duration(_)) => Some(Self::OfDuration { larger: DAY, unit: HOUR }),
            ("day", DataType::Duration(_)) => Some(Self::OfDuration { larger: i64::MAX, unit: DAY }),
            _ => None,
        }
    }

    fn exact(self, array: &ArrayRef) -> Result<ArrayRef, DataFusionError> {
        let micros = micros(array, matches!(self, Self::Epoch))?;
        let parts: Float64Array =
            micros.into_iter().map(|micros| micros.map(|micros| self.of_micros(micros))).collect();
        Ok(Arc::new(parts))
    }

    /// A float, as in PostgreSQL: exact until the year 2255.
    fn of_micros(self, micros: i64) -> f64 {
        match self {
            Self::Epoch => micros as f64 / SECOND as f64,
            Self::Second(parts) => (micros % MINUTE) as f64 / SECOND as f64 * parts,
            Self::OfDuration { larger, unit } => (micros % larger / unit) as f64,
        }
    }
}

/// Microseconds since 1970, or of a duration. Of an interval the time, and its days and months only `with_days`.
fn micros(array: &ArrayRef, with_days: bool) -> Result<Vec<Option<i64>>, DataFusionError> {
    Ok(match array.data_type() {
        DataType::Interval(_) => {
            let intervals = cast(array, &DataType::Interval(IntervalUnit::MonthDayNano))?;
            let intervals = intervals.as_primitive::<IntervalMonthDayNanoType>().iter();
            let of = |months: i32, days: i32| {
                let (months, days) = (i64::from(months), i64::from(days));
                months / 12 * YEAR_OF_INTERVAL + (months % 12 * 30 + days) * DAY
            };
            intervals
                .map(|interval| {
                    interval.map(|of_all| {
                        of_all.nanoseconds / 1_000 + if with_days { of(of_all.months, of_all.days) } else { 0 }
                    })
                })
                .collect()
        }
        DataType::Duration(_) => {
            let durations = cast(array, &DataType::Duration(TimeUnit::Microsecond))?;
            durations.as_primitive::<DurationMicrosecondType>().iter().collect()
        }
        data_type => {
            let zone = if let DataType::Timestamp(_, zone) = data_type { zone.clone() } else { None };
            let times = cast(array, &DataType::Timestamp(TimeUnit::Microsecond, zone))?;
            let times = times.as_primitive::<TimestampMicrosecondType>().iter();
            // Seconds count upwards before 1970, too.
            times.map(|time| time.map(|time| if with_days { time } else { time.rem_euclid(MINUTE) })).collect()
        }
    })
}
