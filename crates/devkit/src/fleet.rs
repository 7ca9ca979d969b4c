//! A whole odin on this machine: what `demo`, `stage` and `cluster` put together, take apart, and put together again.
//!
//! Parts are started one by one, so that each command says what it has while more is coming. What stands before the
//! gateways is the command's own.

mod orders;
mod servers;
mod sign_in;

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, ensure};
use odin_devkit::{Gateway, GatewayBuilder, Process, START_LIMIT};

use crate::programs::Programs;
pub(crate) use servers::Servers;
pub(crate) use sign_in::{SignIn, USER};

/// How long a part may take to leave at the end, before it is killed: a person waits, and no data matters.
pub(crate) const GOODBYE_LIMIT: Duration = Duration::from_secs(4);
/// How often we look whether a part has ended by itself.
pub(crate) const LOOK_INTERVAL: Duration = Duration::from_millis(200);

/// All that runs. Dropping it kills all of it, the servers last.
#[derive(Debug)]
pub(crate) struct Fleet {
    programs: Programs,
    publisher: Option<Process>,
    gateways: Vec<Part>,
    /// Options of every gateway.
    options: Vec<String>,
    /// Number of the first gateway and the first nats-server, as people and orders say it.
    first: usize,
    nats: Servers,
    logs: PathBuf,
    _own_folder: Option<tempfile::TempDir>,
}

/// A gateway, and whether it was told to end: then its end is no news.
#[derive(Debug)]
struct Part {
    gateway: Gateway,
    is_to_end: bool,
}

impl Fleet {
    /// Starts NATS and creates odin's streams, with a copy on each server. `options` are those of every gateway and of
    /// `ws-gateway provision`; logs go to `logs`, or to a folder that is deleted with the fleet.
    pub(crate) async fn begin(
        programs: &Programs,
        nats: Servers,
        first: usize,
        options: &[String],
        logs: Option<&Path>,
    ) -> anyhow::Result<Fleet> {
        let (logs, own_folder) = match logs {
            Some(folder) => (folder.to_owned(), None),
            None => {
                let folder = tempfile::Builder::new().prefix("odin-logs-").tempdir().context("no folder for logs")?;
                (folder.path().to_owned(), Some(folder))
            }
        };
        std::fs::create_dir_all(&logs).with_context(|| format!("cannot create {}", logs.display()))?;
        let provision = Process::builder("ws-gateway provision", programs.gateway())
            .args(["provision", "--nats-url", &nats.url(), "--stream-replicas", &nats.len().to_string()])
            .args(options)
            .spawn()?;
        let status = provision.wait(START_LIMIT).await?;
        ensure!(status.success(), "no streams: ws-gateway provision ended with {status}\n{}", provision.log());
        Ok(Fleet {
            programs: programs.clone(),
            publisher: None,
            gateways: Vec::new(),
            options: options.to_vec(),
            first,
            nats,
            logs,
            _own_folder: own_folder,
        })
    }

    /// Starts one more gateway and waits until it is ready. `more` adds what is its own.
    pub(crate) async fn add_gateway(
        &mut self,
        more: impl FnOnce(GatewayBuilder) -> GatewayBuilder,
    ) -> anyhow::Result<&Gateway> {
        let name = format!("gateway-{}", self.first + self.gateways.len());
        let builder = Gateway::builder(self.programs.gateway(), self.nats.url())
            .name(&name)
            .log(self.log(&name))
            .args(&self.options);
        let gateway = more(builder).start().await.with_context(|| format!("cannot start {name}"))?;
        self.gateways.push(Part { gateway, is_to_end: false });
        Ok(&self.gateways.last().expect("just pushed").gateway)
    }

    /// Publishes a market with these options of `odin-publisher simulate`. The program is looked for first: see
    /// [`Programs::other`].
    pub(crate) fn simulate<S: AsRef<OsStr>>(
        &mut self,
        program: &Path,
        options: impl IntoIterator<Item = S>,
    ) -> anyhow::Result<()> {
        let process = Process::builder("odin-publisher", program)
            .args(["simulate", "--nats-url", &self.nats.url()])
            .args(options)
            .log(self.log("publisher"))
            .spawn()?;
        self.publisher = Some(process);
        Ok(())
    }

    /// The gateways, running or not.
    pub(crate) fn gateways(&self) -> impl ExactSizeIterator<Item = &Gateway> {
        self.gateways.iter().map(|part| &part.gateway)
    }

    /// The nats-servers, running or not.
    pub(crate) fn nats(&self) -> &Servers {
        &self.nats
    }

    /// The file that a part logs to.
    pub(crate) fn log(&self, name: &str) -> PathBuf {
        self.logs.join(format!("{name}.log"))
    }

    /// Waits until a part ends by itself, where nobody gives orders.
    pub(crate) async fn broken(&self) -> anyhow::Error {
        loop {
            for process in self.processes() {
                if let Some(status) = process.exit_status() {
                    return anyhow::anyhow!("{} ended by itself ({status})\n{}", process.name(), process.log());
                }
            }
            tokio::time::sleep(LOOK_INTERVAL).await;
        }
    }

    /// Says once of each gateway, and of the publisher, that it ended without having been told to.
    pub(crate) fn notice_deaths(&mut self) {
        for part in &mut self.gateways {
            let process = part.gateway.process();
            if !part.is_to_end
                && let Some(status) = process.exit_status()
            {
                tracing::error!(name = process.name(), %status, log = process.log(), "ended by itself");
                part.is_to_end = true;
            }
        }
        if let Some(status) = self.publisher.as_ref().and_then(Process::exit_status)
            && let Some(process) = self.publisher.take()
        {
            tracing::error!(name = process.name(), %status, log = process.log(), "ended by itself");
        }
    }

    fn processes(&self) -> impl Iterator<Item = &Process> {
        let gateways = self.gateways().map(Gateway::process);
        self.publisher.iter().chain(gateways).chain(self.nats.processes())
    }

    /// Asks each part to leave, downstream of the data last; one that does not is killed.
    pub(crate) async fn stop(self) {
        if let Some(publisher) = &self.publisher {
            dismiss(publisher).await;
        }
        futures_util::future::join_all(self.gateways().map(|gateway| dismiss(gateway.process()))).await;
        futures_util::future::join_all(self.nats.processes().map(dismiss)).await;
    }
}

/// Asks a part to leave and kills it if it does not.
pub(crate) async fn dismiss(process: &Process) {
    if let Err(error) = process.terminate(GOODBYE_LIMIT).await {
        tracing::debug!(%error, "killed");
    }
}

/// The folder of the page, if it was built.
pub(crate) fn page_in(folder: &Path) -> anyhow::Result<Option<String>> {
    if !folder.join("index.html").is_file() {
        return Ok(None);
    }
    let folder = folder.canonicalize().with_context(|| format!("cannot find {}", folder.display()))?;
    Ok(Some(folder.to_str().context("the folder of the page has a name that is no text")?.to_owned()))
}

/// A port if it is free, else any: 0.
pub(crate) fn free_or_any(port: u16) -> u16 {
    let is_free = std::net::TcpListener::bind(("127.0.0.1", port)).is_ok();
    if is_free { port } else { 0 }
}
