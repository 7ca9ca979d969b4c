//! A plain TCP load balancer in front of several gateways, as a cloud puts one there.
//!
//! It knows nothing of HTTP but one thing: whether a connection asks to become a WebSocket, so that it can play the
//! middlebox that forbids them. Each new connection goes to the next upstream that accepts; nothing is retried after
//! that. When one side ends, what was read from it is delivered and the other side ends too.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::AbortHandle;
use tokio::time::timeout;

use crate::DevkitError;

/// Bytes read at once, which is all that a connection holds in one direction.
const PIECE_BYTES: usize = 16 * 1024;
/// How long an upstream may take to accept. A frozen one does so at once until its backlog is full.
const CONNECT_LIMIT: Duration = Duration::from_secs(2);
/// After a failed accept, as without file descriptors: a loop without it would spin.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);
/// No upstream is the only one.
const ALL: usize = usize::MAX;

/// A load balancer on a port of its own.
///
/// Dropping it ends every connection.
#[derive(Debug)]
pub struct Balancer {
    address: SocketAddr,
    shared: Arc<Shared>,
    accepting: AbortHandle,
}

#[derive(Debug)]
struct Shared {
    upstreams: Vec<Upstream>,
    turn: AtomicUsize,
    only: AtomicUsize,
    paused: watch::Sender<bool>,
    blocks_websocket: watch::Sender<bool>,
    /// Every sending cuts whoever subscribed before it: two in a row are two, not one value.
    cut: watch::Sender<()>,
}

#[derive(Debug)]
struct Upstream {
    address: SocketAddr,
    connections: AtomicUsize,
}

/// Counts a connection as long as it lives, however it ends.
struct Counted<'a>(&'a AtomicUsize);

impl Balancer {
    /// Listens on a free port of 127.0.0.1 and spreads connections over `upstreams`, which need not run yet.
    ///
    /// # Errors
    /// [`DevkitError::Io`] without a free port.
    ///
    /// # Panics
    /// Outside a tokio runtime, which the balancer ends with.
    pub async fn start(upstreams: Vec<SocketAddr>) -> Result<Balancer, DevkitError> {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.map_err(DevkitError::io("listen for a balancer"))?;
        let address = listener.local_addr().map_err(DevkitError::io("listen for a balancer"))?;
        let upstreams =
            upstreams.into_iter().map(|address| Upstream { address, connections: AtomicUsize::new(0) }).collect();
        let shared = Arc::new(Shared {
            upstreams,
            turn: AtomicUsize::new(0),
            only: AtomicUsize::new(ALL),
            paused: watch::Sender::new(false),
            blocks_websocket: watch::Sender::new(false),
            cut: watch::Sender::new(()),
        });
        let accepting = tokio::spawn(accept(listener, shared.clone())).abort_handle();
        Ok(Balancer { address, shared, accepting })
    }

    /// Where clients connect.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Connections that exist now, for each upstream in the order given at the start.
    #[must_use]
    pub fn connections(&self) -> Vec<usize> {
        self.shared.upstreams.iter().map(|upstream| upstream.connections.load(Ordering::Relaxed)).collect()
    }

    /// New connections go to this upstream only, or to all again. Those that exist stay where they are.
    ///
    /// # Panics
    /// When there is no such upstream.
    pub fn only(&self, index: Option<usize>) {
        assert!(index.is_none_or(|index| index < self.shared.upstreams.len()), "no upstream {index:?}");
        self.shared.only.store(index.unwrap_or(ALL), Ordering::Relaxed);
    }

    /// Cuts connections that ask, or asked, for an upgrade to WebSocket; other HTTP passes.
    pub fn block_websocket(&self, on: bool) {
        self.shared.blocks_websocket.send_replace(on);
    }

    /// Forwards nothing in either direction while on, as a broken route does: connections stay, and new ones are
    /// accepted. What was held back is forwarded afterwards.
    pub fn pause(&self, on: bool) {
        self.shared.paused.send_replace(on);
    }

    /// Cuts every connection that exists now.
    pub fn cut(&self) {
        self.shared.cut.send_replace(());
    }
}

impl Drop for Balancer {
    fn drop(&mut self) {
        self.accepting.abort();
        self.cut();
    }
}

impl Drop for Counted<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

