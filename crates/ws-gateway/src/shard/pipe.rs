//! The socket of a question: memory, with an answer at its end (`question`).

use std::io::{self, ErrorKind, IoSlice};

use odin_protocol::{Cursor, frame::Opcode};
use tokio::sync::oneshot;

use super::mailbox::Mailbox;
use crate::question::{Answer, Had, Patience};

/// See the module.
#[derive(Debug)]
pub(crate) struct Pipe {
    /// Whole frames: a write is taken as it is or not at all.
    frames: Vec<u8>,
    limit_bytes: usize,
    /// Updates in them.
    updates: usize,
    has_news: bool,
    has_closed: bool,
    pub(super) patience: Patience,
    pub(super) times: Times,
    had: Vec<Had>,
    /// Channels whose cursors the stream does not reach back to, and their sequences.
    too_old: Vec<(String, u64)>,
    slot: u32,
    bell: Mailbox<u32>,
    has_rung: bool,
    /// Until it is given.
    answer: Option<oneshot::Sender<Answer>>,
}

/// How long a question may take, in the shard's seconds.
#[derive(Debug, Clone, Copy)]
pub(super) struct Times {
    /// From here on it is answered with whatever there is.
    pub(super) until_s: u32,
    /// From here on although there is nothing.
    pub(super) late_s: u32,
}

impl Pipe {
    pub(super) fn new(
        (slot, bell): (u32, Mailbox<u32>),
        (patience, times): (Patience, Times),
        had: Vec<Had>,
        limit_bytes: usize,
        answer: oneshot::Sender<Answer>,
    ) -> Self {
        Self {
            frames: Vec::new(),
            limit_bytes,
            updates: 0,
            has_news: false,
            has_closed: false,
            patience,
            times,
            had,
            too_old: Vec::new(),
            slot,
            bell,
            has_rung: false,
            answer: Some(answer),
        }
    }

    /// Takes all of it; blocks for ever once there is enough.
    ///
    /// # Errors
    /// `WouldBlock`.
    pub(super) fn write(&mut self, pieces: &[IoSlice<'_>]) -> io::Result<usize> {
        if self.is_full() {
            return Err(ErrorKind::WouldBlock.into());
        }
        let before = self.frames.len();
        pieces.iter().for_each(|piece| self.frames.extend_from_slice(piece));
        let mut seen = before;
        while let Some((opcode, payload, length)) = first_frame(&self.frames[seen..]) {
            self.has_closed |= opcode == Opcode::Close as u8;
            self.has_news |= opcode == Opcode::Text as u8 && is_news(payload);
            self.updates += usize::from(is_of(payload, "update"));
            seen += length;
        }
        self.ring();
        Ok(self.frames.len() - before)
    }

    /// Has the shard look whether it is an answer now, at the end of its turn.
    pub(super) fn ring(&mut self) {
        if !std::mem::replace(&mut self.has_rung, true) {
            self.bell.push(self.slot);
        }
    }

    /// Chains of a channel and how far the client has had them.
    pub(super) fn had(&self, channel: &str) -> &[(u64, u64)] {
        self.had.iter().find(|had| had.channel == channel).map_or(&[], |had| &had.chains)
    }

    /// The channel begins anew: what the client has had of it is of another stream, or of no matter. If its cursor is too
    /// old, the same one must not be given again.
    pub(super) fn begin_anew(&mut self, channel: &str, is_too_old: bool) {
        if let Some(at) = self.had.iter().position(|had| had.channel == channel) {
            let had = self.had.swap_remove(at);
            self.too_old.extend(is_too_old.then_some((had.channel, had.seq)));
        }
    }

    /// Whether the client can go on from this position.
    pub(super) fn can_resume(&self, channel: &str, position: Cursor) -> bool {
        self.too_old.iter().all(|(old, seq)| old != channel || position.seq > *seq)
    }

    pub(super) fn has_had(&self) -> bool {
        self.had.iter().any(|had| !had.chains.is_empty())
    }

    pub(super) fn is_full(&self) -> bool {
        let is_over = matches!(self.patience, Patience::Past { updates, .. } if self.updates > updates);
        is_over || self.frames.len() >= self.limit_bytes
    }

    /// Nobody waits for the answer any more.
    pub(super) fn is_forgotten(&self) -> bool {
        self.answer.as_ref().is_none_or(oneshot::Sender::is_closed)
    }

    /// The shard looks at it: the next that is written rings again.
    pub(super) fn be_looked_at(&mut self) {
        self.has_rung = false;
    }

    /// Whether what was written so far is worth an answer.
    pub(super) fn is_enough(&self) -> bool {
        self.has_news || !matches!(self.patience, Patience::UntilNews(_))
    }

    /// Whether the shard has ended the conversation.
    pub(super) fn has_closed(&self) -> bool {
        self.has_closed
    }

    /// Gives the answer to whoever asked.
    pub(super) fn finish(&mut self, answer: Answer) {
        if let Some(waiting) = self.answer.take() {
            // The client may have left.
            let _ = waiting.send(Answer { frames: std::mem::take(&mut self.frames), ..answer });
        }
    }
}

/// Whether a client that waits wants to hear of it. That a channel goes on, or that values may be old, it learns with the
/// next that it does.
fn is_news(message: &[u8]) -> bool {
    if is_of(message, "subscribed") {
        let recovered = b"\"recovered\":true";
        return !message.windows(recovered.len()).any(|bytes| bytes == recovered);
    }
    !["stale", "live", "checkpoint", "connection:status", "authenticated"].iter().any(|kind| is_of(message, kind))
}

/// Whether a message of ours is of this type, which comes first in it.
fn is_of(message: &[u8], kind: &str) -> bool {
    let behind = message.strip_prefix(b"{\"type\":\"").and_then(|rest| rest.strip_prefix(kind.as_bytes()));
    behind.is_some_and(|rest| rest.first() == Some(&b'"'))
}

/// Opcode, payload and whole length of a server's first frame (RFC 6455 §5.2).
pub(crate) fn first_frame(bytes: &[u8]) -> Option<(u8, &[u8], usize)> {
    let (&[first, length], rest) = bytes.split_first_chunk()?;
    let (length, head, rest) = match length {
        126 => rest.split_first_chunk().map(|(length, rest)| (u64::from(u16::from_be_bytes(*length)), 4, rest))?,
        127 => rest.split_first_chunk().map(|(length, rest)| (u64::from_be_bytes(*length), 10, rest))?,
        length => (u64::from(length), 2, rest),
    };
    let length = usize::try_from(length).ok()?;
    Some((first & 0x0f, rest.get(..length)?, head + length))
}

#[cfg(test)]
mod tests {
    use odin_protocol::frame::encode_frame;

