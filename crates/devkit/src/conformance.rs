//! A gateway that only pretends, and watches what a client does: an examination for clients in any language.
//!
//! Each scenario has a path of its own. A client that connects there meets what the scenario brings: close codes, cuts,
//! silence, refusals, overlaps. What it does is compared with `docs/protocol.md`, and noted per [`Behaviour`] as shown,
//! not shown or wrong. Scenarios run beside one another, one client each. On the default path (`/ws`) one client is led
//! through all that need nothing but subscriptions.
//!
//! What a client tells its application cannot be seen on the wire: a test adapter reports it as [`Told`].
//!
//! It refuses to judge by the clock where the protocol does not: waits have lower bounds where a bound is promised, and
//! wide upper ones.

mod behaviour;
mod handshake;
mod peer;
mod report;
mod scenario;
mod script;
mod told;

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::Instant;

use crate::DevkitError;
use handshake::Arrival;
use report::Notes;
use scenario::{ALWAYS, SCENARIOS, Scenario};
use script::{Hitch, Script};
use told::Ear;

pub use behaviour::{Behaviour, Level};
pub use report::{Report, Verdict};
pub use told::Told;

/// Connections of one scenario that may wait to be looked at; more are dropped.
const WAITING: usize = 16;
/// The path on which one client is led through all it can do.
const WALK: &str = "ws";

/// How to examine.
#[derive(Clone, Debug)]
pub struct Options {
    /// Where to listen; port 0 takes a free one.
    pub listen: SocketAddr,
    /// Longest first wait that the client was configured with; the protocol says 500 ms.
    pub backoff_base: Duration,
    /// Longest wait of all that the client was configured with; the protocol says 30 s.
    pub backoff_cap: Duration,
    /// How long the client may take for anything that it has to do at once.
    pub patience: Duration,
    /// Whether an adapter tells what the application got.
    pub has_adapter: bool,
    /// Names of the scenarios to play; empty: all.
    pub only: Vec<String>,
    /// Names of the scenarios not to play.
    pub skip: Vec<String>,
}

impl Default for Options {
    fn default() -> Self {
        Options {
            listen: SocketAddr::from(([127, 0, 0, 1], 0)),
            backoff_base: Duration::from_millis(500),
            backoff_cap: Duration::from_secs(30),
            patience: Duration::from_secs(20),
            has_adapter: false,
            only: Vec::new(),
            skip: Vec::new(),
        }
    }
}

/// What a scenario came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outcome {
    /// The scenario.
    pub scenario: &'static str,
    /// Why it could not be played to its end; `None`: it was. What was not shown by then is in the report.
    pub hitch: Option<String>,
}

/// An examination that runs. Dropping it ends it.
#[derive(Debug)]
pub struct Conformance {
    address: SocketAddr,
    scenarios: Vec<&'static Scenario>,
    notes: Notes,
    ears: BTreeMap<&'static str, Ear>,
    /// `None`: the default path has come to its end.
    outcomes: mpsc::Receiver<Option<Outcome>>,
    /// Scenarios that have not ended.
    open: BTreeSet<&'static str>,
    /// A client has gone through the default path.
    has_walked: bool,
    _tasks: JoinSet<()>,
}

