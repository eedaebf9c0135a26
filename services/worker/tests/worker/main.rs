//! The worker as a whole, on the embedded store and queue, against an upstream that does as it is told.

// A call of the SDK, awaited through all our rooms within a test's own future, is deeper than the 128 that are usual.
#![recursion_limit = "256"]

#[cfg(test)]
mod bad_files;
#[cfg(test)]
mod batches;
#[cfg(test)]
mod cancelled;
#[cfg(test)]
mod encodings;
#[cfg(test)]
mod examples;
mod house;
#[cfg(test)]
mod limits;
#[cfg(test)]
mod loads;
#[cfg(test)]
mod logs;
#[cfg(test)]
mod long;
#[cfg(test)]
mod names;
#[cfg(test)]
mod paged_stand_in;
#[cfg(test)]
mod pages;
#[cfg(test)]
mod planning;
#[cfg(test)]
mod refetch;
#[cfg(test)]
mod resume;
#[cfg(test)]
mod rows;
#[cfg(test)]
mod secrets;
#[cfg(test)]
mod shapes;
#[cfg(test)]
mod stand_in;
#[cfg(test)]
mod stopping;
#[cfg(test)]
mod support;
#[cfg(test)]
mod trouble;
#[cfg(test)]
mod upstream_faults;
#[cfg(test)]
mod versions;
#[cfg(test)]
mod windows;
