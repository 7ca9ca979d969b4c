//! The loop that serves all clients of a process: one epoll, one heap of things that are due.

mod churn;
mod connect;
mod hear;
mod part;

use std::{
    cmp::Reverse,
    collections::{BinaryHeap, HashMap},
    io::{self, Read as _},
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use mio::{Events, Interest, Poll, Token, unix::SourceFd};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use odin_client::Parting;
use rand::{SeedableRng as _, rngs::SmallRng};
use std::os::fd::{AsFd as _, AsRawFd as _};

use crate::{
    channels::Names,
    client::{Client, Phase},
    ledger::Ledger,
    news::News,
    plan::{OTHER_FILES, Plan, Way},
    system::{block_signals, raise_file_limit},
    tally::Tally,
};

/// The memory into which is read: the largest answer to a poll, and the largest message.
const SCRATCH_BYTES: usize = 4 << 20;

/// How long a connect or a handshake may take.
const CONNECT_LIMIT_US: u64 = 10_000_000;

/// Least time between two polls of a client, in microseconds: who asks at once after each answer asks as often as
/// something is published, and is refused with 429.
const POLL_PAUSE_US: u64 = 100_000;

/// How long a poll waits for news, in seconds.
const POLL_WAIT_S: u64 = 25;

/// Time between two looks at silent clients, in microseconds.
const SWEEP_US: u64 = 1_000_000;

/// Least time between two ticks of the timeline, and most ticks.
const TICK_US: u64 = 100_000;
const MOST_TICKS: u64 = 6000;

/// The token of the signals.
const SIGNALS: Token = Token(usize::MAX);

/// What is due for a client.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Due {
    /// To connect.
    Connect,
    /// To stop reading.
    Stop,
    /// To read again.
    Read,
    /// To ask again for what was refused for a time.
    Retry,
    /// To poll.
    Ask,
}

/// The moment the run began, and the clock since: a step of the system's clock does not disturb it.
#[derive(Clone, Copy, Debug)]
struct Clock {
    base: Instant,
    base_us: u64,
}

impl Clock {
    fn start() -> Clock {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Clock { base: Instant::now(), base_us: u64::try_from(since.as_micros()).unwrap_or(0) }
    }

    /// Microseconds since 1970.
    fn now_us(&self) -> u64 {
        self.base_us + u64::try_from(self.base.elapsed().as_micros()).unwrap_or(0)
    }
}

/// See the module.
#[derive(Debug)]
pub struct Swarm {
    plan: Plan,
    poll: Poll,
    clock: Clock,
    clients: Vec<Client>,
    due: BinaryHeap<Reverse<(u64, u32, Due)>>,
    news: News,
    tally: Tally,
    random: SmallRng,
    scratch: Vec<u8>,
    live: u64,
    /// Counted since the last tick.
    lost: u64,
    delivered: u64,
}

impl Swarm {
    /// Makes all clients; none connects yet.
    ///
    /// # Errors
    /// [`PlanError::Option`](crate::plan::PlanError::Option) where there are more clients than files; the system has no epoll.
    pub fn new(plan: Plan) -> anyhow::Result<Swarm> {
        raise_file_limit(u64::from(plan.clients) + OTHER_FILES)?;
        let mut names = Names::default();
        let mut clients = Vec::with_capacity(plan.clients as usize);
        for number in plan.first..plan.first + plan.clients {
            let channels = plan.choice.of(number, plan.seed);
            let channels = channels.iter().filter_map(|name| names.number(name)).collect();
            clients.push(Client::new(number, plan.way(number), Ledger::new(channels, &names), plan.is_slow(number)));
        }
        let tally = Tally { clients: u64::from(plan.clients), ..Tally::default() };
        let random = SmallRng::seed_from_u64(plan.seed ^ u64::from(plan.first));
        Ok(Swarm {
            poll: Poll::new()?,
            clock: Clock::start(),
            clients,
            due: BinaryHeap::new(),
            news: News::new(names),
            tally,
            random,
            scratch: vec![0; SCRATCH_BYTES],
            live: 0,
            lost: 0,
            delivered: 0,
            plan,
        })
    }

