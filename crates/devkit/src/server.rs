//! One real nats-server with JetStream.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use tempfile::TempDir;

use crate::port::Lease;
use crate::{DevkitError, POLL, Process, START_LIMIT, STOP_LIMIT, http, nats_binary};

/// How often another port is tried when a foreign program takes ours at the last moment.
const PORT_ATTEMPTS: usize = 5;
const PORT_TAKEN: &str = "address already in use";

/// What kind of server to start; made by [`NatsServer::builder`].
#[derive(Clone, Debug, Default)]
pub struct NatsServerBuilder {
    port: Option<u16>,
    store_dir: Option<PathBuf>,
    name: Option<String>,
    sync_interval: Option<String>,
    extra_config: String,
}

impl NatsServerBuilder {
    /// Listens on this port instead of a free one.
    #[must_use]
    pub fn port(mut self, port: u16) -> Self {
        self.port = Some(port);
        self
    }

    /// Keeps JetStream's data in this folder, which is not deleted afterwards.
    #[must_use]
    pub fn store_dir(mut self, folder: impl Into<PathBuf>) -> Self {
        self.store_dir = Some(folder.into());
        self
    }

    /// The server's name; `n0` by default.
    #[must_use]
    pub fn name(mut self, name: impl Into<String>) -> Self {
        self.name = Some(name.into());
        self
    }

    /// JetStream's `sync_interval` as its configuration spells it: `"always"`, `"1s"`. The server's own default is two
    /// minutes.
    #[must_use]
    pub fn sync_interval(mut self, interval: impl Into<String>) -> Self {
        self.sync_interval = Some(interval.into());
        self
    }

    /// Adds text to the end of the configuration file, in its own language; for users, limits and the like.
    #[must_use]
    pub fn extra_config(mut self, text: impl AsRef<str>) -> Self {
        self.extra_config.push_str(text.as_ref());
        self.extra_config.push('\n');
        self
    }

    /// Starts the server and waits until JetStream is up.
    ///
    /// # Errors
    /// As [`nats_binary`], and [`DevkitError::Exited`] when the server refuses its configuration or a fixed port.
    pub async fn start(self) -> Result<NatsServer, DevkitError> {
        let mut attempt = 1;
        loop {
            let mut server = self.prepare().await?;
            match server.launch_and_wait().await {
                Err(error) if self.port.is_none() && is_port_taken(&error) && attempt < PORT_ATTEMPTS => attempt += 1,
                result => return result.map(|()| server),
            }
        }
    }

    /// Takes a port and writes the configuration, without starting.
    pub(crate) async fn prepare(&self) -> Result<NatsServer, DevkitError> {
        let binary = nats_binary().await?;
        let folder = tempfile::Builder::new()
            .prefix("odin-nats-")
            .tempdir()
            .map_err(DevkitError::io("create a temporary folder"))?;
        let lease = match self.port {
            Some(port) => Lease::fixed(port),
            None => Lease::take()?,
        };
        let name = self.name.clone().unwrap_or_else(|| "n0".to_owned());
        let store = self.store_dir.clone().unwrap_or_else(|| folder.path().join("store"));
        let config = folder.path().join("nats.conf");
        let text = self.config(&name, lease.port(), &store);
        std::fs::write(&config, text).map_err(DevkitError::io(format!("write {}", config.display())))?;
        Ok(NatsServer { name, binary, lease, process: None, monitor: String::new(), store, folder })
    }

    fn config(&self, name: &str, port: u16, store: &Path) -> String {
        let mut text = format!(
            "server_name: {name:?}\n\
             listen: \"127.0.0.1:{port}\"\n\
             http: \"127.0.0.1:-1\"\n\
             # The default of two minutes is too slow to notice a connection that is dead but open.\n\
             ping_interval: \"10s\"\n\
             write_deadline: \"10s\"\n\
             max_pending: 64MB\n\
             jetstream {{\n  store_dir: {store:?}\n\
             # Limits only: streams reserve their max_bytes against them, and nothing is allocated ahead.\n\
             \x20 max_file_store: 4TB\n  max_memory_store: 4GB\n"
        );
        if let Some(interval) = &self.sync_interval {
            writeln!(text, "  sync_interval: {interval:?}").expect("a String takes any text");
        }
        text.push_str("}\n");
        text.push_str(&self.extra_config);
        text
    }
}

/// A real nats-server with JetStream, on loopback, with a folder of its own.
///
/// Dropping it kills it and deletes its data (not a folder given by [`NatsServerBuilder::store_dir`]).
#[derive(Debug)]
pub struct NatsServer {
    name: String,
    binary: PathBuf,
    lease: Lease,
    process: Option<Process>,
    monitor: String,
    store: PathBuf,
    // Last: deleted after the process has been killed.
    folder: TempDir,
}

