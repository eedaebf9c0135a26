//! The upstream over HTTP, as a client meets it; one program, so that it is linked once.

mod buses;
mod faults;
mod posts;
mod site;
mod stations;
mod weather;
