//! `odin watch`: the live table.

use std::collections::HashSet;
use std::io::{self, IsTerminal};
use std::time::{Duration, Instant};

use odin_client::{Event, Freshness, Subscription};
use tokio::time::{MissedTickBehavior, interval};

use super::{
    args::{CodecArg, Tail, Watch},
    board::{Board, Column},
    exit::Exit,
    identity::Identity,
    note::note,
    quote::now_ms,
    screen::{Key, Screen, interrupted, keys},
    tail::{self, describe, judge},
    view::{self, Choice, FRAME_LINES, Link, Status},
};

/// Time between two drawings.
const REDRAW: Duration = Duration::from_millis(100);
/// Events taken in before keys and drawing get their turn.
const EVENTS_PER_TURN: usize = 1_024;

/// Runs until the user or the gateway ends it.
pub(crate) async fn run(args: Watch) -> anyhow::Result<Exit> {
    if !io::stdout().is_terminal() {
        let Watch { channels, gateway, .. } = args;
        let tail = Tail {
            channels,
            gateway,
            json: false,
            events: false,
            cursor_file: None,
            count: None,
            seconds: None,
            stats: false,
        };
        return tail::run(tail).await;
    }
    let (client, mut events, subscriptions) = match args.gateway.connect(&args.channels) {
        Ok(ends) => ends,
        Err(error) => {
            note(format_args!("odin: {error:#}"));
            return Ok(Exit::Usage);
        }
    };
    let mut table = Table::new(&args, &subscriptions);
    // a client that has ended already says why by its events
    let _ = client.subscribe_with(subscriptions).await;

    let has_colours = !args.no_color && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
    let mut screen = Screen::open(has_colours)?;
    let mut keys = keys();
    let mut redraw = interval(REDRAW);
    redraw.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut interrupted = std::pin::pin!(interrupted());
    let end = loop {
        tokio::select! {
            event = events.recv() => {
                let mut next = event;
                let mut left = EVENTS_PER_TURN;
                while let Some(event) = next {
                    table.event(event);
                    left -= 1;
                    next = if left == 0 { None } else { events.try_recv() };
                }
            }
            key = keys.recv() => match key {
                None | Some(Key::Quit) => break None,
                Some(Key::Resize) => screen.resize()?,
                Some(key) => table.key(key, usize::from(screen.size().1)),
            },
            _ = redraw.tick() => {
                if !table.choice.is_paused || table.is_touched {
                    table.is_touched = false;
                    let height = usize::from(screen.size().1);
                    let stats = client.stats();
                    let now = Instant::now();
                    screen.draw(view::lines(&table.board, &table.status, &stats, table.choice, height, now))?;
                }
            }
            () = &mut interrupted => break None,
        }
        if table.end.is_some() {
            break table.end.take();
        }
    };
    drop(screen);
    let violations = client.stats().violations;
    client.close().await;
    let Some((exit, why)) = end else { return Ok(judge(Exit::Done, violations)) };
    note(format_args!("odin: {why}"));
    Ok(exit)
}

/// What is shown, and what the user has chosen.
struct Table {
    board: Board,
    status: Status,
    choice: Choice,
    identity: Identity,
    /// A key was pressed since the last drawing.
    is_touched: bool,
    /// Channels that may still come.
    wanted: HashSet<String>,
    end: Option<(Exit, String)>,
}

impl Table {
    fn new(args: &Watch, subscriptions: &[Subscription]) -> Self {
        let status = Status {
            link: Link::Connecting,
            url: args.gateway.link.url.first().cloned().unwrap_or_default(),
            server: String::new(),
            connection: String::new(),
            user: None,
            codec: match args.gateway.link.codec {
                CodecArg::Json => "json",
                CodecArg::Msgpack => "msgpack",
            },
            clients: 0,
            freshness: Freshness::default(),
            is_draining: false,
            anew: None,
            note: None,
        };
        Table {
            board: Board::new(Instant::now()),
            status,
            choice: Choice { sort: Column::Channel, is_reversed: false, is_paused: false, top: 0 },
            identity: Identity::default(),
            is_touched: true,
            wanted: subscriptions.iter().map(|subscription| subscription.channel.to_string()).collect(),
            end: None,
        }
    }

