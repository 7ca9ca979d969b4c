//! The ways in which things break.

use std::time::Duration;

use anyhow::Context as _;
use odin_devkit::Wire;
use rand::RngExt as _;
use rand_chacha::ChaCha8Rng;
use tokio::{
    sync::watch,
    time::{Instant, sleep},
};

use crate::{
    arena::{Arena, STREAM},
    check::Excuses,
    client::Reading,
    ledger::Ledger,
    load::Load,
};

/// A way to break something.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, clap::ValueEnum)]
pub enum Fault {
    /// kill -9 of the stream's leader; it comes back.
    LeaderKill,
    /// SIGTERM of the stream's leader; it comes back.
    LeaderTerm,
    /// kill -9 of a node that does not lead.
    FollowerKill,
    /// kill -9 of a node that a gateway is attached to.
    AttachedKill,
    /// SIGSTOP for 14 s of a node that a gateway is attached to.
    NodeStop,
    /// SIGSTOP for 30 s of a gateway.
    GatewayStop,
    /// Every TCP connection of a gateway to NATS cut for seconds.
    NatsCut,
    /// Nothing comes through between a gateway and the node it is attached to, and nobody says so.
    NatsBlackhole,
    /// 200 ms more each way between a gateway and NATS.
    NatsDelay,
    /// 50 KB/s between a gateway and NATS.
    NatsThrottle,
    /// kill -9 of a gateway; its clients move; it comes back.
    GatewayKill,
    /// All gateways restarted one after the other, with a drain.
    GatewayRolling,
    /// A tenth of the clients stop reading.
    ReadersStop,
    /// A tenth of the clients read 1 KB/s.
    ReadersSlow,
    /// One channel purged, or the whole stream.
    Purge,
    /// The stream deleted and created anew.
    Recreate,
    /// Limits of the stream drop what is old while clients are away or do not read.
    Limits,
    /// A publisher killed in the middle of a burst.
    PublisherKill,
    /// Several of those that do not remove anything, at once.
    Random,
}

impl Fault {
    /// All, in the order of a full run.
    pub const ALL: [Fault; 19] = [
        Fault::LeaderKill,
        Fault::LeaderTerm,
        Fault::FollowerKill,
        Fault::AttachedKill,
        Fault::NodeStop,
        Fault::GatewayStop,
        Fault::NatsCut,
        Fault::NatsBlackhole,
        Fault::NatsDelay,
        Fault::NatsThrottle,
        Fault::GatewayKill,
        Fault::GatewayRolling,
        Fault::ReadersStop,
        Fault::ReadersSlow,
        Fault::PublisherKill,
        Fault::Random,
        Fault::Limits,
        Fault::Purge,
        Fault::Recreate,
    ];

    /// Its name, as on the command line.
    pub fn name(self) -> String {
        clap::ValueEnum::to_possible_value(&self).map_or_else(String::new, |value| value.get_name().to_owned())
    }
}

/// What a fault has to its hand.
#[derive(Debug)]
pub struct Hands<'a> {
    /// What is broken.
    pub arena: &'a mut Arena,
    /// What the stream has stored.
    pub ledger: &'a mut Ledger,
    /// The publisher.
    pub load: &'a Load,
    /// How those clients read that obey.
    pub reading: &'a watch::Sender<Reading>,
    /// What may have happened so far.
    pub excuses: &'a mut Excuses,
    /// When gateways were told to leave.
    pub goodbyes: &'a mut Vec<Instant>,
    /// Where choices come from.
    pub random: &'a mut ChaCha8Rng,
}

