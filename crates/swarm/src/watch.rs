//! Processor time, memory, files and threads of the servers, each second, as Linux tells them.

use std::{
    fs,
    str::FromStr,
    sync::mpsc::{self, RecvTimeoutError},
    thread::JoinHandle,
    time::{Duration, Instant},
};

use serde::Serialize;

/// Time between two looks.
const INTERVAL: Duration = Duration::from_secs(1);

/// A process and what it is called.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Watched {
    name: String,
    pid: u32,
}

impl FromStr for Watched {
    type Err = String;

    fn from_str(text: &str) -> Result<Watched, String> {
        let (name, pid) = text.split_once('=').ok_or_else(|| format!("{text:?} is not NAME=PID"))?;
        let pid = pid.parse().map_err(|_| format!("{pid:?} is no process id"))?;
        Ok(Watched { name: name.to_owned(), pid })
    }
}

/// One look at a process.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Look {
    /// Since the begin of the run, in seconds.
    pub at_s: f64,
    /// Processor time since the process began, in seconds.
    pub cpu_s: f64,
    /// Memory in RAM.
    pub rss_kib: u64,
    /// Open files.
    pub files: u64,
    /// Threads.
    pub threads: u64,
}

/// What was seen of a process.
#[derive(Clone, Debug, Serialize)]
pub struct Seen {
    /// Its name.
    pub name: String,
    /// Its id.
    pub pid: u32,
    /// Processor time in the run, in seconds.
    pub cpu_s: f64,
    /// Most processor time in a second.
    pub cpu_most: f64,
    /// Memory at the begin.
    pub rss_begin_kib: u64,
    /// Most memory.
    pub rss_most_kib: u64,
    /// Its share of memory that it has in common with others counted in parts, at the last look.
    pub pss_end_kib: u64,
    /// Most open files.
    pub files_most: u64,
    /// Threads at the last look.
    pub threads: u64,
    /// Whether it was gone before the run ended.
    pub is_gone: bool,
    /// Every look.
    pub looks: Vec<Look>,
}

/// A thread that looks.
#[derive(Debug)]
pub struct Watch {
    stop: mpsc::Sender<()>,
    thread: JoinHandle<Vec<Seen>>,
}

impl Watch {
    /// Begins to look.
    ///
    /// # Panics
    /// The system gives no thread.
    pub fn start(watched: Vec<Watched>) -> Watch {
        let (stop, stopped) = mpsc::channel();
        let thread = std::thread::Builder::new().name("watch".to_owned());
        let thread = thread.spawn(move || look_until(&watched, &stopped)).expect("a thread");
        Watch { stop, thread }
    }

    /// Ends it, and says what was seen.
    pub fn stop(self) -> Vec<Seen> {
        drop(self.stop);
        self.thread.join().unwrap_or_default()
    }
}

fn look_until(watched: &[Watched], stopped: &mpsc::Receiver<()>) -> Vec<Seen> {
    let began = Instant::now();
    let mut looks: Vec<(Vec<Look>, u64)> = watched.iter().map(|_| (Vec::new(), 0)).collect();
    loop {
        let is_last = stopped.recv_timeout(INTERVAL.saturating_sub(Duration::from_millis(1)));
        for (process, (looks, pss)) in watched.iter().zip(&mut looks) {
            if let Some(look) = look(process.pid, began.elapsed()) {
                looks.push(look);
                // Reading it walks all pages: not each second of a large process.
                if looks.len() % 10 == 1 || is_last != Err(RecvTimeoutError::Timeout) {
                    *pss = pss_kib(process.pid).unwrap_or(*pss);
                }
            }
        }
        if is_last != Err(RecvTimeoutError::Timeout) {
            break;
        }
    }
    let end = began.elapsed().as_secs_f64();
    let seen = watched.iter().zip(looks);
    seen.map(|(process, (looks, pss))| sum_up(process, looks, pss, end)).collect()
}

fn sum_up(process: &Watched, looks: Vec<Look>, pss_end_kib: u64, end_s: f64) -> Seen {
    let (first, last) = (looks.first().copied().unwrap_or_default(), looks.last().copied().unwrap_or_default());
    let steps = looks.windows(2).map(|two| (two[1].cpu_s - two[0].cpu_s) / (two[1].at_s - two[0].at_s).max(0.1));
    Seen {
        name: process.name.clone(),
        pid: process.pid,
        cpu_s: last.cpu_s - first.cpu_s,
        cpu_most: steps.fold(0.0, f64::max),
        rss_begin_kib: first.rss_kib,
        rss_most_kib: looks.iter().map(|look| look.rss_kib).max().unwrap_or(0),
        pss_end_kib,
        files_most: looks.iter().map(|look| look.files).max().unwrap_or(0),
        threads: last.threads,
        is_gone: last.at_s + 2.0 * INTERVAL.as_secs_f64() < end_s,
        looks,
    }
}

fn look(pid: u32, at: Duration) -> Option<Look> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let fields: Vec<&str> = stat.rsplit(") ").next()?.split(' ').collect();
    // A process that has ended and was not waited for has no memory.
    if matches!(fields.first(), Some(&"Z" | &"X")) {
        return None;
    }
    let number = |at: usize| fields.get(at).and_then(|field| field.parse::<u64>().ok()).unwrap_or(0);
    Some(Look {
        at_s: at.as_secs_f64(),
        // USER_HZ is 100 on every Linux; pages are 4 KiB where odin is measured.
        cpu_s: (number(11) + number(12)) as f64 / 100.0,
        rss_kib: number(21) * 4,
        files: fs::read_dir(format!("/proc/{pid}/fd")).map_or(0, |files| files.count() as u64),
        threads: number(17),
    })
}

fn pss_kib(pid: u32) -> Option<u64> {
    let text = fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix("Pss:"))?;
    line.split_whitespace().next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sees_this_process_and_notices_who_is_gone() {
        let us = std::process::id();
        let watched = [format!("us={us}"), "nobody=4194305".to_owned()];
        let watch = Watch::start(watched.iter().map(|text| text.parse().expect("a process")).collect());
        let seen = watch.stop();
        assert!(seen[0].rss_most_kib > 0 && seen[0].threads > 0 && seen[0].files_most > 0 && !seen[0].is_gone);
        assert!(seen[1].looks.is_empty());
        "us".parse::<Watched>().expect_err("no id");
    }
}
