//! What a metric has at one moment: a number, or one for each combination of label values.

use super::{Counter, Gauge, Tally};

/// Names and values of labels.
pub type Labels = Vec<(&'static str, &'static str)>;

/// One number, or one histogram.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    /// How many, or how much.
    Number(u64),
    /// The same, with fractions.
    Real(f64),
    /// Durations.
    Histogram(Tally),
}

/// The values of one metric by their labels, always the same ones in the same order.
#[derive(Clone, Debug, PartialEq)]
pub struct Reading(pub Vec<(Labels, Value)>);

impl Reading {
    /// Adds the same metric of another shard.
    pub fn add(&mut self, other: &Reading) {
        for ((_, value), (_, more)) in self.0.iter_mut().zip(&other.0) {
            match (value, more) {
                (Value::Number(number), Value::Number(more)) => *number += more,
                (Value::Real(number), Value::Real(more)) => *number += more,
                (Value::Histogram(tally), Value::Histogram(more)) => tally.add(more),
                _ => unreachable!("a metric is read in one way"),
            }
        }
    }

    /// The same with one label more.
    pub fn with(mut self, name: &'static str, value: &'static str) -> Reading {
        self.0.iter_mut().for_each(|(labels, _)| labels.push((name, value)));
        self
    }

    /// This and another one.
    pub fn and(mut self, other: Reading) -> Reading {
        self.0.extend(other.0);
        self
    }
}

impl From<Value> for Reading {
    fn from(value: Value) -> Reading {
        Reading(vec![(Labels::new(), value)])
    }
}

impl From<u64> for Reading {
    fn from(number: u64) -> Reading {
        Value::Number(number).into()
    }
}

impl Counter {
    /// The value for the table.
    pub fn read(&self) -> Reading {
        self.get().into()
    }
}

impl Gauge {
    /// The value for the table.
    pub fn read(&self) -> Reading {
        self.get().into()
    }
}
