//! Several nats-servers that replicate JetStream among them.

use std::time::{Duration, Instant};

use async_nats::jetstream;

use crate::port::Lease;
use crate::server::is_port_taken;
use crate::{DevkitError, NatsServer, POLL, START_LIMIT};

const START_ATTEMPTS: usize = 5;
const MAX_REPLICAS: usize = 5;
/// How long one request may take while the cluster forms; then it is asked again.
const ATTEMPT_LIMIT: Duration = Duration::from_secs(2);

/// What kind of cluster to start; made by [`NatsCluster::builder`].
#[derive(Clone, Debug)]
pub struct NatsClusterBuilder {
    nodes: usize,
    first_port: Option<u16>,
    sync_interval: String,
    advertises: bool,
    extra_config: String,
}

impl NatsClusterBuilder {
    /// Nodes do not tell clients of each other: whoever is to stay on the wire of a [`Proxy`](crate::Proxy) would
    /// leave it otherwise.
    #[must_use]
    pub fn no_advertise(mut self) -> Self {
        self.advertises = false;
        self
    }

    /// Number of nodes; 3 by default.
    #[must_use]
    pub fn nodes(mut self, nodes: usize) -> Self {
        self.nodes = nodes;
        self
    }

    /// Clients connect to this port and the ones after it instead of to free ones.
    #[must_use]
    pub fn first_port(mut self, port: u16) -> Self {
        self.first_port = Some(port);
        self
    }

    /// JetStream's `sync_interval` of every node as its configuration spells it; `"1s"` by default, `"always"` for
    /// acknowledgements that mean "on disk".
    #[must_use]
    pub fn sync_interval(mut self, interval: impl Into<String>) -> Self {
        self.sync_interval = interval.into();
        self
    }

    /// Adds text to the configuration of every node, in nats-server's own language.
    #[must_use]
    pub fn extra_config(mut self, text: impl AsRef<str>) -> Self {
        self.extra_config.push_str(text.as_ref());
        self.extra_config.push('\n');
        self
    }

    /// Starts the nodes and waits until a replicated stream can be created.
    ///
    /// # Errors
    /// As [`NatsServer::start`], and [`DevkitError::Nats`] when no leader is elected within [`START_LIMIT`].
    ///
    /// # Panics
    /// With fewer than two nodes: a lone server is a [`NatsServer`].
    pub async fn start(self) -> Result<NatsCluster, DevkitError> {
        assert!(self.nodes >= 2, "a cluster has at least two nodes");
        let mut attempt = 1;
        let cluster = loop {
            match self.launch().await {
                Err(error) if self.first_port.is_none() && is_port_taken(&error) && attempt < START_ATTEMPTS => {
                    attempt += 1;
                }
                result => break result?,
            }
        };
        cluster.wait_ready().await?;
        cluster.place_a_stream().await?;
        Ok(cluster)
    }

    async fn launch(&self) -> Result<NatsCluster, DevkitError> {
        let routes = (0..self.nodes).map(|_| Lease::take()).collect::<Result<Vec<_>, _>>()?;
        let peers: Vec<String> = routes.iter().map(|route| format!("\"nats://127.0.0.1:{}\"", route.port())).collect();
        let peers = peers.join(", ");
        let mut nodes = Vec::with_capacity(self.nodes);
        for (index, route) in routes.iter().enumerate() {
            let cluster = format!(
                "cluster {{\n  name: \"odin-devkit\"\n  listen: \"127.0.0.1:{}\"\n  pool_size: 3\n  no_advertise: {}\n  routes: [{peers}]\n}}\n",
                route.port(),
                !self.advertises
            );
            let mut builder = NatsServer::builder()
                .name(format!("n{index}"))
                .sync_interval(&self.sync_interval)
                .extra_config(cluster)
                .extra_config(&self.extra_config);
            if let Some(first) = self.first_port {
                let offset = u16::try_from(index).expect("a cluster on one machine has few nodes");
                builder = builder.port(first + offset);
            }
            let mut node = builder.prepare().await?;
            node.launch()?;
            nodes.push(node);
        }
        for node in &mut nodes {
            node.wait_for_clients().await?;
        }
        Ok(NatsCluster { nodes, _routes: routes })
    }
}

/// A cluster of real nats-servers with JetStream, on loopback.
///
/// Elections take as long as they take in production (seconds after a SIGKILL): nats-server has no faster timing.
#[derive(Debug)]
pub struct NatsCluster {
    nodes: Vec<NatsServer>,
    _routes: Vec<Lease>,
}

impl NatsCluster {
    /// Starts a cluster of `nodes` and waits until a replicated stream can be created.
    ///
    /// # Errors
    /// As [`NatsClusterBuilder::start`].
    ///
    /// # Panics
    /// With fewer than two nodes.
    pub async fn start(nodes: usize) -> Result<NatsCluster, DevkitError> {
        NatsCluster::builder().nodes(nodes).start().await
    }

