//! The real HAProxy before several gateways, with the configuration that is deployed.
//!
//! [`Balancer`](crate::Balancer) plays a balancer that misbehaves on order. This one is what stands in production.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::time::Instant;

use nix::sys::resource::{Resource, getrlimit};

use crate::port::Lease;
use crate::spawner::resolve;
use crate::{DevkitError, Gateway, POLL, Process, START_LIMIT, http};

/// Most clients at once, where the machine allows: that of the configuration.
const MAX_CLIENTS: u64 = 20_000;
/// File descriptors that are not for clients: listeners, checks, the log.
const OWN_FILES: u64 = 200;
/// Gateways that the configuration has room for.
const MAX_GATEWAYS: usize = 9;
/// The backend of the configuration.
const BACKEND: &str = "gateways";

/// Which HAProxy to start; made by [`Haproxy::builder`].
#[derive(Clone, Debug)]
pub struct HaproxyBuilder {
    program: PathBuf,
    config: PathBuf,
    gateways: Vec<(String, String)>,
    ports: [Option<u16>; 2],
    log: Option<PathBuf>,
}

impl HaproxyBuilder {
    /// Runs this program instead of that of [`Haproxy::find`].
    #[must_use]
    pub fn program(mut self, path: impl Into<PathBuf>) -> Self {
        self.program = path.into();
        self
    }

    /// Adds a gateway, running or not.
    ///
    /// # Panics
    /// With a tenth gateway: the configuration has room for nine.
    #[must_use]
    pub fn gateway(mut self, gateway: &Gateway) -> Self {
        assert!(self.gateways.len() < MAX_GATEWAYS, "the configuration has room for {MAX_GATEWAYS} gateways");
        self.gateways.push((gateway.listen().to_owned(), gateway.admin_url()));
        self
    }

    /// Clients connect to this port of 127.0.0.1 instead of a free one.
    #[must_use]
    pub fn port(mut self, port: u16) -> Self {
        self.ports[0] = Some(port);
        self
    }

    /// The page with its figures is at this port of 127.0.0.1 instead of a free one.
    #[must_use]
    pub fn stats_port(mut self, port: u16) -> Self {
        self.ports[1] = Some(port);
        self
    }

    /// Appends its log to this file instead of a temporary one.
    #[must_use]
    pub fn log(mut self, path: impl Into<PathBuf>) -> Self {
        self.log = Some(path.into());
        self
    }

    /// Starts it and waits until it tells its figures. Gateways count as ready until their first check says otherwise: see
    /// [`Haproxy::wait_all_up`].
    ///
    /// # Errors
    /// [`DevkitError::Binary`] without such a program, [`DevkitError::Exited`] with its log when it refuses the
    /// configuration or a port.
    pub async fn start(self) -> Result<Haproxy, DevkitError> {
        let leases = self.ports.into_iter().map(|port| port.map_or_else(Lease::take, |port| Ok(Lease::fixed(port))));
        let leases = leases.collect::<Result<Vec<_>, _>>()?;
        let [address, stats] = [0, 1].map(|index: usize| format!("127.0.0.1:{}", leases[index].port()));
        // In the foreground, one process: it ends with us.
        let mut builder = Process::builder("haproxy", &self.program).args([OsStr::new("-db"), OsStr::new("-f")]);
        builder = builder
            .arg(&self.config)
            .env("BALANCER_LISTEN", &address)
            .env("BALANCER_STATS", &stats)
            .env("BALANCER_MAXCONN", max_clients().to_string());
        for (number, (listen, admin)) in (1..).zip(&self.gateways) {
            let admin_port = admin.rsplit(':').next().unwrap_or_default();
            builder =
                builder.env(format!("GATEWAY_{number}"), listen).env(format!("GATEWAY_{number}_ADMIN"), admin_port);
        }
        if let Some(path) = &self.log {
            builder = builder.log(path);
        }
        let haproxy = Haproxy { process: builder.spawn()?, address, stats, _leases: leases };
        haproxy.until("its figures", |_| true).await?;
        Ok(haproxy)
    }
}

/// Each client takes two file descriptors, and HAProxy does not start if it could not have as many.
fn max_clients() -> u64 {
    let files = getrlimit(Resource::RLIMIT_NOFILE).map_or(1_024, |(_, hard)| hard);
    MAX_CLIENTS.min(files.saturating_sub(OWN_FILES) / 2)
}

/// What HAProxy knows of one gateway.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HaproxyServer {
    /// `gateway-1` for the first one.
    pub name: String,
    /// Whether new connections may go there.
    pub is_up: bool,
    /// Connections that exist now.
    pub connections: u64,
    /// Connections and requests that were ever sent there.
    pub total: u64,
}

/// A running HAProxy. Dropping it kills it.
#[derive(Debug)]
pub struct Haproxy {
    process: Process,
    address: String,
    stats: String,
    _leases: Vec<Lease>,
}

