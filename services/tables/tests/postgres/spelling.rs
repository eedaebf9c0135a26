//! Values as PostgreSQL spells them.

use arrow::{
    array::{Array, ArrayRef, RecordBatch},
    datatypes::DataType,
    util::display::{ArrayFormatter, FormatOptions},
};

pub(crate) fn rows(batch: &RecordBatch) -> Vec<Vec<Option<String>>> {
    (0..batch.num_rows()).map(|row| batch.columns().iter().map(|column| value(column, row)).collect()).collect()
}

fn value(column: &ArrayRef, row: usize) -> Option<String> {
    if column.is_null(row) || column.data_type() == &DataType::Null {
        return None;
    }
    let options = FormatOptions::new()
        .with_timestamp_format(Some("%Y-%m-%d %H:%M:%S%.f"))
        .with_timestamp_tz_format(Some("%Y-%m-%d %H:%M:%S%.f+00"));
    let text = ArrayFormatter::try_new(column, &options).unwrap().value(row).to_string();
    Some(match column.data_type() {
        DataType::Boolean => text[..1].to_owned(),
        // Arrow spells fractions in groups of three digits.
        DataType::Timestamp(..) => match text.split_once('.') {
            Some((seconds, fraction)) => {
                let (digits, zone) = fraction.split_at(fraction.find('+').unwrap_or(fraction.len()));
                format!("{seconds}.{}{zone}", digits.trim_end_matches('0'))
            }
            None => text,
        },
        _ => text,
    })
}

/// Whether two values are the same. Of fractions the last digit of sixteen may differ, and zeros after the last digit.
pub(crate) fn is_same(ours: Option<&str>, theirs: Option<&str>) -> bool {
    let (Some(ours), Some(theirs)) = (ours, theirs) else { return ours == theirs };
    if ours == theirs {
        return true;
    }
    let is_fraction = |text: &str| text.contains(['.', 'e', 'f', 'N']);
    match (ours.parse::<f64>(), theirs.parse::<f64>()) {
        (Ok(a), Ok(b)) if is_fraction(ours) || is_fraction(theirs) => {
            a == b || (a - b).abs() <= 1e-15 * a.abs().max(b.abs()) || (a.is_nan() && b.is_nan())
        }
        _ => false,
    }
}
