//! Everything that is on stage, and what each order does to it.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context as _, bail, ensure};
use async_nats::jetstream;
use nix::sys::signal::Signal;
use odin_devkit::{Balancer, Gateway, NatsCluster, NatsServer, Process, START_LIMIT};
use serde_json::{Value, json};

use super::Args;
use super::order::Order;

/// How long a gateway that was told to drain may take until it is started again: its default pause and window, and
/// some.
const DRAIN_LIMIT: Duration = Duration::from_secs(45);
/// How long a publication is tried, as while NATS comes back.
const PUBLISH_LIMIT: Duration = Duration::from_secs(10);
/// Pause between two tries.
const PUBLISH_PAUSE: Duration = Duration::from_millis(100);

/// Members of an answer.
pub(super) type Answer = Vec<(&'static str, Value)>;

/// All that runs. Dropping it kills all of it, the servers last.
#[derive(Debug)]
pub(super) struct Cast {
    balancer: Balancer,
    publisher: Option<Process>,
    gateways: Vec<Part>,
    jetstream: jetstream::Context,
    published: u64,
    nats: Servers,
    _logs: Option<tempfile::TempDir>,
}

/// A gateway, and whether it was told to end: then its end is no news.
#[derive(Debug)]
struct Part {
    gateway: Gateway,
    is_to_end: bool,
}

#[derive(Debug)]
enum Servers {
    One(Box<NatsServer>),
    Many(NatsCluster),
}

impl Servers {
    async fn start(nodes: usize) -> anyhow::Result<Servers> {
        Ok(if nodes == 1 {
            Servers::One(Box::new(NatsServer::start().await.context("cannot start nats-server")?))
        } else {
            Servers::Many(NatsCluster::start(nodes).await.context("cannot start a cluster of nats-servers")?)
        })
    }

    fn nodes_mut(&mut self) -> Vec<&mut NatsServer> {
        match self {
            Servers::One(server) => vec![server],
            Servers::Many(cluster) => cluster.nodes_mut().iter_mut().collect(),
        }
    }

    fn urls(&self) -> Vec<String> {
        match self {
            Servers::One(server) => vec![server.url()],
            Servers::Many(cluster) => cluster.urls(),
        }
    }

    fn any_runs(&self) -> bool {
        match self {
            Servers::One(server) => server.is_running(),
            Servers::Many(cluster) => cluster.nodes().iter().any(NatsServer::is_running),
        }
    }
}

impl Cast {
    pub(super) async fn start(args: &Args) -> anyhow::Result<Cast> {
        let gateway = match &args.gateway {
            Some(path) => path.clone(),
            None => beside_us("ws-gateway").context("name it by --gateway")?,
        };
        let publisher = args.simulate.map(|_| beside_us("odin-publisher")).transpose()?;
        let (logs, own_folder) = match &args.logs {
            Some(folder) => (folder.clone(), None),
            None => {
                let folder = tempfile::Builder::new().prefix("odin-stage-").tempdir().context("no folder for logs")?;
                (folder.path().to_owned(), Some(folder))
            }
        };
        std::fs::create_dir_all(&logs).with_context(|| format!("cannot create {}", logs.display()))?;

        let nats = Servers::start(usize::from(args.nats)).await?;
        let url = nats.urls().join(",");
        let provision = Process::builder("ws-gateway provision", &gateway)
            .args(["provision", "--nats-url", &url, "--stream-replicas", &args.nats.to_string()])
            .args(&args.more)
            .spawn()?;
        let status = provision.wait(START_LIMIT).await?;
        ensure!(status.success(), "no streams: ws-gateway provision ended with {status}\n{}", provision.log());
        let client = async_nats::ConnectOptions::new().connect(nats.urls()).await.context("cannot connect to NATS")?;

        let mut gateways = Vec::new();
        for index in 0..args.gateways {
            let gateway = Gateway::builder(&gateway, &url)
                .name(format!("gateway-{index}"))
                .log(logs.join(format!("gateway-{index}.log")))
                .args(&args.more)
                .keep_ports()
                .start()
                .await
                .with_context(|| format!("cannot start gateway {index}"))?;
            gateways.push(Part { gateway, is_to_end: false });
        }
        let upstreams = gateways.iter().map(|part| part.gateway.listen().parse());
        let upstreams = upstreams.collect::<Result<_, _>>().context("a gateway listens on no address")?;
        let balancer = Balancer::start(upstreams).await?;
        let mut cast = Cast {
            balancer,
            publisher: None,
            gateways,
            jetstream: jetstream::new(client),
            published: 0,
            nats,
            _logs: own_folder,
        };
        if let (Some(program), Some(rate)) = (publisher, args.simulate) {
            let process = Process::builder("odin-publisher", program)
                .args(["simulate", "--nats-url", &url, "--report-every", "0s"])
                .args(["--tokens", &args.tokens.to_string(), "--rate", &rate.to_string()])
                .log(logs.join("publisher.log"))
                .spawn()?;
            cast.publisher = Some(process);
        }
        Ok(cast)
    }

    /// The line that says where everything is.
    pub(super) fn addresses(&self) -> Value {
        let gateways: Vec<Value> = self
            .gateways
            .iter()
            .map(|part| {
                let admin = part.gateway.admin_url();
                let admin = admin.trim_start_matches("http://");
                json!({ "listen": part.gateway.listen(), "admin": admin, "log": part.gateway.process().log_path() })
            })
            .collect();
        json!({
            "nats": self.nats.urls().join(","),
            "balancer": self.balancer.address(),
            "gateways": gateways,
        })
    }

    /// Says once of each part that it ended without having been told to.
    pub(super) fn notice_deaths(&mut self) {
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

    pub(super) async fn perform(&mut self, order: Order) -> anyhow::Result<Answer> {
        let mut answer = Answer::new();
        match order {
            Order::KillGateway(index) => {
                let part = self.part(index)?;
                part.is_to_end = true;
                part.gateway.kill().await;
            }
            Order::StartGateway(index) => self.start_gateway(index).await?,
            Order::DrainGateway(index) => {
                let part = self.part(index)?;
                part.is_to_end = true;
                part.gateway.process().signal(Signal::SIGTERM)?;
            }
            Order::FreezeGateway(index) => self.part(index)?.gateway.pause(),
            Order::ThawGateway(index) => self.part(index)?.gateway.resume(),
            Order::StopNats(index) => {
                for node in self.nodes(index)? {
                    node.kill().await;
                }
            }
            Order::StartNats(index) => {
                // All at once: a node of a cluster waits for the others.
                let stopped = self.nodes(index)?.into_iter().filter(|node| !node.is_running());
                futures_util::future::try_join_all(stopped.map(NatsServer::restart)).await?;
            }
            Order::Publish { subject, data } => {
                let sequence = self.publish(subject, data.get()).await?;
                answer.push(("seq", sequence.into()));
            }
            Order::BlockWebsocket(on) => self.balancer.block_websocket(on),
            Order::PauseTraffic(on) => self.balancer.pause(on),
            Order::Cut => self.balancer.cut(),
            Order::Connections => answer.push(("connections", self.balancer.connections().into())),
            Order::Balance(only) => {
                if let Some(index) = only {
                    self.part(index)?;
                }
                self.balancer.only(only);
            }
        }
        Ok(answer)
    }

    async fn start_gateway(&mut self, index: usize) -> anyhow::Result<()> {
        let waits_for_ready = self.nats.any_runs();
        let part = self.part(index)?;
        if part.gateway.process().is_running() {
            ensure!(part.is_to_end, "gateway {index} runs");
            part.gateway.process().wait(DRAIN_LIMIT).await?;
        }
        part.gateway.restart().await?;
        part.is_to_end = false;
        if waits_for_ready {
            part.gateway.wait_ready(START_LIMIT).await?;
        }
        Ok(())
    }

    /// Tried again until it is stored: a cluster has no leader for a while after its start. The id makes it once.
    async fn publish(&mut self, subject: String, data: &str) -> anyhow::Result<u64> {
        self.published += 1;
        let deadline = tokio::time::Instant::now() + PUBLISH_LIMIT;
        loop {
            let message = jetstream::message::PublishMessage::build()
                .payload(data.to_owned().into())
                .message_id(format!("stage-{}", self.published));
            let attempt = async {
                let acknowledged = self.jetstream.send_publish(subject.clone(), message).await?;
                anyhow::Ok(acknowledged.await?.sequence)
            };
            match tokio::time::timeout_at(deadline, attempt).await.context("not acknowledged in time")? {
                Err(error) if tokio::time::Instant::now() + PUBLISH_PAUSE < deadline => {
                    tracing::debug!(%error, "publishing again");
                    tokio::time::sleep(PUBLISH_PAUSE).await;
                }
                done => return done,
            }
        }
    }

    fn part(&mut self, index: usize) -> anyhow::Result<&mut Part> {
        self.gateways.get_mut(index).with_context(|| format!("there is no gateway {index}"))
    }

    /// One nats-server, or all.
    fn nodes(&mut self, index: Option<usize>) -> anyhow::Result<Vec<&mut NatsServer>> {
        let mut nodes = self.nats.nodes_mut();
        let Some(index) = index else { return Ok(nodes) };
        if index >= nodes.len() {
            bail!("there is no nats-server {index}");
        }
        Ok(vec![nodes.swap_remove(index)])
    }
}

/// A program in the folder of this one.
fn beside_us(name: &str) -> anyhow::Result<PathBuf> {
    let us = std::env::current_exe().context("cannot find the path of this program")?;
    let path = us.with_file_name(name);
    ensure!(path.is_file(), "{} is not there", path.display());
    Ok(path)
}
