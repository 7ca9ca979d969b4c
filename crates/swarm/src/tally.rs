//! What all clients of a process have counted. Those of several processes are added.

use std::collections::BTreeMap;

use hdrhistogram::Histogram;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Longest time that is told apart, in microseconds: ten minutes.
const MOST_US: u64 = 600_000_000;

/// Bins of the reconnect curve; the last one takes what is later.
pub const CURVE_BINS: usize = 600;
/// Width of one.
pub const CURVE_BIN_MS: u64 = 100;

/// Times, in microseconds, to three digits.
#[derive(Clone, Debug)]
pub struct Times(Histogram<u64>);

impl Default for Times {
    fn default() -> Times {
        Times(Histogram::new_with_bounds(1, MOST_US, 3).expect("the bounds are fixed and fit"))
    }
}

impl Times {
    /// Notes one; what is longer than ten minutes counts as that.
    pub fn note(&mut self, us: u64) {
        self.0.saturating_record(us);
    }

    /// How many there are.
    pub fn count(&self) -> u64 {
        self.0.len()
    }

    /// The time below which this share lies, in milliseconds; 0 if there are none.
    pub fn quantile_ms(&self, share: f64) -> f64 {
        if self.0.is_empty() { 0.0 } else { self.0.value_at_quantile(share) as f64 / 1000.0 }
    }

    /// The longest, in milliseconds.
    pub fn max_ms(&self) -> f64 {
        self.0.max() as f64 / 1000.0
    }

    fn add(&mut self, other: &Times) {
        self.0.add(&other.0).expect("the bounds are the same");
    }
}

/// As pairs of value and count.
impl Serialize for Times {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        let pairs = self.0.iter_recorded().map(|step| (step.value_iterated_to(), step.count_at_value()));
        pairs.collect::<Vec<(u64, u64)>>().serialize(to)
    }
}

impl<'de> Deserialize<'de> for Times {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Times, D::Error> {
        let mut times = Times::default();
        for (value, count) in Vec::<(u64, u64)>::deserialize(from)? {
            times.0.saturating_record_n(value, count);
        }
        Ok(times)
    }
}

/// Counts by name.
pub type Counts = BTreeMap<String, u64>;

/// Adds one to a count.
pub fn count(counts: &mut Counts, name: impl ToString) {
    *counts.entry(name.to_string()).or_default() += 1;
}

