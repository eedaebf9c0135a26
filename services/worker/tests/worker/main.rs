//! The worker as a whole, on the embedded store and queue, against an upstream that does as it is told.

mod bad_files;
mod names;
mod planning;
mod refetch;
mod resume;
mod shapes;
mod stopping;
mod support;
mod upstream_faults;
