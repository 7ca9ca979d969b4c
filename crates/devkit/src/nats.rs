//! `odin-devkit nats`: a server or a cluster in the foreground.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context as _, bail};
use odin_devkit::{NatsCluster, NatsServer};

use crate::stop::StopSignals;

/// How often we look whether a server has ended by itself; a person is watching, nothing waits for it.
const LOOK_INTERVAL: Duration = Duration::from_millis(200);

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Port for clients; the nodes of a cluster take this one and those after it. 0: any free ports
    #[arg(long, default_value_t = 4222)]
    port: u16,
    /// Number of nodes
    #[arg(long, value_name = "NODES", default_value_t = 1, value_parser = clap::value_parser!(u8).range(1..=9))]
    cluster: u8,
    /// How often JetStream flushes to disk, as nats-server spells it: "always", "1s"
    #[arg(long, value_name = "INTERVAL", default_value = "1s")]
    sync_interval: String,
    /// Keep JetStream's data here instead of in a temporary folder (one node only)
    #[arg(long, value_name = "FOLDER")]
    store_dir: Option<PathBuf>,
}

enum Servers {
    One(NatsServer),
    Many(NatsCluster),
}

impl Servers {
    fn nodes(&self) -> &[NatsServer] {
        match self {
            Servers::One(server) => std::slice::from_ref(server),
            Servers::Many(cluster) => cluster.nodes(),
        }
    }
}

pub(crate) async fn run(args: Args) -> anyhow::Result<()> {
    if args.cluster > 1 && args.store_dir.is_some() {
        bail!("--store-dir is for one node, not for a cluster");
    }
    let mut stop = StopSignals::catch().context("cannot catch signals")?;
    // Dropping a half-started server kills it.
    let servers = tokio::select! {
        servers = start(args) => servers?,
        () = stop.received() => return Ok(()),
    };
    for node in servers.nodes() {
        println!("{} {} monitoring {} (pid {})", node.name(), node.url(), node.monitor_url(), node.pid());
    }
    println!("Ctrl-C stops");
    let ended = async {
        loop {
            if let Some(node) = servers.nodes().iter().find(|node| !node.is_running()) {
                return node;
            }
            tokio::time::sleep(LOOK_INTERVAL).await;
        }
    };
    tokio::select! {
        node = ended => bail!("{} ended by itself\n{}", node.name(), node.process().log()),
        () = stop.received() => {}
    }
    match servers {
        Servers::One(mut server) => server.terminate().await.context("cannot stop the server")?,
        Servers::Many(mut cluster) => {
            for index in 0..cluster.len() {
                cluster.node_mut(index).terminate().await.context("cannot stop a node")?;
            }
        }
    }
    Ok(())
}

async fn start(args: Args) -> anyhow::Result<Servers> {
    if args.cluster > 1 {
        let mut builder = NatsCluster::builder().nodes(usize::from(args.cluster)).sync_interval(args.sync_interval);
        if args.port != 0 {
            builder = builder.first_port(args.port);
        }
        return Ok(Servers::Many(builder.start().await.context("cannot start a cluster")?));
    }
    let mut builder = NatsServer::builder().sync_interval(args.sync_interval);
    if args.port != 0 {
        builder = builder.port(args.port);
    }
    if let Some(folder) = args.store_dir {
        builder = builder.store_dir(folder);
    }
    Ok(Servers::One(builder.start().await.context("cannot start nats-server")?))
}
