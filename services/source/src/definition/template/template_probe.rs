//! A value for every name that a template may use, as good as any: to try templates before there is a job.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
};

use minijinja::{
    Value,
    value::{Enumerator, Object},
};

use crate::{
    FieldType,
    definition::model::ItemSet,
    params::{Param, ParamKind},
};

/// The items of a sample batch: enough for separators to be reached.
const BATCH: usize = 2;

pub(crate) fn params(params: &[Param]) -> Value {
    let sample = |Param { name, kind, .. }: &Param| {
        let value = match kind {
            ParamKind::Date => "2024-05-01".into(),
            ParamKind::Datetime => "2024-05-01T08:00:00Z".into(),
            ParamKind::String => "sample".into(),
            ParamKind::Integer => Value::from(1),
            ParamKind::Boolean => Value::from(true),
        };
        (name.clone(), value)
    };
    Value::from_pairs(params.iter().map(sample).collect::<BTreeMap<_, _>>())
}

pub(crate) fn job() -> Value {
    Value::from_pairs([("id", "018f3253-7a40-7c21-9d5e-6b1f0a2c4e88"), ("date", "2024-05-01")])
}

pub(crate) fn previous() -> Value {
    Value::from_pairs([("to", "2024-05-01")])
}

pub(crate) fn page() -> Value {
    let numbers = ["number", "size", "offset"].map(|name| (name, Value::from(1)));
    Value::from_pairs(numbers.into_iter().chain([("cursor", "sample".into())]).collect::<Vec<_>>())
}

pub(crate) fn item(set: &ItemSet) -> Value {
    Value::from_pairs(fields(set))
}

fn fields(set: &ItemSet) -> BTreeMap<String, Value> {
    let field = |(name, kind): &(String, FieldType)| {
        let value: Value = match kind {
            FieldType::String | FieldType::Any => "sample".into(),
            FieldType::Object => Value::from_pairs(Vec::<(&str, Value)>::new()),
            FieldType::Array => Value::from(Vec::<Value>::new()),
            FieldType::Integer => 1.into(),
            FieldType::Number => 1.5.into(),
            FieldType::Boolean => true.into(),
            FieldType::Datetime => "2024-05-01T08:44:00".into(),
            FieldType::Date => "2024-05-01".into(),
            FieldType::Duration => "PT1M".into(),
        };
        (name.clone(), value)
    };
    set.fields.iter().map(field).collect()
}

/// A name that was looked for in vain in a sample batch.
#[derive(Debug, Clone)]
pub(crate) struct Miss {
    /// The item set that has no such field; `None` where there is no such item set.
    pub(crate) set: Option<String>,
    pub(crate) name: String,
}

/// All such names. A template reaches them through loops and filters, so that its text alone does not tell
/// them.
#[derive(Debug, Clone, Default)]
pub(crate) struct Missed(Arc<Mutex<Vec<Miss>>>);

impl Missed {
    /// A batch whose items remember what they do not have.
    pub(crate) fn batch(&self, sets: &[ItemSet]) -> Value {
        let table = |set, values| Value::from_object(Tables { set, values, missed: self.clone() });
        let sets = sets.iter().map(|set| (set.name.clone(), table(Some(set.name.clone()), fields(set))));
        Value::from(vec![table(None, sets.collect()); BATCH])
    }

    /// The first such name.
    pub(crate) fn first(&self) -> Option<Miss> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).first().cloned()
    }
}

#[derive(Debug)]
struct Tables {
    set: Option<String>,
    values: BTreeMap<String, Value>,
    missed: Missed,
}

impl Object for Tables {
    fn get_value(self: &Arc<Self>, key: &Value) -> Option<Value> {
        let name = key.as_str()?;
        let found = self.values.get(name).cloned();
        if found.is_none() {
            let mut missed = self.missed.0.lock().unwrap_or_else(PoisonError::into_inner);
            missed.push(Miss { set: self.set.clone(), name: name.to_owned() });
        }
        found
    }

    fn enumerate(self: &Arc<Self>) -> Enumerator {
        Enumerator::Values(self.values.keys().map(|name| Value::from(name.as_str())).collect())
    }
}
