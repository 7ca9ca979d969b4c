//! A run: a load, clients in every mode, one fault after the other, and the proof after each.

use std::{path::PathBuf, sync::PoisonError, time::Duration};

use anyhow::Context as _;
use odin_protocol::{Channel, Codec, Mode};
use rand::{SeedableRng as _, seq::SliceRandom as _};
use rand_chacha::ChaCha8Rng;
use tokio::{sync::watch, time::Instant};

use crate::{
    arena::{Arena, Programs},
    check::{Checker, Excuses},
    client::{Client, Connects, Plan, Reading},
    fault::{Fault, Hands},
    history::History,
    ledger::Ledger,
    library::LibraryClient,
    link::Transport,
    load::{Load, Shape},
    report::{Line, Report},
};

/// How long everybody may take to be at the newest value after a fault. Nobody needs it when all is well.
const SETTLE: Duration = Duration::from_secs(60);

/// The load between two faults, so that every client has moved on.
const BREATH: Duration = Duration::from_secs(2);

/// What to run.
#[derive(Clone, Debug)]
pub struct Options {
    /// Where all choices come from.
    pub seed: u64,
    /// What to inject, each once in a round.
    pub faults: Vec<Fault>,
    /// How often.
    pub rounds: u32,
    /// Gateways.
    pub gateways: usize,
    /// The load.
    pub shape: Shape,
    /// Takes histories, logs and configuration.
    pub folder: PathBuf,
    /// The programs under test.
    pub programs: Programs,
    /// How long a gateway's drain takes.
    pub drain_window: Duration,
    /// More clients, of four exact channels each, beside those of every kind.
    pub crowd: u32,
}

struct Watched {
    history: History,
    checker: Checker,
}

/// Everything that runs.
struct Run {
    arena: Arena,
    ledger: Ledger,
    load: Load,
    reading: watch::Sender<Reading>,
    watched: Vec<Watched>,
    connects: Connects,
    goodbyes: Vec<Instant>,
    _clients: Vec<Client>,
    odin_clients: Vec<LibraryClient>,
}

/// Runs, and says after each fault what was found.
///
/// # Errors
/// Something of the arena does not come back; that proves nothing about odin's promises.
pub async fn run(options: Options) -> anyhow::Result<Report> {
    let mut random = ChaCha8Rng::seed_from_u64(options.seed);
    let mut run = Run::start(&options).await?;
    let mut report = Report::default();
    let (mut excuses, mut excused_at) = (Excuses::default(), 0);
    let mut plan = Vec::new();
    for _ in 0..options.rounds {
        let mut round = options.faults.clone();
        // What removes or replaces the stream comes last: it excuses what would be a violation elsewhere.
        round.shuffle(&mut random);
        round.sort_by_key(|fault| matches!(fault, Fault::Limits | Fault::Purge | Fault::Recreate));
        plan.extend(round);
    }
    tokio::time::sleep(BREATH).await;
    for (at, fault) in plan.iter().copied().enumerate() {
        if at > excused_at + 1 {
            excuses = Excuses::default();
        }
        let before = excuses;
        let made = run.load.made();
        eprintln!("[{}/{}] {} …", at + 1, plan.len(), fault.name());
        let mut hands = Hands {
            arena: &mut run.arena,
            ledger: &mut run.ledger,
            load: &run.load,
            reading: &run.reading,
            excuses: &mut excuses,
            goodbyes: &mut run.goodbyes,
            random: &mut random,
        };
        hands.inject(fault).await.with_context(|| format!("injecting {}", fault.name()))?;
        if matches!(fault, Fault::Limits | Fault::Purge | Fault::Recreate) {
            excused_at = at;
        } else {
            excuses = before;
        }
        let mut line = run.prove(excuses).await?;
        line.injections = 1;
        line.stored = run.load.made() - made;
        for words in &line.findings.words {
            eprintln!("    {words}");
        }
        let verdict = if line.is_violated() { "VIOLATED" } else { "ok" };
        eprintln!("    {verdict}: {} delivered, settled in {:.1} s", line.findings.deliveries, line.slowest_s);
        report.add(fault, &line);
        run.load.go_on();
        tokio::time::sleep(BREATH).await;
    }
    report.moves = run.moves(options.drain_window);
    Ok(report)
}

