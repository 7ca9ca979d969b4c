//! What is not good enough: `lost>0`, `latency_p99>500`.

use std::{collections::BTreeMap, fmt, str::FromStr};

use serde::Serialize;

/// One bar: the run fails where it is true.
#[derive(Clone, Debug, PartialEq)]
pub struct Bar {
    /// A figure of the report.
    pub name: String,
    is_above: bool,
    limit: f64,
}

impl FromStr for Bar {
    type Err = String;

    fn from_str(text: &str) -> Result<Bar, String> {
        let at = text.find(['<', '>']).ok_or_else(|| format!("{text:?} is not like lost>0"))?;
        let limit = text[at + 1..].trim().parse().map_err(|_| format!("{:?} is no number", &text[at + 1..]))?;
        Ok(Bar { name: text[..at].trim().to_owned(), is_above: &text[at..=at] == ">", limit })
    }
}

impl fmt::Display for Bar {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}{}", self.name, if self.is_above { '>' } else { '<' }, self.limit)
    }
}

/// What became of a bar.
#[derive(Clone, Debug, Serialize)]
pub struct Outcome {
    /// The bar, as typed.
    pub bar: String,
    /// The figure; none if there is no such.
    pub value: Option<f64>,
    /// Whether it is good enough. A figure that there is not never is.
    pub held: bool,
}

impl Bar {
    /// Looks at the figures.
    pub fn judge(&self, figures: &BTreeMap<String, f64>) -> Outcome {
        let value = figures.get(&self.name).copied();
        let is_bad = |value: f64| if self.is_above { value > self.limit } else { value < self.limit };
        Outcome { bar: self.to_string(), value, held: value.is_some_and(|value| !is_bad(value)) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn holds_what_is_good_enough_and_nothing_that_is_not_measured() {
        let figures = BTreeMap::from([("lost".to_owned(), 0.0), ("success_pct".to_owned(), 98.5)]);
        let held = |text: &str| text.parse::<Bar>().expect("a bar").judge(&figures).held;
        assert!(held("lost>0"));
        assert!(!held("success_pct<99"));
        assert!(held("success_pct < 98"));
        assert!(!held("lots>0"), "a name with a slip of the pen would hold for ever");
        "lost=0".parse::<Bar>().expect_err("neither above nor below");
        "lost>no".parse::<Bar>().expect_err("no number");
    }
}