    fn event(&mut self, event: Event) {
        let now = Instant::now();
        let status = &mut self.status;
        status.freshness.observe(&event);
        if let Some(line) = describe(&event) {
            status.note = Some(line);
        }
        if let Some(end) = self.identity.observe(&event) {
            self.end = Some(end);
        }
        status.user = self.identity.user().map(str::to_owned);
        match event {
            Event::Update(update) => self.board.update(now, now_ms(), &update),
            Event::Connected(connected) => {
                status.link = Link::Connected;
                status.url = connected.url;
                let server = connected.status.server.as_deref().unwrap_or_default();
                status.server = odin_client::printable(server).into_owned();
                status.connection = odin_client::printable(&connected.status.connection_id).into_owned();
                status.clients = connected.status.connected_clients;
                (status.is_draining, status.note) = (false, None);
            }
            Event::Reconnecting { after, .. } => status.link = Link::Waiting { until: now + after },
            Event::Idle => status.link = Link::Idle,
            Event::Subscribed { is_anew: true, reason, .. } => {
                status.anew = Some(reason.map_or("The gateway began it anew.", |reason| reason.meaning()));
            }
            Event::Draining { .. } => status.is_draining = true,
            Event::Error(refusal) => {
                let channel = refusal.channel.unwrap_or_default();
                let line = format!("{channel} {}: {}", refusal.code, refusal.message);
                let is_gone = refusal.retry_after.is_none() && self.wanted.remove(&channel);
                if is_gone && self.wanted.is_empty() {
                    self.end = Some((Exit::Refused, line.clone()));
                }
                self.status.note = Some(line);
            }
            _ => {}
        }
    }

    fn key(&mut self, key: Key, height: usize) {
        self.is_touched = true;
        let page = height.saturating_sub(FRAME_LINES).max(1);
        let last = self.board.len().saturating_sub(page);
        let choice = &mut self.choice;
        match key {
            Key::Up => choice.top = choice.top.saturating_sub(1),
            Key::Down => choice.top = (choice.top + 1).min(last),
            Key::PageUp => choice.top = choice.top.saturating_sub(page),
            Key::PageDown => choice.top = (choice.top + page).min(last),
            Key::Home => choice.top = 0,
            Key::End => choice.top = last,
            Key::Sort => (choice.sort, choice.is_reversed) = (choice.sort.next(), false),
            Key::Reverse => choice.is_reversed = !choice.is_reversed,
            Key::Pause => choice.is_paused = !choice.is_paused,
            Key::Quit | Key::Resize => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;
    use odin_client::{Parting, Refusal, protocol::ErrorCode};

    use super::super::args::{Args, Command};
    use super::*;

    fn table() -> Table {
        let args = Args::parse_from(["odin", "watch", "price:*", "signals:all"]);
        let Command::Watch(watch) = args.command else { panic!("not watch") };
        Table::new(&watch, &watch.gateway.subscriptions(&watch.channels).expect("valid"))
    }

    fn refused(channel: &str) -> Event {
        Event::Error(Refusal {
            code: ErrorCode::AuthRequired,
            message: "sign in".to_owned(),
            channel: Some(channel.to_owned()),
            retry_after: None,
        })
    }

    #[test]
    fn ends_when_every_channel_is_refused_and_not_before() {
        let mut table = table();
        table.event(refused("signals:all"));
        table.event(refused("signals:all"));
        table.event(refused("price:BTC"));
        assert!(table.end.is_none());
        table.event(refused("signals:all"));
        assert_eq!(table.status.note.as_deref(), Some("signals:all auth_required: sign in"));
        table.event(refused("price:*"));
        assert!(matches!(table.end, Some((Exit::Refused, _))));
    }

    #[test]
    fn ends_when_the_gateway_closes_for_good() {
        let mut table = table();
        table.event(Event::Closed {
            code: Some(4409),
            why: Parting::Closed { code: Some(4409), reason: String::new() },
        });
        assert!(matches!(table.end, Some((Exit::Closed, why)) if why.contains("4409 replaced")));
    }

    #[test]
    fn shows_who_is_signed_in_and_ends_when_nobody_can_be() {
        let mut table = table();
        table.event(Event::Authenticated { sub: "user-7".to_owned(), expires_at_ms: None, is_refresh: false });
        assert_eq!(table.status.user.as_deref(), Some("user-7"));
        let why = Parting::Closed { code: Some(4440), reason: String::new() };
        table.event(Event::Closed { code: Some(4440), why });
        assert!(matches!(table.end, Some((Exit::NotSignedIn, why)) if why.contains("4440 revoked")));
    }

    #[test]
    fn keys_change_the_choice_within_bounds() {
        let mut table = table();
        for key in [Key::Up, Key::Down, Key::PageDown, Key::End] {
            table.key(key, 24);
            assert_eq!(table.choice.top, 0, "no rows, nothing to scroll");
        }
        table.key(Key::Sort, 24);
        table.key(Key::Reverse, 24);
        assert_eq!((table.choice.sort, table.choice.is_reversed), (Column::Price, true));
        table.key(Key::Sort, 0);
        assert!(!table.choice.is_reversed);
    }
}
