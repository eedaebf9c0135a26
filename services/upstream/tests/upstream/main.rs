//! The upstream over HTTP, as a client meets it; one program, so that it is linked once.

mod apis;
mod buses;
mod faults;
mod paged;
mod paged_auth;
mod paged_faults;
mod pages;
mod posts;
mod site;
mod stations;
mod weather;
