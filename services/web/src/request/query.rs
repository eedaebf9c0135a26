//! Query parameters that a route does not have are mistakes, not noise: a misspelt filter that is
//! ignored answers a question that nobody asked.

use poem::Request;

use crate::Problem;

/// Refuses query parameters that are not in `known`, and those given twice.
pub fn known_query(request: &Request, known: &[&str]) -> Result<(), Problem> {
    let given: Vec<(String, String)> = request.params().unwrap_or_default();
    for (at, (name, value)) in given.iter().enumerate() {
        if !known.contains(&name.as_str()) {
            return Err(Problem::unknown_parameter(name, known));
        }
        if given[..at].iter().any(|(earlier, _)| earlier == name) {
            return Err(Problem::invalid_parameter(name, "it once", format_args!("a second {}", crate::quoted(value))));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(uri: &str) -> Result<(), String> {
        let request = Request::builder().uri_str(uri).finish();
        known_query(&request, &["date", "limit"]).map_err(|problem| problem.detail.clone())
    }

    #[test]
    fn only_known_parameters_pass_and_only_once() {
        assert_eq!(check("/"), Ok(()));
        assert_eq!(check("/?date=2024-05-01&limit=3"), Ok(()));
        insta::assert_snapshot!(check("/?dat=2024-05-01").unwrap_err(), @"parameter `dat`: unknown; this route has only `date`, `limit`");
        insta::assert_snapshot!(check("/?date=1&date=2").unwrap_err(), @r#"parameter `date`: expected it once, found a second "2""#);
        insta::assert_snapshot!(check("/?%ff").unwrap_err(), @"parameter `�`: unknown; this route has only `date`, `limit`");
    }
}
