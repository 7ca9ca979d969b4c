//! A child process that does not outlive us, whose output can be waited for.
//!
//! Output goes straight into a file: no reader of ours can fall behind and stall the child, and after a failure the
//! whole log is there. Waiting reads that file.

use std::ffi::{OsStr, OsString};
use std::fs::{File, OpenOptions};
use std::io::{Read, Seek, SeekFrom};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ExitStatus, Stdio};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;

use crate::spawner::{command_for, resolve, spawn};
use crate::{DevkitError, POLL};

/// How much of the end of a log goes into an error.
const LOG_TAIL_BYTES: u64 = 4 * 1024;
/// The longest that [`Process::pause`] waits.
const STANDSTILL: Duration = Duration::from_secs(5);
/// Beginning of the variables that odin's programs read. They are not inherited: what a test starts is configured by
/// the test, and a gateway refuses variables that are not its own, as ours.
const OWN_VARIABLES: &[u8] = b"ODIN_";

/// What to start; made by [`Process::builder`].
#[derive(Debug)]
pub struct ProcessBuilder {
    name: String,
    program: PathBuf,
    args: Vec<OsString>,
    env: Vec<(OsString, OsString)>,
    log: Option<PathBuf>,
}

impl ProcessBuilder {
    /// Adds one argument.
    #[must_use]
    pub fn arg(mut self, arg: impl AsRef<OsStr>) -> Self {
        self.args.push(arg.as_ref().to_owned());
        self
    }

    /// Adds arguments.
    #[must_use]
    pub fn args<S: AsRef<OsStr>>(mut self, args: impl IntoIterator<Item = S>) -> Self {
        self.args.extend(args.into_iter().map(|arg| arg.as_ref().to_owned()));
        self
    }

    /// Sets an environment variable on top of those inherited, which are all but `ODIN_*`.
    #[must_use]
    pub fn env(mut self, key: impl AsRef<OsStr>, value: impl AsRef<OsStr>) -> Self {
        self.env.push((key.as_ref().to_owned(), value.as_ref().to_owned()));
        self
    }

    /// Appends standard output and standard error to this file instead of a temporary one.
    #[must_use]
    pub fn log(mut self, path: impl Into<PathBuf>) -> Self {
        self.log = Some(path.into());
        self
    }

    /// Starts the process in a process group of its own, so that Ctrl-C in a terminal does not reach it.
    ///
    /// # Errors
    /// [`DevkitError::Io`] when the log file or the process cannot be made.
    pub fn spawn(self) -> Result<Process, DevkitError> {
        let ProcessBuilder { name, program, args, env, log } = self;
        let program = resolve(&program)
            .ok_or_else(|| DevkitError::Binary { path: program.clone(), reason: "no such program".to_owned() })?;
        let (log_path, folder) = match log {
            Some(path) => (path, None),
            None => {
                let folder = tempfile::Builder::new()
                    .prefix("odin-devkit-")
                    .tempdir()
                    .map_err(DevkitError::io("create a temporary folder"))?;
                (folder.path().join("log"), Some(folder))
            }
        };
        let open = || OpenOptions::new().create(true).append(true).open(&log_path);
        let action = || DevkitError::io(format!("open {}", log_path.display()));
        let output = open().map_err(action())?;
        let log_start = output.metadata().map_err(action())?.len();
        let errors = output.try_clone().map_err(action())?;

        let mut command = command_for(&program);
        for (name, _) in std::env::vars_os() {
            if name.as_encoded_bytes().starts_with(OWN_VARIABLES) {
                command.env_remove(name);
            }
        }
        command.args(args).envs(env).stdin(Stdio::null()).stdout(output).stderr(errors).process_group(0);
        let child = spawn(command).map_err(DevkitError::io(format!("start {name}")))?;
        Ok(Process { name, pid: child.id(), child: Mutex::new(child), log_path, log_start, _folder: folder })
    }
}

/// A running (or ended) child process.
///
/// Dropping it sends SIGKILL to its process group and waits for it. See the crate's page for what happens when this
/// process is itself killed.
#[derive(Debug)]
pub struct Process {
    name: String,
    pid: u32,
    child: Mutex<Child>,
    log_path: PathBuf,
    /// Where this process's part of the log begins: a restarted server appends to the log of its former life.
    log_start: u64,
    _folder: Option<tempfile::TempDir>,
}

