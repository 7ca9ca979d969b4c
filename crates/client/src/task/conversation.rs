//! One connection from its first frame to its last.

use std::pin::{Pin, pin};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use futures_util::{Stream, StreamExt};
use odin_protocol::{CloseCode, Secret, ServerMessage};
use tokio::time::{Instant, Sleep, sleep_until, timeout};

use super::{Task, Turn, ask};
use crate::{
    parting::Parting,
    token::TokenError,
    transport::{Reader, Received, Writer},
};

/// How long to wait for the other side's close frame, and for room to send ours.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(1);
/// How long the task sleeps when nothing is due; it is woken earlier by anything else.
const NEVER: Duration = Duration::from_secs(3_600);

impl Task {
    /// Talks until the connection ends; gives the reason.
    pub(super) async fn converse(&mut self, reader: Reader, mut writer: Writer) -> Parting {
        let mut incoming = pin!(reader.into_stream());
        self.session.opened();
        let limit = self.connect_timeout;
        let greeting_by = Instant::now() + limit;
        let mut alarm = pin!(sleep_until(greeting_by));
        // dropped with the connection: the next one asks anew
        let mut asking = None;
        let why = loop {
            if let Err(why) = self.speak(&mut writer).await {
                break why;
            }
            self.publish_stats();
            set_alarm(alarm.as_mut(), self.session.deadline());

            if self.session.wants_token() && asking.is_none() {
                asking = Some(Box::pin(ask(self.tokens.clone(), self.token_timeout)));
            }
            let is_blocked = !self.waiting.is_empty();
            let turn = {
                let next = pin!(next(incoming.as_mut(), alarm.as_mut(), &mut asking, is_blocked));
                self.turn(next).await
            };
            let happened = match turn {
                Turn::Done(happened) => happened,
                Turn::Other => {
                    let now = Instant::now();
                    if is_blocked && self.waiting.is_empty() {
                        self.session.listens_again(now);
                    }
                    self.session.tick_deaf(now);
                    continue;
                }
                Turn::End => break Parting::Asked,
            };
            let now = Instant::now();
            match happened {
                Happened::Received(received) => {
                    self.session.heard(now);
                    if let Err(why) = self.listen(received, now, &mut writer).await {
                        break why;
                    }
                    if let Some(why) = self.session.tick_requests(now, &mut self.waiting) {
                        break why;
                    }
                    self.deliver();
                }
                Happened::Token(token) => {
                    asking = None;
                    if let Some(why) = self.session.token(now, token, &mut self.waiting) {
                        break why;
                    }
                }
                Happened::Failed(why) => break why,
                Happened::Alarm => {
                    if !self.session.is_live() && now >= greeting_by {
                        break Parting::Timeout { limit };
                    }
                    if let Some(why) = self.session.tick(now, &mut self.waiting) {
                        break why;
                    }
                    let deadline = self.session.deadline().unwrap_or(now + NEVER);
                    alarm.as_mut().reset(deadline.max(now));
                }
            }
        };
        self.part(&why, &mut writer, incoming).await;
        why
    }

    /// Sends everything there is to send.
    async fn speak(&mut self, writer: &mut Writer) -> Result<(), Parting> {
        while let Some(message) = self.session.outgoing(Instant::now()) {
            writer.message(message.encode(self.codec), self.write_timeout).await?;
        }
        Ok(())
    }

    async fn listen(&mut self, received: Received, now: Instant, writer: &mut Writer) -> Result<(), Parting> {
        match received {
            Received::Message(bytes) => {
                self.session.stats_mut().bytes += bytes.len() as u64;
                let message = ServerMessage::decode(self.codec, &bytes)
                    .map_err(|error| Parting::Protocol { cause: error.to_string() })?;
                match self.session.receive(now, wall_ms(), message, &mut self.waiting) {
                    Some(why) => Err(why),
                    None => Ok(()),
                }
            }
            Received::Ping(payload) => writer.pong(payload, self.write_timeout).await,
            Received::Life => Ok(()),
            Received::Closed { code, reason } => Err(Parting::Closed { code, reason }),
        }
    }

    /// Says goodbye as far as the other side lets us.
    async fn part(
        &mut self,
        why: &Parting,
        writer: &mut Writer,
        mut incoming: Pin<&mut impl Stream<Item = Result<Received, Parting>>>,
    ) {
        let (code, waits) = match why {
            Parting::Asked => (CloseCode::Normal, true),
            Parting::Closed { code, .. } => {
                // the answer to a close frame has its code
                let code = code.and_then(CloseCode::from_u16).unwrap_or(CloseCode::Normal);
                (code, false)
            }
            Parting::Protocol { .. } => (CloseCode::ProtocolError, false),
            Parting::Drained | Parting::Silent { .. } => (CloseCode::GoingAway, false),
            Parting::NotSignedIn(_) => (CloseCode::Normal, false),
            _ => return,
        };
        if writer.close(code.code(), CLOSE_TIMEOUT).await.is_err() || !waits {
            return;
        }
        let answer = async {
            while let Some(Ok(received)) = incoming.next().await {
                if let Received::Closed { .. } = received {
                    return;
                }
            }
        };
        let _ = timeout(CLOSE_TIMEOUT, answer).await;
    }
}

/// What a conversation waits for.
enum Happened {
    Received(Received),
    Token(Result<Secret, TokenError>),
    Failed(Parting),
    Alarm,
}

/// The next frame, token or moment; only a token while events wait for the application.
async fn next<T>(
    mut incoming: Pin<&mut impl Stream<Item = Result<Received, Parting>>>,
    alarm: Pin<&mut Sleep>,
    asking: &mut Option<Pin<Box<T>>>,
    is_blocked: bool,
) -> Happened
where
    T: Future<Output = Result<Secret, TokenError>>,
{
    let token = async {
        match asking {
            Some(asking) => asking.await,
            None => std::future::pending().await,
        }
    };
    if is_blocked {
        return Happened::Token(token.await);
    }
    tokio::select! {
        biased;
        token = token => Happened::Token(token),
        received = incoming.next() => match received {
            Some(Ok(received)) => Happened::Received(received),
            Some(Err(why)) => Happened::Failed(why),
            None => Happened::Failed(Parting::Broken { cause: "nothing more to read".to_owned() }),
        },
        () = alarm => Happened::Alarm,
    }
}

/// The time of day, in milliseconds since 1970.
fn wall_ms() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}

/// Sets the alarm forward only: an alarm that goes off early costs less than setting it for every frame.
fn set_alarm(alarm: Pin<&mut Sleep>, deadline: Option<Instant>) {
    if let Some(deadline) = deadline
        && deadline < alarm.deadline()
    {
        alarm.reset(deadline);
    }
}
