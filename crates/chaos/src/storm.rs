//! Many clients, dropped and resumed at once: what it takes until the last of them is live again.

use std::{
    net::SocketAddr,
    path::PathBuf,
    process::ExitCode,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use anyhow::{Context as _, bail};
use odin_protocol::{
    Codec, Cursor, Mode, ServerMessage,
    message::{ChannelRequest, ClientMessage, RequestId},
};
use tokio::sync::{Semaphore, watch};

use crate::{
    arena::{Arena, Programs, metric_in},
    load::{Load, Shape},
    rolling::{Moments, curve},
    socket::{Incoming, Socket},
};

/// Handshakes that the clients have under way at once: a load balancer's queue, not a limit of the gateway.
const HANDSHAKES: usize = 256;

/// How long a storm may take.
const LIMIT: Duration = Duration::from_secs(120);

/// What to drop.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Clients
    #[arg(long, default_value_t = 10_000)]
    clients: usize,
    /// Channels; each client has one of them
    #[arg(long, default_value_t = 100)]
    channels: u32,
    /// How often all are dropped
    #[arg(long, default_value_t = 2)]
    times: u32,
    /// Messages each second, while clients are away too
    #[arg(long, default_value_t = 200)]
    rate: u32,
    /// Mode of the subscriptions: every publication, or the newest
    #[arg(long, default_value_t = false)]
    latest: bool,
    /// Folder of ws-gateway and odin-publisher; that of this program by default
    #[arg(long)]
    programs: Option<PathBuf>,
}

/// What all clients have counted, together.
#[derive(Debug, Default)]
struct Counts {
    connected: AtomicU64,
    subscribed: AtomicU64,
    recovered: AtomicU64,
    /// Have been sent an update since they came back.
    live: AtomicU64,
    broken: AtomicU64,
    twice: AtomicU64,
}

