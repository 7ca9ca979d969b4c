//! What is asked of the system: files, and signals that wait.

use nix::sys::{
    resource::{Resource, getrlimit, setrlimit},
    signal::{SigSet, Signal},
};

use crate::plan::PlanError;

/// Keeps signals that ask for the end for those who wait for them. Threads that are begun afterwards inherit it; one begun
/// before would be sent them, and the process would die.
///
/// # Errors
/// The system refuses.
pub fn block_signals() -> nix::Result<SigSet> {
    let signals = SigSet::from_iter([Signal::SIGINT, Signal::SIGTERM]);
    signals.thread_block()?;
    Ok(signals)
}

/// As many files as the clients need, if the system allows it.
///
/// # Errors
/// [`PlanError::Option`] where the system does not.
pub fn raise_file_limit(needed: u64) -> anyhow::Result<()> {
    let (soft, hard) = getrlimit(Resource::RLIMIT_NOFILE)?;
    if needed > hard {
        return Err(PlanError::Option(format!(
            "{needed} files are needed and {hard} are allowed: use more --processes"
        ))
        .into());
    }
    if soft < needed {
        setrlimit(Resource::RLIMIT_NOFILE, hard, hard)?;
    }
    Ok(())
}

/// The most memory this process had in RAM. What getrusage says is that of the process that started it, if that was more.
pub fn rss_most_kib() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    line.and_then(|line| line.split_whitespace().next()?.parse().ok()).unwrap_or(0)
}
