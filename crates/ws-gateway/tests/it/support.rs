//! What the tests stand on: a gateway, the NATS it lives on, and somebody who publishes.

use std::{future::Future, net::SocketAddr, num::NonZeroUsize, sync::Arc, thread, time::Duration};

use odin_devkit::NatsServer;
use odin_publisher::{Message, Options, Publisher};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    sync::oneshot,
};
use ws_gateway::{
    Listeners, Outcome, Reload, RunError,
    config::Config,
    provision::provision,
    rules::{RuleSource, Rules},
};

mod client;
mod log;
mod proxy;
mod token;

pub(crate) use client::{Chains, Client, Dial, Received, frame, request};
pub(crate) use log::Canary;
pub(crate) use proxy::Proxy;
pub(crate) use token::{in_seconds, token, with_users};

/// The safety net under everything that is waited for. Nothing waits so long when all is well.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

/// Between two looks at something that does not tell by itself, such as a metric.
const LOOK: Duration = Duration::from_millis(10);

/// A configuration for tests: free ports on loopback, one shard, a drain without delay.
pub(crate) fn config(nats_url: &str) -> Config {
    let mut config = Config::default();
    config.listen = SocketAddr::from(([127, 0, 0, 1], 0));
    config.admin_listen = config.listen;
    config.shards = NonZeroUsize::MIN;
    config.nats.urls = vec![nats_url.to_owned()];
    config.drain.pause = Duration::ZERO;
    config.drain.window = Duration::ZERO;
    config.nats.ready_grace = Duration::ZERO;
    config
}

/// The default rules of a gateway, and these.
pub(crate) fn with_rules(config: &mut Config, more: Vec<RuleSource>) {
    let mut sources = Rules::default_sources();
    sources.retain(|rule| more.iter().all(|new| new.channel != rule.channel));
    sources.extend(more);
    config.rules = Rules::new(sources, &config.stream).expect("valid rules");
}

/// Completes within [`PATIENCE`] or fails the test, saying what was waited for.
pub(crate) async fn in_time<T>(what: &str, future: impl Future<Output = T>) -> T {
    match tokio::time::timeout(PATIENCE, future).await {
        Ok(value) => value,
        Err(_) => panic!("waited too long for {what}"),
    }
}

/// Looks again and again until `look` finds something.
pub(crate) async fn until<T>(what: &str, mut look: impl AsyncFnMut() -> Option<T>) -> T {
    in_time(what, async {
        loop {
            if let Some(found) = look().await {
                return found;
            }
            tokio::time::sleep(LOOK).await;
        }
    })
    .await
}

/// A running gateway, on threads of its own. Dropped, it is told to stop and left to itself.
#[derive(Debug)]
pub(crate) struct Gateway {
    pub(crate) address: SocketAddr,
    pub(crate) admin: SocketAddr,
    stop: Option<oneshot::Sender<()>>,
    ended: Option<oneshot::Receiver<Result<Outcome, RunError>>>,
}

impl Gateway {
    pub(crate) fn start(config: Config) -> Self {
        let same = config.clone();
        Self::start_reloadable(config, Reload::new(move || Ok(same.clone())))
    }