    /// Describes a cluster.
    #[must_use]
    pub fn builder() -> NatsClusterBuilder {
        NatsClusterBuilder {
            nodes: 3,
            first_port: None,
            sync_interval: "1s".to_owned(),
            advertises: true,
            extra_config: String::new(),
        }
    }

    /// The URLs of all nodes, in order, whether they run or not.
    #[must_use]
    pub fn urls(&self) -> Vec<String> {
        self.nodes.iter().map(NatsServer::url).collect()
    }

    /// Number of nodes.
    #[must_use]
    #[allow(clippy::len_without_is_empty, reason = "a cluster is never empty")]
    pub fn len(&self) -> usize {
        self.nodes.len()
    }

    /// One node.
    ///
    /// # Panics
    /// When there is no such node.
    #[must_use]
    pub fn node(&self, index: usize) -> &NatsServer {
        &self.nodes[index]
    }

    /// One node, to be killed or restarted.
    ///
    /// # Panics
    /// When there is no such node.
    pub fn node_mut(&mut self, index: usize) -> &mut NatsServer {
        &mut self.nodes[index]
    }

    /// All nodes, in order.
    #[must_use]
    pub fn nodes(&self) -> &[NatsServer] {
        &self.nodes
    }

    /// All nodes, in order, to be killed or restarted.
    pub fn nodes_mut(&mut self) -> &mut [NatsServer] {
        &mut self.nodes
    }

    /// Index of the node that leads `stream`, waiting for an election to end.
    ///
    /// # Errors
    /// [`DevkitError::Nats`] when no running node is known as leader within [`START_LIMIT`], as without a quorum or
    /// for a stream that does not exist.
    pub async fn stream_leader(&self, stream: &str) -> Result<usize, DevkitError> {
        self.until_answered(&format!("leader of stream {stream}"), async |context| {
            let stream = context.get_stream(stream).await.map_err(|error| error.to_string())?;
            let cluster = stream.cached_info().cluster.as_ref().ok_or("the stream is not replicated")?;
            let leader = cluster.leader.as_deref().ok_or("no leader is elected")?;
            // Just after a kill the others still name the dead one.
            self.nodes
                .iter()
                .position(|node| node.name() == leader && node.is_running())
                .ok_or_else(|| format!("the leader is {leader}, which does not run"))
        })
        .await
    }

    /// Waits until every running node says it is healthy: in contact with the meta leader, its streams caught up.
    ///
    /// # Errors
    /// [`DevkitError::Exited`] when a node ends, [`DevkitError::Timeout`] after [`START_LIMIT`]. A frozen node is
    /// never healthy.
    pub async fn wait_ready(&self) -> Result<(), DevkitError> {
        let deadline = Instant::now() + START_LIMIT;
        for node in self.nodes.iter().filter(|node| node.is_running()) {
            while !node.is_healthy("").await {
                if let Some(status) = node.process().exit_status() {
                    return Err(node.process().exited(status, "its health"));
                }
                if Instant::now() >= deadline {
                    return Err(node.process().timeout("its health", START_LIMIT));
                }
                // Slower than elsewhere: the server logs every "no".
                tokio::time::sleep(POLL * 4).await;
            }
        }
        Ok(())
    }

    /// Healthy nodes may still be refused as homes of a replica until the leader has heard of each. The one proof that
    /// a replicated stream can be placed is to place one.
    async fn place_a_stream(&self) -> Result<(), DevkitError> {
        const NAME: &str = "ODIN_DEVKIT_PROBE";
        self.until_answered("the first replicated stream", async |context| {
            let config = jetstream::stream::Config {
                name: NAME.to_owned(),
                subjects: vec!["odin-devkit-probe".to_owned()],
                storage: jetstream::stream::StorageType::Memory,
                num_replicas: self.nodes.len().min(MAX_REPLICAS),
                ..Default::default()
            };
            context.get_or_create_stream(config).await.map_err(|error| error.to_string())?;
            context.delete_stream(NAME).await.map_err(|error| error.to_string())
        })
        .await
        .map(drop)
    }

    /// Asks the running nodes in turn until one gives an answer.
    async fn until_answered<T>(
        &self,
        what: &str,
        ask: impl AsyncFn(jetstream::Context) -> Result<T, String>,
    ) -> Result<T, DevkitError> {
        let deadline = Instant::now() + START_LIMIT;
        let mut turn = 0;
        loop {
            let running: Vec<&NatsServer> = self.nodes.iter().filter(|node| node.is_running()).collect();
            let url = running.get(turn % running.len().max(1)).map_or_else(String::new, |node| node.url());
            turn += 1;
            let attempt = async {
                let client = async_nats::connect(&url).await.map_err(|error| error.to_string())?;
                ask(jetstream::new(client)).await
            };
            let reason = match tokio::time::timeout(ATTEMPT_LIMIT, attempt).await {
                Ok(Ok(answer)) => return Ok(answer),
                Ok(Err(reason)) => reason,
                Err(_) => "no answer".to_owned(),
            };
            if Instant::now() >= deadline {
                return Err(DevkitError::Nats { url, reason: format!("{what}: {reason}") });
            }
            tokio::time::sleep(POLL * 4).await;
        }
    }
}
