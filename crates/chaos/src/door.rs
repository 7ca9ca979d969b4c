//! A gateway under attack at its door, beside good clients who must not notice: slow handshakes, a flood of connects.

use std::{
    net::{IpAddr, Ipv4Addr, SocketAddr},
    path::PathBuf,
    process::{ExitCode, Stdio},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use anyhow::{Context as _, bail};
use odin_devkit::{Gateway, NatsServer, Process, START_LIMIT};
use odin_protocol::{Codec, ServerMessage, message::ClientMessage};
use odin_publisher::{Options, Publisher};
use serde::Deserialize;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    process::Command,
};

use crate::{
    arena::Programs,
    socket::{Incoming, Socket},
    storm::cpu_time,
};

/// Pause between two connects of a good client.
const CONNECT_PAUSE: Duration = Duration::from_millis(10);

/// Time between an attack and the next phase, in which the gateway lets go of what is left of it.
const REST: Duration = Duration::from_secs(8);

/// What to do.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Good clients, each with one channel
    #[arg(long, default_value_t = 200)]
    clients: usize,
    /// Messages each second, of all channels
    #[arg(long, default_value_t = 200)]
    rate: u64,
    /// Connections that send a byte of a header each second
    #[arg(long, default_value_t = 5_000)]
    slow: u32,
    /// Connects each second of the flood
    #[arg(long, default_value_t = 10_000)]
    connects: u32,
    /// Length of each phase
    #[arg(long, default_value_t = 15)]
    seconds: u64,
    /// More options of the gateway
    #[arg(long, allow_hyphen_values = true, value_delimiter = ' ')]
    gateway_args: Vec<String>,
    /// Processor of the gateway; everything else goes to the others. Not given: wherever the system puts them
    #[arg(long)]
    pin: Option<usize>,
    /// Folder of ws-gateway; that of this program by default
    #[arg(long)]
    programs: Option<PathBuf>,
}

/// What good clients have seen in one phase, in microseconds.
#[derive(Debug, Default)]
struct Seen {
    deliveries: Vec<u64>,
    connects: Vec<u64>,
    failures: u64,
}

#[derive(Debug, Default)]
struct Shared {
    seen: Mutex<Seen>,
    lost: AtomicU64,
}

impl Shared {
    fn note(&self, note: impl FnOnce(&mut Seen)) {
        note(&mut self.seen.lock().unwrap_or_else(PoisonError::into_inner));
    }