impl Haproxy {
    /// The `haproxy` on the `PATH`, or where Debian puts it, which is not on everybody's.
    #[must_use]
    pub fn find() -> Option<PathBuf> {
        ["haproxy", "/usr/sbin/haproxy"].into_iter().find_map(|name| resolve(Path::new(name)))
    }

    /// Describes a HAProxy with this configuration file, that of `deploy/haproxy` or one that reads the same variables.
    #[must_use]
    pub fn builder(config: impl Into<PathBuf>) -> HaproxyBuilder {
        HaproxyBuilder {
            program: Haproxy::find().unwrap_or_else(|| "haproxy".into()),
            config: config.into(),
            gateways: Vec::new(),
            ports: [None; 2],
            log: None,
        }
    }

    /// `address:port` where clients connect.
    #[must_use]
    pub fn address(&self) -> &str {
        &self.address
    }

    /// `http://address` of its page, without a slash at the end; `/metrics` is there too.
    #[must_use]
    pub fn stats_url(&self) -> String {
        format!("http://{}", self.stats)
    }

    /// The process itself, for its log and other signals.
    #[must_use]
    pub fn process(&self) -> &Process {
        &self.process
    }

    /// What it knows of each gateway, in their order; `None` when it does not answer.
    pub async fn servers(&self) -> Option<Vec<HaproxyServer>> {
        let (_, table) = http::get(&self.stats, "/;csv").await.filter(|(status, _)| *status == 200)?;
        parse(&table)
    }

    /// Waits until every gateway is ready in its eyes, by a check and not by the benefit of the doubt at the start.
    ///
    /// # Errors
    /// [`DevkitError::Exited`] when HAProxy ends, [`DevkitError::Timeout`] after [`START_LIMIT`].
    pub async fn wait_all_up(&self) -> Result<(), DevkitError> {
        self.until("gateways that are ready", |servers| servers.iter().all(|server| server.is_up)).await.map(drop)
    }

    /// Waits until it knows that a gateway, counted from 0, is ready or is not; gives what it knows then.
    ///
    /// # Errors
    /// As [`Haproxy::wait_all_up`].
    ///
    /// # Panics
    /// When there is no such gateway.
    pub async fn wait_for(&self, index: usize, is_up: bool) -> Result<Vec<HaproxyServer>, DevkitError> {
        self.until("the state of a gateway", |servers| servers[index].is_up == is_up).await
    }

    async fn until(
        &self,
        what: &str,
        holds: impl Fn(&[HaproxyServer]) -> bool,
    ) -> Result<Vec<HaproxyServer>, DevkitError> {
        let deadline = Instant::now() + START_LIMIT;
        loop {
            let servers = self.servers().await;
            if let Some(servers) = servers.filter(|servers| holds(servers)) {
                return Ok(servers);
            }
            if let Some(status) = self.process.exit_status() {
                return Err(self.process.exited(status, what));
            }
            if Instant::now() >= deadline {
                return Err(self.process.timeout(what, START_LIMIT));
            }
            tokio::time::sleep(POLL).await;
        }
    }
}

/// The gateways of a table of figures. Columns are found by name: a newer HAProxy has more of them.
fn parse(table: &str) -> Option<Vec<HaproxyServer>> {
    let (head, lines) = table.split_once('\n')?;
    let names: Vec<&str> = head.strip_prefix("# ")?.split(',').collect();
    let column = |name: &str| names.iter().position(|other| *other == name);
    let [backend, server, connections] = [column("pxname")?, column("svname")?, column("scur")?];
    let [total, status, check] = [column("stot")?, column("status")?, column("check_status")?];
    let mut servers = Vec::new();
    for line in lines.lines() {
        let cells: Vec<&str> = line.split(',').collect();
        let cell = |index: usize| cells.get(index).copied().unwrap_or_default();
        if cell(backend) != BACKEND || cell(server) == "BACKEND" {
            continue;
        }
        servers.push(HaproxyServer {
            name: cell(server).to_owned(),
            // INI: not checked yet. "UP 1/2" is on its way down, and served.
            is_up: cell(status).starts_with("UP") && cell(check) != "INI",
            connections: cell(connections).parse().ok()?,
            total: cell(total).parse().ok()?,
        });
    }
    Some(servers)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_gateways_from_a_table_with_more_columns() {
        let table = "# pxname,svname,new,scur,stot,status,check_status,\n\
                     clients,FRONTEND,,7,9,OPEN,,\n\
                     gateways,gateway-1,,3,5,UP 1/2,L7OK,\n\
                     gateways,gateway-2,,0,1,DOWN,L4CON,\n\
                     gateways,gateway-3,,0,0,UP,INI,\n\
                     gateways,BACKEND,,3,6,UP,,\n";
        let servers = parse(table).expect("a table");
        let told: Vec<(&str, bool, u64, u64)> =
            servers.iter().map(|s| (s.name.as_str(), s.is_up, s.connections, s.total)).collect();
        assert_eq!(told, [("gateway-1", true, 3, 5), ("gateway-2", false, 0, 1), ("gateway-3", false, 0, 0)]);
        assert_eq!(parse("Forbidden\n"), None);
    }
}