    /// A gateway that reads its configuration again when it is told to.
    pub(crate) fn start_reloadable(config: Config, reload: Reload) -> Self {
        Canary::listen();
        let listeners = Listeners::bind(&config).expect("free ports");
        let (address, admin) = (listeners.address(), listeners.admin_address());
        let (stop, stopped) = oneshot::channel();
        let (tell, ended) = oneshot::channel();
        thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
            let outcome = runtime.block_on(ws_gateway::run_reloadable(config, listeners, reload, async {
                let _ = stopped.await;
            }));
            // Nobody listens when the test is over.
            let _ = tell.send(outcome);
        });
        Self { address, admin, stop: Some(stop), ended: Some(ended) }
    }

    /// A gateway for tests that need no publications: its NATS never comes.
    pub(crate) fn without_nats(change: impl FnOnce(&mut Config)) -> Self {
        // Port 1 is nobody's.
        let mut config = config("nats://127.0.0.1:1");
        // That NATS is away is not what these tests are about.
        config.feeds.stale_after = Duration::from_secs(3600);
        change(&mut config);
        Self::start(config)
    }

    /// Begins the drain.
    pub(crate) fn begin_stop(&mut self) {
        self.stop.take().expect("stopped once").send(()).expect("running");
    }

    /// Waits until `run` has returned.
    pub(crate) async fn ended(&mut self) -> Outcome {
        let ended = self.ended.take().expect("ends once");
        in_time("the end of the gateway", ended).await.expect("no panic").expect("a good end")
    }

    /// Status, head and body of `GET path` on the admin listener.
    pub(crate) async fn get(&self, path: &str) -> Answer {
        exchange(self.admin, &format!("GET {path} HTTP/1.1\r\nHost: odin\r\nConnection: close\r\n\r\n")).await
    }

    /// The same with any method, a body and the operators' token.
    pub(crate) async fn order(&self, method: &str, path: &str, token: &str, body: &str) -> Answer {
        let request = format!(
            "{method} {path} HTTP/1.1\r\nHost: odin\r\nConnection: close\r\nAuthorization: Bearer {token}\r\n\
             Content-Length: {}\r\n\r\n{body}",
            body.len()
        );
        exchange(self.admin, &request).await
    }

    /// The sum of all values of a metric, or the one with `label="value"`.
    pub(crate) async fn metric(&self, name: &str) -> u64 {
        let body = self.get("/metrics").await.body;
        let mut sum = None;
        for line in body.lines().filter(|line| !line.starts_with('#')) {
            let (key, value) = line.rsplit_once(' ').expect("a sample");
            if key == name || key.strip_prefix(name).is_some_and(|rest| rest.starts_with('{')) {
                let value: f64 = value.parse().expect("a number");
                *sum.get_or_insert(0) += value as u64;
            }
        }
        sum.unwrap_or_else(|| panic!("no metric {name} in\n{body}"))
    }

    /// Waits until the metric has at least this value.
    pub(crate) async fn metric_reaches(&self, name: &str, least: u64) {
        until(&format!("{name} >= {least}"), async || (self.metric(name).await >= least).then_some(())).await;
    }

    /// Waits until the metric has exactly this value.
    pub(crate) async fn metric_becomes(&self, name: &str, value: u64) {
        let is_there = async || {
            while self.metric(name).await != value {
                tokio::time::sleep(LOOK).await;
            }
        };
        if tokio::time::timeout(PATIENCE, is_there()).await.is_err() {
            panic!("waited too long for {name} = {value} in\n{}", self.get("/metrics").await.body);
        }
    }

    /// Waits until everything that subscriptions were owed is accounted for, but for what slow readers have not got yet.
    pub(crate) async fn is_balanced(&self) {
        until("balance", async || {
            let is_behind = self.metric("odin_gateway_connections_behind").await > 0;
            (is_behind || self.metric("odin_gateway_owed_pending").await == 0).then_some(())
        })
        .await;
    }

    /// Waits until `/readyz` says so.
    pub(crate) async fn ready(&self) {
        until("readiness", async || (self.get("/readyz").await.status == 200).then_some(())).await;
    }

    /// Waits until `/readyz` gives this reason.
    pub(crate) async fn not_ready(&self, reason: &str) {
        until(&format!("readyz: {reason}"), async || {
            let answer = self.get("/readyz").await;
            (answer.status == 503 && answer.json()["reason"] == reason).then_some(())
        })
        .await;
    }

    pub(crate) async fn stats(&self) -> serde_json::Value {
        self.get("/v1/stats").await.json()
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        if let Some(stop) = self.stop.take() {
            let _ = stop.send(());
        }
    }
}

/// An HTTP answer.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    /// Status line and headers, lower case.
    pub(crate) head: String,
    pub(crate) body: String,
}

impl Answer {
    /// # Panics
    /// When there is no complete head.
    pub(crate) fn parse(bytes: &[u8]) -> Self {
        let text = String::from_utf8_lossy(bytes);
        let (head, body) = text.split_once("\r\n\r\n").unwrap_or_else(|| panic!("no HTTP answer: {text:?}"));
        let status = head.split(' ').nth(1).and_then(|status| status.parse().ok());
        Self {
            status: status.unwrap_or_else(|| panic!("no status: {head:?}")),
            head: head.to_ascii_lowercase(),
            body: body.to_owned(),
        }
    }

    pub(crate) fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.body).unwrap_or_else(|_| panic!("not JSON: {}", self.body))
    }

    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        let lines = self.head.lines().skip(1);
        lines.filter_map(|line| line.split_once(':')).find(|(key, _)| *key == name).map(|(_, value)| value.trim())
    }
}

/// Sends a request and reads to the end of the connection.
pub(crate) async fn exchange(address: SocketAddr, request: &str) -> Answer {
    Answer::parse(&exchange_bytes(address, request.as_bytes()).await)
}

/// The same for anything; what comes back may be nothing.
pub(crate) async fn exchange_bytes(address: SocketAddr, request: &[u8]) -> Vec<u8> {
    in_time("an HTTP answer", async {
        let mut stream = TcpStream::connect(address).await.expect("a connection");
        // The server may answer and leave before it has everything.
        let _ = stream.write_all(request).await;
        let mut answer = Vec::new();
        let mut piece = [0; 4096];
        while let Ok(n) = stream.read(&mut piece).await
            && n > 0
        {
            answer.extend_from_slice(&piece[..n]);
        }
        answer
    })
    .await
}

