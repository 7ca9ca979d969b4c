//! The whole run: this process, or several that begin at one moment.

use std::{
    io::Read as _,
    process::{Child, Command, Stdio},
    time::{Instant, SystemTime, UNIX_EPOCH},
};

use anyhow::{Context as _, bail, ensure};
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use serde::{Deserialize, Serialize};

use crate::{
    args::Args,
    plan::Plan,
    report::Report,
    swarm::Swarm,
    system::{block_signals, rss_most_kib},
    tally::Tally,
    watch::Watch,
};

/// Time that processes are given to get ready before they begin together, in seconds.
const LEAD_S: f64 = 1.0;

/// What a process says to the one that started it.
#[derive(Debug, Serialize, Deserialize)]
pub struct Share {
    /// What it has counted.
    pub tally: Tally,
    /// Its largest memory.
    pub rss_most_kib: u64,
}

/// Runs the share of this process alone.
///
/// # Errors
/// The options are wrong, or the system fails.
pub fn part(args: &Args) -> anyhow::Result<Share> {
    let tally = Swarm::new(Plan::new(args)?)?.run()?;
    Ok(Share { tally, rss_most_kib: rss_most_kib() })
}

/// Runs everything, and reports.
///
/// # Errors
/// The options are wrong, or a process fails.
pub fn whole(args: &Args) -> anyhow::Result<Report> {
    // What is wrong is said once, and before anything runs.
    Plan::new(args)?;
    // Before the first thread.
    block_signals()?;
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs_f64();
    let watch = Watch::start(args.watch.clone());
    let began = Instant::now();
    let lead_s = if args.processes == 1 { 0.0 } else { LEAD_S };
    let began_s = args.start_at.unwrap_or(now + lead_s);
    let share = if args.processes == 1 { part(args)? } else { together(args, began_s)? };
    let took = began.elapsed().as_secs_f64();
    let servers = watch.stop();
    // The curves cover the run without its settling, and all of it unless a signal ended it.
    let seconds = args.duration.as_secs_f64().min(took - lead_s);
    let mut report = Report::new(&share.tally, began_s, seconds, servers, &args.fail_on);
    (report.processes, report.rss_most_kib) = (args.processes, share.rss_most_kib);
    Ok(report)
}

fn together(args: &Args, start_at: f64) -> anyhow::Result<Share> {
    let us = std::env::current_exe().context("the path of this program")?;
    // They get the signals of a terminal too; one that was sent to us alone is passed on.
    let signals = block_signals()?;
    let mut children = Vec::new();
    for at in 0..args.processes {
        let mut command = Command::new(&us);
        command.args(std::env::args_os().skip(1)).args(["--part", &format!("{at}/{}", args.processes)]);
        if args.start_at.is_none() {
            command.args(["--start-at", &start_at.to_string()]);
        }
        let child = command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn();
        match child {
            Ok(child) => children.push(child),
            Err(error) => {
                children.iter_mut().for_each(|child| drop(child.kill()));
                return Err(error).context("start another process");
            }
        }
    }
    let ids: Vec<Pid> = children.iter().map(pid_of).collect();
    std::thread::spawn(move || {
        while signals.wait().is_ok() {
            for pid in &ids {
                // One that has ended is no fault.
                let _ = kill(*pid, Signal::SIGTERM);
            }
        }
    });
    // Read at once: a child that has more to say than a pipe holds would wait for us.
    let readers: Vec<_> = children
        .iter_mut()
        .map(|child| {
            let out = child.stdout.take();
            std::thread::spawn(move || {
                let mut text = String::new();
                out.map(|mut out| out.read_to_string(&mut text)).transpose().map(|_| text)
            })
        })
        .collect();
    let mut sum: Option<Share> = None;
    for (mut child, reader) in children.into_iter().zip(readers) {
        let status = child.wait().context("wait for a process")?;
        ensure!(status.success(), "a process ended with {status}");
        let Ok(text) = reader.join() else { bail!("nobody read what a process said") };
        let share: Share = serde_json::from_str(&text?).context("what a process said")?;
        match &mut sum {
            None => sum = Some(share),
            Some(sum) => {
                sum.tally.add(&share.tally);
                sum.rss_most_kib = sum.rss_most_kib.max(share.rss_most_kib);
            }
        }
    }
    sum.context("no process")
}

fn pid_of(child: &Child) -> Pid {
    Pid::from_raw(i32::try_from(child.id()).expect("process ids are positive 32-bit numbers"))
}
