//! How contents are answered: whole, in part, with conditions.

pub(crate) mod answer;
pub(crate) mod conditions;
pub(crate) mod control;
pub(crate) mod problem;
pub(crate) mod requests;
