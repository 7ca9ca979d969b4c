//! What can be done to the parts of a fleet. Parts are named by their numbers, as people say them.

use std::time::Duration;

use anyhow::{Context as _, ensure};
use nix::sys::signal::Signal;
use odin_devkit::{NatsServer, START_LIMIT};

use super::{Fleet, Part};

/// How long a gateway that was told to drain may take until it is started again: longer than any drain window that a
/// test, or a person before a terminal, asks for.
const DRAIN_LIMIT: Duration = Duration::from_secs(300);

impl Fleet {
    /// SIGKILL.
    pub(crate) async fn kill_gateway(&mut self, number: usize) -> anyhow::Result<()> {
        let part = self.part(number)?;
        part.is_to_end = true;
        part.gateway.kill().await;
        Ok(())
    }

    /// SIGTERM: it leaves within its drain window, which is not waited for.
    pub(crate) fn drain_gateway(&mut self, number: usize) -> anyhow::Result<()> {
        let part = self.part(number)?;
        part.is_to_end = true;
        Ok(part.gateway.process().signal(Signal::SIGTERM)?)
    }

    /// Starts a gateway that has ended, or is about to, on the same address, and waits until it is ready, if NATS runs.
    pub(crate) async fn start_gateway(&mut self, number: usize) -> anyhow::Result<()> {
        let waits_for_ready = self.nats.any_runs();
        let part = self.part(number)?;
        if part.gateway.process().is_running() {
            ensure!(part.is_to_end, "gateway {number} runs");
            part.gateway.process().wait(DRAIN_LIMIT).await?;
        }
        part.gateway.restart().await?;
        part.is_to_end = false;
        if waits_for_ready {
            part.gateway.wait_ready(START_LIMIT).await?;
        }
        Ok(())
    }

    /// SIGSTOP.
    pub(crate) fn freeze_gateway(&mut self, number: usize) -> anyhow::Result<()> {
        self.part(number)?.gateway.pause();
        Ok(())
    }

    /// SIGCONT.
    pub(crate) fn thaw_gateway(&mut self, number: usize) -> anyhow::Result<()> {
        self.part(number)?.gateway.resume();
        Ok(())
    }

    /// SIGKILL of one nats-server, or of all.
    pub(crate) async fn stop_nats(&mut self, number: Option<usize>) -> anyhow::Result<()> {
        for node in self.nodes(number)? {
            node.kill().await;
        }
        Ok(())
    }

    /// Starts one nats-server that has ended, or all of them, on the same port and store.
    pub(crate) async fn start_nats(&mut self, number: Option<usize>) -> anyhow::Result<()> {
        // All at once: a node of a cluster waits for the others.
        let stopped = self.nodes(number)?.iter_mut().filter(|node| !node.is_running());
        futures_util::future::try_join_all(stopped.map(NatsServer::restart)).await?;
        Ok(())
    }

    /// The place of a gateway among [`Fleet::gateways`].
    pub(crate) fn place(&self, number: usize) -> anyhow::Result<usize> {
        let place = number.checked_sub(self.first).filter(|place| *place < self.gateways.len());
        place.with_context(|| format!("there is no gateway {number}"))
    }

    fn part(&mut self, number: usize) -> anyhow::Result<&mut Part> {
        let place = self.place(number)?;
        Ok(&mut self.gateways[place])
    }

    /// One nats-server, or all.
    fn nodes(&mut self, number: Option<usize>) -> anyhow::Result<&mut [NatsServer]> {
        let first = self.first;
        let nodes = self.nats.nodes_mut();
        let Some(number) = number else { return Ok(nodes) };
        let place = number.checked_sub(first).filter(|place| *place < nodes.len());
        let place = place.with_context(|| format!("there is no nats-server {number}"))?;
        Ok(&mut nodes[place..=place])
    }
}
