//! Bodies of responses: jobs, tasks, sources, pages of them.

pub(crate) mod job_response;
pub(crate) mod pagination;
pub(crate) mod row_results;
pub(crate) mod source_response;
pub(crate) mod task_response;
pub(crate) mod timestamp;
pub(crate) mod upload_response;
