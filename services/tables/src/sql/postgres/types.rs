//! PostgreSQL's names of types.

use std::sync::Arc;

use arrow::datatypes::{DataType, Field, FieldRef, TimeUnit};
use datafusion::{
    common::DataFusionError,
    logical_expr::planner::TypePlanner,
    sql::sqlparser::ast::{DataType as SqlType, ExactNumberInfo, TimezoneInfo},
};

/// Timestamps count microseconds: nanoseconds end in the year 2262.
#[derive(Debug)]
pub(super) struct PostgresTypes;

impl TypePlanner for PostgresTypes {
    fn plan_type_field(&self, sql_type: &SqlType) -> Result<Option<FieldRef>, DataFusionError> {
        let data_type = match sql_type {
            SqlType::Timestamp(_, TimezoneInfo::None | TimezoneInfo::WithoutTimeZone) => {
                DataType::Timestamp(TimeUnit::Microsecond, None)
            }
            SqlType::Timestamp(_, TimezoneInfo::Tz | TimezoneInfo::WithTimeZone) => {
                DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into()))
            }
            SqlType::Time(_, TimezoneInfo::None | TimezoneInfo::WithoutTimeZone) => {
                DataType::Time64(TimeUnit::Microsecond)
            }
            // `float` is of double precision, `float(24)` and less is not.
            SqlType::Float(ExactNumberInfo::None) => DataType::Float64,
            SqlType::Float(ExactNumberInfo::Precision(bits)) if *bits > 24 => DataType::Float64,
            SqlType::Character(_) | SqlType::CharacterVarying(_) | SqlType::CharVarying(_) => DataType::Utf8,
            SqlType::Dec(numbers) => return self.plan_type_field(&SqlType::Decimal(*numbers)),
            _ => return Ok(None),
        };
        Ok(Some(Arc::new(Field::new("", data_type, true))))
    }
}
