//! The adding up: per field, so that two statistics over one field cost no more than one.

use crate::{
    Decimal, Literal, Statistic, Statistics, Totals,
    scan::compiled_schema::Row,
    stats::{Aggregate, decimal::ONE},
};

/// What is known of all whole records so far.
#[derive(Debug)]
pub(super) struct Accumulator {
    records: u64,
    sums: Vec<Sum>,
    extremes: Vec<Extremes>,
    counts: Vec<CountWhere>,
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

#[derive(Debug)]
struct CountWhere {
    field: usize,
    equals: Literal,
    /// As the row has the value: of an integer in 10⁻⁹, of a string its place among the texts that are counted.
    number: i128,
    count: u64,
}

impl Accumulator {
    pub(super) fn new(statistics: &Statistics) -> Self {
        let (mut sums, mut extremes, mut counts) = (Vec::new(), Vec::new(), Vec::<CountWhere>::new());
        for (_, statistic) in &statistics.list {
            match statistic {
                Statistic::Sum(field) | Statistic::Avg { field, .. } => sums.push(*field),
                Statistic::Min(field) | Statistic::Max(field) => extremes.push(*field),
                Statistic::CountWhere { field, equals } => {
                    let texts = statistics.counted_texts(*field);
                    let number = match equals {
                        Literal::String(text) => {
                            texts.iter().position(|counted| counted == text).unwrap_or(texts.len()) as i128
                        }
                        Literal::Integer(number) => i128::from(*number) * ONE,
                        Literal::Boolean(truth) => i128::from(*truth),
                    };
                    counts.push(CountWhere { field: *field, equals: equals.clone(), number, count: 0 });
                }
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
            counts,
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
        for counted in &mut self.counts {
            if row.present >> counted.field & 1 == 1 {
                let value = match counted.equals {
                    Literal::Boolean(_) => i128::from(row.truths >> counted.field & 1),
                    Literal::String(_) | Literal::Integer(_) => row.numbers[counted.field],
                };
                counted.count += u64::from(value == counted.number);
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
        let count = |field, value: &Literal| {
            let found = self.counts.iter().find(|counted| counted.field == field && counted.equals == *value);
            found.expect("there is a count for each value wanted").count
        };
        let aggregate = |statistic: &Statistic| match *statistic {
            Statistic::Count => Aggregate::Count(self.records),
            Statistic::CountWhere { field, ref equals } => Aggregate::Count(count(field, equals)),
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
