//! A ws-gateway as a child process.

use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};
use std::process::ExitStatus;
use std::time::{Duration, Instant};

use crate::port::Lease;
use crate::server::is_port_taken;
use crate::{DevkitError, POLL, Process, START_LIMIT, http};

/// How long a gateway may take to drain after SIGTERM: its default pause and window (2 s + 30 s), and some.
const DRAIN_LIMIT: Duration = Duration::from_secs(45);

/// What kind of gateway to start; made by [`Gateway::builder`].
#[derive(Clone, Debug)]
pub struct GatewayBuilder {
    name: String,
    binary: PathBuf,
    nats_url: String,
    args: Vec<OsString>,
    env: Vec<(OsString, OsString)>,
    log: Option<PathBuf>,
    keeps_ports: bool,
}

impl GatewayBuilder {
    /// Adds an option of `ws-gateway serve`. One given here replaces the default of the same name: `--listen`,
    /// `--admin-listen`, `--nats-url` and `--log-format` can be set.
    #[must_use]
    pub fn arg(mut self, arg: impl AsRef<OsStr>) -> Self {
        self.args.push(arg.as_ref().to_owned());
        self
    }

    /// Adds options; see [`GatewayBuilder::arg`].
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

    /// The name used in errors; `gateway` by default.
    #[must_use]
    pub fn name(mut self, name: impl Into<String>) -> Self {
        self.name = name.into();
        self
    }

    /// Appends the gateway's log to this file instead of a temporary one.
    #[must_use]
    pub fn log(mut self, path: impl Into<PathBuf>) -> Self {
        self.log = Some(path.into());
        self
    }

    /// Takes ports that stay this gateway's own while its handle lives, so that [`Gateway::restart`] finds them free.
    /// An address among the arguments is used as it is.
    #[must_use]
    pub fn keep_ports(mut self) -> Self {
        self.keeps_ports = true;
        self
    }

    /// Starts the gateway and waits until it listens, ready or not: without NATS it listens and is not ready.
    ///
    /// # Errors
    /// [`DevkitError::Binary`] without such a program, [`DevkitError::Exited`] with its log when it refuses to start.
    pub async fn start_listening(mut self) -> Result<Gateway, DevkitError> {
        let mut leases = Vec::new();
        if self.keeps_ports {
            for option in ["--listen", "--admin-listen"] {
                if self.args.iter().any(|arg| is_option(arg, option)) {
                    continue;
                }
                let lease = Lease::take()?;
                self.args.extend([option.into(), format!("127.0.0.1:{}", lease.port()).into()]);
                leases.push(lease);
            }
        }
        let (process, listen, admin_listen) = self.launch().await?;
        Ok(Gateway { process, listen, admin_listen, recipe: self, _leases: leases })
    }

    async fn launch(&self) -> Result<(Process, String, String), DevkitError> {
        let defaults = [
            ("--listen", "127.0.0.1:0"),
            ("--admin-listen", "127.0.0.1:0"),
            ("--nats-url", &self.nats_url),
            ("--log-format", "json"),
        ];
        let mut builder = Process::builder(&self.name, &self.binary).arg("serve");
        for (option, value) in defaults {
            if !self.args.iter().any(|arg| is_option(arg, option)) {
                builder = builder.arg(option).arg(value);
            }
        }
        for (key, value) in &self.env {
            builder = builder.env(key, value);
        }
        if let Some(path) = &self.log {
            builder = builder.log(path);
        }
        let process = builder.args(&self.args).spawn()?;
        let line = process.wait_for_line("\"listening\"", START_LIMIT).await?;
        let [listen, admin_listen] = ["listen", "admin_listen"].map(|field| text_field(&line, field));
        match (listen, admin_listen) {
            (Some(listen), Some(admin_listen)) => Ok((process, listen, admin_listen)),
            _ => Err(DevkitError::Binary {
                path: self.binary.clone(),
                reason: format!("its line {line:?} lacks the addresses listen and admin_listen"),
            }),
        }
    }

    /// Starts the gateway and waits until `/readyz` says 200.
    ///
    /// # Errors
    /// As [`GatewayBuilder::start_listening`], and [`DevkitError::Timeout`] when it does not become ready.
    pub async fn start(self) -> Result<Gateway, DevkitError> {
        let gateway = self.start_listening().await?;
        gateway.wait_ready(START_LIMIT).await?;
        Ok(gateway)
    }
}

/// A ws-gateway process on loopback.
///
/// Dropping it kills it at once; [`Gateway::terminate`] lets it drain.
#[derive(Debug)]
pub struct Gateway {
    process: Process,
    listen: String,
    admin_listen: String,
    recipe: GatewayBuilder,
    _leases: Vec<Lease>,
}

impl Gateway {
    /// Starts `binary` with free ports against `nats_url` and waits until it is ready. `args` are further options of
    /// `ws-gateway serve`; see [`GatewayBuilder::arg`].
    ///
    /// # Errors
    /// As [`GatewayBuilder::start`].
    pub async fn start<S: AsRef<OsStr>>(
        binary: &Path,
        nats_url: impl Into<String>,
        args: impl IntoIterator<Item = S>,
    ) -> Result<Gateway, DevkitError> {
        Gateway::builder(binary, nats_url).args(args).start().await
    }

