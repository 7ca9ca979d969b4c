//! A client that stays subscribed, and whose whole history must be what the stream has.

use std::collections::HashMap;
use std::time::Duration;

use odin_client::protocol::Mode;
use odin_client::{Client, Event, Options, Subscription};
use tokio::sync::watch;

/// Longer than a client waits between two tries to connect (30 s), with several of them on a slow machine.
const PATIENCE: Duration = Duration::from_secs(150);

/// Sequences of each channel, in their order.
pub(crate) type Sequences = HashMap<String, Vec<u64>>;

/// What it has seen so far.
#[derive(Debug, Default)]
struct Seen {
    /// Highest sequence.
    seq: u64,
    updates: Sequences,
    /// Connections it has made.
    connections: usize,
    /// What must not happen.
    faults: Vec<String>,
}

/// See the module. Dropped, it is gone.
pub(crate) struct Witness {
    client: Client,
    seen: watch::Receiver<Seen>,
}

impl Witness {
    /// Connects to `address` and subscribes to a channel or pattern, every publication of it.
    pub(crate) async fn start(address: &str, channel: &str) -> Witness {
        let options = Options { urls: vec![format!("ws://{address}/ws")], ..Options::default() };
        let (client, mut events) = Client::connect(options).expect("the options are right");
        let subscription = Subscription::new(channel).expect("a channel").with_mode(Mode::All);
        client.subscribe_with([subscription]).await.expect("subscribed");
        let (sender, seen) = watch::channel(Seen::default());
        tokio::spawn(async move {
            while let Some(event) = events.recv().await {
                sender.send_modify(|seen| note(seen, event));
            }
        });
        Witness { client, seen }
    }

    /// Waits until it has a publication later than `seq`, and gives how many connections it has made so far.
    pub(crate) async fn beyond(&mut self, seq: u64) -> usize {
        let waiting = self.seen.wait_for(|seen| seen.seq > seq || !seen.faults.is_empty());
        let in_time = tokio::time::timeout(PATIENCE, waiting).await.is_ok();
        let seen = self.seen.borrow();
        assert!(in_time, "{} and nothing after {seq}: {:?}", seen.seq, self.client.stats());
        seen.connections
    }

    /// What the library says is checked as well as what we have noted.
    pub(crate) fn assert_unbroken(&self) {
        let stats = self.client.stats();
        let figures = [stats.violations, stats.gaps, stats.repeats, stats.not_recovered];
        assert_eq!(figures, [0; 4], "{stats:?}");
        assert_eq!(self.seen.borrow().faults, [""; 0]);
    }

    /// From the first publication of each channel to the last it has seen, it has all that are stored; what came after
    /// `until` was not looked for.
    pub(crate) fn assert_complete(&self, stored: &Sequences, until: u64) {
        let seen = self.seen.borrow();
        assert!(!seen.updates.is_empty());
        for (channel, updates) in &seen.updates {
            let updates: Vec<u64> = updates.iter().copied().filter(|seq| *seq <= until).collect();
            let Some((first, last)) = updates.first().zip(updates.last()) else { continue };
            let expected = stored.get(channel).into_iter().flatten().filter(|seq| (first..=last).contains(seq));
            assert!(expected.eq(&updates), "{channel}: {updates:?} of {:?}", stored.get(channel));
        }
    }
}

fn note(seen: &mut Seen, event: Event) {
    match event {
        Event::Connected(_) => seen.connections += 1,
        Event::Update(update) => {
            seen.seq = seen.seq.max(update.seq);
            let chain = seen.updates.entry(update.channel.clone()).or_default();
            // Where it is not said what came before, the stream says it in the end.
            if let (Some(&last), Some(prev)) = (chain.last(), update.prev)
                && prev != last
            {
                seen.faults.push(format!("{} {} names {prev} after {last}", update.channel, update.seq));
            }
            chain.push(update.seq);
        }
        Event::Subscribed { is_anew: true, reason, .. } => seen.faults.push(format!("began anew: {reason:?}")),
        event @ (Event::Gap(_) | Event::Repeated { .. } | Event::Closed { .. }) => {
            seen.faults.push(format!("{event:?}"));
        }
        _ => {}
    }
}
