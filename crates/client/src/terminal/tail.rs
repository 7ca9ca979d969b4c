//! `odin tail`: one line for each update on standard output, everything else on standard error.

use std::collections::HashSet;
use std::io::{self, BufWriter, StdoutLock, Write};
use std::time::{Duration, Instant};

use anyhow::Context;
use odin_client::{Event, Events, Gap, protocol::Update};
use tokio::time::sleep;

use super::{
    args::Tail,
    exit::Exit,
    identity::Identity,
    note::note,
    positions::Positions,
    quote::{Latency, Quote, now_ms, time_of_day},
    record,
    screen::interrupted,
    tally::Tally,
};

/// How long output may block after the user wanted to end.
const STUCK_OUTPUT: Duration = Duration::from_secs(2);

/// Runs until the count, the time, the user or the gateway ends it.
pub(crate) async fn run(args: Tail) -> anyhow::Result<Exit> {
    let opened = Positions::open(args.cursor_file.clone(), Instant::now());
    let ((client, mut events, subscriptions), mut positions) =
        match opened.and_then(|positions| Ok((args.gateway.connect(&args.channels)?, positions))) {
            Ok(ends) => ends,
            Err(error) => {
                note(format_args!("odin: {error:#}"));
                return Ok(Exit::Usage);
            }
        };
    let wanted = subscriptions.iter().map(|subscription| subscription.channel.to_string()).collect();
    // a client that has ended already says why by its events
    let _ = client.subscribe_with(positions.continue_from(subscriptions)).await;
    let mut tail = Printer {
        out: BufWriter::with_capacity(64 * 1_024, io::stdout().lock()),
        is_json: args.json,
        has_events: args.events,
        limit: args.count,
        tally: Tally::new(Instant::now()),
        positions,
        violations: 0,
        identity: Identity::default(),
        wanted,
        line: Vec::new(),
    };
    tokio::spawn(async {
        // whoever reads our output may have stopped: then nothing but this comes through
        interrupted().await;
        sleep(STUCK_OUTPUT).await;
        std::process::exit(Exit::Done as i32);
    });
    let time_is_up = async {
        match args.seconds {
            Some(time) => sleep(time).await,
            None => std::future::pending().await,
        }
    };
    let exit = tokio::select! {
        exit = tail.print(&mut events) => exit?,
        () = time_is_up => match args.count {
            Some(_) => Exit::TooFew,
            None => Exit::Done,
        },
        () = interrupted() => Exit::Done,
    };
    tail.save()?;
    if args.stats {
        note(format_args!("{}", tail.tally.summary(Instant::now(), &client.stats())));
        note(format_args!("{}", tail.positions.summary()));
    }
    client.close().await;
    Ok(judge(exit, tail.violations))
}

/// An end as asked is none if the gateway broke its promise.
pub(crate) fn judge(exit: Exit, violations: u64) -> Exit {
    match exit {
        Exit::Done | Exit::TooFew if violations > 0 => {
            note(format_args!("odin: {violations} VIOLATIONS: the gateway lost or repeated something without a word"));
            Exit::Violated
        }
        _ => exit,
    }
}

struct Printer<'a> {
    out: BufWriter<StdoutLock<'a>>,
    is_json: bool,
    has_events: bool,
    limit: Option<u64>,
    tally: Tally,
    positions: Positions,
    /// Seen so far: the client may be ahead of what was printed.
    violations: u64,
    identity: Identity,
    /// Channels that may still come.
    wanted: HashSet<String>,
    /// Scratch.
    line: Vec<u8>,
}