async fn accept(listener: TcpListener, shared: Arc<Shared>) {
    loop {
        let Ok((client, _)) = listener.accept().await else {
            tokio::time::sleep(ACCEPT_PAUSE).await;
            continue;
        };
        // Taken here: a cut that comes before the task's first step means this connection too.
        let mut cut = shared.cut.subscribe();
        let shared = shared.clone();
        tokio::spawn(async move {
            // However it ends, both sides see the end of their connection.
            tokio::select! {
                _ = carry(client, &shared) => {}
                _ = cut.changed() => {}
            }
        });
    }
}

async fn carry(client: TcpStream, shared: &Shared) -> io::Result<()> {
    let Some((server, connections)) = connect(shared).await else { return Ok(()) };
    connections.fetch_add(1, Ordering::Relaxed);
    let _counted = Counted(connections);
    client.set_nodelay(true)?;
    server.set_nodelay(true)?;
    let (from_client, to_client) = client.into_split();
    let (from_server, to_server) = server.into_split();
    let (upgraded, mut is_websocket) = watch::channel(false);
    let mut blocked = shared.blocks_websocket.subscribe();
    let blocked = async {
        // An error means that `upgraded` is gone, and with it the connection.
        if is_websocket.wait_for(|upgraded| *upgraded).await.is_ok() {
            let _ = blocked.wait_for(|on| *on).await;
        }
    };
    tokio::select! {
        ended = upward(from_client, to_server, shared, upgraded) => ended,
        ended = downward(from_server, to_client, shared) => ended,
        () = blocked => Ok(()),
    }
}

/// The next upstream that accepts, if any does.
async fn connect(shared: &Shared) -> Option<(TcpStream, &AtomicUsize)> {
    let turn = shared.turn.fetch_add(1, Ordering::Relaxed);
    let count = shared.upstreams.len();
    for step in 0..count {
        let index = turn.wrapping_add(step) % count;
        let only = shared.only.load(Ordering::Relaxed);
        if only == ALL || only == index {
            let upstream = &shared.upstreams[index];
            if let Ok(Ok(server)) = timeout(CONNECT_LIMIT, TcpStream::connect(upstream.address)).await {
                return Some((server, &upstream.connections));
            }
        }
    }
    None
}

async fn upward(
    mut from: OwnedReadHalf,
    mut to: OwnedWriteHalf,
    shared: &Shared,
    upgraded: watch::Sender<bool>,
) -> io::Result<()> {
    let mut piece = vec![0; PIECE_BYTES];
    let mut paused = shared.paused.subscribe();
    let mut request = Request::default();
    loop {
        let length = from.read(&mut piece).await?;
        if length == 0 {
            return to.shutdown().await;
        }
        if request.asks_for_websocket(&piece[..length]) {
            if *shared.blocks_websocket.borrow() {
                return Ok(());
            }
            upgraded.send_replace(true);
        }
        let _ = paused.wait_for(|on| !on).await;
        to.write_all(&piece[..length]).await?;
    }
}

async fn downward(mut from: OwnedReadHalf, mut to: OwnedWriteHalf, shared: &Shared) -> io::Result<()> {
    let mut piece = vec![0; PIECE_BYTES];
    let mut paused = shared.paused.subscribe();
    loop {
        let length = from.read(&mut piece).await?;
        let _ = paused.wait_for(|on| !on).await;
        if length == 0 {
            return to.shutdown().await;
        }
        to.write_all(&piece[..length]).await?;
    }
}

/// What a client has sent so far, as far as it matters here.
#[derive(Default)]
struct Request {
    /// The end of the last piece, in lower case: the header may be torn in two.
    tail: Vec<u8>,
    upgrades: bool,
}

impl Request {
    const MARKS: [&[u8]; 2] = [b"upgrade: websocket", b"upgrade:websocket"];

