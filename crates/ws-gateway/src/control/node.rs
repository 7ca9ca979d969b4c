//! For tests: the control plane of a gateway without the rest of it. What shards would get is looked at instead.

use std::{future::Future, sync::Arc, time::Duration};

use async_nats::jetstream;
use odin_devkit::NatsServer;
use tokio::{sync::watch, task::JoinHandle};

use super::{Link, Log, LogState, Order, Orders, Revocations};
use crate::{
    admin::NotReady,
    cluster::{Boot, Cluster, Name, UserSeat},
    config::Config,
    current::Current,
    identity::User,
    metrics::Metrics,
    provision::provision,
    queue::{self, Batch, Item},
};

/// The safety net under everything that is waited for.
const PATIENCE: Duration = Duration::from_secs(20);

/// Between two looks at something that does not tell by itself.
const LOOK: Duration = Duration::from_millis(5);

/// See the module. Dropped, it falls silent like one that was killed.
pub(crate) struct Node {
    pub(crate) cluster: Arc<Cluster>,
    pub(crate) revocations: Arc<Revocations>,
    pub(crate) orders: Orders,
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) log: watch::Receiver<LogState>,
    pub(crate) inbox: queue::Receiver,
    /// Holds the configuration, which may be changed.
    pub(crate) current: watch::Sender<Arc<Current>>,
    stop: Option<watch::Sender<()>>,
    task: JoinHandle<()>,
}

/// A configuration for one server, with its streams created.
pub(crate) async fn provisioned(urls: Vec<String>, change: impl FnOnce(&mut Config)) -> Config {
    let mut config = Config::default();
    config.nats.urls = urls;
    config.cluster.interval = Duration::from_millis(100);
    config.cluster.peer_timeout = Duration::from_secs(1);
    change(&mut config);
    provision(&config, false).await.expect("streams");
    config
}

/// A server with streams, and the configuration of whoever uses them.
pub(crate) async fn nats(change: impl FnOnce(&mut Config)) -> (NatsServer, Config) {
    let nats = NatsServer::start().await.expect("a nats-server");
    let config = provisioned(vec![nats.url()], change).await;
    (nats, config)
}

/// As an operator has it.
pub(crate) async fn jetstream(nats: &NatsServer) -> jetstream::Context {
    jetstream::new(async_nats::connect(nats.url()).await.expect("a connection"))
}

pub(crate) fn user(sub: &str) -> Arc<User> {
    Arc::new(User { sub: sub.to_owned(), ..User::default() })
}

/// Completes in time or fails the test, saying what was waited for.
pub(crate) async fn in_time<T>(what: &str, future: impl Future<Output = T>) -> T {
    match tokio::time::timeout(PATIENCE, future).await {
        Ok(value) => value,
        Err(_) => panic!("waited too long for {what}"),
    }
}

/// Looks again and again until something is so.
pub(crate) async fn until(what: &str, mut is_so: impl FnMut() -> bool) {
    in_time(what, async {
        while !is_so() {
            tokio::time::sleep(LOOK).await;
        }
    })
    .await;
}

impl Node {
    /// Starts with a boot id of its own, on one shard. Nothing is waited for.
    pub(crate) fn start(config: &Config, boot: u32) -> Self {
        let config = Arc::new(config.clone());
        let (current, currents) = watch::channel(Arc::new(Current::of((*config).clone())));
        let metrics = Arc::new(Metrics::new(1));
        let (queue, inbox) = queue::channel(1024);
        let (link, shards) = (Link::default(), vec![queue]);
        let me = (Name::of("node", u16::try_from(boot).expect("a small number")), Boot(boot));
        let cluster = Arc::new(Cluster::new(me, currents.clone(), metrics.clone(), shards.clone(), link.clone()));
        let revocations = Arc::new(Revocations::default());
        let orders = Orders::new(link.clone(), currents, revocations.clone());
        let (state, log) = watch::channel(LogState::Unread(NotReady::ControlUnread));
        let reader = Log::new(&config, link.clone(), revocations.clone(), shards, metrics.control.clone(), state);
        let (stop, stopped) = watch::channel(());
        let task = {
            let cluster = cluster.clone();
            tokio::spawn(async move {
                super::run(config, link, cluster, reader, stopped).await.expect("no credentials to be read");
            })
        };
        Self { cluster, revocations, orders, metrics, log, inbox, current, stop: Some(stop), task }
    }

    /// The same, and its log read to the end.
    pub(crate) async fn ready(config: &Config, boot: u32) -> Self {
        let mut node = Self::start(config, boot);
        node.is_read().await;
        node
    }

    pub(crate) async fn is_read(&mut self) {
        let read = self.log.wait_for(|state| *state == LogState::Read);
        in_time("the end of the log", read).await.expect("it goes on");
    }

    /// Says goodbye.
    pub(crate) async fn stop(mut self) {
        drop(self.stop.take());
        in_time("the goodbye", &mut self.task).await.expect("no panic");
    }

    /// As if the process was killed.
    pub(crate) fn kill(self) {
        self.task.abort();
    }

    /// The next orders that a shard gets, at least one.
    pub(crate) async fn orders(&self) -> Vec<Order> {
        let mut batch = Batch::default();
        in_time("an order", async {
            loop {
                self.inbox.filled().await;
                self.inbox.take(&mut batch);
                if !batch.items.is_empty() {
                    return;
                }
            }
        })
        .await;
        let orders = batch.items.into_iter().map(|item| match item {
            Item::Order(order) => (*order).clone(),
            other => panic!("no order: {other:?}"),
        });
        orders.collect()
    }

    /// The only one there is.
    pub(crate) async fn order(&self) -> Order {
        let mut orders = self.orders().await;
        assert_eq!(orders.len(), 1, "{orders:?}");
        orders.remove(0)
    }

    pub(crate) async fn enter(&self, sub: &str) -> Option<UserSeat> {
        in_time("an answer to a user", self.cluster.enter(&user(sub))).await.ok()
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        self.task.abort();
    }
}