    /// Runs it to its end, or to a signal.
    ///
    /// # Errors
    /// The system fails; gateways that fail are counted.
    pub fn run(mut self) -> anyhow::Result<Tally> {
        let signals = block_signals()?;
        let signals = SignalFd::with_flags(&signals, SfdFlags::SFD_NONBLOCK | SfdFlags::SFD_CLOEXEC)?;
        let file = signals.as_fd().as_raw_fd();
        self.poll.registry().register(&mut SourceFd(&file), SIGNALS, Interest::READABLE)?;
        if let Some(at) = self.plan.start_at {
            let wait = at - self.clock.now_us() as f64 / 1e6;
            std::thread::sleep(Duration::from_secs_f64(wait.max(0.0)));
        }
        let start = self.clock.now_us();
        for at in 0..self.clients.len() {
            let at = u32::try_from(at)?;
            self.remind(start + micros(self.plan.pace) * u64::from(at), at, Due::Connect);
        }
        let end = start + micros(self.plan.duration);
        self.serve(start, end)?;
        let newest = self.newest();
        let last = end.min(self.clock.now_us()) + micros(self.plan.settle);
        self.plan.churn = 0.0;
        self.serve_until(last, |swarm| swarm.is_everybody_here() && swarm.lacking(&newest) == 0)?;
        self.finish(&newest);
        Ok(self.tally)
    }

    fn remind(&mut self, at_us: u64, client: u32, due: Due) {
        self.due.push(Reverse((at_us, client, due)));
    }

    /// Everything until the end of the run, or a signal.
    fn serve(&mut self, start: u64, end: u64) -> io::Result<()> {
        let tick = TICK_US.max((end - start) / MOST_TICKS);
        let (mut next_tick, mut next_sweep, mut next_churn) = (start + tick, start + SWEEP_US, start);
        let mut said = start;
        let mut events = Events::with_capacity(4096);
        loop {
            let now = self.clock.now_us();
            while now >= next_tick && next_tick <= end {
                next_tick += tick;
                self.tally.live.push(self.live);
                self.tally.lost_at.push(std::mem::take(&mut self.lost));
                self.tally.delivered_at.push(std::mem::take(&mut self.delivered));
            }
            if now >= end {
                return Ok(());
            }
            if now >= next_sweep {
                next_sweep = now + SWEEP_US;
                self.sweep(now);
            }
            if self.plan.churn > 0.0 && now >= next_churn {
                next_churn += (1e6 / self.plan.churn) as u64;
                self.churn(now);
            }
            if self.plan.is_talkative && now >= said + 5_000_000 {
                said = now;
                eprintln!(
                    "{:6.1} s: {} of {} live, {} updates, {} lost, {} twice, {} connections lost",
                    (now - start) as f64 / 1e6,
                    self.live,
                    self.clients.len(),
                    self.tally.deliveries,
                    self.tally.lost,
                    self.tally.twice,
                    self.tally.drops,
                );
            }
            self.remember(now);
            let churn = if self.plan.churn > 0.0 { next_churn } else { u64::MAX };
            let next = self.due.peek().map_or(u64::MAX, |Reverse((at, ..))| *at);
            let wake = next.min(next_tick).min(next_sweep).min(churn).min(end);
            if self.turn(&mut events, wake)? {
                return Ok(());
            }
        }
    }

    /// The end of a run: nothing new is begun, but what comes is taken, until it is enough.
    fn serve_until(&mut self, last: u64, is_enough: impl Fn(&Swarm) -> bool) -> io::Result<()> {
        let mut events = Events::with_capacity(4096);
        while !is_enough(self) {
            let now = self.clock.now_us();
            if now >= last {
                return Ok(());
            }
            self.remember(now);
            if self.turn(&mut events, last.min(now + TICK_US))? {
                return Ok(());
            }
        }
        Ok(())
    }

    /// Does what is due.
    fn remember(&mut self, now: u64) {
        while let Some(Reverse((at_us, client, due))) = self.due.peek().copied()
            && at_us <= now
        {
            self.due.pop();
            let at = client as usize;
            match due {
                Due::Connect => self.connect(at, now),
                Due::Stop => self.stop_reading(at, now),
                Due::Read => self.read_again(at, now),
                Due::Retry => self.retry(at),
                Due::Ask => self.poll_again(at),
            }
        }
    }

