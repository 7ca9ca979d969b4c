//! A wire between a gateway and NATS that can be cut, mended, and made to lose or repeat live messages, or to
//! carry no ticks.
//!
//! The server behind it is real; only the wire misbehaves.

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU32, Ordering},
    },
};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream, tcp::OwnedReadHalf, tcp::OwnedWriteHalf},
    sync::watch,
};

/// Messages on these subjects may be lost or repeated.
const LIVE: &str = "live.odin.tokens.";

/// The stream's tick, as it comes live.
const TICK: &str = "live.odin.sys.tick";

#[derive(Debug, Default)]
struct Faults {
    lose: AtomicU32,
    lost: AtomicU32,
    repeats: AtomicBool,
    is_mute: AtomicBool,
}

/// See the module.
#[derive(Debug)]
pub(crate) struct Proxy {
    address: SocketAddr,
    faults: Arc<Faults>,
    is_open: watch::Sender<bool>,
}

impl Proxy {
    /// Must be called within a runtime; it ends with it.
    pub(crate) async fn start(upstream: u16) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.expect("a free port");
        let address = listener.local_addr().expect("bound");
        let faults = Arc::<Faults>::default();
        let (is_open, open) = watch::channel(true);
        let shared = faults.clone();
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                // Cut: whoever comes is turned away.
                if *open.borrow() {
                    tokio::spawn(carry(client, upstream, shared.clone(), open.clone()));
                }
            }
        });
        Self { address, faults, is_open }
    }

    pub(crate) fn url(&self) -> String {
        format!("nats://{}", self.address)
    }

    /// Ends every connection and refuses new ones.
    pub(crate) fn cut(&self) {
        self.is_open.send_replace(false);
    }

    /// Lets connections through again.
    pub(crate) fn mend(&self) {
        self.is_open.send_replace(true);
    }

    /// Loses the next `count` live messages without a word to anybody.
    pub(crate) fn lose(&self, count: u32) {
        self.faults.lose.store(count, Ordering::SeqCst);
    }

    /// Live messages lost so far.
    pub(crate) fn lost(&self) -> u32 {
        self.faults.lost.load(Ordering::SeqCst)
    }

    /// Carries no live ticks from now on, or carries them again.
    pub(crate) fn mute(&self, is_mute: bool) {
        self.faults.is_mute.store(is_mute, Ordering::SeqCst);
    }

    /// Delivers every live message twice from now on.
    pub(crate) fn repeat(&self) {
        self.faults.repeats.store(true, Ordering::SeqCst);
    }
}

async fn carry(client: TcpStream, upstream: u16, faults: Arc<Faults>, mut open: watch::Receiver<bool>) {
    let Ok(server) = TcpStream::connect(("127.0.0.1", upstream)).await else {
        return;
    };
    let (mut from_client, to_client) = client.into_split();
    let (from_server, mut to_server) = server.into_split();
    // Whichever ends first takes both connections with it.
    tokio::select! {
        _ = tokio::io::copy(&mut from_client, &mut to_server) => {}
        _ = filter(from_server, to_client, &faults) => {}
        _ = open.wait_for(|open| !open) => {}
    }
}

/// Carries the server's operations one by one.
async fn filter(mut from: OwnedReadHalf, mut to: OwnedWriteHalf, faults: &Faults) -> std::io::Result<()> {
    let mut waiting = Vec::new();
    let mut out = Vec::new();
    loop {
        if from.read_buf(&mut waiting).await? == 0 {
            return Ok(());
        }
        let mut at = 0;
        while let Some((length, subject)) = operation(&waiting[at..]) {
            let is_live = subject.starts_with(LIVE);
            let is_muted = subject == TICK && faults.is_mute.load(Ordering::SeqCst);
            let bytes = &waiting[at..at + length];
            at += length;
            if is_muted {
                continue;
            }
            let lose = |left: u32| left.checked_sub(1);
            if is_live && faults.lose.fetch_update(Ordering::SeqCst, Ordering::SeqCst, lose).is_ok() {
                faults.lost.fetch_add(1, Ordering::SeqCst);
                continue;
            }
            out.extend_from_slice(bytes);
            if is_live && faults.repeats.load(Ordering::SeqCst) {
                out.extend_from_slice(bytes);
            }
        }
        waiting.drain(..at);
        to.write_all(&out).await?;
        out.clear();
    }
}

/// Length of the first operation, if it is complete, and its subject if it is a message.
fn operation(bytes: &[u8]) -> Option<(usize, &str)> {
    let line_end = bytes.windows(2).position(|pair| pair == b"\r\n")? + 2;
    let line = std::str::from_utf8(&bytes[..line_end]).ok()?;
    let mut words = line.split_ascii_whitespace();
    if !matches!(words.next(), Some("MSG" | "HMSG")) {
        return Some((line_end, ""));
    }
    let subject = words.next()?;
    let payload: usize = words.next_back()?.parse().ok()?;
    let length = line_end + payload + 2;
    (bytes.len() >= length).then_some((length, subject))
}
