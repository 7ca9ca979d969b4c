//! The table at the end of a run.

use std::{collections::BTreeMap, fmt::Write as _, time::Duration};

use crate::{check::Findings, fault::Fault};

/// What one kind of fault has led to.
#[derive(Clone, Debug, Default)]
pub struct Line {
    /// Times it was injected.
    pub injections: u64,
    /// Messages stored meanwhile.
    pub stored: u64,
    /// What the clients' histories show.
    pub findings: Findings,
    /// Acknowledged and not in the stream.
    pub unstored: u64,
    /// Publications that gateways owed somebody by their own books when everybody had everything.
    pub owed: u64,
    /// Gaps that the client library found and no gateway announced.
    pub violations: u64,
    /// The longest time until everybody was at the newest value, in seconds.
    pub slowest_s: f64,
}

impl Line {
    /// Whether a promise was broken.
    pub fn is_violated(&self) -> bool {
        self.findings.are_violations() || self.unstored > 0 || self.owed > 0 || self.violations > 0
    }

    fn add(&mut self, other: &Line) {
        self.injections += other.injections;
        self.stored += other.stored;
        self.findings.add(&other.findings);
        self.unstored += other.unstored;
        self.owed += other.owed;
        self.violations += other.violations;
        self.slowest_s = self.slowest_s.max(other.slowest_s);
    }
}

/// All lines of a run.
#[derive(Clone, Debug, Default)]
pub struct Report {
    /// By fault.
    pub lines: BTreeMap<Fault, Line>,
    /// How long after a gateway was told to leave its clients were somewhere else, if any was.
    pub moves: Vec<Duration>,
}

impl Report {
    /// Adds what one injection led to.
    pub fn add(&mut self, fault: Fault, line: &Line) {
        self.lines.entry(fault).or_default().add(line);
    }

    /// Everything together.
    pub fn total(&self) -> Line {
        let mut total = Line::default();
        self.lines.values().for_each(|line| total.add(line));
        total
    }

    /// The table, in Markdown.
    pub fn table(&self) -> String {
        let mut text = String::from(
            "| fault | times | stored | delivered | recovered | missing | twice | reordered | wrong prev | invented \
             | needless gap | needless reset | not newest | acked, not stored | still owed | announced gaps | overlap | slowest |\n\
             |---|---|---|---|---|---|---|---|---|---|---|---|---|---|---|---|---|---|\n",
        );
        let rows = self.lines.iter().map(|(fault, line)| (fault.name(), line.clone()));
        for (name, line) in rows.chain([("all".to_owned(), self.total())]) {
            let found = &line.findings;
            let _ = writeln!(
                text,
                "| {name} | {} | {} | {} | {} | {} | {} | {} | {} | {} | {} | {} | {} | {} | {} | {} | {} | {:.1} s |",
                line.injections,
                line.stored,
                found.deliveries,
                found.recovered,
                found.missing,
                found.duplicate,
                found.reordered,
                found.wrong_prev,
                found.invented,
                found.needless_gaps,
                found.needless_resets,
                found.not_newest,
                line.unstored,
                line.owed,
                found.gaps,
                found.overlap,
                line.slowest_s,
            );
        }
        text
    }
}
