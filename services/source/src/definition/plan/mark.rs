//! How far a job goes, for a later one that goes on there: `previous.to` in the default of a parameter.
//!
//! The mark of a job that succeeded is where its windows end, but never later than the day on which it was made: what was
//! still to come then is fetched again. Jobs whose other parameters are the same share one.

use std::collections::BTreeMap;

use minijinja::Value;

use crate::{
    DefaultsFrom, ItemError, JobContext, ParamError, Params,
    definition::Definition,
    params::{self, Param},
};

/// Where a job's windows end, and what jobs it is the mark of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mark {
    /// `2024-05-01`, or `2024-05-01T08:00:00Z`.
    pub to: String,
    /// The parameters that say neither where windows begin nor where they end.
    pub others: Params,
}

impl Definition {
    /// The mark that a job leaves which succeeded; `None` where no default asks for one, or the job has no windows.
    pub fn mark(&self, job: &JobContext) -> Result<Option<Mark>, ItemError> {
        let Some(windows) = self.items.range().filter(|_| self.params.iter().any(Param::asks_previous)) else {
            return Ok(None);
        };
        let scope = Value::from_pairs(self.job_names(job));
        let others = job.params.0.iter().filter(|(name, _)| !windows.are_of_param(name));
        let others = Params(others.map(|(name, value)| (name.clone(), value.clone())).collect());
        Ok(windows.end(job, &scope)?.map(|to| Mark { to, others }))
    }

    /// Of which jobs the mark is wanted for a job that was given this: their other parameters. `None` where no default
    /// that is needed asks for one.
    pub fn wants_mark(
        &self,
        given: &BTreeMap<String, String>,
        from: DefaultsFrom<'_>,
    ) -> Result<Option<Params>, ParamError> {
        let is_asked = self.params.iter().any(|param| param.asks_previous() && !given.contains_key(&param.name));
        let Some(windows) = self.items.range().filter(|_| is_asked) else { return Ok(None) };
        let (range, others): (Vec<_>, Vec<_>) =
            self.params.iter().cloned().partition(|param| windows.are_of_param(&param.name));
        let is_of_range = |name: &String| range.iter().any(|param| param.name == *name);
        let given = given.iter().filter(|(name, _)| !is_of_range(name));
        let given = given.map(|(name, value)| (name.clone(), value.clone())).collect();
        params::bind(&others, &given, from).map(Some)
    }
}
