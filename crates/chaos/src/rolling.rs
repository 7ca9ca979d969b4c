//! Rolling restarts under load, and how the reconnects are spread over the drain window.

use std::time::{Duration, Instant};

use crate::{fault::Fault, report::Report, run};

/// Restarts all gateways `times` over, one after the other, under load.
///
/// # Errors
/// As [`run::run`].
pub async fn rolling(mut options: run::Options, times: u32) -> anyhow::Result<Report> {
    options.faults = vec![Fault::GatewayRolling];
    options.rounds = times;
    run::run(options).await
}

/// Moments since a beginning, as a curve of text: so many in each part of the time.
pub fn curve(moments: &[Duration], whole: Duration, parts: usize) -> String {
    let mut counts = vec![0usize; parts];
    for moment in moments {
        let at = (moment.as_secs_f64() / whole.as_secs_f64() * parts as f64) as usize;
        counts[at.min(parts - 1)] += 1;
    }
    let most = counts.iter().copied().max().unwrap_or(0).max(1);
    let width = whole.as_secs_f64() / parts as f64;
    let mut text = String::new();
    for (at, count) in counts.iter().enumerate() {
        let bar = "#".repeat(count * 50 / most);
        text.push_str(&format!("{:6.1} s {count:6} {bar}\n", at as f64 * width));
    }
    text
}

/// A stop watch of events.
#[derive(Clone, Debug)]
pub struct Moments {
    began: Instant,
    /// When each happened.
    pub all: Vec<Duration>,
}

impl Moments {
    /// Begins now.
    pub fn begin() -> Moments {
        Moments { began: Instant::now(), all: Vec::new() }
    }

    /// Notes one.
    pub fn note(&mut self) {
        self.all.push(self.began.elapsed());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn draws_as_many_as_there_are() {
        let moments: Vec<Duration> = (0..10).map(|at| Duration::from_millis(at * 100)).collect();
        let text = curve(&moments, Duration::from_secs(1), 2);
        let counts: Vec<usize> = text.lines().filter_map(|line| line.split_whitespace().nth(2)?.parse().ok()).collect();
        assert_eq!(counts, [5, 5]);
    }
}
