//! The journal as its callers see it, on a store whose every call is a step, and on the embedded one.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on should stop")]

mod algebra;
mod bad_objects;
mod collapse;
mod commits;
mod embedded;
mod interleavings;
mod many_segments;
mod model;
mod refreshes;
mod view;
