//! What was seen of a client.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use serde_json::json;

use super::behaviour::{Behaviour, Level};

/// What was seen of one behaviour.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// The client does it.
    Shown,
    /// There was no occasion, or it did not happen; the text says which.
    NotShown(String),
    /// The client did something else.
    Wrong(String),
}

impl Verdict {
    /// `shown`, `not shown` or `wrong`.
    pub const fn as_str(&self) -> &'static str {
        match self {
            Verdict::Shown => "shown",
            Verdict::NotShown(_) => "not shown",
            Verdict::Wrong(_) => "wrong",
        }
    }

    /// Why, where there is something to say.
    pub fn detail(&self) -> &str {
        match self {
            Verdict::Shown => "",
            Verdict::NotShown(why) | Verdict::Wrong(why) => why,
        }
    }
}

/// The notes that all scenarios write into.
#[derive(Clone, Debug, Default)]
pub(super) struct Notes(Arc<Mutex<BTreeMap<Behaviour, Verdict>>>);

impl Notes {
    pub(super) fn shown(&self, behaviour: Behaviour) {
        self.note(behaviour, Verdict::Shown);
    }

    pub(super) fn wrong(&self, behaviour: Behaviour, why: impl Into<String>) {
        self.note(behaviour, Verdict::Wrong(why.into()));
    }

    pub(super) fn not_shown(&self, behaviour: Behaviour, why: impl Into<String>) {
        self.note(behaviour, Verdict::NotShown(why.into()));
    }

    /// One wrong is worse than many shown; the first reason stays.
    fn note(&self, behaviour: Behaviour, verdict: Verdict) {
        let weight = |verdict: &Verdict| match verdict {
            Verdict::NotShown(_) => 0,
            Verdict::Shown => 1,
            Verdict::Wrong(_) => 2,
        };
        let mut notes = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let known = notes.entry(behaviour).or_insert_with(|| verdict.clone());
        if weight(&verdict) > weight(known) {
            *known = verdict;
        }
    }

    pub(super) fn report(&self, scope: &[Behaviour]) -> Report {
        let notes = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let unseen = || Verdict::NotShown("no occasion".to_owned());
        let rows = Behaviour::ALL.iter().filter(|behaviour| scope.contains(behaviour));
        Report { rows: rows.map(|row| (*row, notes.get(row).cloned().unwrap_or_else(unseen))).collect() }
    }
}

/// What was seen of everything that was looked for.
#[derive(Clone, Debug)]
pub struct Report {
    rows: Vec<(Behaviour, Verdict)>,
}

impl Report {
    /// Each behaviour that was looked for, in the order of [`Behaviour::ALL`].
    pub fn rows(&self) -> &[(Behaviour, Verdict)] {
        &self.rows
    }

    /// Whether nothing was wrong and every MUST was shown.
    #[must_use]
    pub fn passed(&self) -> bool {
        self.rows.iter().all(|(behaviour, verdict)| match verdict {
            Verdict::Shown => true,
            Verdict::NotShown(_) => behaviour.level() == Level::Should,
            Verdict::Wrong(_) => false,
        })
    }

    /// The report as JSON: `passed` and `behaviours`.
    #[must_use]
    pub fn to_json(&self) -> serde_json::Value {
        let rows: Vec<_> = self
            .rows
            .iter()
            .map(|(behaviour, verdict)| {
                json!({
                    "name": behaviour.name(),
                    "level": behaviour.level().as_str(),
                    "verdict": verdict.as_str().replace(' ', "_"),
                    "detail": verdict.detail(),
                    "text": behaviour.text(),
                    "section": format!("docs/protocol.md#{}", behaviour.section()),
                })
            })
            .collect();
        json!({ "passed": self.passed(), "behaviours": rows })
    }
}

/// A table for people.
impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (behaviour, verdict) in &self.rows {
            let level = behaviour.level().as_str();
            writeln!(f, "{:<9}  {level:<6}  {:<26}  {}", verdict.as_str(), behaviour.name(), behaviour.text())?;
            if !verdict.detail().is_empty() {
                writeln!(f, "{:<9}  {:<6}  {:<26}  - {}", "", "", "", verdict.detail())?;
            }
        }
        let shown = self.rows.iter().filter(|(_, verdict)| *verdict == Verdict::Shown).count();
        let outcome = if self.passed() { "passed" } else { "not passed" };
        write!(f, "{outcome}: {shown} of {} shown", self.rows.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_wrong_outweighs_all_else_and_a_should_may_be_missing() {
        let notes = Notes::default();
        let scope = [Behaviour::MasksFrames, Behaviour::WaitsForHello];
        assert!(!notes.report(&scope).passed(), "nothing was seen");
        notes.not_shown(Behaviour::MasksFrames, "never connected");
        notes.shown(Behaviour::MasksFrames);
        assert!(notes.report(&scope).passed(), "a should is not demanded");
        notes.wrong(Behaviour::MasksFrames, "first");
        notes.wrong(Behaviour::MasksFrames, "second");
        notes.shown(Behaviour::MasksFrames);
        let report = notes.report(&scope);
        assert_eq!(report.rows()[0].1, Verdict::Wrong("first".to_owned()));
        assert!(!report.passed());
        assert!(report.to_string().contains("not passed: 0 of 2 shown"), "{report}");
        assert_eq!(report.to_json()["behaviours"][0]["verdict"], "wrong");
    }
}