    /// Whether the connection asks, or has asked, to become a WebSocket. Header names and this value have no case.
    fn asks_for_websocket(&mut self, piece: &[u8]) -> bool {
        if !self.upgrades {
            self.tail.extend(piece.iter().map(u8::to_ascii_lowercase));
            self.upgrades =
                Request::MARKS.iter().any(|mark| self.tail.windows(mark.len()).any(|window| window == *mark));
            let kept = Request::MARKS[0].len() - 1;
            self.tail.drain(..self.tail.len().saturating_sub(kept));
        }
        self.upgrades
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A server that sends its own name back for whatever it gets, and ends after a "bye".
    async fn server(name: &'static str) -> SocketAddr {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.expect("a port");
        let address = listener.local_addr().expect("bound");
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                tokio::spawn(async move {
                    let mut piece = [0; 256];
                    while let Ok(length) = stream.read(&mut piece).await
                        && length > 0
                    {
                        let _ = stream.write_all(name.as_bytes()).await;
                        if piece[..length].ends_with(b"bye") {
                            break;
                        }
                    }
                });
            }
        });
        address
    }

    async fn says(stream: &mut TcpStream, text: &str) -> io::Result<String> {
        stream.write_all(text.as_bytes()).await?;
        let mut back = [0; 1];
        stream.read_exact(&mut back).await?;
        Ok(String::from_utf8_lossy(&back).into_owned())
    }

    async fn joins(balancer: &Balancer) -> TcpStream {
        TcpStream::connect(balancer.address()).await.expect("accepted")
    }

    /// A port on which nobody listens.
    async fn nobody() -> SocketAddr {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.expect("a port");
        listener.local_addr().expect("bound")
    }

    #[tokio::test]
    async fn gives_each_connection_to_the_next_upstream_and_skips_a_dead_one() {
        let upstreams = vec![server("a").await, nobody().await, server("c").await];
        let balancer = Balancer::start(upstreams).await.expect("a balancer");
        let mut streams = Vec::new();
        for expected in ["a", "c", "c", "a"] {
            let mut stream = joins(&balancer).await;
            assert_eq!(says(&mut stream, "hello").await.expect("carried"), expected);
            streams.push(stream);
        }
        assert_eq!(balancer.connections(), [2, 0, 2]);
        balancer.only(Some(2));
        for _ in 0..3 {
            assert_eq!(says(&mut joins(&balancer).await, "hello").await.expect("carried"), "c");
        }
        balancer.only(Some(1));
        assert!(says(&mut joins(&balancer).await, "hello").await.is_err(), "nobody is there to answer");
    }

    #[tokio::test]
    async fn delivers_what_the_server_said_before_its_end() {
        let balancer = Balancer::start(vec![server("a").await]).await.expect("a balancer");
        let mut stream = joins(&balancer).await;
        stream.write_all(b"bye").await.expect("written");
        let mut all = Vec::new();
        stream.read_to_end(&mut all).await.expect("an orderly end");
        assert_eq!(all, b"a");
    }

    #[tokio::test]
    async fn cuts_what_exists_and_carries_what_comes_after() {
        let balancer = Balancer::start(vec![server("a").await]).await.expect("a balancer");
        let mut stream = joins(&balancer).await;
        says(&mut stream, "one").await.expect("carried");
        balancer.cut();
        assert!(says(&mut stream, "two").await.is_err());
        says(&mut joins(&balancer).await, "three").await.expect("carried");
    }

    #[tokio::test]
    async fn holds_bytes_back_and_forwards_them_later() {
        let balancer = Balancer::start(vec![server("a").await]).await.expect("a balancer");
        let mut stream = joins(&balancer).await;
        says(&mut stream, "one").await.expect("carried");
        balancer.pause(true);
        let silent = timeout(Duration::from_millis(100), says(&mut stream, "two")).await;
        assert!(silent.is_err(), "something came through");
        balancer.pause(false);
        let mut back = [0; 1];
        stream.read_exact(&mut back).await.expect("carried now");
    }

    #[tokio::test]
    async fn cuts_websockets_old_and_new_and_lets_other_requests_pass() {
        let balancer = Balancer::start(vec![server("a").await]).await.expect("a balancer");
        let mut old = joins(&balancer).await;
        says(&mut old, "GET /ws HTTP/1.1\r\nUPGRADE: WebSock").await.expect("carried");
        says(&mut old, "et\r\n\r\n").await.expect("carried");
        let mut plain = joins(&balancer).await;
        says(&mut plain, "GET / HTTP/1.1\r\nUpgrade: h2c\r\n\r\n").await.expect("carried");
        balancer.block_websocket(true);
        assert!(says(&mut old, "x").await.is_err(), "the old one is cut");
        assert!(says(&mut joins(&balancer).await, "upgrade: websocket\r\n").await.is_err(), "a new one is cut");
        says(&mut plain, "GET / HTTP/1.1\r\n\r\n").await.expect("plain requests pass");
        balancer.block_websocket(false);
        says(&mut joins(&balancer).await, "upgrade: websocket\r\n").await.expect("carried again");
    }
}