/// Drops them all at once, by killing the gateway they are on, and watches them resume on one that knows nothing.
///
/// # Errors
/// Something does not start, or the clients do not come back in time.
pub async fn storm(args: Args) -> anyhow::Result<ExitCode> {
    let us = std::env::current_exe().context("the path of this program")?;
    let programs = args.programs.clone().or_else(|| us.parent().map(PathBuf::from)).context("a folder")?;
    let folder = std::env::temp_dir().join(format!("odin-storm-{:08x}", rand::random::<u32>()));
    std::fs::create_dir_all(&folder)?;
    let mut arena = Arena::start(Programs::in_folder(&programs)?, 2, Duration::from_secs(1), &folder).await?;
    let addresses: Vec<SocketAddr> = arena.addresses.borrow().clone();
    let shape = Shape { tokens: args.channels, kinds: 0, rate: args.rate, padding: 100 };
    let _load = Load::start(arena.nats.urls(), shape, 1).await?;
    let counts = Arc::<Counts>::default();
    let (target, targets) = watch::channel((0u32, addresses[0]));
    let doors = Arc::new(Semaphore::new(HANDSHAKES));
    let mode = if args.latest { Mode::Latest } else { Mode::All };
    for at in 0..args.clients {
        let channel = format!("price:T{}", at as u32 % args.channels);
        let client = Client { channel, mode, codec: Codec::Json, counts: counts.clone(), doors: doors.clone() };
        tokio::spawn(client.live(targets.clone()));
    }
    let all = args.clients as u64;
    until("everybody to be live", || counts.live.load(Ordering::Relaxed) == all).await?;
    let mut is_broken = false;
    println!("| storm | clients | recovered | last answered | last live | Direct Gets | gateway CPU | chain breaks |");
    println!("|---|---|---|---|---|---|---|---|");
    for time in 1..=args.times {
        let (from, to) = (((time - 1) % 2) as usize, (time % 2) as usize);
        for counter in [&counts.connected, &counts.subscribed, &counts.recovered, &counts.live] {
            counter.store(0, Ordering::Relaxed);
        }
        let gateway = arena.posts[to].gateway.as_ref().context("it runs")?;
        let (pid, before) = (gateway.pid(), direct_gets(gateway).await);
        let cpu = cpu_time(pid);
        target.send_replace((time, addresses[to]));
        let mut killed = arena.posts[from].gateway.take().context("it runs")?;
        killed.kill().await;
        let began = Instant::now();
        let mut moments = Moments::begin();
        let (mut answered, mut seen) = (Duration::ZERO, 0);
        until("everybody to be live again", || {
            let subscribed = counts.subscribed.load(Ordering::Relaxed);
            (seen..subscribed).for_each(|_| moments.note());
            if subscribed > seen {
                answered = began.elapsed();
                seen = subscribed;
            }
            counts.live.load(Ordering::Relaxed) == all
        })
        .await?;
        let live = began.elapsed();
        let gateway = arena.posts[to].gateway.as_ref().context("it runs")?;
        let broken = counts.broken.load(Ordering::Relaxed) + counts.twice.load(Ordering::Relaxed);
        let recovered = counts.recovered.load(Ordering::Relaxed);
        is_broken |= broken > 0 || recovered < all;
        println!(
            "| {time} | {all} | {recovered} | {:.2} s | {:.2} s | {} | {:.2} s | {broken} |",
            answered.as_secs_f64(),
            live.as_secs_f64(),
            direct_gets(gateway).await - before,
            (cpu_time(pid) - cpu).as_secs_f64(),
        );
        eprintln!("answers over time:\n{}", curve(&moments.all, answered.max(Duration::from_millis(1)), 10));
        // The next one finds a gateway that has forgotten everything.
        arena.start_gateway(from).await?;
    }
    drop(arena);
    let _ = std::fs::remove_dir_all(&folder);
    Ok(if is_broken { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

async fn until(what: &str, mut is_so: impl FnMut() -> bool) -> anyhow::Result<()> {
    let began = Instant::now();
    while !is_so() {
        if began.elapsed() > LIMIT {
            bail!("waited too long for {what}");
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    Ok(())
}

async fn direct_gets(gateway: &odin_devkit::Gateway) -> u64 {
    let answer = gateway.admin_get("/metrics").await;
    answer.map_or(0, |(_, body)| metric_in(&body, "odin_gateway_direct_gets_total"))
}

/// CPU time of a process so far, as Linux tells it.
pub(crate) fn cpu_time(pid: u32) -> Duration {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    let fields = stat.rsplit(") ").next().unwrap_or_default();
    let ticks: u64 = fields.split(' ').skip(11).take(2).filter_map(|field| field.parse::<u64>().ok()).sum();
    // USER_HZ is 100 on every Linux.
    Duration::from_millis(ticks * 10)
}

struct Client {
    channel: String,
    mode: Mode,
    codec: Codec,
    counts: Arc<Counts>,
    doors: Arc<Semaphore>,
}

impl Client {
    async fn live(self, mut targets: watch::Receiver<(u32, SocketAddr)>) {
        let mut last: Option<Cursor> = None;
        loop {
            let (_, address) = *targets.borrow_and_update();
            let connected = {
                let Ok(_door) = self.doors.acquire().await else {
                    return;
                };
                Socket::connect(address, self.codec, None).await
            };
            if let Ok(mut socket) = connected {
                self.counts.connected.fetch_add(1, Ordering::Relaxed);
                self.serve(&mut socket, &mut last).await;
            } else {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        }
    }

    async fn serve(&self, socket: &mut Socket, last: &mut Option<Cursor>) {
        let since = last.map(|cursor| cursor.to_string());
        let request = ChannelRequest { mode: Some(self.mode), since, ..ChannelRequest::from(self.channel.as_str()) };
        let subscribe =
            ClientMessage::Subscribe { id: Some(RequestId::Number(1)), channels: vec![request], since: None };
        if socket.send(&subscribe).await.is_err() {
            return;
        }
        let mut is_live = false;
        loop {
            let Incoming::Message(message) = socket.next(64 * 1024).await else {
                return;
            };
            match *message {
                ServerMessage::Subscribed { recovered, .. } => {
                    self.counts.subscribed.fetch_add(1, Ordering::Relaxed);
                    self.counts.recovered.fetch_add(u64::from(recovered), Ordering::Relaxed);
                    if !recovered {
                        *last = None;
                    }
                }
                ServerMessage::Update(update) => {
                    let before = last.map_or(0, |last| last.seq);
                    if before > 0 && update.seq <= before {
                        self.counts.twice.fetch_add(1, Ordering::Relaxed);
                    }
                    let is_linked = update.prev.is_none_or(|prev| prev == before);
                    if before > 0 && self.mode == Mode::All && !is_linked {
                        self.counts.broken.fetch_add(1, Ordering::Relaxed);
                    }
                    *last = Some(Cursor { epoch: update.epoch, seq: update.seq, ts_ms: update.ts });
                    if !std::mem::replace(&mut is_live, true) {
                        self.counts.live.fetch_add(1, Ordering::Relaxed);
                    }
                }
                ServerMessage::Gap { .. } => {
                    self.counts.broken.fetch_add(1, Ordering::Relaxed);
                }
                _ => {}
            }
        }
    }
}