impl Run {
    async fn start(options: &Options) -> anyhow::Result<Run> {
        let arena =
            Arena::start(options.programs.clone(), options.gateways, options.drain_window, &options.folder).await?;
        let ledger = Ledger::open(&arena.nats.urls(), crate::arena::STREAM).await?;
        let load = Load::start(arena.nats.urls(), options.shape.clone(), options.seed).await?;
        let (reading, _) = watch::channel(Reading::Freely);
        let (mut watched, mut clients) = (Vec::new(), Vec::new());
        let connects = Connects::default();
        for plan in roster(&options.shape, options.seed, options.crowd) {
            let history = History::create(&options.folder.join(format!("{}.ndjson", plan.name)))?;
            watched.push(Watched { history: history.clone(), checker: checker(&plan.name, plan.mode, &plan.channels) });
            let (gateways, reading) = (arena.addresses.subscribe(), reading.subscribe());
            clients.push(Client::start(plan, gateways, reading, history, connects.clone()));
        }
        let mut library = Vec::new();
        let addresses = arena.addresses.borrow().clone();
        for (name, mode, channels) in [
            ("library-exact-all", Mode::All, tokens(&options.shape, 0, 8)),
            ("library-pattern-latest", Mode::Latest, vec!["price:*".to_owned()]),
        ] {
            let history = History::create(&options.folder.join(format!("{name}.ndjson")))?;
            watched.push(Watched { history: history.clone(), checker: checker(name, mode, &channels) });
            library.push(LibraryClient::start(&addresses, mode, &channels, history).await?);
        }
        let goodbyes = Vec::new();
        Ok(Run { arena, ledger, load, reading, watched, connects, goodbyes, _clients: clients, odin_clients: library })
    }

    /// Connects that followed a gateway's goodbye within its drain window, and how far behind it.
    fn moves(&self, window: Duration) -> Vec<Duration> {
        let connects = self.connects.lock().unwrap_or_else(PoisonError::into_inner);
        let behind = connects.iter().filter_map(|at| {
            let goodbye = self.goodbyes.iter().filter(|goodbye| *goodbye <= at).max()?;
            Some(*at - *goodbye)
        });
        behind.filter(|behind| *behind <= window + Duration::from_secs(1)).collect()
    }