impl Printer<'_> {
    async fn print(&mut self, events: &mut Events) -> anyhow::Result<Exit> {
        loop {
            let event = match events.try_recv() {
                Some(event) => event,
                None => {
                    // nothing more at the moment: show what there is
                    self.out.flush().context("cannot write to standard output")?;
                    match events.recv().await {
                        Some(event) => event,
                        None => return Ok(Exit::Closed),
                    }
                }
            };
            if let Some(exit) = self.event(event)? {
                return Ok(exit);
            }
            if self.positions.is_due(Instant::now()) {
                self.save()?;
            }
        }
    }

    /// Writes down where to continue, once everything before it has been written.
    fn save(&mut self) -> anyhow::Result<()> {
        self.out.flush().context("cannot write to standard output")?;
        self.positions.save(Instant::now())
    }

    fn event(&mut self, event: Event) -> anyhow::Result<Option<Exit>> {
        self.positions.observe(&event);
        self.violations += u64::from(matches!(event, Event::Gap(Gap { announced: None, .. }) | Event::Repeated { .. }));
        if let Some(record) = record::event(&event).filter(|_| self.has_events) {
            writeln!(self.out, "{record}").context("cannot write to standard output")?;
        }
        if let Some((exit, why)) = self.identity.observe(&event) {
            note(format_args!("odin: {why}"));
            return Ok(Some(exit));
        }
        match event {
            Event::Update(update) => {
                self.update(update).context("cannot write to standard output")?;
                if self.limit.is_some_and(|limit| self.tally.printed() >= limit) {
                    return Ok(Some(Exit::Done));
                }
            }
            Event::Error(refusal) => {
                let channel = refusal.channel.unwrap_or_default();
                note(format_args!("odin: {channel} {}: {}", refusal.code, refusal.message));
                if refusal.retry_after.is_none() && self.wanted.remove(&channel) && self.wanted.is_empty() {
                    return Ok(Some(Exit::Refused));
                }
            }
            other => {
                if let Some(line) = describe(&other) {
                    note(format_args!("odin: {line}"));
                }
            }
        }
        Ok(None)
    }

    fn update(&mut self, update: Update) -> io::Result<()> {
        let now = now_ms();
        let quote = Quote::read(&update);
        let latency = quote.latency(now, update.snapshot);
        self.tally.count(&update, latency);
        if !self.is_json {
            return writeln!(self.out, "{}", human(&update, &quote, latency));
        }
        self.line.clear();
        record::update(update, &mut self.line);
        self.out.write_all(&self.line)
    }
}

/// One line for a person.
fn human(update: &Update, quote: &Quote, latency: Latency) -> String {
    let key = update.key.as_deref().map(|key| format!(" {}", odin_client::printable(key))).unwrap_or_default();
    let change = quote.change.map(|change| format!("  {change:+.2} %")).unwrap_or_default();
    let latency = match latency {
        Latency::Unknown => "  stored".to_owned(),
        Latency::Millis(millis) => format!("  {millis} ms"),
        Latency::Skewed => "  clock skew".to_owned(),
    };
    format!(
        "{} {}{key}  {}{change}{latency}  seq {}",
        time_of_day(quote.made_ms),
        odin_client::printable(&update.channel),
        quote.shown,
        update.seq
    )
}

/// What happened, for a person; nothing for what happens all the time.
pub(crate) fn describe(event: &Event) -> Option<String> {
    Some(match event {
        Event::Connected(connected) => {
            let server = connected.status.server.as_deref().unwrap_or("gateway");
            let line = format!("connected to {} ({server}) as {}", connected.url, connected.status.connection_id);
            odin_client::printable(&line).into_owned()
        }
        Event::Reconnecting { attempt, after, why } => {
            format!("{why}; attempt {attempt} in {:.1} s", after.as_secs_f64())
        }
        Event::Authenticated { sub, is_refresh: false, .. } => {
            format!("signed in as {}", odin_client::printable(sub))
        }
        Event::AuthFailed { why, retry_after, is_refresh } => {
            let what = if *is_refresh { "token not refreshed" } else { "not signed in" };
            match retry_after {
                Some(wait) => format!("{what}: {why}; trying again in {:.1} s", wait.as_secs_f64()),
                None => format!("{what}: {why}"),
            }
        }
        Event::Subscribed { channel, is_anew: true, reason, .. } => {
            let why = reason.map_or("The gateway began it anew.", |reason| reason.meaning());
            format!("{} does not continue: {why}", odin_client::printable(channel))
        }
        Event::Gap(Gap { channel, key, after, until, announced }) => {
            let key = key.as_deref().map(|key| format!(" {key}")).unwrap_or_default();
            let why = announced.map_or("VIOLATION, the gateway did not say so", |reason| reason.meaning());
            let line = format!("{channel}{key}: sequences {after} < seq <= {until} are missing: {why}");
            odin_client::printable(&line).into_owned()
        }
        Event::Repeated { channel, key, seq } => {
            let key = key.as_deref().map(|key| format!(" {key}")).unwrap_or_default();
            let line = format!("{channel}{key}: sequence {seq} came twice: VIOLATION, it was dropped");
            odin_client::printable(&line).into_owned()
        }
        Event::Stale { channel, reason, .. } => {
            let what = channel.as_deref().unwrap_or("every channel");
            let why = reason.map_or("", |reason| reason.meaning());
            format!("{} may be old. {why}", odin_client::printable(what))
        }
        Event::Live { channel } => {
            let what = channel.as_deref().unwrap_or("every channel");
            format!("{} is live again", odin_client::printable(what))
        }
        Event::Draining { message, .. } => match message {
            Some(message) => format!("gateway is draining: {message}"),
            None => "gateway is draining".to_owned(),
        },
        Event::Notice { message } => message.clone(),
        _ => return None,
    })
}
