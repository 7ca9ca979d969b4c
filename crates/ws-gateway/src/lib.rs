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

use std::{
    future::Future,
    io,
    net::{SocketAddr, TcpListener},
    pin::pin,
    sync::Arc,
    thread,
    time::Duration,
};

use futures_util::FutureExt;
use socket2::{Domain, Protocol, Socket, Type};
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

/// The sockets a gateway listens on, bound before anything else happens.
#[derive(Debug)]
pub struct Listeners {
    /// One for each shard, all on one address (`SO_REUSEPORT`).
    shards: Vec<TcpListener>,
    admin: TcpListener,
}

impl Listeners {
    /// Binds all of them. Port 0 takes a free port, the same for every shard.
    ///
    /// # Errors
    /// [`RunError::Bind`] with the address that could not be bound.
    pub fn bind(config: &Config) -> Result<Self, RunError> {
        let mut address = config.listen;
        refuse_company(address).map_err(|source| RunError::Bind { address, source })?;
        let mut shards = Vec::new();
        for _ in 0..config.shards.get() {
            let listener = bind(address, config).map_err(|source| RunError::Bind { address, source })?;
            address = listener.local_addr().map_err(|source| RunError::Bind { address, source })?;
            shards.push(listener);
        }
        let address = config.admin_listen;
        let admin = bind_admin(address).map_err(|source| RunError::Bind { address, source })?;
        Ok(Self { shards, admin })
    }

    /// Where clients connect.
    ///
    /// # Panics
    /// Never: there is at least one shard, and it is bound.
    pub fn address(&self) -> SocketAddr {
        self.shards[0].local_addr().expect("bound")
    }

    /// Where probes and metrics are.
    ///
    /// # Panics
    /// Never: it is bound.
    pub fn admin_address(&self) -> SocketAddr {
        self.admin.local_addr().expect("bound")
    }
}

/// Fails when somebody listens there. Shards share their port, and so would another gateway of the same user: each would
/// get a part of the clients, and nobody would notice.
fn refuse_company(address: SocketAddr) -> io::Result<()> {
    if address.port() == 0 {
        return Ok(());
    }
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    // Connections of a predecessor that end, or rest, are no reason to wait.
    socket.set_reuse_address(true)?;
    socket.bind(&address.into())
}

/// Options are set on the listener: the kernel hands them down to every accepted socket.
fn bind(address: SocketAddr, config: &Config) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_reuse_address(true)?;
    socket.set_reuse_port(true)?;
    socket.set_tcp_nodelay(true)?;
    socket.set_nonblocking(true)?;
    #[cfg(target_os = "linux")]
    {
        socket.set_tcp_user_timeout(Some(config.sockets.user_timeout))?;
        if let Some(bytes) = config.sockets.notsent_lowat_bytes {
            socket.set_tcp_notsent_lowat(u32::try_from(bytes).unwrap_or(u32::MAX))?;
        }
    }
    if let Some(bytes) = config.sockets.send_buffer_bytes {
        socket.set_send_buffer_size(bytes)?;
    }
    if let Some(bytes) = config.sockets.receive_buffer_bytes {
        socket.set_recv_buffer_size(bytes)?;
    }
    socket.bind(&address.into())?;
    socket.listen(i32::try_from(config.sockets.backlog).unwrap_or(i32::MAX))?;
    Ok(socket.into())
}

fn bind_admin(address: SocketAddr) -> io::Result<TcpListener> {
    let listener = TcpListener::bind(address)?;
    listener.set_nonblocking(true)?;
    Ok(listener)
}

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
