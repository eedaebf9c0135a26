//! What is looked after without being asked: lost work, expired jobs, replaced objects.

pub(crate) mod garbage;
pub(crate) mod housekeeper;