    use super::*;

    fn pipe(patience: Patience, limit_bytes: usize) -> (Pipe, oneshot::Receiver<Answer>) {
        let (answer, heard) = oneshot::channel();
        (
            Pipe::new(
                (3, Mailbox::default()),
                (patience, Times { until_s: 9, late_s: 9 }),
                Vec::new(),
                limit_bytes,
                answer,
            ),
            heard,
        )
    }

    fn write(pipe: &mut Pipe, message: &str) -> io::Result<usize> {
        let mut frame = Vec::new();
        encode_frame(Opcode::Text, message.as_bytes(), &mut frame);
        pipe.write(&[IoSlice::new(&frame)])
    }

    #[test]
    fn waits_for_news() {
        let (mut pipe, _heard) = pipe(Patience::UntilNews(std::time::Duration::from_secs(1)), 1 << 20);
        for message in [
            r#"{"type":"subscribed","channel":"price:BTC","mode":"latest","recovered":true}"#,
            r#"{"type":"stale","reason":"bus_lost"}"#,
            r#"{"type":"live"}"#,
        ] {
            write(&mut pipe, message).expect("room");
            assert!(!pipe.is_enough(), "{message}");
        }
        write(&mut pipe, r#"{"type":"update","channel":"price:BTC"}"#).expect("room");
        assert!(pipe.is_enough());
    }

    #[test]
    fn a_snapshot_an_error_and_a_gap_are_news() {
        for message in [
            r#"{"type":"subscribed","channel":"price:BTC","mode":"latest","recovered":false}"#,
            r#"{"type":"error","code":"forbidden","message":"no"}"#,
            r#"{"type":"gap","channel":"price:BTC","after":1,"until":2,"reason":"retention"}"#,
            r#"{"type":"system:status","status":"draining"}"#,
        ] {
            let (mut pipe, _heard) = pipe(Patience::UntilNews(std::time::Duration::from_secs(1)), 1 << 20);
            write(&mut pipe, message).expect("room");
            assert!(pipe.is_enough(), "{message}");
        }
    }

    /// Checklist 32: a client that would be owed more than may be kept for it.
    #[test]
    fn takes_no_more_when_it_is_full() {
        let (mut pipe, mut heard) = pipe(Patience::Now, 100);
        let long = "x".repeat(80);
        write(&mut pipe, &long).expect("room");
        write(&mut pipe, &long).expect("whatever is offered with less than the limit in it");
        assert_eq!(write(&mut pipe, &long).expect_err("full").kind(), ErrorKind::WouldBlock);
        pipe.finish(Answer::default());
        assert_eq!(heard.try_recv().expect("an answer").frames.len(), 2 * 82);
    }

    #[test]
    fn reads_frames_of_every_length() {
        for length in [0, 125, 126, 65_535, 65_536] {
            let mut frame = Vec::new();
            encode_frame(Opcode::Text, &vec![b'x'; length], &mut frame);
            let (opcode, payload, whole) = first_frame(&frame).expect("a frame");
            assert_eq!((opcode, payload.len(), whole), (1, length, frame.len()));
            assert!(first_frame(&frame[..frame.len() - 1]).is_none());
        }
    }
}