/// A whole odin: NATS with its streams, a gateway that is ready, a publisher.
#[derive(Debug)]
pub(crate) struct Odin {
    pub(crate) gateway: Gateway,
    pub(crate) publisher: Feeder,
    pub(crate) config: Config,
    // Last: killed when the others are gone.
    pub(crate) nats: NatsServer,
}

impl Odin {
    pub(crate) async fn start() -> Self {
        Self::start_with(|_| {}).await
    }

    pub(crate) async fn start_with(change: impl FnOnce(&mut Config)) -> Self {
        let nats = NatsServer::start().await.expect("a nats-server");
        let mut config = config(&nats.url());
        change(&mut config);
        provision(&config, false).await.expect("streams");
        let gateway = Gateway::start(config.clone());
        gateway.ready().await;
        Self { gateway, publisher: Feeder::connect(vec![nats.url()]).await, config, nats }
    }

    /// One more gateway on the same stream.
    pub(crate) async fn another_gateway(&self) -> Gateway {
        let gateway = Gateway::start(self.config.clone());
        gateway.ready().await;
        gateway
    }

    pub(crate) async fn client(&self) -> Client {
        Client::connect(&self.gateway).await
    }

    /// The stream's administration, as an operator has it.
    pub(crate) async fn jetstream(&self) -> async_nats::jetstream::Context {
        async_nats::jetstream::new(async_nats::connect(self.nats.url()).await.expect("a connection"))
    }
}

/// A gateway whose wire to NATS can misbehave; the publisher's cannot.
#[derive(Debug)]
pub(crate) struct Wired {
    pub(crate) gateway: Gateway,
    pub(crate) proxy: Proxy,
    pub(crate) publisher: Feeder,
    pub(crate) nats: NatsServer,
}

impl Wired {
    pub(crate) async fn start() -> Self {
        Self::start_with(|_| {}).await
    }

    pub(crate) async fn start_with(change: impl FnOnce(&mut Config)) -> Self {
        let nats = NatsServer::start().await.expect("a nats-server");
        let proxy = Proxy::start(nats.port()).await;
        let mut config = config(&proxy.url());
        change(&mut config);
        provision(&config, false).await.expect("streams");
        let gateway = Gateway::start(config);
        gateway.ready().await;
        Self { gateway, proxy, publisher: Feeder::connect(vec![nats.url()]).await, nats }
    }

    pub(crate) async fn client(&self) -> Client {
        Client::connect(&self.gateway).await
    }
}

/// Publishes, acknowledged.
#[derive(Debug, Clone)]
pub(crate) struct Feeder {
    publisher: Arc<Publisher>,
}

impl Feeder {
    pub(crate) async fn connect(urls: Vec<String>) -> Self {
        let options = Options { urls, ..Options::default() };
        let publisher = Publisher::connect(options).await.expect("a publisher");
        Self { publisher: Arc::new(publisher) }
    }

    /// Stores `payload` and gives its sequence.
    pub(crate) async fn publish(&self, subject: &str, payload: impl Into<bytes::Bytes>) -> u64 {
        self.publish_message(Message::new(subject.parse().expect("a subject"), payload)).await
    }

    /// Stores a message and gives its sequence.
    pub(crate) async fn publish_message(&self, message: Message) -> u64 {
        let ack = self.publisher.publish_message(message).await.expect("accepted");
        in_time("an acknowledgement", ack).await.expect("stored").sequence
    }

    /// Stores a price of `token` and gives its sequence.
    pub(crate) async fn price(&self, token: &str, price: u64) -> u64 {
        self.publish(&format!("odin.tokens.{token}.price"), format!(r#"{{"price":{price}}}"#)).await
    }

    /// Stores all of them, pipelined where the subjects differ; their sequences in the same order.
    pub(crate) async fn publish_all(&self, messages: Vec<(String, String)>) -> Vec<u64> {
        let mut acks = Vec::with_capacity(messages.len());
        for (subject, payload) in messages {
            acks.push(self.publisher.publish(&subject, payload).await.expect("accepted"));
        }
        let mut sequences = Vec::with_capacity(acks.len());
        for ack in acks {
            sequences.push(in_time("an acknowledgement", ack).await.expect("stored").sequence);
        }
        sequences
    }

    /// `count` prices of `token`, from `first` up, each with so many bytes of padding.
    pub(crate) async fn prices(&self, token: &str, first: u64, count: u64, padding: usize) -> Vec<u64> {
        let padding = "x".repeat(padding);
        let message =
            |price| (format!("odin.tokens.{token}.price"), format!(r#"{{"price":{price},"padding":"{padding}"}}"#));
        self.publish_all((first..first + count).map(message).collect()).await
    }
}
