//! Everything that is on stage, and what each order does to it.

use std::time::Duration;

use anyhow::Context as _;
use async_nats::jetstream;
use odin_devkit::Balancer;
use serde_json::{Value, json};

use super::Args;
use super::order::Order;
use crate::fleet::{Fleet, Servers};
use crate::programs::Programs;

/// How long a publication is tried, as while NATS comes back.
const PUBLISH_LIMIT: Duration = Duration::from_secs(10);
/// Pause between two tries.
const PUBLISH_PAUSE: Duration = Duration::from_millis(100);

/// Members of an answer.
pub(super) type Answer = Vec<(&'static str, Value)>;

/// All that runs. Dropping it kills all of it, the servers last.
#[derive(Debug)]
pub(super) struct Cast {
    balancer: Balancer,
    fleet: Fleet,
    jetstream: jetstream::Context,
    published: u64,
}

impl Cast {
    pub(super) async fn start(args: &Args) -> anyhow::Result<Cast> {
        let programs = Programs::find(args.gateway.as_deref()).context("name it by --gateway")?;
        let market = args.simulate.map(|rate| programs.other("odin-publisher").map(|program| (rate, program)));
        let market = market.transpose()?;
        let nats = Servers::start(usize::from(args.nats), None).await?;
        let client = async_nats::ConnectOptions::new().connect(nats.urls()).await.context("cannot connect to NATS")?;
        let mut fleet = Fleet::begin(&programs, nats, 0, &args.more, args.logs.as_deref()).await?;
        for _ in 0..args.gateways {
            fleet.add_gateway(|gateway| gateway.keep_ports()).await?;
        }
        let upstreams = fleet.gateways().map(|gateway| gateway.listen().parse());
        let upstreams = upstreams.collect::<Result<_, _>>().context("a gateway listens on no address")?;
        let balancer = Balancer::start(upstreams).await?;
        if let Some((rate, program)) = market {
            let (tokens, rate) = (args.tokens.to_string(), rate.to_string());
            fleet.simulate(&program, ["--report-every", "0s", "--tokens", &tokens, "--rate", &rate])?;
        }
        Ok(Cast { balancer, fleet, jetstream: jetstream::new(client), published: 0 })
    }

    /// The line that says where everything is.
    pub(super) fn addresses(&self) -> Value {
        let gateways = self.fleet.gateways().map(|gateway| {
            let admin = gateway.admin_url();
            let admin = admin.trim_start_matches("http://");
            json!({ "listen": gateway.listen(), "admin": admin, "log": gateway.process().log_path() })
        });
        json!({
            "nats": self.fleet.nats().url(),
            "balancer": self.balancer.address(),
            "gateways": gateways.collect::<Vec<Value>>(),
        })
    }

    /// Says once of each part that it ended without having been told to.
    pub(super) fn notice_deaths(&mut self) {
        self.fleet.notice_deaths();
    }

    pub(super) async fn perform(&mut self, order: Order) -> anyhow::Result<Answer> {
        let mut answer = Answer::new();
        match order {
            Order::KillGateway(index) => self.fleet.kill_gateway(index).await?,
            Order::StartGateway(index) => self.fleet.start_gateway(index).await?,
            Order::DrainGateway(index) => self.fleet.drain_gateway(index)?,
            Order::FreezeGateway(index) => self.fleet.freeze_gateway(index)?,
            Order::ThawGateway(index) => self.fleet.thaw_gateway(index)?,
            Order::StopNats(index) => self.fleet.stop_nats(index).await?,
            Order::StartNats(index) => self.fleet.start_nats(index).await?,
            Order::Publish { subject, data } => {
                let sequence = self.publish(subject, data.get()).await?;
                answer.push(("seq", sequence.into()));
            }
            Order::BlockWebsocket(on) => self.balancer.block_websocket(on),
            Order::PauseTraffic(on) => self.balancer.pause(on),
            Order::Cut => self.balancer.cut(),
            Order::Connections => answer.push(("connections", self.balancer.connections().into())),
            Order::Balance(only) => {
                if let Some(index) = only {
                    self.fleet.place(index)?;
                }
                self.balancer.only(only);
            }
        }
        Ok(answer)
    }

    /// Tried again until it is stored: a cluster has no leader for a while after its start. The id makes it once.
    async fn publish(&mut self, subject: String, data: &str) -> anyhow::Result<u64> {
        self.published += 1;
        let deadline = tokio::time::Instant::now() + PUBLISH_LIMIT;
        loop {
            let message = jetstream::message::PublishMessage::build()
                .payload(data.to_owned().into())
                .message_id(format!("stage-{}", self.published));
            let attempt = async {
                let acknowledged = self.jetstream.send_publish(subject.clone(), message).await?;
                anyhow::Ok(acknowledged.await?.sequence)
            };
            match tokio::time::timeout_at(deadline, attempt).await.context("not acknowledged in time")? {
                Err(error) if tokio::time::Instant::now() + PUBLISH_PAUSE < deadline => {
                    tracing::debug!(%error, "publishing again");
                    tokio::time::sleep(PUBLISH_PAUSE).await;
                }
                done => return done,
            }
        }
    }
}
