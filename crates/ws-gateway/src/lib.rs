//! The gateway: holds sockets, forwards messages, remembers nothing.
//!
//! The life of a connection. A shard accepts the socket, if its address may have one more
//! (`addresses`) and there is room; hyper and axum shake hands with it (`shard/acceptor`, `http`), by
//! TLS where that is configured (`tls`), and know its user if it brings a token (`auth`). The shard
//! takes the bare socket back. What the client says is decoded in place (`shard/inbound`) and acted
//! on (`shard/session`): it signs in (`shard/signing_in`), publishes (`shard/publishing`), subscribes.
//! A channel becomes a NATS subject by a rule (`rules`), if the rule lets this user have it, and the
//! shard asks the bus for that feed. The bus (`bus`) opens the feed – live subscription, leader
//! barrier, last values – and from then on passes on each publication that is the next of its subject,
//! through one ordered queue for each shard (`queue`). The shard writes what came in one turn to
//! everybody who stands at head, once (`shard/fan_out`). Whoever cannot take it keeps a cursor and
//! catches up later (`shard/catch_up`). What operators order comes by the same queue (`control`,
//! `shard/orders`); what the other gateways have is heard by gossip (`cluster`). On SIGHUP everything
//! that can change is replaced at once (`reload`, `current`). On SIGTERM everybody is sent away at a
//! moment of their own (`drain`, `shard/departure`).

use std::{future::Future, io, pin::pin, sync::Arc, thread, time::Duration};

use futures_util::FutureExt;
use tokio::{
    runtime,
    sync::{Notify, mpsc, watch},
    task::LocalSet,
};

mod addresses;
pub mod admin;
pub mod args;
mod auth;
mod bus;
mod clock;
mod cluster;
pub mod config;
mod control;
mod current;
mod drain;
mod error;
mod format;
mod guest;
pub mod health;
mod http;
pub mod identity;
mod listeners;
mod memory;
pub mod metrics;
mod page;
pub mod provision;
mod publication;
mod question;
mod queue;
mod reload;
pub mod rules;
mod seldom;
mod shard;
pub mod telemetry;
mod tls;
mod traces;

pub use auth::AuthSetupError;
pub use error::RunError;
pub use listeners::Listeners;
pub use reload::{Reload, ReloadError, Reloader};
pub use tls::TlsError;

use admin::{Admin, NotReady, Readiness};
use auth::Authenticator;
use cluster::{Boot, Cluster, Name};
use config::{Config, Telemetry};
use control::{Link, Log, LogState, Orders, Revocations};
use current::{Current, UserRates};
use drain::Stage;
use guest::Shared;
use metrics::{CloseReason, ControlMetrics, Metrics};
use odin_telemetry::Sender;
use tls::Tls;

/// Questions of one shard to the bus that may wait for an answer.
const COMMANDS: usize = 64 * 1024;

/// How long what a user used of a rate is remembered at most.
const SWEEP: Duration = Duration::from_secs(60);

/// How a gateway ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Outcome {
    /// Connections that left of themselves or when their moment came.
    pub left: u64,
    /// Connections that were still there when the drain gave up.
    pub remained: u64,
}

/// [`run_reloadable`] with a configuration that stays as it is.
///
/// # Errors
/// See [`run_reloadable`].
///
/// # Cancel safety
/// Not cancel safe: see [`run_reloadable`].
pub async fn run(config: Config, listeners: Listeners, stop: impl Future<Output = ()>) -> Result<Outcome, RunError> {
    let reload = Reload::never(&config);
    run_reloadable(config, listeners, reload, stop).await
}

