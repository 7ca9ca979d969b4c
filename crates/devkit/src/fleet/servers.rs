//! The nats-servers of a fleet: one, or a cluster.

use anyhow::Context as _;
use odin_devkit::{NatsCluster, NatsServer, Process};

/// See the module. Dropped, they are killed.
#[derive(Debug)]
pub(crate) enum Servers {
    One(Box<NatsServer>),
    Many(NatsCluster),
}

impl Servers {
    /// Starts so many. They listen on `port` and those after it, or on free ones.
    pub(crate) async fn start(nodes: usize, port: Option<u16>) -> anyhow::Result<Servers> {
        if nodes == 1 {
            let builder = port.into_iter().fold(NatsServer::builder(), |builder, port| builder.port(port));
            return Ok(Servers::One(Box::new(builder.start().await.context("cannot start nats-server")?)));
        }
        let builder = NatsCluster::builder().nodes(nodes);
        let builder = port.into_iter().fold(builder, |builder, port| builder.first_port(port));
        Ok(Servers::Many(builder.start().await.context("cannot start a cluster of nats-servers")?))
    }

    pub(crate) fn nodes(&self) -> &[NatsServer] {
        match self {
            Servers::One(server) => std::slice::from_ref(server),
            Servers::Many(cluster) => cluster.nodes(),
        }
    }

    pub(super) fn nodes_mut(&mut self) -> &mut [NatsServer] {
        match self {
            Servers::One(server) => std::slice::from_mut(server),
            Servers::Many(cluster) => cluster.nodes_mut(),
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.nodes().len()
    }

    /// The addresses of all, whether they run or not.
    pub(crate) fn urls(&self) -> Vec<String> {
        self.nodes().iter().map(NatsServer::url).collect()
    }

    /// The same, separated by commas.
    pub(crate) fn url(&self) -> String {
        self.urls().join(",")
    }

    pub(super) fn any_runs(&self) -> bool {
        self.nodes().iter().any(NatsServer::is_running)
    }

    pub(super) fn processes(&self) -> impl Iterator<Item = &Process> {
        self.nodes().iter().map(NatsServer::process)
    }
}
