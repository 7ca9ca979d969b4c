//! Whether the process has memory left for more connections. Those it has are kept: to be killed for memory would take
//! all of them at once.
//!
//! Two things are looked at once a second: the process itself, where a limit is configured; else the control group, as
//! the kernel sees it before it kills, with the buffers of sockets that no process owns.

use std::{
    fs,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use tokio::sync::watch;

use crate::{config::Limits, current::Current, metrics::resident_bytes};

mod cgroup;

/// Between two looks.
const LOOK: Duration = Duration::from_secs(1);

/// Of the control group's limit, in percent: a storm of connects adds so much within a second.
const CGROUP_PERCENT: u64 = 90;

/// Of what it must not reach, in percent: below it, there is room again. Between the two nothing changes, or connections
/// would be let in and sent away by turns.
const ENOUGH_PERCENT: u64 = 95;

/// Where the kernel shows control groups, and which ones the process is in.
const CGROUPS: &str = "/sys/fs/cgroup";
const OWN_CGROUPS: &str = "/proc/self/cgroup";

/// See the module. For every thread.
#[derive(Debug, Default)]
pub(crate) struct Memory {
    is_short: AtomicBool,
}

/// What is used of what may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Usage {
    used_bytes: u64,
    most_bytes: u64,
}

impl Usage {
    /// None: there is no limit.
    fn now(limits: &Limits) -> Option<Self> {
        if let Some(most) = limits.memory_bytes {
            return Some(Self { used_bytes: resident_bytes(), most_bytes: most as u64 });
        }
        let own = fs::read_to_string(OWN_CGROUPS).ok()?;
        let (used_bytes, limit) = cgroup::fullest(Path::new(CGROUPS), &own)?;
        // In this order: the limit may be near 2^64.
        Some(Self { used_bytes, most_bytes: limit / 100 * CGROUP_PERCENT })
    }
}

impl Memory {
    /// Whether no more connections should be let in.
    pub(crate) fn is_short(&self) -> bool {
        self.is_short.load(Ordering::Relaxed)
    }

    /// Looks now.
    pub(crate) fn look(&self, limits: &Limits) {
        self.judge(Usage::now(limits));
    }

    fn judge(&self, usage: Option<Usage>) {
        let was_short = self.is_short();
        let is_short = usage.is_some_and(|Usage { used_bytes, most_bytes }| {
            used_bytes >= if was_short { most_bytes / 100 * ENOUGH_PERCENT } else { most_bytes }
        });
        if is_short == was_short {
            return;
        }
        self.is_short.store(is_short, Ordering::Relaxed);
        let Usage { used_bytes, most_bytes } = usage.unwrap_or(Usage { used_bytes: 0, most_bytes: u64::MAX });
        if is_short {
            tracing::warn!(used_bytes, most_bytes, "short of memory: new connections are sent away");
        } else {
            tracing::info!(used_bytes, most_bytes, "there is memory again: new connections are let in");
        }
    }

    /// Looks for ever.
    pub(crate) async fn watch(self: Arc<Self>, current: watch::Receiver<Arc<Current>>) {
        loop {
            tokio::time::sleep(LOOK).await;
            let current = current.borrow().clone();
            self.look(&current.config.limits);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn usage(used_bytes: u64) -> Option<Usage> {
        Some(Usage { used_bytes, most_bytes: 1000 })
    }

    #[test]
    fn is_short_from_the_limit_on_until_there_is_clearly_less() {
        let memory = Memory::default();
        for (used, is_short) in [(999, false), (1000, true), (999, true), (950, true), (949, false), (999, false)] {
            memory.judge(usage(used));
            assert_eq!(memory.is_short(), is_short, "{used}");
        }
        memory.judge(usage(2000));
        memory.judge(None);
        assert!(!memory.is_short(), "the limit is gone");
    }

    #[test]
    fn a_limit_of_the_configuration_is_for_the_process() {
        let memory = Memory::default();
        memory.look(&Limits { memory_bytes: Some(1), ..Limits::default() });
        assert!(memory.is_short());
        memory.look(&Limits { memory_bytes: Some(usize::MAX), ..Limits::default() });
        assert!(!memory.is_short());
    }
}
