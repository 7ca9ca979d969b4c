//! A WebSocket server that does what a test tells it, and clients that wait for events.

use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use fastwebsockets::{FragmentCollector, Frame, OpCode, Payload, upgrade};
use http::{HeaderValue, Response, StatusCode, header};
use http_body_util::Empty;
use hyper::{body::Incoming, service::service_fn, upgrade::Upgraded};
use hyper_util::rt::TokioIo;
use odin_client::{
    Backoff, Client, Event, Events, Options,
    protocol::{ClientMessage, Codec, ServerMessage},
};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio::time::timeout;

/// Wide, because a loaded machine is slow; nothing waits this long when all is well.
pub(crate) const LIMIT: Duration = Duration::from_secs(20);

/// Waits for something that has to happen.
pub(crate) async fn soon<T>(what: &str, future: impl Future<Output = T>) -> T {
    timeout(LIMIT, future).await.unwrap_or_else(|_| panic!("{what} did not happen within {LIMIT:?}"))
}

/// Options with short waits and no pings, for these addresses.
pub(crate) fn options(urls: &[String]) -> Options {
    Options {
        urls: urls.to_vec(),
        backoff: Backoff::new(Duration::from_millis(5), Duration::from_millis(50)),
        ping_interval: None,
        ..Options::default()
    }
}

/// A client of one address that waits shortly between tries.
pub(crate) fn connect(url: &str) -> (Client, Events) {
    Client::connect(options(&[url.to_owned()])).expect("valid options")
}

/// The first event that `pick` takes; others are dropped.
pub(crate) async fn next<T>(events: &mut Events, what: &str, mut pick: impl FnMut(Event) -> Option<T>) -> T {
    let search = async {
        while let Some(event) = events.recv().await {
            if let Some(found) = pick(event) {
                return found;
            }
        }
        panic!("the client ended before: {what}");
    };
    soon(what, search).await
}

/// The next update's sequence.
pub(crate) async fn next_seq(events: &mut Events) -> u64 {
    next(events, "an update", |event| match event {
        Event::Update(update) => Some(update.seq),
        _ => None,
    })
    .await
}

/// How a server answers handshakes.
#[derive(Clone, Debug)]
pub(crate) enum Manners {
    /// As a gateway does.
    Good,
    /// With this status and `Retry-After`.
    Refuse { status: u16, retry_after: &'static str },
    /// With another sub-protocol than was asked for.
    WrongProtocol,
}

/// A listener whose connections a test plays.
#[derive(Debug)]
pub(crate) struct Server {
    scheme: &'static str,
    address: SocketAddr,
    sockets: mpsc::Receiver<(FragmentCollector<TokioIo<Upgraded>>, Codec)>,
    task: tokio::task::JoinHandle<()>,
}

impl Server {
    pub(crate) async fn start() -> Server {
        Server::with(Manners::Good).await
    }

    pub(crate) async fn with(manners: Manners) -> Server {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("an address");
        let (sender, sockets) = mpsc::channel(16);
        let task = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(serve(stream, manners.clone(), sender.clone()));
            }
        });
        Server { scheme: "ws", address, sockets, task }
    }

    /// Behind TLS.
    #[cfg(feature = "tls")]
    pub(crate) async fn secure(tls: tokio_rustls::TlsAcceptor) -> Server {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("an address");
        let (sender, sockets) = mpsc::channel(16);
        let task = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (tls, sender) = (tls.clone(), sender.clone());
                tokio::spawn(async move {
                    // a client that does not believe the certificate goes away
                    if let Ok(stream) = tls.accept(stream).await {
                        serve(stream, Manners::Good, sender).await;
                    }
                });
            }
        });
        Server { scheme: "wss", address, sockets, task }
    }

    pub(crate) fn url(&self) -> String {
        format!("{}://{}/ws", self.scheme, self.address)
    }

    /// The next connection, before anything was said.
    pub(crate) async fn accept(&mut self) -> Peer {
        let (socket, codec) = soon("a connection", self.sockets.recv()).await.expect("the listener lives");
        Peer { socket, codec }
    }

    /// The next connection, after hello.
    pub(crate) async fn greet(&mut self) -> Peer {
        let mut peer = self.accept().await;
        peer.hello(25_000).await;
        peer
    }

    /// Lets nobody in any more.
    pub(crate) fn stop(self) -> String {
        self.url()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn serve<S>(stream: S, manners: Manners, sockets: mpsc::Sender<(FragmentCollector<TokioIo<Upgraded>>, Codec)>)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let answer = service_fn(|mut request: http::Request<Incoming>| {
        let (manners, sockets) = (manners.clone(), sockets.clone());
        async move {
            let asked = request.headers().get(header::SEC_WEBSOCKET_PROTOCOL).cloned();
            let asked = asked.unwrap_or_else(|| HeaderValue::from_static(""));
            let codec = Codec::from_protocol(asked.to_str().expect("ASCII")).expect("a protocol of odin");
            if let Manners::Refuse { status, retry_after } = manners {
                let mut response = Response::new(Empty::<Bytes>::new());
                *response.status_mut() = StatusCode::from_u16(status).expect("a status");
                response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from_static(retry_after));
                return Ok::<_, std::convert::Infallible>(response);
            }
            let (mut response, upgraded) = upgrade::upgrade(&mut request).expect("a handshake");
            let protocol = match manners {
                Manners::WrongProtocol => HeaderValue::from_static("odin.v0"),
                _ => asked,
            };
            response.headers_mut().insert(header::SEC_WEBSOCKET_PROTOCOL, protocol);
            tokio::spawn(async move {
                if let Ok(mut socket) = upgraded.await {
                    socket.set_auto_pong(false);
                    socket.set_auto_close(false);
                    let _ = sockets.send((FragmentCollector::new(socket), codec)).await;
                }
            });
            Ok(response)
        }
    });
    let connection = hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), answer);
    // a client that goes away is no fault of the server
    let _ = connection.with_upgrades().await;
}