    /// Describes a gateway. Several NATS URLs are separated by commas.
    #[must_use]
    pub fn builder(binary: impl Into<PathBuf>, nats_url: impl Into<String>) -> GatewayBuilder {
        GatewayBuilder {
            name: "gateway".to_owned(),
            binary: binary.into(),
            nats_url: nats_url.into(),
            args: Vec::new(),
            env: Vec::new(),
            log: None,
            keeps_ports: false,
        }
    }

    /// `ws://address/ws`, with the default path.
    #[must_use]
    pub fn ws_url(&self) -> String {
        format!("ws://{}/ws", self.listen)
    }

    /// `address:port` of the listener for clients.
    #[must_use]
    pub fn listen(&self) -> &str {
        &self.listen
    }

    /// `http://address` of the admin listener, without a slash at the end.
    #[must_use]
    pub fn admin_url(&self) -> String {
        format!("http://{}", self.admin_listen)
    }

    /// Status and body of `GET path` on the admin listener, as `/metrics`; `None` when it does not answer.
    pub async fn admin_get(&self, path: &str) -> Option<(u16, String)> {
        http::get(&self.admin_listen, path).await
    }

    /// The process id.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.process.pid()
    }

    /// The process itself, for its log and other signals.
    #[must_use]
    pub fn process(&self) -> &Process {
        &self.process
    }

    /// Waits until `/readyz` says 200.
    ///
    /// # Errors
    /// [`DevkitError::Exited`] when the gateway ends, [`DevkitError::Timeout`] with its last reason after `limit`.
    ///
    /// # Cancel safety
    /// Nothing is lost.
    pub async fn wait_ready(&self, limit: Duration) -> Result<(), DevkitError> {
        let deadline = Instant::now() + limit;
        loop {
            let answer = self.admin_get("/readyz").await;
            if let Some((200, _)) = answer {
                return Ok(());
            }
            if let Some(status) = self.process.exit_status() {
                return Err(self.process.exited(status, "readiness"));
            }
            if Instant::now() >= deadline {
                let reason = answer.map_or_else(|| "no answer".to_owned(), |(code, body)| format!("{code} {body}"));
                return Err(self.process.timeout(format!("readiness ({})", reason.trim()), limit));
            }
            tokio::time::sleep(POLL).await;
        }
    }

    /// SIGTERM, which drains; returns when the process has ended, with its exit status.
    ///
    /// # Errors
    /// [`DevkitError::Timeout`] when it took longer than its default drain window and was killed.
    pub async fn terminate(&mut self) -> Result<ExitStatus, DevkitError> {
        self.process.terminate(DRAIN_LIMIT).await
    }

    /// Starts a gateway that has ended again, with the same options, and returns when it listens, ready or not. The
    /// addresses are the same after [`GatewayBuilder::keep_ports`], or when `--listen` and `--admin-listen` were given.
    ///
    /// # Errors
    /// As [`GatewayBuilder::start_listening`]; also when a foreign program keeps its port for longer than
    /// [`START_LIMIT`].
    ///
    /// # Panics
    /// When it still runs: whether to kill or to drain it is the caller's to say.
    pub async fn restart(&mut self) -> Result<(), DevkitError> {
        assert!(!self.process.is_running(), "{} still runs", self.process.name());
        let deadline = Instant::now() + START_LIMIT;
        (self.process, self.listen, self.admin_listen) = loop {
            match self.recipe.launch().await {
                Err(error) if is_port_taken(&error) && Instant::now() < deadline => tokio::time::sleep(POLL * 10).await,
                result => break result?,
            }
        };
        Ok(())
    }

    /// Freezes the gateway (SIGSTOP): connections stay open, nobody is answered.
    pub fn pause(&self) {
        self.process.pause();
    }

    /// Lets a frozen gateway go on (SIGCONT).
    pub fn resume(&self) {
        self.process.resume();
    }

    /// SIGKILL; returns when the process is gone.
    pub async fn kill(&mut self) {
        self.process.kill().await;
    }
}

fn is_option(arg: &OsStr, option: &str) -> bool {
    let arg = arg.to_string_lossy();
    arg.strip_prefix(option).is_some_and(|rest| rest.is_empty() || rest.starts_with('='))
}

/// A field of a JSON log line, which the logger may have nested in `fields`.
fn text_field(line: &str, field: &str) -> Option<String> {
    let line: serde_json::Value = serde_json::from_str(line).ok()?;
    let value = line.get(field).or_else(|| line.get("fields")?.get(field))?;
    value.as_str().map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_addresses_from_flat_and_nested_lines() {
        let flat = r#"{"level":"INFO","message":"listening","listen":"127.0.0.1:1"}"#;
        let nested = r#"{"level":"INFO","fields":{"message":"listening","listen":"127.0.0.1:1"}}"#;
        for line in [flat, nested] {
            assert_eq!(text_field(line, "listen").as_deref(), Some("127.0.0.1:1"));
            assert_eq!(text_field(line, "admin_listen"), None);
        }
    }

    #[test]
    fn an_option_is_recognised_in_both_spellings() {
        assert!(is_option(OsStr::new("--listen"), "--listen"));
        assert!(is_option(OsStr::new("--listen=127.0.0.1:0"), "--listen"));
        assert!(!is_option(OsStr::new("--listen-backlog"), "--listen"));
    }
}
