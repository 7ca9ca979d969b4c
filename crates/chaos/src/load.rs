//! The publisher: numbered messages, acknowledged, at an even rate, with pauses for the checks.

use std::{
    collections::BTreeMap,
    path::Path,
    process::Stdio,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use anyhow::Context as _;
use odin_publisher::{Options, Publisher};
use rand::{RngExt as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;
use tokio::{io::AsyncWriteExt as _, sync::watch, task::AbortHandle};

/// Messages that one publisher has waiting for their acknowledgement.
const IN_FLIGHT: usize = 512;

/// Subjects and rate of a load.
#[derive(Clone, Debug)]
pub struct Shape {
    /// Price channels.
    pub tokens: u32,
    /// Kinds of events.
    pub kinds: u32,
    /// Messages each second.
    pub rate: u32,
    /// Bytes of padding in each.
    pub padding: usize,
}

impl Shape {
    fn subject(&self, random: &mut ChaCha8Rng) -> String {
        let at = random.random_range(0..self.tokens + self.kinds);
        if at < self.tokens { format!("odin.tokens.T{at}.price") } else { format!("odin.events.k{}", at - self.tokens) }
    }

    fn payload(&self, number: u64) -> String {
        format!(r#"{{"n":{number},"price":{}.25,"pad":"{}"}}"#, number % 1000, "x".repeat(self.padding))
    }
}

/// What was acknowledged since the last look: number to sequence.
pub type Acknowledged = Arc<Mutex<BTreeMap<u64, u64>>>;

/// A load that is running. Dropped, it ends.
#[derive(Debug)]
pub struct Load {
    shape: Shape,
    publisher: Publisher,
    numbers: Arc<AtomicU64>,
    acknowledged: Acknowledged,
    flows: watch::Sender<bool>,
    task: AbortHandle,
}

impl Drop for Load {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Load {
    /// Starts publishing.
    ///
    /// # Errors
    /// No server can be reached.
    pub async fn start(urls: Vec<String>, shape: Shape, seed: u64) -> anyhow::Result<Load> {
        let options = Options { urls, ..Options::default() };
        let publisher = Publisher::connect(options).await.context("the publisher")?;
        let numbers = Arc::new(AtomicU64::new(1));
        let acknowledged = Acknowledged::default();
        let (flows, flowing) = watch::channel(true);
        let work = publish(publisher.clone(), shape.clone(), numbers.clone(), acknowledged.clone(), flowing, seed);
        let task = tokio::spawn(work).abort_handle();
        Ok(Load { shape, publisher, numbers, acknowledged, flows, task })
    }

    /// Stops publishing and waits until everything is acknowledged or refused.
    pub async fn pause(&self) {
        self.flows.send_replace(false);
        // What is being handed over is accepted by then.
        tokio::time::sleep(Duration::from_millis(50)).await;
        self.publisher.flush().await;
    }

    /// Goes on.
    pub fn go_on(&self) {
        self.flows.send_replace(true);
    }

    /// Messages made so far.
    pub fn made(&self) -> u64 {
        self.numbers.load(Ordering::Relaxed)
    }

    /// Takes what was acknowledged since the last call.
    pub fn take_acknowledged(&self) -> BTreeMap<u64, u64> {
        std::mem::take(&mut *self.acknowledged.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// A second publisher, a process, killed in the middle of what it has to say.
    ///
    /// # Errors
    /// The program cannot be started.
    pub async fn burst_and_kill(&self, program: &Path, urls: &[String], seed: u64) -> anyhow::Result<()> {
        let mut child = tokio::process::Command::new(program)
            .args(["pipe", "--nats-url", &urls.join(",")])
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .kill_on_drop(true)
            .spawn()
            .context("odin-publisher pipe")?;
        let mut stdin = child.stdin.take().context("its stdin")?;
        let mut random = ChaCha8Rng::seed_from_u64(seed);
        let lines = random.random_range(500..3000);
        let (shape, numbers) = (self.shape.clone(), self.numbers.clone());
        let talk = async move {
            for _ in 0..lines {
                let number = numbers.fetch_add(1, Ordering::Relaxed);
                let (subject, payload) = (shape.subject(&mut random), shape.payload(number));
                let line = format!("{{\"subject\":\"{subject}\",\"data\":{payload}}}\n");
                if stdin.write_all(line.as_bytes()).await.is_err() {
                    return;
                }
            }
        };
        // Killed while it speaks, or while it waits for acknowledgements.
        let _ =
            tokio::time::timeout(Duration::from_millis(ChaCha8Rng::seed_from_u64(seed).random_range(150..600)), talk)
                .await;
        child.start_kill()?;
        child.wait().await?;
        Ok(())
    }
}

async fn publish(
    publisher: Publisher,
    shape: Shape,
    numbers: Arc<AtomicU64>,
    acknowledged: Acknowledged,
    mut flowing: watch::Receiver<bool>,
    seed: u64,
) {
    let mut random = ChaCha8Rng::seed_from_u64(seed);
    let mut beat = tokio::time::interval(Duration::from_millis(10));
    beat.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let room = Arc::new(tokio::sync::Semaphore::new(IN_FLIGHT));
    let mut owed = 0.0;
    loop {
        beat.tick().await;
        if flowing.wait_for(|flows| *flows).await.is_err() {
            return;
        }
        owed = f64::min(owed + f64::from(shape.rate) / 100.0, f64::from(shape.rate));
        while owed >= 1.0 {
            owed -= 1.0;
            let Ok(permit) = room.clone().acquire_owned().await else {
                return;
            };
            let number = numbers.fetch_add(1, Ordering::Relaxed);
            let subject = shape.subject(&mut random);
            let Ok(ack) = publisher.publish(&subject, shape.payload(number)).await else {
                return;
            };
            let acknowledged = acknowledged.clone();
            tokio::spawn(async move {
                if let Ok(published) = ack.await {
                    let mut all = acknowledged.lock().unwrap_or_else(PoisonError::into_inner);
                    all.insert(number, published.sequence);
                }
                drop(permit);
            });
        }
    }
}
