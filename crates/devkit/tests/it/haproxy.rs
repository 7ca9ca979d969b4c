//! The real HAProxy with the deployed configuration, and gateways that are killed and rolled behind it.

use std::process::Stdio;
use std::time::Duration;

use async_nats::jetstream;
use async_nats::jetstream::consumer::pull;
use futures_util::StreamExt as _;
use nix::sys::signal::Signal;
use odin_devkit::{Gateway, Haproxy, NatsServer};
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader, Lines};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};

use crate::support::{deployed, gateway_binary, jetstream, provision, system_binary};
use crate::transports::{Dial, carries_everything, connections_by_address};
use crate::witness::{Sequences, Witness};

/// For one order: all gateways drain and start, one after the other.
const PATIENCE: Duration = Duration::from_secs(180);

/// `odin-devkit cluster`, as a script drives it.
struct Cluster {
    _child: Child,
    orders: ChildStdin,
    answers: Lines<BufReader<ChildStdout>>,
    /// `address:port` of the balancer.
    balancer: String,
    nats: Vec<String>,
}

impl Cluster {
    /// `None` where a program is missing.
    async fn start() -> Option<Cluster> {
        let (haproxy, gateway) = (system_binary("haproxy")?, gateway_binary()?);
        for name in ["odin-publisher", "odin"] {
            if !gateway.with_file_name(name).is_file() {
                eprintln!("skipped: no {name} beside {}", gateway.display());
                return None;
            }
        }
        let mut command = Command::new(env!("CARGO_BIN_EXE_odin-devkit"));
        command.args(["cluster", "--port", "0", "--stats-port", "0", "--tokens", "8", "--rate", "80"]);
        command.arg("--gateway").arg(gateway).arg("--haproxy").arg(haproxy);
        command.arg("--haproxy-config").arg(deployed("haproxy/haproxy.cfg"));
        command.args(["--", "--drain-window", "2s"]);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).kill_on_drop(true);
        let mut child = command.spawn().expect("the program starts");
        let orders = child.stdin.take().expect("piped");
        let answers = BufReader::new(child.stdout.take().expect("piped")).lines();
        let mut cluster = Cluster { _child: child, orders, answers, balancer: String::new(), nats: Vec::new() };
        loop {
            let line = cluster.line().await;
            let mut words = line.split_whitespace();
            let (name, address) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
            match name {
                "balancer" => cluster.balancer = address.trim_start_matches("ws://").replace("/ws", ""),
                name if name.starts_with("nats-") => cluster.nats.push(address.to_owned()),
                name if name.starts_with("ready") => return Some(cluster),
                _ => {}
            }
        }
    }

    async fn line(&mut self) -> String {
        let line = tokio::time::timeout(PATIENCE, self.answers.next_line()).await.expect("a line in time");
        line.expect("UTF-8").expect("the program has not ended")
    }

    async fn answer(&mut self, order: &str) -> String {
        self.orders.write_all(format!("{order}\n").as_bytes()).await.expect("it reads");
        self.line().await
    }

    async fn done(&mut self, order: &str) {
        assert_eq!(self.answer(order).await, format!("done: {order}"));
    }
}

