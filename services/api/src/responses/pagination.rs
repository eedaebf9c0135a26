//! Pagination: page tokens, limits, and the `Link` to the next page (RFC 8288).

use std::str::FromStr;

use poem::http::Uri;
use poem_openapi::{ApiResponse, Object, payload::Json};
use waybill_web::{Problem, quoted};

use crate::responses::{job_response::Job, task_response::Task};

/// Jobs, newest first.
#[derive(Debug, Object)]
pub(crate) struct Jobs {
    /// A page may be short, even empty, though more follow.
    pub(crate) jobs: Vec<Job>,
    /// What `page_token` has to be for the next page; null on the last.
    #[oai(nullable)]
    pub(crate) next_page_token: Option<String>,
}

/// Tasks, in the order of the plan.
#[derive(Debug, Object)]
pub(crate) struct Tasks {
    /// Empty until the job is planned.
    pub(crate) tasks: Vec<Task>,
    /// What `page_token` has to be for the next page; null on the last.
    #[oai(nullable)]
    pub(crate) next_page_token: Option<String>,
}

#[derive(Debug, ApiResponse)]
pub(crate) enum JobsPage {
    /// A page of jobs.
    #[oai(status = 200)]
    Page(
        Json<Jobs>,
        /// The next page, if there is one.
        #[oai(header = "Link")]
        Option<String>,
    ),
}

#[derive(Debug, ApiResponse)]
pub(crate) enum TasksPage {
    /// A page of tasks.
    #[oai(status = 200)]
    Page(
        Json<Tasks>,
        /// The next page, if there is one.
        #[oai(header = "Link")]
        Option<String>,
    ),
}

/// A page token that this API gave out before.
pub(crate) fn token<T: FromStr>(given: Option<&str>) -> Result<Option<T>, Problem> {
    let wrong =
        |given| Problem::invalid_parameter("page_token", "a `next_page_token` of the page before", quoted(given));
    given.map(|given| given.parse().map_err(|_| wrong(given))).transpose()
}

/// The `Link` to the next page: this one's address with another token.
pub(crate) fn next_link(uri: &Uri, token: Option<&str>) -> Option<String> {
    let token = token?;
    let same =
        uri.query().unwrap_or_default().split('&').filter(|pair| !pair.is_empty() && !pair.starts_with("page_token="));
    let query: Vec<_> = same.map(str::to_owned).chain([format!("page_token={token}")]).collect();
    Some(format!("<{}?{}>; rel=\"next\"", uri.path(), query.join("&")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_next_page_is_of_the_same_list() {
        let next = |uri: &'static str| next_link(&Uri::from_static(uri), Some("7")).unwrap();
        assert_eq!(next("/v1/jobs"), "</v1/jobs?page_token=7>; rel=\"next\"");
        assert_eq!(
            next("/v1/jobs?state=failed&page_token=3&limit=2"),
            "</v1/jobs?state=failed&limit=2&page_token=7>; rel=\"next\""
        );
        assert_eq!(next_link(&Uri::from_static("/v1/jobs"), None), None);
    }

    #[test]
    fn a_token_is_one_of_ours() {
        assert_eq!(token::<u64>(None), Ok(None));
        assert_eq!(token::<u64>(Some("7")), Ok(Some(7)));
        insta::assert_snapshot!(token::<u64>(Some("seven")).unwrap_err(), @r#"Invalid parameter: parameter `page_token`: expected a `next_page_token` of the page before, found "seven""#);
    }
}
