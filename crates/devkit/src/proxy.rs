//! A TCP wire that can be cut, silenced, delayed and throttled, in front of a real server.

use std::{
    io,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream, tcp::OwnedReadHalf, tcp::OwnedWriteHalf},
    sync::{mpsc, watch},
    task::AbortHandle,
    time::Instant,
};

use crate::DevkitError;

/// Bytes read at once, and pieces on their way in one direction: what a wire holds at most.
const PIECE_BYTES: usize = 16 * 1024;
const PIECES: usize = 64;

/// What the wire does with bytes, in both directions.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Wire {
    /// Carries them.
    Open,
    /// Ends every connection, and each new one as soon as it is made.
    Cut,
    /// Keeps connections open and carries nothing, as a broken route does.
    Blackhole,
    /// Carries each byte this much later.
    Delay(Duration),
    /// Carries so many bytes each second.
    Throttle(u32),
}

/// A wire between a port of its own and a server on this machine.
///
/// Dropping it ends every connection.
#[derive(Debug)]
pub struct Proxy {
    address: SocketAddr,
    wire: watch::Sender<Wire>,
    connections: Arc<AtomicUsize>,
    accepting: AbortHandle,
}

impl Proxy {
    /// Listens on a free port of 127.0.0.1 and leads to `upstream`.
    ///
    /// # Errors
    /// [`DevkitError::Io`] without a free port.
    ///
    /// # Panics
    /// Outside a tokio runtime, which the wire ends with.
    pub async fn start(upstream: SocketAddr) -> Result<Proxy, DevkitError> {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.map_err(DevkitError::io("listen for a proxy"))?;
        let address = listener.local_addr().map_err(DevkitError::io("listen for a proxy"))?;
        let (wire, seen) = watch::channel(Wire::Open);
        let connections = Arc::<AtomicUsize>::default();
        let counter = connections.clone();
        let accepting = tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                if *seen.borrow() != Wire::Cut {
                    let (seen, counter) = (seen.clone(), counter.clone());
                    tokio::spawn(async move {
                        counter.fetch_add(1, Ordering::Relaxed);
                        // However it ends, both sides see the end of their connection.
                        let _ = carry(client, upstream, seen).await;
                        counter.fetch_sub(1, Ordering::Relaxed);
                    });
                }
            }
        });
        Ok(Proxy { address, wire, connections, accepting: accepting.abort_handle() })
    }

    /// Where clients connect.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Changes what the wire does, for connections that exist and those to come.
    pub fn set(&self, wire: Wire) {
        self.wire.send_replace(wire);
    }

    /// Connections that exist now.
    pub fn connections(&self) -> usize {
        self.connections.load(Ordering::Relaxed)
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.accepting.abort();
        self.wire.send_replace(Wire::Cut);
    }
}

async fn carry(client: TcpStream, upstream: SocketAddr, wire: watch::Receiver<Wire>) -> io::Result<()> {
    let server = TcpStream::connect(upstream).await?;
    client.set_nodelay(true)?;
    server.set_nodelay(true)?;
    let (from_client, to_client) = client.into_split();
    let (from_server, to_server) = server.into_split();
    let mut cut = wire.clone();
    tokio::select! {
        ended = pump(from_client, to_server, wire.clone()) => ended,
        ended = pump(from_server, to_client, wire) => ended,
        _ = cut.wait_for(|wire| *wire == Wire::Cut) => Ok(()),
    }
}

/// One direction: pieces are stamped when they come and written when it is their time.
async fn pump(mut from: OwnedReadHalf, mut to: OwnedWriteHalf, mut wire: watch::Receiver<Wire>) -> io::Result<()> {
    let (send, mut due) = mpsc::channel::<(Instant, Vec<u8>)>(PIECES);
    let seen = wire.clone();
    let read = async move {
        loop {
            let mut piece = Vec::with_capacity(PIECE_BYTES);
            if from.read_buf(&mut piece).await? == 0 {
                return Ok(());
            }
            let delay = if let Wire::Delay(delay) = *seen.borrow() { delay } else { Duration::ZERO };
            if send.send((Instant::now() + delay, piece)).await.is_err() {
                return Ok(());
            }
        }
    };
    let write = async move {
        while let Some((at, piece)) = due.recv().await {
            tokio::time::sleep_until(at).await;
            let _ = wire.wait_for(|wire| *wire != Wire::Blackhole).await;
            let rate = if let Wire::Throttle(rate) = *wire.borrow() { Some(rate.max(1)) } else { None };
            if let Some(rate) = rate {
                tokio::time::sleep(Duration::from_secs_f64(piece.len() as f64 / f64::from(rate))).await;
            }
            to.write_all(&piece).await?;
        }
        Ok(())
    };
    tokio::select! {
        ended = read => ended,
        ended = write => ended,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A server that sends back what it gets.
    async fn echo() -> SocketAddr {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.expect("a port");
        let address = listener.local_addr().expect("bound");
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                tokio::spawn(async move {
                    let (mut from, mut to) = stream.split();
                    let _ = tokio::io::copy(&mut from, &mut to).await;
                });
            }
        });
        address
    }

    async fn says(stream: &mut TcpStream, text: &[u8]) -> io::Result<()> {
        stream.write_all(text).await?;
        let mut back = vec![0; text.len()];
        stream.read_exact(&mut back).await?;
        assert_eq!(back, text);
        Ok(())
    }

    #[tokio::test]
    async fn carries_delays_and_throttles() {
        let proxy = Proxy::start(echo().await).await.expect("a wire");
        let mut stream = TcpStream::connect(proxy.address()).await.expect("a connection");
        for wire in [Wire::Open, Wire::Delay(Duration::from_millis(20)), Wire::Throttle(1_000_000), Wire::Open] {
            proxy.set(wire);
            says(&mut stream, &[7; 50_000]).await.expect("carried");
        }
        assert_eq!(proxy.connections(), 1);
    }

    #[tokio::test]
    async fn keeps_what_a_blackhole_swallowed_until_it_is_open_again() {
        let proxy = Proxy::start(echo().await).await.expect("a wire");
        let mut stream = TcpStream::connect(proxy.address()).await.expect("a connection");
        says(&mut stream, b"one").await.expect("carried");
        proxy.set(Wire::Blackhole);
        stream.write_all(b"two").await.expect("taken");
        let mut back = [0; 3];
        let silence = tokio::time::timeout(Duration::from_millis(100), stream.read_exact(&mut back)).await;
        assert!(silence.is_err(), "nothing comes through");
        proxy.set(Wire::Open);
        stream.read_exact(&mut back).await.expect("carried now");
        assert_eq!(&back, b"two");
    }

    #[tokio::test]
    async fn cuts_what_exists_and_what_comes() {
        let proxy = Proxy::start(echo().await).await.expect("a wire");
        let mut stream = TcpStream::connect(proxy.address()).await.expect("a connection");
        says(&mut stream, b"one").await.expect("carried");
        proxy.set(Wire::Cut);
        assert!(says(&mut stream, b"two").await.is_err());
        let mut next = TcpStream::connect(proxy.address()).await.expect("accepted");
        assert!(says(&mut next, b"three").await.is_err());
        proxy.set(Wire::Open);
        let mut next = TcpStream::connect(proxy.address()).await.expect("accepted");
        says(&mut next, b"four").await.expect("carried");
    }
}