impl Conformance {
    /// Listens. What a client does is looked at from then on.
    ///
    /// # Errors
    /// [`DevkitError::Io`] when the address cannot be had; [`DevkitError::Scenario`] for a name that is none.
    pub async fn start(options: Options) -> Result<Conformance, DevkitError> {
        let known = |name: &String| SCENARIOS.iter().any(|scenario| scenario.name == *name);
        if let Some(name) = options.only.iter().chain(&options.skip).find(|name| !known(name)) {
            return Err(DevkitError::Scenario { name: name.clone() });
        }
        let is_played = |scenario: &&Scenario| {
            let named = |list: &[String]| list.iter().any(|name| name == scenario.name);
            (options.only.is_empty() || named(&options.only)) && !named(&options.skip)
        };
        let scenarios: Vec<&'static Scenario> = SCENARIOS.iter().filter(is_played).collect();
        let listener = TcpListener::bind(options.listen).await.map_err(DevkitError::io("listen for clients"))?;
        let address = listener.local_addr().map_err(DevkitError::io("listen for clients"))?;

        let options = Arc::new(options);
        let (outcome, outcomes) = mpsc::channel(SCENARIOS.len() * 2);
        let notes = Notes::default();
        let mut tasks = JoinSet::new();
        let mut doors = BTreeMap::new();
        let mut ears = BTreeMap::new();
        let mut script = |name: &'static str, channels: &[&str]| {
            let (door, arrivals) = mpsc::channel(WAITING);
            let ear = Ear::default();
            doors.insert(name, door);
            ears.insert(name, ear.clone());
            Script::new(options.clone(), notes.clone(), ear, arrivals, channels)
        };
        for scenario in scenarios.iter().copied() {
            let channels = scenario.channels();
            let channels: Vec<&str> = channels.iter().map(String::as_str).collect();
            tasks.spawn(play_alone(scenario, script(scenario.name, &channels), outcome.clone()));
        }
        let walking: Vec<_> = scenarios.iter().copied().filter(|scenario| scenario.walks).collect();
        tasks.spawn(play_in_turn(walking, script(WALK, &[]), outcome));
        tasks.spawn(accept(listener, doors));
        let open = scenarios.iter().map(|scenario| scenario.name).collect();
        Ok(Conformance { address, scenarios, notes, ears, outcomes, open, has_walked: false, _tasks: tasks })
    }

    /// Where clients connect: a scenario's name follows behind a slash, or `ws` for one client that goes through all.
    #[must_use]
    pub fn url(&self) -> String {
        format!("ws://{}", self.address)
    }

    /// What each scenario needs of a client: `name`, `url`, `subscribe` (channels), `tokens` (it signs in, with another
    /// token each time its source is asked) and `publish` (so many at once to `chat:lobby`, each different).
    #[must_use]
    pub fn scenarios(&self) -> Vec<serde_json::Value> {
        let url = self.url();
        self.scenarios.iter().map(|scenario| scenario.to_json(&url)).collect()
    }

    /// What the application of the client of a scenario got; without a name, of the one on the default path. A name
    /// that is not played is ignored.
    pub fn tell(&self, scenario: Option<&str>, told: Told) {
        if let Some(ear) = self.ears.get(scenario.unwrap_or(WALK)) {
            ear.tell(told);
        }
    }

    /// The next scenario that ends; `None` when all have ended, or those of the default path after a client has gone
    /// through them.
    ///
    /// # Cancel safety
    /// Nothing is lost.
    pub async fn ended(&mut self) -> Option<Outcome> {
        if self.open.is_empty() || self.has_walked {
            return None;
        }
        let Some(outcome) = self.outcomes.recv().await? else {
            self.has_walked = true;
            return None;
        };
        self.open.remove(outcome.scenario);
        Some(outcome)
    }

    /// What was seen up to now.
    #[must_use]
    pub fn report(&self) -> Report {
        let scenarios = self.scenarios.iter().filter(|scenario| !self.has_walked || scenario.walks);
        let shown = scenarios.flat_map(|scenario| scenario.shows);
        self.notes.report(&ALWAYS.iter().chain(shown).copied().collect::<Vec<_>>())
    }
}

async fn accept(listener: TcpListener, doors: BTreeMap<&'static str, mpsc::Sender<Arrival>>) {
    let doors = Arc::new(doors);
    let mut hands = JoinSet::new();
    loop {
        let Ok((stream, _)) = listener.accept().await else {
            tokio::time::sleep(crate::POLL).await;
            continue;
        };
        let at = Instant::now();
        while hands.try_join_next().is_some() {}
        // Scenarios speak in small pieces and wait for answers.
        let _ = stream.set_nodelay(true);
        let doors = doors.clone();
        hands.spawn(async move {
            let Some(mut arrival) = Arrival::read(stream, at).await else { return };
            let path = arrival.path().to_owned();
            let door = doors.get(if path.is_empty() { WALK } else { path.as_str() });
            // A scenario that has ended knows nobody any more, and what is not known is not found, which means: never.
            match door.filter(|door| !door.is_closed()) {
                Some(door) => drop(door.try_send(arrival)),
                None => drop(arrival.refuse("404 Not Found", "").await),
            }
        });
    }
}

async fn play_alone(scenario: &'static Scenario, mut script: Script, outcomes: mpsc::Sender<Option<Outcome>>) {
    script.knock().await;
    let hitch = play(scenario, &mut script).await;
    // Nobody may be listening any more; the notes are written.
    let _ = outcomes.send(Some(Outcome { scenario: scenario.name, hitch })).await;
}

async fn play_in_turn(scenarios: Vec<&'static Scenario>, mut script: Script, outcomes: mpsc::Sender<Option<Outcome>>) {
    script.knock().await;
    for scenario in scenarios {
        script.ear.forget();
        let hitch = play(scenario, &mut script).await;
        let _ = outcomes.send(Some(Outcome { scenario: scenario.name, hitch })).await;
    }
    let _ = outcomes.send(None).await;
}

/// Plays one scenario; gives what stopped it. What it could not show then has that reason.
async fn play(scenario: &'static Scenario, script: &mut Script) -> Option<String> {
    tracing::debug!(scenario = scenario.name, "begins");
    let played = (scenario.play)(script).await;
    let hitch = played.err().map(|Hitch(why)| why)?;
    for behaviour in scenario.shows {
        script.notes.not_shown(*behaviour, format!("{}: {hitch}", scenario.name));
    }
    Some(hitch)
}
