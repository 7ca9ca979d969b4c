//! One connection from its first frame to its last.

use std::pin::{Pin, pin};
use std::time::Duration;

use futures_util::{Stream, StreamExt};
use odin_protocol::{CloseCode, ServerMessage};
use tokio::time::{Instant, Sleep, sleep_until, timeout};

use super::{Task, Turn};
use crate::{
    parting::Parting,
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
        let why = loop {
            if let Err(why) = self.speak(&mut writer).await {
                break why;
            }
            self.publish_stats();
            set_alarm(alarm.as_mut(), self.session.deadline());

            let is_blocked = !self.waiting.is_empty();
            let turn = {
                let next = pin!(next(incoming.as_mut(), alarm.as_mut(), is_blocked));
                self.turn(next).await
            };
            let happened = match turn {
                Turn::Done(happened) => happened,
                Turn::Other => {
                    if is_blocked && self.waiting.is_empty() {
                        // nobody listened meanwhile: silence proves nothing
                        self.session.heard(Instant::now());
                    }
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
                    self.deliver();
                }
                Happened::Failed(why) => break why,
                Happened::Alarm => {
                    if !self.session.is_live() && now >= greeting_by {
                        break Parting::Timeout { limit };
                    }
                    if let Some(why) = self.session.tick(now) {
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
        while let Some(message) = self.session.outgoing() {
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
                self.session.receive(now, message, &mut self.waiting);
                Ok(())
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
    Failed(Parting),
    Alarm,
}

/// The next frame or moment; neither while events wait for the application.
async fn next(
    mut incoming: Pin<&mut impl Stream<Item = Result<Received, Parting>>>,
    alarm: Pin<&mut Sleep>,
    is_blocked: bool,
) -> Happened {
    if is_blocked {
        return std::future::pending().await;
    }
    tokio::select! {
        biased;
        received = incoming.next() => match received {
            Some(Ok(received)) => Happened::Received(received),
            Some(Err(why)) => Happened::Failed(why),
            None => Happened::Failed(Parting::Broken { cause: "nothing more to read".to_owned() }),
        },
        () = alarm => Happened::Alarm,
    }
}

/// Sets the alarm forward only: an alarm that goes off early costs less than setting it for every frame.
fn set_alarm(alarm: Pin<&mut Sleep>, deadline: Option<Instant>) {
    if let Some(deadline) = deadline
        && deadline < alarm.deadline()
    {
        alarm.reset(deadline);
    }
}