impl NatsServer {
    /// Starts a server on a free port with an empty store.
    ///
    /// # Errors
    /// As [`NatsServerBuilder::start`].
    pub async fn start() -> Result<NatsServer, DevkitError> {
        NatsServer::builder().start().await
    }

    /// Describes a server.
    #[must_use]
    pub fn builder() -> NatsServerBuilder {
        NatsServerBuilder::default()
    }

    /// `nats://127.0.0.1:port`, the same before and after a restart.
    #[must_use]
    pub fn url(&self) -> String {
        format!("nats://127.0.0.1:{}", self.port())
    }

    /// The port clients connect to.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.lease.port()
    }

    /// The server's name, unique within a cluster.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Process id of the current, else of the last life of this server.
    ///
    /// # Panics
    /// Never for a server that was started.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.process().pid()
    }

    /// `http://127.0.0.1:port` of the server's monitoring (`/varz`, `/connz`, `/jsz`); changes with every restart.
    #[must_use]
    pub fn monitor_url(&self) -> String {
        format!("http://{}", self.monitor)
    }

    /// JetStream's folder.
    #[must_use]
    pub fn store_dir(&self) -> &Path {
        &self.store
    }

    /// The process itself, for its log and other signals.
    ///
    /// # Panics
    /// Never for a server that was started.
    #[must_use]
    pub fn process(&self) -> &Process {
        self.process.as_ref().expect("a server is only handed out once its process was started")
    }

    /// Whether the process has not ended. A frozen one is running.
    #[must_use]
    pub fn is_running(&self) -> bool {
        self.process.as_ref().is_some_and(Process::is_running)
    }

    /// SIGKILL, as a crash would; returns when the process is gone. The store stays.
    pub async fn kill(&mut self) {
        self.process().kill().await;
    }

    /// SIGTERM; returns when the server has shut down. The store stays.
    ///
    /// # Errors
    /// [`DevkitError::Timeout`] when it took longer than [`STOP_LIMIT`] and was killed.
    pub async fn terminate(&mut self) -> Result<(), DevkitError> {
        self.process().terminate(STOP_LIMIT).await.map(drop)
    }

    /// Freezes the server (SIGSTOP): connections stay open, nobody is answered.
    pub fn pause(&self) {
        self.process().pause();
    }

    /// Lets a frozen server go on (SIGCONT).
    pub fn resume(&self) {
        self.process().resume();
    }

    /// Starts the server again on the same port and store; one that still runs is terminated first. Returns when it
    /// accepts clients (in a cluster it may still be catching up: see `NatsCluster::wait_ready`).
    ///
    /// # Errors
    /// [`DevkitError::Exited`] or [`DevkitError::Timeout`] when it does not come up, as when a foreign program keeps
    /// its port.
    pub async fn restart(&mut self) -> Result<(), DevkitError> {
        if self.is_running() {
            self.terminate().await?;
        }
        let deadline = tokio::time::Instant::now() + START_LIMIT;
        loop {
            match self.launch_and_wait().await {
                Err(error) if is_port_taken(&error) && tokio::time::Instant::now() < deadline => {
                    tokio::time::sleep(POLL * 10).await;
                }
                result => return result,
            }
        }
    }

    pub(crate) fn launch(&mut self) -> Result<(), DevkitError> {
        let process = Process::builder(&self.name, &self.binary)
            .arg("--config")
            .arg(self.folder.path().join("nats.conf"))
            .log(self.folder.path().join("log"))
            .spawn()?;
        self.process = Some(process);
        Ok(())
    }

    pub(crate) async fn wait_for_clients(&mut self) -> Result<(), DevkitError> {
        let process = self.process();
        process.wait_for_line("Server is ready", START_LIMIT).await?;
        let line = process.wait_for_line("Starting http monitor on ", Duration::ZERO).await?;
        self.monitor = line.rsplit(' ').next().unwrap_or_default().to_owned();
        Ok(())
    }

    /// The server's own judgement; `query` narrows what it looks at.
    pub(crate) async fn is_healthy(&self, query: &str) -> bool {
        matches!(http::get(&self.monitor, &format!("/healthz{query}")).await, Some((200, _)))
    }

    async fn launch_and_wait(&mut self) -> Result<(), DevkitError> {
        self.launch()?;
        self.wait_for_clients().await
    }
}

pub(crate) fn is_port_taken(error: &DevkitError) -> bool {
    matches!(error, DevkitError::Exited { log, .. } if log.contains(PORT_TAKEN))
}
