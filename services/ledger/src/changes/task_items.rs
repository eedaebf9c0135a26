//! A task's items as its message carries them.

use std::collections::BTreeMap;

use serde_json::{Number, Value};
use waybill_queue::{FieldValue, ItemFields, TaskItem, field_value::Kind};
use waybill_source::Item;

/// Items for a message.
pub fn to_message(items: &[Item]) -> Vec<TaskItem> {
    let fields = |fields: &BTreeMap<String, Value>| ItemFields { fields: map(fields, to_field) };
    let item = |item: &Item| TaskItem {
        key: item.key.clone(),
        values: map(&item.values, fields),
        problem: item.problem.clone().unwrap_or_default(),
    };
    items.iter().map(item).collect()
}

/// The items of a message.
pub fn from_message(items: &[TaskItem]) -> Vec<Item> {
    let fields = |fields: &ItemFields| map(&fields.fields, from_field);
    let item = |item: &TaskItem| Item {
        key: item.key.clone(),
        values: map(&item.values, fields),
        problem: Some(item.problem.clone()).filter(|problem| !problem.is_empty()),
    };
    items.iter().map(item).collect()
}

fn map<T, U>(values: &BTreeMap<String, T>, convert: impl Fn(&T) -> U) -> BTreeMap<String, U> {
    values.iter().map(|(name, value)| (name.clone(), convert(value))).collect()
}

fn to_field(value: &Value) -> FieldValue {
    let kind = match value {
        Value::String(text) => Some(Kind::Text(text.clone())),
        Value::Bool(value) => Some(Kind::Boolean(*value)),
        Value::Number(number) => number
            .as_i64()
            .map(Kind::Integer)
            .or_else(|| number.as_u64().map(Kind::Unsigned))
            .or_else(|| number.as_f64().map(Kind::Number)),
        // An item's fields are scalars.
        Value::Null | Value::Array(_) | Value::Object(_) => None,
    };
    FieldValue { kind }
}

fn from_field(value: &FieldValue) -> Value {
    match &value.kind {
        Some(Kind::Text(text)) => Value::String(text.clone()),
        Some(Kind::Boolean(value)) => Value::Bool(*value),
        Some(Kind::Integer(number)) => Value::from(*number),
        Some(Kind::Unsigned(number)) => Value::from(*number),
        Some(Kind::Number(number)) => Number::from_f64(*number).map_or(Value::Null, Value::Number),
        None => Value::Null,
    }
}

#[cfg(test)]
mod tests {
    use proptest::{collection::btree_map, prelude::*};

    use super::*;

    fn scalar() -> impl Strategy<Value = Value> {
        let finite = any::<f64>().prop_filter("JSON has no others", |number| number.is_finite());
        prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<String>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            any::<u64>().prop_map(Value::from),
            finite.prop_map(Value::from),
        ]
    }

    proptest! {
        #[test]
        fn items_come_out_of_a_message_as_they_went_in(
            key: String,
            problem in proptest::option::of(".+"),
            values in btree_map(any::<String>(), btree_map(any::<String>(), scalar(), 0..4), 0..3),
        ) {
            let items = [Item { key, values, problem }];
            prop_assert_eq!(from_message(&to_message(&items)), items);
        }
    }
}
