//! Clients that mean no good: handshakes that never end, and connects without number.

use std::{
    net::{IpAddr, Ipv4Addr, SocketAddr},
    process::ExitCode,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpSocket, TcpStream},
    time::{Instant, MissedTickBehavior, interval, sleep, timeout},
};

/// Connects under way at once, at most: as many file descriptors are needed.
const UNDER_WAY: u64 = 8_000;

/// How long a flood waits for an answer.
const LIMIT: Duration = Duration::from_secs(3);

/// A handshake that nothing is wrong with.
const REQUEST: &[u8] = b"GET /ws HTTP/1.1\r\nHost: odin\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";

/// How to attack.
#[derive(Debug, Clone, clap::Args)]
pub struct Args {
    /// Whom
    #[arg(long)]
    address: SocketAddr,
    /// Connections that send a byte of a header each second, and come again when they are closed
    #[arg(long, default_value_t = 0)]
    slow: u32,
    /// Complete handshakes begun each second; each leaves once it is answered
    #[arg(long, default_value_t = 0)]
    rate: u32,
    /// Addresses they come from
    #[arg(long, default_value_t = 50)]
    sources: u32,
    /// For how long
    #[arg(long, default_value_t = 10)]
    seconds: u64,
}

/// What became of the connects.
#[derive(Debug, Default)]
struct Tally {
    began: AtomicU64,
    under_way: AtomicU64,
    upgraded: AtomicU64,
    unavailable: AtomicU64,
    too_many: AtomicU64,
    cut: AtomicU64,
}

/// Attacks, and prints what it was answered.
///
/// # Errors
/// None: whatever fails is what an attacker has to live with.
pub async fn attack(args: Args) -> anyhow::Result<ExitCode> {
    let tally = Arc::<Tally>::default();
    let until = Instant::now() + Duration::from_secs(args.seconds);
    for at in 0..args.slow {
        tokio::spawn(crawl(args.address, source(at % args.sources), until, tally.clone()));
    }
    if args.rate > 0 {
        flood(&args, until, &tally).await;
    }
    tokio::time::sleep_until(until + LIMIT / 3).await;
    let [began, upgraded, unavailable, too_many, cut] =
        [&tally.began, &tally.upgraded, &tally.unavailable, &tally.too_many, &tally.cut]
            .map(|count| count.load(Ordering::Relaxed));
    println!("{began} begun, {upgraded} upgraded, {unavailable} answered 503, {too_many} answered 429, {cut} cut");
    Ok(ExitCode::SUCCESS)
}

/// All of 127.0.0.0/8 is this machine. Far from the addresses of good clients.
fn source(at: u32) -> IpAddr {
    let [_, _, high, low] = (at + 1).to_be_bytes();
    IpAddr::V4(Ipv4Addr::new(127, 66, high, low))
}

async fn connect(address: SocketAddr, source: IpAddr) -> std::io::Result<TcpStream> {
    let socket = TcpSocket::new_v4()?;
    socket.bind(SocketAddr::new(source, 0))?;
    socket.connect(address).await
}

async fn crawl(address: SocketAddr, source: IpAddr, until: Instant, tally: Arc<Tally>) {
    // Strangers are not in step.
    sleep(Duration::from_secs_f64(rand::random_range(0.0..1.0))).await;
    while Instant::now() < until {
        tally.began.fetch_add(1, Ordering::Relaxed);
        if let Ok(Ok(mut stream)) = timeout(LIMIT, connect(address, source)).await {
            for byte in REQUEST {
                if Instant::now() >= until || stream.write_all(&[*byte]).await.is_err() {
                    break;
                }
                sleep(Duration::from_secs(1)).await;
            }
        }
        tally.cut.fetch_add(1, Ordering::Relaxed);
        sleep(Duration::from_secs(1)).await;
    }
}

async fn flood(args: &Args, until: Instant, tally: &Arc<Tally>) {
    let mut clock = interval(Duration::from_millis(1));
    clock.set_missed_tick_behavior(MissedTickBehavior::Burst);
    let (began_at, mut begun) = (Instant::now(), 0);
    while Instant::now() < until {
        clock.tick().await;
        let due = (began_at.elapsed().as_secs_f64() * f64::from(args.rate)) as u32;
        while begun < due {
            begun += 1;
            if tally.under_way.load(Ordering::Relaxed) < UNDER_WAY {
                tally.under_way.fetch_add(1, Ordering::Relaxed);
                tally.began.fetch_add(1, Ordering::Relaxed);
                tokio::spawn(knock(args.address, source(begun % args.sources), tally.clone()));
            }
        }
    }
}

async fn knock(address: SocketAddr, source: IpAddr, tally: Arc<Tally>) {
    let answer = timeout(LIMIT, async {
        let mut stream = connect(address, source).await?;
        stream.write_all(REQUEST).await?;
        let mut answer = [0; 16];
        stream.read_exact(&mut answer).await?;
        Ok::<_, std::io::Error>(answer)
    });
    let counter = match answer.await {
        Ok(Ok(answer)) if answer.starts_with(b"HTTP/1.1 101") => &tally.upgraded,
        Ok(Ok(answer)) if answer.starts_with(b"HTTP/1.1 503") => &tally.unavailable,
        Ok(Ok(answer)) if answer.starts_with(b"HTTP/1.1 429") => &tally.too_many,
        _ => &tally.cut,
    };
    counter.fetch_add(1, Ordering::Relaxed);
    tally.under_way.fetch_sub(1, Ordering::Relaxed);
}
