//! What is broken: a cluster of three nats-servers, gateways, and a wire between each gateway and each server.

use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::{Context as _, bail};
use async_nats::jetstream;
use odin_devkit::{Gateway, NatsCluster, Process, Proxy, START_LIMIT, Wire};
use tokio::sync::watch;

/// The stream that is tested.
pub const STREAM: &str = "ODIN";

/// Rules under which everybody may have everything, and every kind of channel exists.
const RULES: &str = r#"
[[rules]]
channel = "price:{token}"
subject = "odin.tokens.{token}.price"
access = "public"
mode = "latest"
client_mode = true
pattern = true

[[rules]]
channel = "events:all"
subject = "odin.events.*"
access = "public"
mode = "all"
"#;

/// The programs under test.
#[derive(Clone, Debug)]
pub struct Programs {
    /// `ws-gateway`.
    pub gateway: PathBuf,
    /// `odin-publisher`.
    pub publisher: PathBuf,
}

impl Programs {
    /// Those in a folder.
    ///
    /// # Errors
    /// One is missing.
    pub fn in_folder(folder: &Path) -> anyhow::Result<Programs> {
        let [gateway, publisher] = ["ws-gateway", "odin-publisher"].map(|name| folder.join(name));
        for program in [&gateway, &publisher] {
            if !program.is_file() {
                bail!("{} is missing: build it in the same profile first", program.display());
            }
        }
        Ok(Programs { gateway, publisher })
    }
}

/// A gateway and its wires.
#[derive(Debug)]
pub struct Post {
    /// One wire to each node, in their order.
    pub wires: Vec<Proxy>,
    /// None while it is down.
    pub gateway: Option<Gateway>,
    listen: Option<SocketAddr>,
}

/// See the module. Dropped, everything in it is killed.
#[derive(Debug)]
pub struct Arena {
    /// The programs.
    pub programs: Programs,
    /// The gateways.
    pub posts: Vec<Post>,
    /// Where clients may connect at present.
    pub addresses: watch::Sender<Vec<SocketAddr>>,
    config: PathBuf,
    drain_window: Duration,
    /// Last: killed when the others are gone.
    pub nats: NatsCluster,
}

impl Arena {
    /// Starts everything. `folder` takes configuration and logs.
    ///
    /// # Errors
    /// Something does not start.
    pub async fn start(
        programs: Programs,
        gateways: usize,
        drain_window: Duration,
        folder: &Path,
    ) -> anyhow::Result<Arena> {
        let nats = NatsCluster::builder().no_advertise().start().await.context("the NATS cluster")?;
        let config = folder.join("odin.toml");
        std::fs::write(&config, RULES).context("write the configuration")?;
        let provision = Process::builder("ws-gateway provision", &programs.gateway)
            .args(["provision", "--nats-url", &nats.urls().join(","), "--stream-replicas", "3", "--config"])
            .arg(&config)
            .spawn()?;
        let status = provision.wait(START_LIMIT).await?;
        if !status.success() {
            bail!("the streams were not created: {status}\n{}", provision.log());
        }
        let (addresses, _) = watch::channel(Vec::new());
        let mut arena = Arena { programs, posts: Vec::new(), addresses, config, drain_window, nats };
        // As provisioned, but it can be purged, which odin's own stream refuses.
        arena.recreate().await?;
        for _ in 0..gateways {
            let mut wires = Vec::new();
            for node in arena.nats.nodes() {
                wires.push(Proxy::start(SocketAddr::from(([127, 0, 0, 1], node.port()))).await?);
            }
            arena.posts.push(Post { wires, gateway: None, listen: None });
        }
        for at in 0..gateways {
            arena.start_gateway(at).await?;
        }
        Ok(arena)
    }

    /// A connection to the running nodes, past all wires.
    ///
    /// # Errors
    /// None of them answers.
    pub async fn jetstream(&self) -> anyhow::Result<jetstream::Context> {
        let client = async_nats::ConnectOptions::new().connect(self.nats.urls()).await?;
        Ok(jetstream::new(client))
    }

    /// Deletes the stream and creates it anew, empty: another life.
    ///
    /// # Errors
    /// The cluster has no leader for it.
    pub async fn recreate(&self) -> anyhow::Result<()> {
        let jetstream = self.jetstream().await?;
        let mut config = jetstream.get_stream(STREAM).await?.cached_info().config.clone();
        config.deny_purge = false;
        let deadline = tokio::time::Instant::now() + START_LIMIT;
        jetstream.delete_stream(STREAM).await?;
        while let Err(error) = jetstream.create_stream(config.clone()).await {
            if tokio::time::Instant::now() > deadline {
                return Err(error).context("create the stream");
            }
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
        Ok(())
    }

    /// Starts a gateway, the first time on a free port and then always on that one.
    ///
    /// # Errors
    /// It does not become ready.
    pub async fn start_gateway(&mut self, at: usize) -> anyhow::Result<()> {
        let urls: Vec<String> = self.posts[at].wires.iter().map(|wire| format!("nats://{}", wire.address())).collect();
        let listen = self.posts[at].listen.map_or("127.0.0.1:0".to_owned(), |address| address.to_string());
        let gateway = Gateway::builder(&self.programs.gateway, urls.join(","))
            .name(format!("gateway-{at}"))
            .log(self.config.with_file_name(format!("gateway-{at}.log")))
            .args(["--listen", &listen, "--shards", "1", "--drain-pause", "0s", "--drain-window"])
            .arg(format!("{}ms", self.drain_window.as_millis()))
            .arg("--config")
            .arg(&self.config)
            .start()
            .await?;
        self.posts[at].listen = Some(gateway.listen().parse()?);
        self.posts[at].gateway = Some(gateway);
        self.tell_addresses();
        Ok(())
    }

    /// Tells clients where gateways run.
    pub fn tell_addresses(&self) {
        let running = self.posts.iter().filter(|post| post.gateway.is_some());
        self.addresses.send_replace(running.filter_map(|post| post.listen).collect());
    }

    /// A node that a gateway is attached to.
    pub fn attached_node(&self, at: usize) -> usize {
        let wires = &self.posts[at].wires;
        (0..wires.len()).max_by_key(|node| wires[*node].connections()).unwrap_or(0)
    }

    /// Sets all wires of a gateway.
    pub fn set_wires(&self, at: usize, wire: Wire) {
        self.posts[at].wires.iter().for_each(|proxy| proxy.set(wire));
    }

    /// The sum of a metric over the gateways that run.
    pub async fn metric(&self, name: &str) -> u64 {
        let mut sum = 0;
        for gateway in self.posts.iter().filter_map(|post| post.gateway.as_ref()) {
            if let Some((_, body)) = gateway.admin_get("/metrics").await {
                sum += metric_in(&body, name);
            }
        }
        sum
    }
}

/// The sum of all values of a metric in an exposition.
pub fn metric_in(body: &str, name: &str) -> u64 {
    let samples = body.lines().filter_map(|line| line.rsplit_once(' '));
    let own =
        samples.filter(|(key, _)| *key == name || key.strip_prefix(name).is_some_and(|rest| rest.starts_with('{')));
    own.filter_map(|(_, value)| value.parse::<f64>().ok()).sum::<f64>() as u64
}
