//! Expressions: conditions and values over an answer. A member that is missing, or `null`, is unknown, never an error.

use minijinja::{Environment, Error, ErrorKind, UndefinedBehavior, Value};

use crate::definition::template::base_environment;

/// An expression whose syntax and names were checked.
#[derive(Debug)]
pub(crate) struct Expression {
    source: String,
}

impl Expression {
    /// Compiles an expression; its syntax is all that is checked.
    pub(crate) fn compile(source: &str) -> Result<Self, Error> {
        environment(UndefinedBehavior::Chainable).compile_expression(source)?;
        Ok(Self { source: source.to_owned() })
    }

    /// The names that it reads: `body.has_more`, `page.number`. Sorted.
    pub(crate) fn references(&self) -> Vec<String> {
        let environment = environment(UndefinedBehavior::Chainable);
        let compiled = environment.compile_expression(&self.source);
        let mut names: Vec<_> =
            compiled.map(|it| it.undeclared_variables(true)).unwrap_or_default().into_iter().collect();
        names.sort();
        names
    }

    /// The value; `None` where it is undefined or `none`.
    pub(crate) fn value(&self, scope: &Value) -> Result<Option<Value>, Error> {
        let value = evaluate(&self.source, scope, UndefinedBehavior::Chainable)?;
        Ok(Some(value).filter(|value| !value.is_undefined() && !value.is_none()))
    }

    /// Whether it is so. What is compared with an unknown value is not: `page.number >= body.pages` is false where
    /// there are no `pages`. `known` is the scope without its nulls, which the engine would take for small numbers.
    pub(crate) fn holds(&self, scope: &Value, known: &Value) -> Result<bool, Error> {
        let is_so = |scope| match evaluate(&self.source, scope, UndefinedBehavior::SemiStrict) {
            Ok(value) => Ok(Some(value.is_true())),
            Err(error) if error.kind() == ErrorKind::UndefinedError => Ok(None),
            Err(error) => Err(error),
        };
        Ok(is_so(scope)? == Some(true) && is_so(known)?.is_some())
    }
}

fn evaluate(source: &str, scope: &Value, undefined: UndefinedBehavior) -> Result<Value, Error> {
    environment(undefined).compile_expression(source)?.eval(scope.clone())
}

fn environment(undefined: UndefinedBehavior) -> Environment<'static> {
    let mut environment = base_environment();
    environment.set_undefined_behavior(undefined);
    environment
}

#[cfg(test)]
mod tests {
    use minijinja::value::Serde;
    use serde_json::json;

    use super::*;

    fn scope(body: &serde_json::Value) -> Value {
        Value::from(Serde(json!({ "page": { "number": 3 }, "body": body })))
    }

    fn holds(expression: &str, body: serde_json::Value, known: serde_json::Value) -> bool {
        Expression::compile(expression).unwrap().holds(&scope(&body), &scope(&known)).unwrap()
    }

    #[test]
    fn what_is_compared_with_an_unknown_value_is_not_so() {
        for (expression, body, known, expected) in [
            ("page.number >= body.pages", json!({ "pages": 3 }), json!({ "pages": 3 }), true),
            ("page.number >= body.pages", json!({ "pages": 4 }), json!({ "pages": 4 }), false),
            ("page.number >= body.pages", json!({}), json!({}), false),
            ("page.number >= body.pages", json!({ "pages": null }), json!({}), false),
            ("page.number >= body.meta.pages", json!({}), json!({}), false),
            ("not body.has_more", json!({}), json!({}), true),
            ("not body.has_more", json!({ "has_more": true }), json!({ "has_more": true }), false),
            ("body.next is none", json!({ "next": null }), json!({}), true),
            ("body.state != 'more'", json!({}), json!({}), false),
        ] {
            assert_eq!(holds(expression, body.clone(), known), expected, "{expression} of {body}");
        }
    }

    #[test]
    fn a_missing_member_has_no_value() {
        let value = |expression: &str, body: serde_json::Value| {
            let value = Expression::compile(expression).unwrap().value(&scope(&body)).unwrap();
            value.map(|value| value.to_string())
        };
        assert_eq!(value("body.a.b.c", json!({})), None);
        assert_eq!(value("body.a", json!({ "a": null })), None);
        assert_eq!(value("body.a", json!({ "a": "x" })).as_deref(), Some("x"));
        assert_eq!(value("body.a.b or body.c", json!({ "c": 7 })).as_deref(), Some("7"));
    }
}