/// The server's end of one connection. Dropping it breaks the connection.
pub(crate) struct Peer {
    socket: FragmentCollector<TokioIo<Upgraded>>,
    codec: Codec,
}

/// What a peer hears.
#[derive(Debug)]
pub(crate) enum Heard {
    Message(ClientMessage),
    Pong(Vec<u8>),
    Closed(Option<u16>),
    Gone,
}

impl Peer {
    pub(crate) fn codec(&self) -> Codec {
        self.codec
    }

    pub(crate) async fn hello(&mut self, heartbeat_ms: u64) {
        self.say(&format!(
            r#"{{"type":"connection:status","status":"connected","connectionId":"c1","heartbeatMs":{heartbeat_ms},"connectedClients":1,"maxMessageBytes":65536,"server":"script/1"}}"#
        ))
        .await;
    }

    /// Sends a message, written as JSON, in the connection's codec.
    pub(crate) async fn say(&mut self, json: &str) {
        let message = ServerMessage::decode(Codec::Json, json.as_bytes()).expect(json);
        let mut bytes = Vec::new();
        message.encode(self.codec, &mut bytes);
        let opcode = if self.codec.is_text() { OpCode::Text } else { OpCode::Binary };
        self.frame(true, opcode, &bytes).await;
    }

    pub(crate) async fn update(&mut self, channel: &str, prev: u64, seq: u64) {
        self.say(&format!(
            r#"{{"type":"update","channel":"{channel}","seq":{seq},"prev":{prev},"ts":{seq},"epoch":"k3j9x2m4","data":{{"price":{seq}.5}}}}"#
        ))
        .await;
    }

    /// Sends a frame as it is.
    pub(crate) async fn frame(&mut self, fin: bool, opcode: OpCode, payload: &[u8]) {
        let frame = Frame::new(fin, opcode, None, Payload::Owned(payload.to_vec()));
        self.socket.write_frame(frame).await.expect("the client is there");
    }

    pub(crate) async fn close(&mut self, code: u16) {
        self.socket.write_frame(Frame::close(code, b"as told")).await.expect("the client is there");
    }

    /// The next thing the client says.
    pub(crate) async fn hear(&mut self) -> Heard {
        let Ok(frame) = soon("a frame of the client", self.socket.read_frame()).await else { return Heard::Gone };
        match frame.opcode {
            OpCode::Text | OpCode::Binary => {
                Heard::Message(ClientMessage::decode(self.codec, &frame.payload).expect("a message"))
            }
            OpCode::Pong => Heard::Pong(frame.payload.to_vec()),
            OpCode::Close => {
                let code = frame.payload.first_chunk::<2>().map(|code| u16::from_be_bytes(*code));
                Heard::Closed(code)
            }
            other => panic!("unexpected frame {other:?}"),
        }
    }

    /// The next message of the client, as JSON.
    pub(crate) async fn message(&mut self) -> String {
        match self.hear().await {
            Heard::Message(message) => String::from_utf8(message.encode(Codec::Json)).expect("JSON"),
            other => panic!("expected a message, heard {other:?}"),
        }
    }

    /// Sends frames until the client is gone; `json` makes the text of each from its number.
    pub(crate) async fn say_until_gone(&mut self, json: impl Fn(u64) -> String) {
        for number in 0.. {
            let payload = Payload::Owned(json(number).into_bytes());
            if self.socket.write_frame(Frame::text(payload)).await.is_err() {
                return;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// Hears a `subscribe` and confirms all of it, as it was asked for, in mode `all`.
    pub(crate) async fn confirm(&mut self, recovered: bool) -> String {
        let (id, channels, since) = loop {
            match self.hear().await {
                Heard::Message(ClientMessage::Subscribe { id, channels, since }) => break (id, channels, since),
                // the first round trip may be measured before anything is wished for
                Heard::Message(ClientMessage::Ping { .. }) => {}
                other => panic!("expected a subscribe, heard {other:?}"),
            }
        };
        for request in &channels {
            let id = serde_json::to_string(&id).expect("JSON");
            self.say(&format!(
                r#"{{"type":"subscribed","id":{id},"channel":"{}","mode":"all","recovered":{recovered},"cursor":"1.k3j9x2m4.1.1"}}"#,
                request.channel
            ))
            .await;
        }
        String::from_utf8(ClientMessage::Subscribe { id, channels, since }.encode(Codec::Json)).expect("JSON")
    }
}

/// A file of its own, removed at the end.
pub(crate) struct Place(std::path::PathBuf);

impl Place {
    pub(crate) fn new(name: &str) -> Place {
        Place(std::env::temp_dir().join(format!("odin-it-{name}-{}", std::process::id())))
    }

    pub(crate) fn path(&self) -> &str {
        self.0.to_str().expect("UTF-8")
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}
