use odin_protocol::{CloseCode, Codec, ErrorCode, ServerMessage};

use super::*;
use crate::event::Refusal;

mod auth;
mod publish;
mod resume;

const SECOND: Duration = Duration::from_secs(1);

/// A session, its clock and its events.
struct Bench {
    session: Session,
    now: Instant,
    start: Instant,
    events: VecDeque<Event>,
    /// Why the session has left the connection by itself.
    left: Option<Parting>,
}

impl Bench {
    fn new() -> Self {
        Bench::with(Options { ping_interval: None, ..Options::default() })
    }

    fn with(options: Options) -> Self {
        let now = Instant::now();
        Bench { session: Session::new(&options, 7), now, start: now, events: VecDeque::new(), left: None }
    }

    fn connected() -> Self {
        let mut bench = Bench::new();
        bench.connect();
        bench
    }

    fn connect(&mut self) {
        self.session.opened();
        self.hear(r#"{"type":"connection:status","status":"connected","connectionId":"1","heartbeatMs":25000,"connectedClients":1,"maxMessageBytes":65536}"#);
    }

    fn wish(&mut self, channel: &str) {
        self.session.subscribe(Subscription::new(channel).expect("valid"));
    }

    fn hear(&mut self, json: &str) {
        let message = ServerMessage::decode(Codec::Json, json.as_bytes()).expect(json);
        self.session.heard(self.now);
        let wall_ms = self.wall_ms();
        self.left = self.session.receive(self.now, wall_ms, message, &mut self.events);
    }

    /// The time of day: it began with the test.
    fn wall_ms(&self) -> i64 {
        i64::try_from((self.now - self.start).as_millis()).expect("small")
    }

    fn tick(&mut self) -> Option<Parting> {
        self.session.tick(self.now, &mut self.events)
    }

    fn update(&mut self, channel: &str, prev: u64, seq: u64) {
        self.hear(&format!(
            r#"{{"type":"update","channel":"{channel}","seq":{seq},"prev":{prev},"ts":{seq},"epoch":"k3j9x2m4","data":1}}"#
        ));
    }

    fn subscribed(&mut self, channel: &str, rest: &str) {
        self.hear(&format!(r#"{{"type":"subscribed","id":{},"channel":"{channel}"{rest}}}"#, self.session.next_id));
    }

    /// Everything the session wants to say, as JSON.
    fn said(&mut self) -> Vec<String> {
        let mut said = Vec::new();
        while let Some(message) = self.session.outgoing(self.now) {
            said.push(String::from_utf8(message.encode(Codec::Json)).expect("JSON"));
        }
        said
    }

    fn parted(&mut self, code: u16) -> Plan {
        self.lose(Parting::Closed { code: Some(code), reason: String::new() })
    }

    fn lose(&mut self, why: Parting) -> Plan {
        self.session.parted(self.now, why, &mut self.events)
    }

    fn last(&mut self) -> Event {
        self.events.pop_back().expect("an event")
    }
}

const LIVE: &str = r#","mode":"all","recovered":false,"cursor":"1.k3j9x2m4.3.3""#;
const RECOVERED: &str = r#","mode":"all","recovered":true"#;

#[test]
fn says_nothing_before_the_gateway_has_said_hello() {
    let mut bench = Bench::new();
    bench.wish("price:BTC");
    bench.session.opened();
    assert!(bench.said().is_empty());
    bench.connect();
    assert_eq!(bench.said(), [r#"{"type":"subscribe","id":1,"channels":["price:BTC"]}"#]);
    assert!(bench.said().is_empty(), "once");
}

#[test]
fn asks_for_many_channels_in_several_messages() {
    let mut bench = Bench::connected();
    for number in 0..450 {
        bench.wish(&format!("price:T{number}"));
    }
    let said = bench.said();
    let channels = said.iter().map(|message| message.matches("price:T").count());
    assert_eq!(channels.collect::<Vec<_>>(), [200, 200, 50]);
    assert!(said.iter().all(|message| message.len() < 32 * 1_024));
}

#[test]
fn asks_once_for_a_channel_that_is_wished_for_twice() {
    let mut bench = Bench::connected();
    bench.wish("price:BTC");
    bench.wish("price:BTC");
    assert_eq!(bench.said().len(), 1);
    bench.subscribed("price:BTC", LIVE);
    bench.wish("price:BTC");
    assert!(bench.said().is_empty());
}

#[test]
fn drops_what_comes_after_unsubscribe() {
    let mut bench = Bench::connected();
    bench.wish("price:BTC");
    bench.said();
    bench.subscribed("price:BTC", LIVE);
    let channel = Channel::parse("price:BTC").expect("valid");
    bench.session.unsubscribe(channel, &mut bench.events);
    assert_eq!(bench.said(), [r#"{"type":"unsubscribe","id":2,"channels":["price:BTC"]}"#]);
    bench.events.clear();
    bench.update("price:BTC", 0, 5);
    assert!(bench.events.is_empty());
    bench.hear(r#"{"type":"unsubscribed","id":2,"channel":"price:BTC"}"#);
    assert!(matches!(bench.last(), Event::Unsubscribed { .. }));
    bench.parted(1012);
    bench.connect();
    assert!(bench.said().is_empty());
}

#[test]
fn ends_a_subscription_that_the_gateway_ends() {
    let mut bench = Bench::connected();
    bench.wish("price:BTC");
    bench.said();
    bench.subscribed("price:BTC", LIVE);
    bench.hear(r#"{"type":"unsubscribed","channel":"price:BTC"}"#);
    assert!(matches!(bench.last(), Event::Unsubscribed { .. }));
    assert!(!bench.session.is_wanting());
}

#[test]
fn does_not_ask_again_for_what_is_refused_for_good() {
    let mut bench = Bench::connected();
    bench.wish("signals:all");
    bench.wish("price:BTC");
    bench.said();
    bench
        .hear(r#"{"type":"error","id":1,"code":"auth_required","message":"sign\u001b[2J in","channel":"signals:all"}"#);
    let Event::Error(refusal) = bench.last() else { panic!("no error") };
    assert_eq!((refusal.code, refusal.retry_after), (ErrorCode::AuthRequired, None));
    assert_eq!(refusal.message, "sign?[2J in");
    bench.parted(1012);
    bench.connect();
    assert_eq!(bench.said(), [r#"{"type":"subscribe","id":2,"channels":["price:BTC"]}"#]);
}

#[test]
fn asks_again_for_what_is_refused_for_now() {
    let mut bench = Bench::connected();
    bench.wish("price:BTC");
    bench.said();
    bench.hear(r#"{"type":"error","id":1,"code":"unavailable","message":"no stream","retryAfterMs":2000}"#);
    let Event::Error(Refusal { retry_after: Some(retry_after), .. }) = bench.last() else { panic!("no retry") };
    assert!(retry_after >= 2 * SECOND, "{retry_after:?}");
    assert!(bench.session.deadline().expect("live") <= bench.now + retry_after);
    assert!(bench.said().is_empty());
    bench.now += retry_after;
    assert_eq!(bench.tick(), None);
    assert_eq!(bench.said(), [r#"{"type":"subscribe","id":2,"channels":["price:BTC"]}"#]);
}

#[test]
fn gives_up_on_a_connection_after_two_silent_heartbeats() {
    let mut bench = Bench::connected();
    let deadline = bench.session.deadline().expect("live");
    assert_eq!(deadline, bench.now + 25 * SECOND * 3 / 2, "first a ping");
    bench.now = deadline;
    assert_eq!(bench.tick(), None);
    assert_eq!(bench.said(), [r#"{"type":"ping","id":1}"#]);
    bench.now = bench.session.deadline().expect("live");
    assert_eq!(bench.tick(), Some(Parting::Silent { silence: 50 * SECOND }));
}

#[test]
fn any_frame_is_a_sign_of_life() {
    let mut bench = Bench::connected();
    for _ in 0..10 {
        bench.now += 37 * SECOND;
        bench.session.heard(bench.now);
        assert_eq!(bench.tick(), None);
    }
}

#[test]
fn measures_the_round_trip() {
    let mut bench = Bench::with(Options::default());
    bench.connect();
    assert_eq!(bench.tick(), None);
    assert_eq!(bench.said(), [r#"{"type":"ping","id":1}"#]);
    bench.now += Duration::from_millis(3);
    bench.hear(r#"{"type":"pong","id":1,"ts":1}"#);
    assert!(matches!(bench.last(), Event::RoundTrip(time) if time == Duration::from_millis(3)));
    assert_eq!(bench.session.deadline(), Some(bench.now + 10 * SECOND - Duration::from_millis(3)), "the next ping");
}

#[test]
fn waits_with_full_jitter_and_longer_each_time() {
    let mut bench = Bench::new();
    let mut urls = Vec::new();
    for attempt in 0..10_u32 {
        urls.push(bench.session.url());
        let plan = bench.lose(Parting::Broken { cause: "refused".to_owned() });
        let Plan::Dial { after } = plan else { panic!("{plan:?}") };
        let ceiling = (SECOND / 2 * 2_u32.pow(attempt)).min(30 * SECOND);
        assert!(after <= ceiling, "attempt {attempt}: {after:?} > {ceiling:?}");
        assert!(matches!(bench.last(), Event::Reconnecting { attempt: told, .. } if told == attempt + 1));
    }
    assert!(urls.iter().all(|url| *url == 0), "one address");
}

#[test]
fn tries_the_addresses_in_turn() {
    let urls = ["ws://a/", "ws://b/", "ws://c/"].map(str::to_owned).to_vec();
    let mut bench = Bench::with(Options { urls, ..Options::default() });
    let mut tried = Vec::new();
    for _ in 0..4 {
        tried.push(bench.session.url());
        bench.lose(Parting::Broken { cause: "refused".to_owned() });
    }
    assert_eq!(tried, [0, 1, 2, 0]);
}

#[test]
fn a_stable_connection_makes_the_next_wait_short() {
    let mut bench = Bench::new();
    for _ in 0..6 {
        bench.lose(Parting::Broken { cause: "refused".to_owned() });
    }
    bench.connect();
    bench.now += 30 * SECOND;
    let Plan::Dial { after } = bench.parted(1012) else { panic!("no dial") };
    assert!(after <= SECOND / 2, "{after:?}");
}

#[test]
fn a_short_connection_does_not_make_the_next_wait_short() {
    let mut bench = Bench::new();
    for _ in 0..6 {
        bench.lose(Parting::Broken { cause: "refused".to_owned() });
    }
    bench.connect();
    bench.now += SECOND;
    bench.parted(1012);
    assert!(matches!(bench.last(), Event::Reconnecting { attempt: 7, .. }));
    assert!(bench.session.backoff.ceiling() >= 30 * SECOND);
}

#[test]
fn follows_the_table_of_close_codes() {
    for code in CloseCode::ALL {
        let mut bench = Bench::connected();
        bench.wish("price:BTC");
        let plan = bench.parted(code.code());
        match code.reconnect() {
            Reconnect::Never => {
                assert_eq!(plan, Plan::End, "{code:?}");
                assert!(matches!(bench.last(), Event::Closed { code: Some(told), .. } if told == code.code()));
            }
            Reconnect::Soon => {
                assert!(matches!(plan, Plan::Dial { after } if after <= SECOND / 2), "{code:?}");
            }
            Reconnect::Later => {
                assert!(matches!(plan, Plan::Dial { after } if after <= 8 * SECOND), "{code:?}");
                assert_eq!(bench.session.backoff.ceiling(), 16 * SECOND, "{code:?}");
            }
        }
    }
}

#[test]
fn sleeps_after_an_idle_close_until_something_is_wanted() {
    let mut bench = Bench::connected();
    assert_eq!(bench.parted(4002), Plan::Sleep);
    assert!(matches!(bench.last(), Event::Idle));
    assert!(!bench.session.is_wanting());
    bench.wish("price:BTC");
    assert!(bench.session.is_wanting());
}

#[test]
fn waits_at_least_as_long_as_a_full_gateway_asks() {
    let mut bench = Bench::new();
    let retry_after = Some(20 * SECOND);
    let plan = bench.lose(Parting::Status { status: 503, retry_after });
    assert!(matches!(plan, Plan::Dial { after } if after >= 20 * SECOND), "{plan:?}");
}

#[test]
fn gives_up_after_the_allowed_tries() {
    let mut bench = Bench::with(Options { max_attempts: Some(2), ..Options::default() });
    let broken = || Parting::Broken { cause: "refused".to_owned() };
    assert!(matches!(bench.lose(broken()), Plan::Dial { .. }));
    bench.connect();
    assert!(matches!(bench.lose(broken()), Plan::Dial { .. }), "it had worked");
    assert!(matches!(bench.lose(broken()), Plan::Dial { .. }));
    assert_eq!(bench.lose(broken()), Plan::End);
    assert!(matches!(bench.last(), Event::Closed { code: None, .. }));
}

#[test]
fn leaves_a_draining_gateway_that_does_not_close() {
    let mut bench = Bench::connected();
    bench.hear(r#"{"type":"system:status","status":"draining","reconnectInMs":5000}"#);
    assert!(matches!(bench.last(), Event::Draining { within: Some(within), .. } if within == 5 * SECOND));
    let deadline = bench.session.deadline().expect("live");
    assert_eq!(deadline, bench.now + 7 * SECOND);
    bench.now = deadline;
    assert_eq!(bench.tick(), Some(Parting::Drained));
    assert_eq!(Parting::Drained.reconnect(), Reconnect::Soon);
}

#[test]
fn ignores_messages_of_tomorrow() {
    let mut bench = Bench::connected();
    bench.events.clear();
    bench.hear(r#"{"type":"horoscope","sign":"bull"}"#);
    assert!(bench.events.is_empty());
    assert_eq!(bench.session.stats().unknown, 1);
}

#[test]
fn a_second_hello_changes_nothing() {
    let mut bench = Bench::connected();
    bench.wish("price:BTC");
    bench.said();
    bench.hear(r#"{"type":"connection:status","status":"connected","connectionId":"2","heartbeatMs":1,"connectedClients":1,"maxMessageBytes":1}"#);
    assert!(bench.said().is_empty());
    assert_eq!(bench.session.stats().connections, 1);
}
