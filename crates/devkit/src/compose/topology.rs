//! All parts of a cluster, and what each order does to them.

use std::path::Path;

use anyhow::{Context as _, ensure};
use odin_devkit::{Gateway, Haproxy};

use super::order::Order;
use super::{Args, say};
use crate::fleet::{Fleet, Servers, SignIn, USER, dismiss, free_or_any, page_in};
use crate::programs::Programs;

/// Options without which gateways would not see who comes through the balancer. Those of the person beat them.
const BEHIND_A_BALANCER: [[&str; 2]; 1] = [["--http-trusted-proxies", "127.0.0.1/32"]];

/// Dropping it kills all of it, the servers last.
#[derive(Debug)]
pub(super) struct Topology {
    haproxy: Haproxy,
    fleet: Fleet,
}

impl Topology {
    /// Starts everything, and says what there is.
    pub(super) async fn start(args: &Args) -> anyhow::Result<Topology> {
        let programs = Programs::find(args.gateway.as_deref()).context("name it by --gateway")?;
        let [publisher, client] = [programs.other("odin-publisher")?, programs.other("odin")?];
        let haproxy = args.haproxy.clone().or_else(Haproxy::find);
        let haproxy = haproxy.context("no haproxy on this machine: install it, or name it by --haproxy")?;
        let config = &args.haproxy_config;
        ensure!(config.is_file(), "{} is missing: name the file by --haproxy-config", config.display());

        let nats = Servers::start(usize::from(args.nats), (args.nats_port != 0).then_some(args.nats_port)).await?;
        for (number, node) in (1..).zip(nats.nodes()) {
            say(&format!("nats-{number}      {} (monitoring {})", node.url(), node.monitor_url()))?;
        }
        let options = with_defaults(&args.more);
        let mut fleet = Fleet::begin(&programs, nats, 1, &options, args.logs.as_deref()).await?;
        let page = page_in(&args.page)?;
        let sign_in = SignIn::new()?;
        for index in 0..u16::from(args.gateways) {
            let addresses = [("--listen", args.gateway_port), ("--admin-listen", args.admin_port)];
            let gateway = fleet.add_gateway(|mut gateway| {
                for (option, first) in addresses.into_iter().filter(|(_, first)| *first != 0) {
                    gateway = gateway.args([option.to_owned(), format!("127.0.0.1:{}", first.saturating_add(index))]);
                }
                gateway
                    .keep_ports()
                    .args(sign_in.options())
                    .args(page.iter().flat_map(|folder| ["--http-files", folder.as_str()]))
            });
            let gateway = gateway.await?;
            say(&format!(
                "{}   {} (admin {}, log {})",
                gateway.process().name(),
                gateway.ws_url(),
                gateway.admin_url(),
                gateway.process().log_path().display()
            ))?;
        }
        let haproxy = balance(&haproxy, args, &fleet).await?;
        let address = haproxy.address();
        say(&format!("balancer    ws://{address}/ws (figures {}/, log {})", haproxy.stats_url(), log_of(&haproxy)))?;
        let mut market = vec!["--tokens".to_owned(), args.tokens.to_string()];
        market.extend(args.rate.iter().flat_map(|rate| ["--rate".to_owned(), rate.to_string()]));
        fleet.simulate(&publisher, market)?;
        say(&format!("publisher   {} tokens (log {})", args.tokens, fleet.log("publisher").display()))?;
        say(&format!("token       {} (of {USER}, to sign in with)", sign_in.token(&client).await?))?;
        say(&match page {
            Some(_) => format!("page        http://{address}/"),
            None => "page        not built: `make page` needs npm".to_owned(),
        })?;
        Ok(Topology { haproxy, fleet })
    }

    pub(super) async fn perform(&mut self, order: Order) -> anyhow::Result<()> {
        match order {
            Order::Kill(number) => self.fleet.kill_gateway(number).await,
            Order::Drain(number) => self.fleet.drain_gateway(number),
            Order::Start(number) => self.start_gateway(number).await,
            Order::Roll => {
                let last = self.fleet.gateways().len();
                for number in 1..=last {
                    self.fleet.drain_gateway(number)?;
                    self.start_gateway(number).await?;
                }
                Ok(())
            }
            Order::StopNats(number) => self.fleet.stop_nats(Some(number)).await,
            Order::StartNats(number) => self.fleet.start_nats(Some(number)).await,
            Order::Quit => Ok(()),
        }
    }

    /// Starts it and waits until the balancer has seen that it is ready.
    async fn start_gateway(&mut self, number: usize) -> anyhow::Result<()> {
        self.fleet.start_gateway(number).await?;
        self.haproxy.wait_for(self.fleet.place(number)?, true).await?;
        Ok(())
    }

    /// Says once of each part that it ended without having been told to.
    ///
    /// # Errors
    /// The balancer has ended: then there is nothing left to see.
    pub(super) fn notice_deaths(&mut self) -> anyhow::Result<()> {
        self.fleet.notice_deaths();
        let process = self.haproxy.process();
        match process.exit_status() {
            Some(status) => Err(anyhow::anyhow!("haproxy ended by itself ({status})\n{}", process.log())),
            None => Ok(()),
        }
    }

    /// Asks each part to leave. The balancer first: the gateways then have nobody left to say goodbye to.
    pub(super) async fn stop(self) {
        dismiss(self.haproxy.process()).await;
        self.fleet.stop().await;
    }
}

async fn balance(program: &Path, args: &Args, fleet: &Fleet) -> anyhow::Result<Haproxy> {
    let mut builder = Haproxy::builder(&args.haproxy_config).program(program).log(fleet.log("haproxy"));
    builder = fleet.gateways().fold(builder, |builder, gateway: &Gateway| builder.gateway(gateway));
    let [port, stats_port] = [args.port, args.stats_port].map(free_or_any);
    if port != 0 {
        builder = builder.port(port);
    }
    if stats_port != 0 {
        builder = builder.stats_port(stats_port);
    }
    let haproxy = builder.start().await.context("cannot start haproxy")?;
    haproxy.wait_all_up().await?;
    Ok(haproxy)
}

fn log_of(haproxy: &Haproxy) -> String {
    haproxy.process().log_path().display().to_string()
}

/// A person's options, with those of ours that they do not name.
fn with_defaults(more: &[String]) -> Vec<String> {
    let is_named = |option: &str| more.iter().any(|word| word.split('=').next() == Some(option));
    let ours = BEHIND_A_BALANCER.iter().filter(|[option, _]| !is_named(option)).flatten();
    ours.map(|word| (*word).to_owned()).chain(more.iter().cloned()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_option_of_the_person_beats_ours() {
        let typed = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect::<Vec<_>>();
        let ours = typed(&["--http-trusted-proxies", "127.0.0.1/32"]);
        assert_eq!(with_defaults(&[]), ours);
        let theirs = typed(&["--http-trusted-proxies=10.0.0.0/8"]);
        assert_eq!(with_defaults(&theirs), theirs);
    }
}
