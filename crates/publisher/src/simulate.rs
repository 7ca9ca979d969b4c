//! `odin-publisher simulate`: publishes a simulated market at its rate, or as fast as NATS takes it.

use std::io::{self, Write};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use odin_publisher::market::{Kind, Market, MarketOptions, Publication, rate_for_interval};
use odin_publisher::{Message, Subject};
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;

use crate::args::{Kinds, Rate, SimulateArgs};
use crate::outcome::Origin;
use crate::report::{End, Report};
use crate::session::{self, Session, Setup};

/// Mean time between two prices of a token when nothing else is said.
const DEFAULT_PER_TOKEN_INTERVAL: Duration = Duration::from_secs(1);
/// A simulation further behind than this leaves the missed time out instead of catching up in one burst.
const MAX_BEHIND: Duration = Duration::from_secs(1);

/// A market and how to run it.
struct Plan {
    market: Market,
    /// As fast as possible instead of at the market's rate.
    flat_out: bool,
    /// On the market's own clock.
    own_clock: bool,
    duration: Option<Duration>,
    count: Option<u64>,
}

pub(crate) async fn run(args: &SimulateArgs, stop: CancellationToken) -> anyhow::Result<Option<Report>> {
    let mut plan = Plan::new(args)?;
    if args.print {
        let printed = tokio::task::spawn_blocking(move || plan.print(&stop)).await?;
        return match printed {
            // whoever reads has enough
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(None),
            other => Ok(other.map(|()| None)?),
        };
    }
    let setup = Setup {
        command: "simulate",
        nats: &args.nats,
        publish: &args.publish,
        trace: &args.trace,
        report: &args.report,
        example: Some(Subject::parse("odin.system.health")?),
        total_bytes: None,
    };
    let report = session::run(setup, stop, async |session: &Session| Ok((plan.publish(session).await?, 0))).await?;
    Ok(Some(report))
}

impl Plan {
    fn new(args: &SimulateArgs) -> anyhow::Result<Plan> {
        let mut kinds: Vec<Kind> = Vec::new();
        for chosen in &args.kinds {
            match chosen {
                Kinds::All => kinds.extend(Kind::ALL),
                Kinds::One(kind) => kinds.push(*kind),
            }
        }
        let interval = args.per_token_interval.unwrap_or(DEFAULT_PER_TOKEN_INTERVAL);
        anyhow::ensure!(!interval.is_zero(), "per-token interval is 0 s, it must be more");
        let rate = match args.rate {
            Some(Rate::PerSecond(rate)) => rate,
            Some(Rate::Max) | None => rate_for_interval(args.tokens, interval, &kinds),
        };
        let seed = args.seed.unwrap_or_else(rand::random);
        let options = MarketOptions {
            tokens: args.tokens,
            users: args.users,
            seed,
            start_ms: args.start_time.unwrap_or_else(wall_ms),
            rate,
            spread: args.spread,
            kinds,
        };
        let market = Market::new(&options)?;
        tracing::info!(tokens = args.tokens, seed, rate_per_second = rate, "market made");
        Ok(Plan {
            market,
            flat_out: args.rate == Some(Rate::Max),
            own_clock: args.start_time.is_some(),
            duration: args.duration,
            count: args.count.map(Into::into),
        })
    }

    async fn publish(&mut self, session: &Session) -> anyhow::Result<End> {
        let began = Instant::now();
        let mut done = 0;
        loop {
            if let Some(end) = self.over(done, began) {
                return Ok(end);
            }
            if session.outcomes.no_stream.is_cancelled() {
                return Ok(End::NoStream);
            }
            if !self.flat_out {
                let due = began + self.market.next_due();
                let now = Instant::now();
                if due > now {
                    let until = self.duration.filter(|_| !self.own_clock).map_or(due, |length| due.min(began + length));
                    if session.stop.run_until_cancelled(sleep_until(until)).await.is_none() {
                        return Ok(End::Signal);
                    }
                    if until < due {
                        continue;
                    }
                } else if now - due > MAX_BEHIND {
                    self.market.delay(now - due);
                }
            }
            let message = message(self.step())?;
            // dropping it half-way accepts nothing
            let publish = session.publisher.publish_message(message);
            let Some(outcome) = session.stop.run_until_cancelled(publish).await else {
                return Ok(End::Signal);
            };
            done += 1;
            session.outcomes.add(Origin::Step(done), outcome).await;
        }
    }

    /// Writes lines instead, without waiting where the clock is the market's own.
    fn print(&mut self, stop: &CancellationToken) -> io::Result<()> {
        let began = Instant::now();
        let mut out = io::BufWriter::new(io::stdout().lock());
        let mut done = 0;
        while self.over(done, began).is_none() && !stop.is_cancelled() {
            if !self.flat_out && !self.own_clock {
                let due = began + self.market.next_due();
                let wait = due.saturating_duration_since(Instant::now());
                if !wait.is_zero() {
                    out.flush()?;
                    std::thread::sleep(wait.min(Duration::from_millis(100)));
                    continue;
                }
            }
            let at_ms = self.at_ms();
            let Publication { subject, id, payload } = self.market.step(at_ms);
            write!(out, r#"{{"subject":"{subject}","id":"{id}","timestamp":{at_ms},"data":"#)?;
            out.write_all(&payload)?;
            out.write_all(b"}\n")?;
            done += 1;
        }
        out.flush()
    }

    fn over(&self, done: u64, began: Instant) -> Option<End> {
        if self.count.is_some_and(|count| done >= count) {
            return Some(End::Count);
        }
        let passed = if self.own_clock { self.market.next_due() } else { began.elapsed() };
        self.duration.is_some_and(|duration| passed >= duration).then_some(End::Duration)
    }

    fn step(&mut self) -> Publication {
        let at_ms = self.at_ms();
        self.market.step(at_ms)
    }

    fn at_ms(&self) -> i64 {
        if self.own_clock { self.market.next_due_ms() } else { wall_ms() }
    }
}

fn message(publication: Publication) -> anyhow::Result<Message> {
    let subject = Subject::parse(&publication.subject)?;
    Ok(Message::new(subject, publication.payload).with_id(publication.id))
}

fn wall_ms() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}