/// Serves until `stop` completes, then drains. NATS need not be there: the gateway is not ready
/// until it is.
///
/// # Errors
/// See [`RunError`]. All of them come before the first connection is accepted, but
/// [`RunError::Shard`].
///
/// # Cancel safety
/// Not cancel safe: dropped early, its threads go on until the process ends.
pub async fn run_reloadable(
    config: Config,
    listeners: Listeners,
    reload: Reload,
    stop: impl Future<Output = ()>,
) -> Result<Outcome, RunError> {
    let config = Arc::new(config);
    let metrics = Arc::new(Metrics::new(config.shards.get()));
    let (link, revocations) = (Link::default(), Arc::new(Revocations::default()));
    let auth = Authenticator::new(&config, link.clone(), revocations.clone(), metrics.control.clone())?;
    let first = Current {
        config: config.clone(),
        auth: Arc::new(auth),
        tls: Tls::load(&config.tls)?,
        rates: UserRates::new(&config.limits),
    };
    let (current, currents) = watch::channel(Arc::new(first));
    let (ready, readiness) = watch::channel(Readiness::NotReady(NotReady::Starting));
    let (stage, staged) = watch::channel(Stage::Serving);
    let (commands, asked) = mpsc::channel(COMMANDS);
    tracing::info!(
        listen = %listeners.address(),
        admin_listen = %listeners.admin_address(),
        shards = config.shards.get(),
        "listening"
    );

    let boot = boot_id();
    let (queues, inboxes): (Vec<_>, Vec<_>) =
        (0..config.shards.get()).map(|_| queue::channel(config.feeds.shard_queue_bytes)).unzip();
    let name = Name::here(listeners.address().port());
    let gateway = name.as_str().to_owned();
    let collector = collector(&config.telemetry)?;
    let tracer = collector.clone().map(|sender| traces::start(sender, &gateway)).transpose()?;
    let pushes = collector.map(|sender| {
        let interval = config.telemetry.metrics_interval;
        tokio::spawn(metrics::otlp::push(metrics.clone(), gateway.clone(), sender, interval))
    });
    let me = (name, Boot(boot));
    let cluster = Arc::new(Cluster::new(me, currents.clone(), metrics.clone(), queues.clone(), link.clone()));
    let shared = Arc::new(Shared {
        addresses: Arc::default(),
        cluster: cluster.clone(),
        revocations: revocations.clone(),
        memory: Arc::default(),
    });
    shared.memory.look(&config.limits);
    let (bus_ready, bus_readiness) = watch::channel(Readiness::NotReady(NotReady::Starting));
    let (log_state, log_states) = watch::channel(LogState::Unread(NotReady::ControlUnread));
    tokio::spawn(control::combine(bus_readiness, log_states, currents.clone(), ready.clone()));
    let log = Log::new(&config, link.clone(), revocations.clone(), queues.clone(), metrics.control.clone(), log_state);
    let (stop_control, control_stopped) = watch::channel(());
    let mut control = {
        let (config, link, cluster) = (config.clone(), link.clone(), cluster.clone());
        spawn("odin-control", move || control::run(config, link, cluster, log, control_stopped))?
    };
    let drain = Arc::new(Notify::new());

    let mirror = tokio::spawn(mirror(readiness.clone(), currents.clone(), metrics.control.clone()));
    let admin = Admin {
        metrics: metrics.clone(),
        readiness,
        config: (&*config).into(),
        started: metrics.started,
        orders: Orders::new(link, currents.clone(), revocations),
        current: currents.clone(),
        cluster,
        drain: drain.clone(),
        reloader: reload.reloader(),
    };
    let admin_listener = tokio::net::TcpListener::from_std(listeners.admin).map_err(RunError::Admin)?;
    let admin = tokio::spawn(async move { axum::serve(admin_listener, admin::router(admin)).await });

    let mut threads = Vec::new();
    for ((index, listener), inbox) in listeners.shards.into_iter().enumerate().zip(inboxes) {
        let parts = shard::Parts {
            index,
            boot,
            current: currents.clone(),
            shared: shared.clone(),
            metrics: metrics.clone(),
            listener,
            inbox,
            bus: commands.clone(),
            stage: staged.clone(),
        };
        threads.push(spawn(&format!("odin-shard-{index}"), move || async move {
            LocalSet::new().run_until(shard::Shard::run(parts)).await
        })?);
    }
    drop(commands);
    let bus = {
        let (config, currents) = (config.clone(), currents.clone());
        let (metrics, tracer) = (metrics.bus.clone(), tracer.clone());
        spawn("odin-bus", move || async move {
            let connections = bus::connect(&config.nats).await?;
            let tell = (tracer, gateway.as_str());
            let sequencer = bus::Bus::new(config, metrics, queues, bus_ready, &connections, tell);
            sequencer.run(asked, connections.events, currents).await;
            Ok::<(), RunError>(())
        })?
    };

    let reload = tokio::spawn(reload.serve(current, metrics.control.clone()));
    let sweeps = tokio::spawn(sweep(currents.clone()));
    let memory = tokio::spawn(shared.memory.clone().watch(currents.clone()));

    let mut ended = Box::pin(wait_for(threads));
    let mut stop = pin!(stop.fuse());
    let begin_drain = async || {
        let config = currents.borrow().config.clone();
        drain::begin(&config, &ready, &stage).await;
    };
    tokio::select! {
        () = &mut stop => begin_drain().await,
        () = drain.notified() => begin_drain().await,
        // A shard that ends without being told could not be set up.
        early = &mut ended => {
            early?;
        }
        failed = bus => {
            failed.map_err(|_| RunError::Panic)??;
        }
        failed = &mut control => {
            failed.map_err(|_| RunError::Panic)??;
        }
    }
    if *stage.borrow() == Stage::Draining {
        tokio::select! {
            ended = &mut ended => ended?,
            // Where it was an operator who asked, a signal is the first: it is listened to, so that a second one insists.
            () = &mut stop => ended.await?,
        }
    }
    for task in [reload, sweeps, memory, mirror].into_iter().chain(pushes) {
        task.abort();
    }
    drop(stop_control);
    // It has a goodbye to say, which does not take long.
    let _ = control.await;
    admin.abort();
    if let Some(tracer) = tracer
        && !tracer.shutdown(traces::FLUSH_LIMIT).await
    {
        tracing::warn!(counts = ?tracer.counts(), "not all spans were sent");
    }
    let remained = metrics.connected_clients();
    let left = metrics.sum(|shard| shard.connections_closed.of(CloseReason::Drain).get());
    tracing::info!(left, remained, "stopped");
    Ok(Outcome { left, remained })
}

