//! Definitions tried out on the real API: `waybill new` drafts one, `waybill try` asks by one. Nothing is stored in a
//! bucket, no throttle is shared with workers, and nothing printed or saved holds a credential.

pub(crate) mod attempt;
mod client;
mod fixture;
mod mask;
pub(crate) mod new;
mod printer;