/// Asks until there is an answer: while the cluster elects a leader there is none.
async fn answered<T>(what: &str, ask: impl AsyncFn() -> Result<T, async_nats::Error>) -> T {
    let deadline = tokio::time::Instant::now() + PATIENCE;
    loop {
        match tokio::time::timeout_at(deadline, ask()).await.unwrap_or_else(|_| panic!("{what}: no answer")) {
            Ok(answer) => return answer,
            Err(error) => eprintln!("{what}: {error}"),
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

/// The last sequence of odin's stream.
async fn head(context: &jetstream::Context) -> u64 {
    answered("the head of the stream", async || Ok(context.get_stream("ODIN").await?.cached_info().state.last_sequence))
        .await
}

/// What the stream has, as channels, up to and with the last sequence that is returned too.
async fn stored(context: &jetstream::Context) -> (Sequences, u64) {
    let last = head(context).await;
    answered("the stream", async || {
        let stream = context.get_stream("ODIN").await?;
        let mut messages = stream.create_consumer(pull::OrderedConfig::default()).await?.messages().await?;
        let mut sequences = Sequences::new();
        loop {
            let message = messages.next().await.ok_or("no more messages")??;
            let seq = message.info()?.stream_sequence;
            let token = message.subject.strip_prefix("odin.tokens.").and_then(|rest| rest.strip_suffix(".price"));
            if let Some(token) = token {
                sequences.entry(format!("price:{token}")).or_default().push(seq);
            }
            if seq >= last {
                return Ok((sequences, seq));
            }
        }
    })
    .await
}

/// All have come back by themselves, on whichever gateway, and are given what is published now.
async fn all_go_on(witnesses: &mut [Witness], context: &jetstream::Context) -> usize {
    let now = head(context).await;
    let mut connections = 0;
    for witness in witnesses {
        connections += witness.beyond(now).await;
        witness.assert_unbroken();
    }
    connections
}

/// Checklist 51, 52, 53: a gateway is killed, comes back, and all of them are rolled, behind a balancer that knows nothing
/// of odin. Nobody misses a publication, and nobody has one twice.
#[tokio::test]
async fn clients_lose_nothing_while_gateways_die_and_roll() {
    let Some(mut cluster) = Cluster::start().await else { return };
    let context = jetstream(&cluster.nats).await;
    let mut witnesses = Vec::new();
    for channel in ["price:*", "price:BTC", "price:ETH"].into_iter().cycle().take(12) {
        witnesses.push(Witness::start(&cluster.balancer, channel).await);
    }
    let before = all_go_on(&mut witnesses, &context).await;

    cluster.done("kill 1").await;
    let after_kill = all_go_on(&mut witnesses, &context).await;
    assert!(after_kill > before, "leastconn gave gateway 1 nobody, so nothing was proved");
    cluster.done("start 1").await;
    assert_eq!(cluster.answer("start 1").await, "failed: start 1: gateway 1 runs");

    cluster.done("roll").await;
    let after_roll = all_go_on(&mut witnesses, &context).await;
    assert!(after_roll >= after_kill + witnesses.len(), "{after_roll} connections: all were sent away at least once");

    // A node of NATS less is no news to clients.
    cluster.done("stop-nats 2").await;
    all_go_on(&mut witnesses, &context).await;
    cluster.done("start-nats 2").await;
    all_go_on(&mut witnesses, &context).await;

    let (stored, until) = stored(&context).await;
    for witness in &witnesses {
        witness.assert_complete(&stored, until);
    }
}

/// One nats-server and some gateways behind HAProxy.
struct Small {
    haproxy: Haproxy,
    gateways: Vec<Gateway>,
    nats: NatsServer,
}

async fn small(gateways: usize, options: &[&str]) -> Option<Small> {
    let (program, binary) = (system_binary("haproxy")?, gateway_binary()?);
    let nats = NatsServer::start().await.expect("a nats-server");
    provision(&binary, &nats.url()).await;
    let mut started = Vec::new();
    for _ in 0..gateways {
        let gateway = Gateway::builder(&binary, nats.url()).args(["--http-trusted-proxies", "127.0.0.1/32"]);
        started.push(gateway.args(options).start().await.expect("a gateway"));
    }
    let builder = Haproxy::builder(deployed("haproxy/haproxy.cfg")).program(program);
    let builder = started.iter().fold(builder, |builder, gateway| builder.gateway(gateway));
    let haproxy = builder.start().await.expect("it takes the configuration");
    haproxy.wait_all_up().await.expect("gateways are ready");
    Some(Small { haproxy, gateways: started, nats })
}

/// Checklist 52: a gateway that drains serves who is there, and gets nobody new.
#[tokio::test]
async fn nobody_is_sent_to_a_gateway_that_is_not_ready() {
    let Some(odin) = small(2, &["--drain-pause", "5m"]).await else { return };
    let address = odin.haproxy.address();
    // leastconn: two connections are one for each.
    let mut there = [Dial::to(address).open().await, Dial::to(address).open().await];
    let before = odin.haproxy.servers().await.expect("its figures");
    assert!(before.iter().all(|server| server.connections == 1), "{before:?}");

    odin.gateways[1].process().signal(Signal::SIGTERM).expect("it is ours");
    let noticed = odin.haproxy.wait_for(1, false).await.expect("its check says so");
    let mut crowd = Vec::new();
    for _ in 0..20 {
        crowd.push(Dial::to(address).open().await);
    }
    let after = odin.haproxy.servers().await.expect("its figures");
    assert_eq!(after[1].total, noticed[1].total, "somebody new");
    assert_eq!((after[0].connections, after[1].connections), (21, 1));
    for socket in &mut there {
        socket.answers().await;
    }
}

/// Checklist 11: clients count by the address that the balancer heard from, whatever they say of themselves.
#[tokio::test]
async fn the_gateway_knows_whom_the_balancer_speaks_for() {
    let Some(odin) = small(1, &["--limits-connections-per-ip", "1"]).await else { return };
    connections_by_address(odin.haproxy.address()).await;
}

#[tokio::test]
async fn every_transport_passes() {
    let Some(odin) = small(2, &[]).await else { return };
    carries_everything(odin.haproxy.address(), &odin.nats.url()).await;
}
