//! What a client is told of a query that has no answer.

use poem::http::StatusCode;
use waybill_web::Problem;

use crate::sql::QueryError;

/// 400 where the query is wrong, 422 where it is too much or fails on this data, 503 where another time is better.
pub(super) fn problem(error: QueryError) -> Problem {
    let text = error.to_string();
    match error {
        QueryError::Invalid(_) | QueryError::Refused(_) | QueryError::TooLong(_) => {
            Problem::new(StatusCode::BAD_REQUEST, "invalid-query", text).at("sql")
        }
        QueryError::Failed(_) => Problem::new(StatusCode::UNPROCESSABLE_ENTITY, "query-failed", text).at("sql"),
        QueryError::Memory | QueryError::Scratch => {
            Problem::new(StatusCode::UNPROCESSABLE_ENTITY, "query-too-large", text).at("sql")
        }
        QueryError::Timeout(_) => Problem::new(StatusCode::UNPROCESSABLE_ENTITY, "query-timeout", text).at("timeout"),
        QueryError::Busy => Problem::new(StatusCode::SERVICE_UNAVAILABLE, "busy", text).after(5),
        QueryError::Unreadable(cause) => Problem::unavailable("the object store", cause),
        QueryError::Internal(cause) => Problem::internal(cause),
    }
}