macro_rules! tally {
    ($($(#[$doc:meta])* $kind:ident $name:ident,)+) => {
        /// See the module.
        #[derive(Clone, Debug, Default, Serialize, Deserialize)]
        pub struct Tally {
            $($(#[$doc])* pub $name: tally!(@type $kind),)+
        }

        impl Tally {
            /// Adds what another process has counted.
            pub fn add(&mut self, other: &Tally) {
                $(tally!(@add $kind, self.$name, other.$name);)+
            }
        }
    };
    (@type number) => { u64 };
    (@type times) => { Times };
    (@type counts) => { Counts };
    (@type bins) => { Vec<u64> };
    (@add number, $own:expr, $other:expr) => { $own += $other };
    (@add times, $own:expr, $other:expr) => { $own.add(&$other) };
    (@add counts, $own:expr, $other:expr) => {
        for (name, count) in &$other {
            *$own.entry(name.clone()).or_default() += count;
        }
    };
    (@add bins, $own:expr, $other:expr) => {
        if $own.len() < $other.len() {
            $own.resize($other.len(), 0);
        }
        $own.iter_mut().zip(&$other).for_each(|(own, other)| *own += other);
    };
}

tally! {
    /// Clients.
    number clients,
    /// Connects that were tried.
    number tried,
    /// Connects that became a connection: hello, or the head of an answer.
    number connected,
    /// Connections that ended without having been asked to.
    number drops,
    /// Connections that churn ended.
    number churned,
    /// Subscriptions that churn ended and began anew.
    number resubscribed,
    /// Clients that may not come back.
    number ended,
    /// Clients that were live when the run ended.
    number live_at_end,
    /// Clients that had lost their connection and were not back at the end.
    number away_at_end,
    /// Refused handshakes and requests, by status.
    counts refused,
    /// Connects that came to nothing, by cause.
    counts failed,
    /// Ends of connections, by close code, or in words.
    counts closes,
    /// Error messages, by code.
    counts errors,
    /// Updates, snapshots among them.
    number deliveries,
    /// Last values sent because a subscription began.
    number snapshots,
    /// Breaks of a chain in mode `all` that nobody announced.
    number lost,
    /// Updates that came a second time.
    number twice,
    /// Updates that came after a later one of their chain.
    number reordered,
    /// Jumps of a chain in mode `latest`: values that were merged away.
    number merged,
    /// Updates that came again after a resume, as they may.
    number overlap,
    /// Updates of channels that the client has not asked for.
    number stray,
    /// Announced gaps.
    number gaps,
    /// The stream turned out to be another one.
    number epochs,
    /// Subscriptions that did not come to the newest value by the end.
    number behind,
    /// Subscriptions of live clients that never got anything.
    number silent,
    /// Resumed subscriptions that went on without a loss.
    number recovered,
    /// Those that began anew, by reason.
    counts not_recovered,
    /// Times that values were said to be old.
    number stale,
    /// Times that a gateway said it drains.
    number draining,
    /// Times a client stopped reading.
    number slowed,
    /// What no gateway should have sent.
    counts faults,
    /// Messages decoded: each publication once for each codec and process.
    number decoded,
    /// Bytes received.
    number bytes_in,
    /// Bytes sent.
    number bytes_out,
    /// Time from connect to connected, TCP alone.
    times connect_us,
    /// From connected to the answer of the handshake or request.
    times handshake_us,
    /// From the begin of the connect until everything is subscribed.
    times ready_us,
    /// From the publisher to the client, of those that read, live updates only.
    times latency_us,
    /// From the stream to the client, to the millisecond.
    times stream_latency_us,
    /// Of clients that stop reading.
    times slow_latency_us,
    /// From the loss of a connection until everything is subscribed again.
    times back_us,
    /// The same as a curve: so many in each tenth of a second after their own loss.
    bins back,
    /// Live clients, at each tick of the run.
    bins live,
    /// Connections lost, at each tick.
    bins lost_at,
    /// Updates, at each tick.
    bins delivered_at,
}

impl Tally {
    /// Notes that somebody is back after so many microseconds.
    pub fn note_back(&mut self, us: u64) {
        self.back_us.note(us);
        let at = usize::try_from(us / (CURVE_BIN_MS * 1000)).unwrap_or(usize::MAX).min(CURVE_BINS - 1);
        if self.back.len() <= at {
            self.back.resize(at + 1, 0);
        }
        self.back[at] += 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn adds_what_another_process_counted_and_survives_the_way_between() {
        let mut one = Tally { lost: 1, live: vec![1, 2], ..Tally::default() };
        count(&mut one.closes, 1012);
        one.latency_us.note(1000);
        let mut other = Tally { lost: 2, live: vec![3, 4, 5], ..Tally::default() };
        count(&mut other.closes, 1012);
        other.latency_us.note(9000);
        other.note_back(250_000);
        other.note_back(3_600_000_000);
        let text = serde_json::to_string(&other).expect("JSON");
        one.add(&serde_json::from_str(&text).expect("what was written"));
        assert_eq!((one.lost, &one.live[..], one.closes["1012"]), (3, &[4, 6, 5][..], 2));
        assert_eq!((one.latency_us.count(), one.latency_us.quantile_ms(0.4)), (2, 1.0));
        assert_eq!((one.back[2], one.back[CURVE_BINS - 1]), (1, 1));
    }

    #[test]
    fn no_times_have_no_quantile() {
        let none = Times::default();
        assert_eq!((none.quantile_ms(0.99), none.max_ms()), (0.0, 0.0));
    }
}