impl Hands<'_> {
    fn seconds(&mut self, from: f64, to: f64) -> Duration {
        Duration::from_secs_f64(self.random.random_range(from..to))
    }

    fn any_gateway(&mut self) -> usize {
        self.random.random_range(0..self.arena.posts.len())
    }

    /// Breaks something for a while and mends it again.
    ///
    /// # Errors
    /// What was broken does not come back: the run is over.
    pub async fn inject(&mut self, fault: Fault) -> anyhow::Result<()> {
        match fault {
            Fault::LeaderKill => {
                let leader = self.arena.nats.stream_leader(STREAM).await?;
                self.kill_node(leader).await
            }
            Fault::LeaderTerm => {
                let leader = self.arena.nats.stream_leader(STREAM).await?;
                self.arena.nats.node_mut(leader).terminate().await?;
                self.bring_back(leader).await
            }
            Fault::FollowerKill => {
                let leader = self.arena.nats.stream_leader(STREAM).await?;
                self.kill_node((leader + 1) % self.arena.nats.len()).await
            }
            Fault::AttachedKill => {
                let gateway = self.any_gateway();
                self.kill_node(self.arena.attached_node(gateway)).await
            }
            Fault::NodeStop => {
                let gateway = self.any_gateway();
                let node = self.arena.attached_node(gateway);
                self.arena.nats.node(node).pause();
                sleep(Duration::from_secs(14)).await;
                self.arena.nats.node(node).resume();
                Ok(self.arena.nats.wait_ready().await?)
            }
            Fault::GatewayStop => {
                let gateway = self.any_gateway();
                let post = &self.arena.posts[gateway];
                post.gateway.as_ref().context("it runs")?.pause();
                sleep(Duration::from_secs(30)).await;
                post.gateway.as_ref().context("it runs")?.resume();
                Ok(())
            }
            Fault::NatsCut => self.wire(Wire::Cut, 1.0, 6.0).await,
            Fault::NatsBlackhole => {
                let gateway = self.any_gateway();
                let node = self.arena.attached_node(gateway);
                let time = self.seconds(5.0, 12.0);
                let wire = &self.arena.posts[gateway].wires[node];
                wire.set(Wire::Blackhole);
                sleep(time).await;
                wire.set(Wire::Open);
                Ok(())
            }
            Fault::NatsDelay => self.wire(Wire::Delay(Duration::from_millis(200)), 3.0, 6.0).await,
            Fault::NatsThrottle => self.wire(Wire::Throttle(50_000), 3.0, 6.0).await,
            Fault::GatewayKill => {
                let at = self.any_gateway();
                let mut gateway = self.arena.posts[at].gateway.take().context("it runs")?;
                gateway.kill().await;
                self.arena.tell_addresses();
                let time = self.seconds(0.5, 3.0);
                sleep(time).await;
                self.arena.start_gateway(at).await
            }
            Fault::GatewayRolling => {
                for at in 0..self.arena.posts.len() {
                    let mut gateway = self.arena.posts[at].gateway.take().context("it runs")?;
                    self.arena.tell_addresses();
                    self.goodbyes.push(Instant::now());
                    gateway.terminate().await?;
                    self.arena.start_gateway(at).await?;
                }
                Ok(())
            }
            Fault::ReadersStop => self.read(Reading::Stopped, 6.0, 12.0).await,
            Fault::ReadersSlow => self.read(Reading::Slowly, 8.0, 15.0).await,
            Fault::PublisherKill => {
                let seed = self.random.random();
                self.load.burst_and_kill(&self.arena.programs.publisher, &self.arena.nats.urls(), seed).await?;
                sleep(Duration::from_secs(1)).await;
                Ok(())
            }
            Fault::Purge => self.purge().await,
            Fault::Recreate => {
                self.load.pause().await;
                self.ledger.read_on().await?;
                self.excuses.recreated = true;
                self.arena.recreate().await?;
                self.ledger.lives.push(Default::default());
                self.load.go_on();
                sleep(Duration::from_secs(2)).await;
                Ok(())
            }
            Fault::Limits => self.limits().await,
            Fault::Random => self.several().await,
        }
    }

    async fn kill_node(&mut self, node: usize) -> anyhow::Result<()> {
        self.arena.nats.node_mut(node).kill().await;
        let time = self.seconds(1.0, 6.0);
        sleep(time).await;
        self.bring_back(node).await
    }

    async fn bring_back(&mut self, node: usize) -> anyhow::Result<()> {
        self.arena.nats.node_mut(node).restart().await?;
        Ok(self.arena.nats.wait_ready().await?)
    }

    async fn wire(&mut self, wire: Wire, from: f64, to: f64) -> anyhow::Result<()> {
        let gateway = self.any_gateway();
        let time = self.seconds(from, to);
        self.arena.set_wires(gateway, wire);
        sleep(time).await;
        self.arena.set_wires(gateway, Wire::Open);
        Ok(())
    }

    async fn read(&mut self, reading: Reading, from: f64, to: f64) -> anyhow::Result<()> {
        let time = self.seconds(from, to);
        self.reading.send_replace(reading);
        sleep(time).await;
        self.reading.send_replace(Reading::Freely);
        Ok(())
    }

    /// Removes what is stored of one chain, or of all.
    async fn purge(&mut self) -> anyhow::Result<()> {
        let is_whole = self.random.random_bool(0.3);
        self.load.pause().await;
        self.ledger.read_on().await?;
        self.excuses.removed = true;
        let stream = self.arena.jetstream().await?.get_stream(STREAM).await?;
        let life = self.ledger.present();
        let read_to = life.read_to;
        if is_whole {
            stream.purge().await?;
            let chains: Vec<_> = life.chains.keys().cloned().collect();
            life.purged.extend(chains.into_iter().map(|chain| (chain, read_to)));
        } else {
            stream.purge().filter("odin.tokens.T1.price").await?;
            if let Some(chain) = crate::ledger::chain_of("odin.tokens.T1.price") {
                life.purged.insert(chain, read_to);
            }
        }
        self.load.go_on();
        sleep(Duration::from_secs(2)).await;
        Ok(())
    }

    /// Lets the stream keep little for a while, with readers that fall behind what it keeps.
    async fn limits(&mut self) -> anyhow::Result<()> {
        self.excuses.removed = true;
        self.reading.send_replace(Reading::Stopped);
        let jetstream = self.arena.jetstream().await?;
        let mut config = jetstream.get_stream(STREAM).await?.cached_info().config.clone();
        let before = config.max_messages;
        for _ in 0..6 {
            sleep(Duration::from_secs(1)).await;
            self.ledger.read_on().await?;
        }
        config.max_messages = 300;
        jetstream.update_stream(config.clone()).await?;
        for _ in 0..4 {
            sleep(Duration::from_millis(250)).await;
            self.ledger.read_on().await?;
        }
        self.reading.send_replace(Reading::Freely);
        sleep(Duration::from_secs(1)).await;
        config.max_messages = before;
        jetstream.update_stream(config).await?;
        Ok(())
    }

    /// A few faults that overlap.
    async fn several(&mut self) -> anyhow::Result<()> {
        let node = self.random.random_range(0..self.arena.nats.len());
        let gateway = self.any_gateway();
        let other = (gateway + 1) % self.arena.posts.len();
        self.reading.send_replace(if self.random.random() { Reading::Stopped } else { Reading::Slowly });
        match self.random.random_range(0..3) {
            0 => self.arena.set_wires(other, Wire::Delay(Duration::from_millis(100))),
            1 => self.arena.set_wires(other, Wire::Throttle(100_000)),
            _ => self.arena.posts[other].wires[node].set(Wire::Blackhole),
        }
        self.arena.nats.node_mut(node).kill().await;
        let time = self.seconds(0.5, 3.0);
        sleep(time).await;
        let mut killed = self.arena.posts[gateway].gateway.take().context("it runs")?;
        killed.kill().await;
        self.arena.tell_addresses();
        let time = self.seconds(0.5, 3.0);
        sleep(time).await;
        self.bring_back(node).await?;
        self.arena.start_gateway(gateway).await?;
        self.arena.set_wires(other, Wire::Open);
        self.reading.send_replace(Reading::Freely);
        Ok(())
    }
}