    /// Waits for sockets and serves them. Says whether a signal asked for the end.
    fn turn(&mut self, events: &mut Events, wake_us: u64) -> io::Result<bool> {
        let wait = Duration::from_micros(wake_us.saturating_sub(self.clock.now_us()));
        match self.poll.poll(events, Some(wait)) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => return Ok(false),
            result => result?,
        }
        let mut is_asked = false;
        for event in events.iter() {
            if event.token() == SIGNALS {
                is_asked = true;
                continue;
            }
            let at = event.token().0;
            if event.is_writable() {
                self.writable(at);
            }
            if event.is_readable() || event.is_read_closed() {
                self.readable(at);
            }
        }
        Ok(is_asked)
    }

    /// Reads all there is.
    fn readable(&mut self, at: usize) {
        if self.clients[at].is_stopped {
            return;
        }
        let mut scratch = std::mem::take(&mut self.scratch);
        loop {
            let client = &mut self.clients[at];
            let held = client.inbox.len();
            let Some(stream) = &mut client.stream else { break };
            match stream.read(&mut scratch[held..]) {
                Ok(0) => {
                    let parting = self.parting_of(at, io::ErrorKind::UnexpectedEof);
                    self.part(at, parting);
                }
                Ok(read) => {
                    scratch[..held].copy_from_slice(&client.inbox);
                    client.inbox = Vec::new();
                    let now = self.clock.now_us();
                    (client.heard_us, client.has_pinged) = (now, false);
                    self.tally.bytes_in += read as u64;
                    let taken = self.take(at, &scratch[..held + read], now);
                    if self.clients[at].stream.is_some() {
                        self.clients[at].inbox = scratch[taken..held + read].to_vec();
                        if self.clients[at].inbox.len() >= SCRATCH_BYTES / 2 {
                            self.fault(at, "a message without an end");
                        }
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => {
                    let parting = self.parting_of(at, error.kind());
                    self.part(at, parting);
                }
            }
        }
        self.scratch = scratch;
    }

    /// Looks for connects that take too long, and for gateways that are silent.
    fn sweep(&mut self, now: u64) {
        for at in 0..self.clients.len() {
            let client = &self.clients[at];
            let silent = now.saturating_sub(client.heard_us);
            match client.phase {
                Phase::Away | Phase::Ended => {}
                Phase::Live if client.is_stopped => {}
                Phase::Live => match client.way {
                    Way::Socket(_) if silent > 3 * client.heartbeat_us / 2 && !client.has_pinged => self.ping(at),
                    Way::Poll if silent < (POLL_WAIT_S + 15) * 1_000_000 => {}
                    _ if silent > 2 * client.heartbeat_us => {
                        self.part(at, Parting::Silent { silence: Duration::from_micros(silent) });
                    }
                    _ => {}
                },
                _ if now.saturating_sub(client.began_us) > CONNECT_LIMIT_US => {
                    self.part(at, Parting::Timeout { limit: Duration::from_micros(CONNECT_LIMIT_US) });
                }
                _ => {}
            }
        }
    }

    /// The newest sequence that any client has, for each exact channel.
    fn newest(&self) -> HashMap<u32, u64> {
        let mut newest = HashMap::new();
        for sub in self.clients.iter().flat_map(|client| client.ledger.subs()) {
            if let Some(last) = sub.last() {
                let best = newest.entry(sub.channel).or_insert(0);
                *best = last.max(*best);
            }
        }
        newest
    }

    /// Subscriptions of live clients that are not at the newest.
    fn lacking(&self, newest: &HashMap<u32, u64>) -> u64 {
        let live = self.clients.iter().filter(|client| client.phase == Phase::Live && !client.is_stopped);
        let lacks = live.flat_map(|client| client.ledger.subs()).filter(|sub| {
            let best = newest.get(&sub.channel).copied().unwrap_or(0);
            sub.last().is_some_and(|last| last < best)
        });
        lacks.count() as u64
    }

    /// Whether nobody is on the way who may come.
    fn is_everybody_here(&self) -> bool {
        self.live + self.tally.ended >= self.clients.len() as u64
    }

    fn finish(&mut self, newest: &HashMap<u32, u64>) {
        self.tally.behind = self.lacking(newest);
        self.tally.decoded = self.news.decoded;
        for at in 0..self.clients.len() {
            let client = &self.clients[at];
            self.tally.epochs += u64::from(client.ledger.epochs);
            match client.phase {
                Phase::Live => {
                    self.tally.live_at_end += 1;
                    let subs = client.ledger.subs().iter();
                    self.tally.silent += subs.filter(|sub| sub.is_owed() && sub.last().is_none()).count() as u64;
                }
                Phase::Ended => {}
                _ => self.tally.away_at_end += 1,
            }
            self.say_goodbye(at);
        }
    }
}

fn micros(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX)
}