    /// Lets everybody arrive at the newest value, and compares every history with the stream.
    async fn prove(&mut self, excuses: Excuses) -> anyhow::Result<Line> {
        self.load.pause().await;
        let began = Instant::now();
        let mut line = Line::default();
        loop {
            // First what was told, then what is stored: what was told was stored before.
            let told: Vec<_> = self.watched.iter().map(|one| one.history.take()).collect();
            let read = self.ledger.read_on().await;
            if began.elapsed() > SETTLE {
                read.context("the stream cannot be read")?;
            }
            for (one, records) in self.watched.iter_mut().zip(told) {
                one.checker.take(&records, &self.ledger.lives, excuses, &mut line.findings);
            }
            let (at, life) = (self.ledger.lives.len() - 1, self.ledger.lives.last().expect("one"));
            let behind: Vec<_> = self.watched.iter().map(|one| (one, one.checker.behind(at, life))).collect();
            let is_settled = behind.iter().all(|(_, behind)| behind.is_empty());
            if is_settled || began.elapsed() > SETTLE {
                for (one, behind) in behind.into_iter().filter(|(_, behind)| !behind.is_empty()) {
                    line.findings.not_newest += behind.len() as u64;
                    let some = &behind[..behind.len().min(3)];
                    line.findings.words.push(format!("{} is not at the newest: {some:?}", one.checker.name()));
                }
                break;
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        line.slowest_s = began.elapsed().as_secs_f64();
        for (number, seq) in self.load.take_acknowledged() {
            let is_stored = self.ledger.lives.iter().any(|life| {
                life.unseen.iter().any(|(after, until)| *after < seq && seq <= *until)
                    || life.chains.values().any(|stored| stored.get(&seq) == Some(&number))
            });
            if !is_stored {
                line.unstored += 1;
                line.findings.words.push(format!("{number} was acknowledged as {seq} and is not stored"));
            }
        }
        line.owed = self.owed().await;
        if line.owed > 0 {
            line.findings.words.push(format!("by their books gateways still owe {} publications", line.owed));
        }
        line.violations = self.odin_clients.iter().map(LibraryClient::violations).sum();
        Ok(line)
    }

    /// What gateways owe by their own books: nothing, once they have looked at all their readers again.
    async fn owed(&self) -> u64 {
        let began = Instant::now();
        loop {
            let owed = self.arena.metric("odin_gateway_owed_pending").await;
            if owed == 0 || began.elapsed() > SETTLE {
                return owed;
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }
}

fn checker(name: &str, mode: Mode, channels: &[String]) -> Checker {
    Checker::new(name, mode, channels.iter().filter_map(|channel| Channel::parse(channel).ok()).collect())
}

fn tokens(shape: &Shape, from: u32, count: u32) -> Vec<String> {
    (from..from + count).map(|at| format!("price:T{}", at % shape.tokens)).collect()
}

/// Clients of every kind.
fn roster(shape: &Shape, seed: u64, crowd: u32) -> Vec<Plan> {
    let pattern = || vec!["price:*".to_owned()];
    let events = || vec!["events:all".to_owned()];
    let plan = |name: &str, codec, mode, channels| Plan {
        name: name.to_owned(),
        transport: Transport::WebSocket(codec),
        mode,
        channels,
        one_token: false,
        obeys: false,
        moves: None,
        seed: 0,
    };
    let moves = Some(Duration::from_secs(4));
    let with_events = |mut channels: Vec<String>| {
        channels.extend(events());
        channels
    };
    let (json, msgpack) = (Codec::Json, Codec::MsgPack);
    let mut plans = vec![
        plan("exact-all-1", json, Mode::All, tokens(shape, 0, 10)),
        plan("exact-all-2", msgpack, Mode::All, tokens(shape, 5, 10)),
        plan("exact-latest-1", json, Mode::Latest, tokens(shape, 0, 12)),
        plan("exact-latest-2", msgpack, Mode::Latest, tokens(shape, 8, 12)),
        plan("pattern-all-1", json, Mode::All, pattern()),
        plan("pattern-all-2", msgpack, Mode::All, pattern()),
        plan("pattern-latest", json, Mode::Latest, pattern()),
        plan("keyed-all", json, Mode::All, events()),
        Plan { one_token: true, ..plan("token-all", json, Mode::All, with_events(tokens(shape, 0, 10))) },
        Plan { one_token: true, ..plan("token-latest", msgpack, Mode::Latest, tokens(shape, 0, 20)) },
        Plan { moves, ..plan("mover-exact-all", json, Mode::All, tokens(shape, 0, 10)) },
        Plan { moves, ..plan("mover-pattern-all", msgpack, Mode::All, pattern()) },
        Plan { moves, ..plan("mover-latest", json, Mode::Latest, tokens(shape, 0, 10)) },
        Plan { moves, one_token: true, ..plan("mover-token", json, Mode::All, with_events(tokens(shape, 3, 6))) },
        Plan { obeys: true, ..plan("slow-exact-all", json, Mode::All, tokens(shape, 0, 6)) },
        Plan { obeys: true, ..plan("slow-pattern-all", json, Mode::All, pattern()) },
        Plan { obeys: true, ..plan("slow-latest", msgpack, Mode::Latest, tokens(shape, 0, 6)) },
        Plan { transport: Transport::Events, ..plan("events-exact-all", json, Mode::All, tokens(shape, 0, 10)) },
        Plan { transport: Transport::Events, ..plan("events-pattern-all", json, Mode::All, pattern()) },
        Plan { transport: Transport::Events, ..plan("events-latest", json, Mode::Latest, tokens(shape, 4, 10)) },
        Plan {
            transport: Transport::Events,
            obeys: true,
            ..plan("events-slow-all", json, Mode::All, tokens(shape, 0, 6))
        },
        Plan { transport: Transport::EventSource, ..plan("source-exact-all", json, Mode::All, tokens(shape, 1, 1)) },
        Plan {
            transport: Transport::EventSource,
            moves,
            ..plan("source-mover-all", json, Mode::All, tokens(shape, 2, 1))
        },
        Plan {
            transport: Transport::EventSource,
            ..plan("source-many-all", json, Mode::All, with_events(tokens(shape, 0, 5)))
        },
        Plan { transport: Transport::Poll, ..plan("poll-exact-all", json, Mode::All, tokens(shape, 0, 10)) },
        Plan { transport: Transport::Poll, ..plan("poll-pattern-all", json, Mode::All, pattern()) },
        Plan { transport: Transport::Poll, ..plan("poll-keyed-all", json, Mode::All, events()) },
        Plan { transport: Transport::Poll, ..plan("poll-latest", json, Mode::Latest, pattern()) },
    ];
    for at in 0..crowd {
        let mode = if at % 2 == 0 { Mode::All } else { Mode::Latest };
        plans.push(plan(&format!("crowd-{at}"), json, mode, tokens(shape, at, 4)));
    }
    for (at, plan) in (1..).zip(&mut plans) {
        plan.seed = seed ^ (at << 32);
    }
    plans
}