type Thread<T> = tokio::sync::oneshot::Receiver<T>;

/// Runs a future on a thread of its own, with a runtime of its own.
fn spawn<F, T>(name: &str, make: impl FnOnce() -> F + Send + 'static) -> Result<Thread<T>, RunError>
where
    F: Future<Output = T>,
    T: Send + 'static,
{
    let runtime = runtime::Builder::new_current_thread().enable_all().build().map_err(RunError::Thread)?;
    let (done, ended) = tokio::sync::oneshot::channel();
    thread::Builder::new()
        .name(name.to_owned())
        .spawn(move || {
            // Nobody listens when the gateway has been dropped.
            let _ = done.send(runtime.block_on(make()));
        })
        .map_err(RunError::Thread)?;
    Ok(ended)
}

async fn wait_for(threads: Vec<Thread<io::Result<()>>>) -> Result<(), RunError> {
    for thread in threads {
        thread.await.map_err(|_| RunError::Panic)?.map_err(RunError::Shard)?;
    }
    Ok(())
}

/// The way to a collector of OpenTelemetry, if one is configured.
fn collector(config: &Telemetry) -> Result<Option<Sender>, RunError> {
    let endpoint = config.endpoint().map_err(|error| RunError::Telemetry(error.into()))?;
    endpoint.map(Sender::new).transpose().map_err(|error| RunError::Telemetry(error.into()))
}

/// Shows as numbers what others decide.
async fn mirror(
    mut readiness: watch::Receiver<Readiness>,
    mut current: watch::Receiver<Arc<Current>>,
    metrics: Arc<ControlMetrics>,
) {
    loop {
        let word = *readiness.borrow_and_update();
        metrics.ready.set(u64::from(word == Readiness::Ready));
        metrics.draining.set(u64::from(word == Readiness::NotReady(NotReady::Draining)));
        metrics.connection_limit.set(current.borrow_and_update().config.limits.connections as u64);
        let changed = tokio::select! {
            changed = readiness.changed() => changed,
            changed = current.changed() => changed,
        };
        if changed.is_err() {
            return;
        }
    }
}

/// Lets go of what nobody needs any more, now and then.
async fn sweep(current: watch::Receiver<Arc<Current>>) {
    loop {
        tokio::time::sleep(SWEEP).await;
        let current = current.borrow().clone();
        current.rates.sweep();
    }
}

/// Tells the connections of this process from those of another.
fn boot_id() -> u32 {
    rand::random()
}