    fn take(&self) -> Seen {
        std::mem::take(&mut self.seen.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// Attacks, and compares what good clients see with what they saw before it.
///
/// # Errors
/// Something does not start.
pub async fn door(args: Args) -> anyhow::Result<ExitCode> {
    let us = std::env::current_exe().context("the path of this program")?;
    let programs = args.programs.clone().or_else(|| us.parent().map(PathBuf::from)).context("a folder")?;
    let programs = Programs::in_folder(&programs)?;
    let nats = NatsServer::start().await?;
    let url = nats.url();
    let provision = Process::builder("provision", &programs.gateway).args(["provision", "--nats-url", &url]).spawn()?;
    if !provision.wait(START_LIMIT).await?.success() {
        bail!("the streams were not created\n{}", provision.log());
    }
    let gateway = Gateway::builder(&programs.gateway, &url)
        .args([
            "--shards",
            "1",
            // More than all attackers together get through: what an address may have is what keeps them off.
            "--limits-connects-per-second",
            "4000",
            "--limits-connects-per-ip-per-second",
            "50",
            // All slow handshakes fit.
            "--limits-handshakes",
            "8192",
        ])
        .args(&args.gateway_args)
        .start()
        .await?;
    if let Some(processor) = args.pin {
        pin(gateway.pid(), &processor.to_string()).await?;
    }
    let address: SocketAddr = gateway.listen().parse().context("the gateway's address")?;
    let shared = Arc::<Shared>::default();
    for at in 0..args.clients {
        tokio::spawn(watch(address, format!("price:T{}", at % 20), shared.clone()));
    }
    tokio::spawn(publish(Publisher::connect(Options { urls: vec![url], ..Options::default() }).await?, args.rate));
    tokio::spawn(come_and_go(address, shared.clone()));
    tokio::time::sleep(Duration::from_secs(3)).await;

    let phase = Duration::from_secs(args.seconds);
    let memory_before = resident_kib(gateway.pid());
    let mut quiet: Option<Figures> = None;
    println!(
        "| phase | deliveries | p50 | p99 | x quiet | connects | p50 | p99 | x quiet | failed | gateway CPU | RSS |"
    );
    println!("|---|---|---|---|---|---|---|---|---|---|---|---|");
    let elsewhere = sink().await?;
    let slow = attack("--slow", args.slow, args.seconds);
    let flood = attack("--rate", args.connects, args.seconds);
    // An attack costs those who measure it something too: so each is seen aimed elsewhere first.
    let attacks = [
        ("quiet", None),
        ("slow handshakes, elsewhere", Some((&slow, elsewhere))),
        ("slow handshakes", Some((&slow, address))),
        ("quiet again", None),
        ("flood of connects, elsewhere", Some((&flood, elsewhere))),
        ("flood of connects", Some((&flood, address))),
    ];
    let mut answers = Vec::new();
    let mut is_noticed = false;
    for (name, attack) in attacks {
        let attacker = match attack {
            Some((attack, target)) => {
                let mut command = Command::new("nice");
                command.args(["-n", "19"]).arg(&us).args(["attack", "--address", &target.to_string()]).args(attack);
                Some(command.stdout(Stdio::piped()).kill_on_drop(true).spawn().context("the attacker")?)
            }
            None => None,
        };
        shared.take();
        let cpu = cpu_time(gateway.pid());
        tokio::time::sleep(phase).await;
        let mut seen = shared.take();
        let cpu = cpu_time(gateway.pid()) - cpu;
        let memory = resident_kib(gateway.pid());
        let figures = Figures::of(&mut seen);
        let base = *quiet.get_or_insert(figures);
        println!(
            "| {name} | {} | {} µs | {} µs | {:.2} | {} | {} µs | {} µs | {:.2} | {} | {:.2} s | {memory} KiB |",
            seen.deliveries.len(),
            figures.delivery.0,
            figures.delivery.1,
            ratio(figures.delivery.1, base.delivery.1),
            seen.connects.len(),
            figures.connect.0,
            figures.connect.1,
            ratio(figures.connect.1, base.connect.1),
            seen.failures,
            cpu.as_secs_f64(),
        );
        is_noticed |= seen.failures > 0;
        if let Some(attacker) = attacker {
            let output = attacker.wait_with_output().await?;
            answers.push(format!("{name}: {}", String::from_utf8_lossy(&output.stdout).trim()));
            tokio::time::sleep(REST).await;
        }
    }
    let memory_after = resident_kib(gateway.pid());
    println!("\nmemory before {memory_before} KiB, afterwards {memory_after} KiB");
    answers.iter().for_each(|answer| println!("{answer}"));
    println!("good clients that lost their connection: {}", shared.lost.load(Ordering::Relaxed));
    if let Some((_, metrics)) = gateway.admin_get("/metrics").await {
        let refusals = metrics.lines().filter(|line| line.starts_with("odin_gateway_handshakes_refused_total{"));
        refusals.filter(|line| !line.ends_with(" 0")).for_each(|line| println!("{line}"));
    }
    is_noticed |= shared.lost.load(Ordering::Relaxed) > 0;
    Ok(if is_noticed { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

/// Somebody else to attack: takes connections as a gateway does, and does nothing with them.
async fn sink() -> anyhow::Result<SocketAddr> {
    let listener = tokio::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
    let address = listener.local_addr()?;
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            tokio::spawn(tokio::time::timeout(Duration::from_secs(5), async move {
                let mut read = Vec::new();
                while !read.ends_with(b"\r\n\r\n") && matches!(stream.read_buf(&mut read).await, Ok(1..)) {}
                stream.write_all(b"HTTP/1.1 429 Too Many Requests\r\nConnection: close\r\n\r\n").await
            }));
        }
    });
    Ok(address)
}

fn attack(how: &str, much: u32, seconds: u64) -> [String; 4] {
    [how.to_owned(), much.to_string(), "--seconds".to_owned(), seconds.to_string()]
}

/// Medians and 99th percentiles.
#[derive(Debug, Clone, Copy)]
struct Figures {
    delivery: (u64, u64),
    connect: (u64, u64),
}

impl Figures {
    fn of(seen: &mut Seen) -> Self {
        let figures = |values: &mut Vec<u64>| {
            values.sort_unstable();
            let at = |share: f64| values.get((values.len() as f64 * share) as usize).copied().unwrap_or(0);
            (at(0.5), at(0.99))
        };
        Self { delivery: figures(&mut seen.deliveries), connect: figures(&mut seen.connects) }
    }
}

fn ratio(value: u64, base: u64) -> f64 {
    value as f64 / base.max(1) as f64
}

fn now_us() -> u64 {
    u64::try_from(SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_micros()).unwrap_or(u64::MAX)
}

async fn publish(publisher: Publisher, rate: u64) {
    let mut clock = tokio::time::interval(Duration::from_micros(1_000_000 / rate.max(1)));
    for at in 0u64.. {
        clock.tick().await;
        let payload = format!(r#"{{"at":{}}}"#, now_us());
        // Its acknowledgement is nobody's business here.
        let _ = publisher.publish(&format!("odin.tokens.T{}.price", at % 20), payload).await;
    }
}

/// A good client that stays.
async fn watch(address: SocketAddr, channel: String, shared: Arc<Shared>) {
    #[derive(Deserialize)]
    struct Stamp {
        at: u64,
    }
    loop {
        if let Ok(mut socket) = Socket::connect(address, Codec::Json, None).await {
            let channels = vec![channel.as_str().into()];
            let _ = socket.send(&ClientMessage::Subscribe { id: None, channels, since: None }).await;
            while let Incoming::Message(message) = socket.next(16 * 1024).await {
                if let ServerMessage::Update(update) = *message
                    && !update.snapshot
                    && let Ok(Stamp { at }) = serde_json::from_str(update.data.get())
                {
                    shared.note(|seen| seen.deliveries.push(now_us().saturating_sub(at)));
                }
            }
            shared.lost.fetch_add(1, Ordering::Relaxed);
        }
        tokio::time::sleep(CONNECT_PAUSE).await;
    }
}

/// Good clients that come, are told hello, and leave.
async fn come_and_go(address: SocketAddr, shared: Arc<Shared>) {
    for at in 0u32.. {
        // People, not a person: each from an address of its own.
        let [_, _, high, low] = (at % 4_000 + 1).to_be_bytes();
        let source = IpAddr::V4(Ipv4Addr::new(127, 1, high, low));
        let began = Instant::now();
        let greeted = async {
            let mut socket = Socket::connect_from(source, address, Codec::Json).await.ok()?;
            matches!(socket.next(16 * 1024).await, Incoming::Message(_)).then_some(())
        };
        let is_greeted = greeted.await.is_some();
        let took_us = u64::try_from(began.elapsed().as_micros()).unwrap_or(u64::MAX);
        shared.note(|seen| if is_greeted { seen.connects.push(took_us) } else { seen.failures += 1 });
        tokio::time::sleep(CONNECT_PAUSE).await;
    }
}

/// Resident memory, as Linux tells it.
fn resident_kib(pid: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap_or_default();
    line.trim().trim_end_matches("kB").trim().parse().unwrap_or(0)
}

/// The gateway on one processor, and us – with the attacker, who inherits it – on another.
async fn pin(pid: u32, processor: &str) -> anyhow::Result<()> {
    let other = if processor == "0" { "1" } else { "0" };
    for (pid, processor) in [(pid, processor), (std::process::id(), other)] {
        let mut command = Command::new("taskset");
        command.args(["--all-tasks", "--cpu-list", "--pid", processor, &pid.to_string()]).stdout(Stdio::null());
        if !command.status().await.context("taskset")?.success() {
            bail!("taskset failed");
        }
    }
    Ok(())
}
