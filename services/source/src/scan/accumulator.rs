//! The adding up: per field, so that two statistics over one field cost no more than one.

use crate::{Decimal, Statistic, Statistics, Totals, scan::compiled_schema::Row, stats::Aggregate};

/// What is known of all whole records so far.
#[derive(Debug)]
pub(super) struct Accumulator {
    records: u64,
    sums: Vec<Sum>,
    extremes: Vec<Extremes>,
    /// Booleans that were true in any record, as bits.
    any: u64,
    /// Booleans that were never false.
    all: u64,
}

#[derive(Debug)]
struct Sum {
    field: usize,
    sum: i128,
    count: u64,
}

#[derive(Debug)]
struct Extremes {
    field: usize,
    least: i128,
    most: i128,
    any: bool,
}

impl Accumulator {
    pub(super) fn new(statistics: &Statistics) -> Self {
        let (mut sums, mut extremes) = (Vec::new(), Vec::new());
        for (_, statistic) in &statistics.list {
            match *statistic {
                Statistic::Sum(field) | Statistic::Avg { field, .. } => sums.push(field),
                Statistic::Min(field) | Statistic::Max(field) => extremes.push(field),
                Statistic::Count | Statistic::Any(_) | Statistic::All(_) => {}
            }
        }
        for fields in [&mut sums, &mut extremes] {
            fields.sort_unstable();
            fields.dedup();
        }
        Self {
            records: 0,
            sums: sums.into_iter().map(|field| Sum { field, sum: 0, count: 0 }).collect(),
            extremes: extremes
                .into_iter()
                .map(|field| Extremes { field, least: i128::MAX, most: i128::MIN, any: false })
                .collect(),
            any: 0,
            all: u64::MAX,
        }
    }

    pub(super) fn records(&self) -> u64 {
        self.records
    }

    /// Adds a whole record, or says in which field the sum would be too large to be kept exactly. After that
    /// the tally is of no use.
    #[inline(always)]
    pub(super) fn add(&mut self, row: &Row) -> Result<(), usize> {
        for sum in &mut self.sums {
            if row.present >> sum.field & 1 == 1 {
                sum.sum = sum.sum.checked_add(row.numbers[sum.field]).ok_or(sum.field)?;
                sum.count += 1;
            }
        }
        for extremes in &mut self.extremes {
            if row.present >> extremes.field & 1 == 1 {
                let value = row.numbers[extremes.field];
                extremes.least = extremes.least.min(value);
                extremes.most = extremes.most.max(value);
                extremes.any = true;
            }
        }
        self.any |= row.truths;
        self.all &= row.truths | !row.present;
        self.records += 1;
        Ok(())
    }

    /// One value per statistic. They must be those that the tally was made for.
    pub(super) fn totals(&self, statistics: &Statistics) -> Totals {
        let sum =
            |field| self.sums.iter().find(|sum| sum.field == field).expect("there is a sum for each field wanted");
        let extremes = |field| {
            let found = self.extremes.iter().find(|extremes| extremes.field == field);
            found.expect("there are extremes for each field wanted")
        };
        let aggregate = |statistic: &Statistic| match *statistic {
            Statistic::Count => Aggregate::Count(self.records),
            Statistic::Sum(field) => Aggregate::Sum(Decimal(sum(field).sum)),
            Statistic::Avg { field, .. } => {
                let Sum { sum, count, .. } = *sum(field);
                Aggregate::Avg { sum: Decimal(sum), count }
            }
            Statistic::Min(field) => Aggregate::Min(extremes(field).any.then_some(Decimal(extremes(field).least))),
            Statistic::Max(field) => Aggregate::Max(extremes(field).any.then_some(Decimal(extremes(field).most))),
            Statistic::Any(field) => Aggregate::Any(self.any >> field & 1 == 1),
            Statistic::All(field) => Aggregate::All(self.all >> field & 1 == 1),
        };
        Totals(statistics.list.iter().map(|(_, statistic)| aggregate(statistic)).collect())
    }
}