impl Process {
    /// Describes a process; `name` is for errors only.
    #[must_use]
    pub fn builder(name: impl Into<String>, program: impl Into<PathBuf>) -> ProcessBuilder {
        ProcessBuilder { name: name.into(), program: program.into(), args: Vec::new(), env: Vec::new(), log: None }
    }

    /// The process id. It stays reserved until the end of the process has been seen by this value.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.pid
    }

    /// The name given at [`Process::builder`].
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The file that receives standard output and standard error.
    #[must_use]
    pub fn log_path(&self) -> &Path {
        &self.log_path
    }

    /// Every line this process has written so far; bytes that are not UTF-8 are replaced. The beginning of a line that
    /// a running process is about to end is not in it.
    #[must_use]
    pub fn log(&self) -> String {
        let mut bytes = self.read_log(self.log_start).unwrap_or_default();
        if self.is_running() {
            bytes.truncate(bytes.iter().rposition(|byte| *byte == b'\n').map_or(0, |end| end + 1));
        }
        String::from_utf8_lossy(&bytes).into_owned()
    }

    /// Whether the process has not ended. A frozen one is running.
    #[must_use]
    pub fn is_running(&self) -> bool {
        self.exit_status().is_none()
    }

    /// How the process ended, if it has.
    #[must_use]
    pub fn exit_status(&self) -> Option<ExitStatus> {
        // An error would mean that somebody else waits for our child; nobody does.
        self.child().try_wait().ok().flatten()
    }

    /// Sends a signal to the process group. A process that has ended is not an error.
    ///
    /// # Errors
    /// [`DevkitError::Signal`] when the system refuses.
    pub fn signal(&self, signal: Signal) -> Result<(), DevkitError> {
        // Held over the kill: the pid cannot be reaped, hence not be given to a stranger, in between.
        let mut child = self.child();
        if matches!(child.try_wait(), Ok(Some(_))) {
            return Ok(());
        }
        match killpg(group(self.pid), signal) {
            Ok(()) | Err(Errno::ESRCH) => Ok(()),
            Err(errno) => Err(DevkitError::Signal { name: self.name.clone(), reason: errno.to_string() }),
        }
    }

    /// Freezes the process group (SIGSTOP): it keeps its sockets and answers nobody. Blocks until the last thread of the
    /// process stands still, which on a busy host is milliseconds after the signal; for 5 s at most.
    pub fn pause(&self) {
        self.signal(Signal::SIGSTOP).expect("a process may always stop its own children");
        let began = Instant::now();
        while !stands_still(self.pid) && began.elapsed() < STANDSTILL {
            std::thread::sleep(Duration::from_millis(1));
        }
    }

    /// Lets a frozen process go on (SIGCONT).
    pub fn resume(&self) {
        self.signal(Signal::SIGCONT).expect("a process may always resume its own children");
    }

    /// SIGKILL, then waits until it is gone.
    pub async fn kill(&self) {
        // The only refusal possible is "not permitted", for a child that changed its user; none of ours does.
        let _ = self.signal(Signal::SIGKILL);
        while self.is_running() {
            tokio::time::sleep(POLL).await;
        }
    }

    /// SIGTERM (and SIGCONT, should it be frozen), then waits.
    ///
    /// # Errors
    /// [`DevkitError::Timeout`] when it has not ended within `limit`; it is killed then.
    ///
    /// # Cancel safety
    /// The signal has been sent; the process ends all the same.
    pub async fn terminate(&self, limit: Duration) -> Result<ExitStatus, DevkitError> {
        self.signal(Signal::SIGTERM)?;
        self.signal(Signal::SIGCONT)?;
        match self.wait(limit).await {
            Err(error) => {
                self.kill().await;
                Err(error)
            }
            ended => ended,
        }
    }

    /// Waits until the process ends by itself.
    ///
    /// # Errors
    /// [`DevkitError::Timeout`] when it has not ended within `limit`; it is left running.
    ///
    /// # Cancel safety
    /// Nothing is lost.
    pub async fn wait(&self, limit: Duration) -> Result<ExitStatus, DevkitError> {
        let deadline = Instant::now() + limit;
        loop {
            if let Some(status) = self.exit_status() {
                return Ok(status);
            }
            if Instant::now() >= deadline {
                return Err(self.timeout("its end", limit));
            }
            tokio::time::sleep(POLL).await;
        }
    }

    /// Waits for a whole line containing `text`, also one written before this call, and returns the first such line.
    ///
    /// # Errors
    /// [`DevkitError::Exited`] when the process ends without having written it, [`DevkitError::Timeout`] after `limit`.
    ///
    /// # Cancel safety
    /// Nothing is lost: the next call begins at the first line again.
    pub async fn wait_for_line(&self, text: &str, limit: Duration) -> Result<String, DevkitError> {
        let deadline = Instant::now() + limit;
        let waiting_for = || format!("a line with {text:?}");
        let mut unread = self.log_start;
        let mut partial = Vec::new();
        loop {
            // Asked before reading: what it wrote before its end is then read.
            let ended = self.exit_status();
            let more = self.read_log(unread)?;
            unread += more.len() as u64;
            partial.extend_from_slice(&more);
            while let Some(end) = partial.iter().position(|&byte| byte == b'\n') {
                let line: Vec<u8> = partial.drain(..=end).collect();
                let line = String::from_utf8_lossy(&line);
                if line.contains(text) {
                    return Ok(line.trim_end().to_owned());
                }
            }
            if let Some(status) = ended {
                return Err(self.exited(status, waiting_for()));
            }
            if Instant::now() >= deadline {
                return Err(self.timeout(waiting_for(), limit));
            }
            tokio::time::sleep(POLL).await;
        }
    }

    pub(crate) fn exited(&self, status: ExitStatus, waiting_for: impl Into<String>) -> DevkitError {
        DevkitError::Exited { name: self.name.clone(), status, waiting_for: waiting_for.into(), log: self.log_tail() }
    }

    pub(crate) fn timeout(&self, waiting_for: impl Into<String>, limit: Duration) -> DevkitError {
        DevkitError::Timeout { name: self.name.clone(), waiting_for: waiting_for.into(), limit, log: self.log_tail() }
    }

    fn log_tail(&self) -> String {
        let length = std::fs::metadata(&self.log_path).map_or(0, |meta| meta.len());
        let from = self.log_start.max(length.saturating_sub(LOG_TAIL_BYTES));
        self.read_log(from).map_or_else(|_| String::new(), |bytes| String::from_utf8_lossy(&bytes).into_owned())
    }

    fn read_log(&self, from: u64) -> Result<Vec<u8>, DevkitError> {
        let action = || DevkitError::io(format!("read {}", self.log_path.display()));
        let mut file = File::open(&self.log_path).map_err(action())?;
        file.seek(SeekFrom::Start(from)).map_err(action())?;
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes).map_err(action())?;
        Ok(bytes)
    }

    fn child(&self) -> MutexGuard<'_, Child> {
        self.child.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("--- end of the log of {} (pid {})\n{}", self.name, self.pid, self.log_tail());
        }
        let child = self.child.get_mut().unwrap_or_else(PoisonError::into_inner);
        // Once its end has been seen the number may belong to a stranger: then there is nothing left to kill.
        if !matches!(child.try_wait(), Ok(Some(_))) {
            let _ = killpg(group(self.pid), Signal::SIGKILL);
            let _ = child.wait();
        }
    }
}

/// Whether no thread of a process runs (`man 5 proc`: the state behind the name in `stat`).
fn stands_still(pid: u32) -> bool {
    let Ok(threads) = std::fs::read_dir(format!("/proc/{pid}/task")) else {
        // It has ended.
        return true;
    };
    let runs =
        |stat: String| !stat.rsplit(')').next().is_some_and(|rest| rest.trim_start().starts_with(['T', 't', 'Z', 'X']));
    !threads.flatten().any(|thread| std::fs::read_to_string(thread.path().join("stat")).is_ok_and(runs))
}

fn group(pid: u32) -> Pid {
    Pid::from_raw(i32::try_from(pid).expect("process ids are positive 32-bit numbers"))
}
