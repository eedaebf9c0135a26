//! Exact fixed-point numbers: what statistics are made of.
//!
//! A float sum depends on the order of its terms; a fixed-point sum does not. So every number, and
//! every duration (in seconds), is kept as a whole count of 10⁻⁹ in an `i128`.

use serde::{Deserialize, Serialize};

/// A number with nine decimals, exact under addition in any order.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Decimal(pub(crate) i128);

impl TryFrom<String> for Decimal {
    type Error = String;
    fn try_from(_: String) -> Result<Self, String> {
        todo!()
    }
}

impl From<Decimal> for String {
    fn from(_: Decimal) -> String {
        todo!()
    }
}
