//! One client: a socket, what it subscribes to, and – only while it is behind – where it stands.

use std::io::{self, IoSlice};

use bytes::Bytes;
use odin_protocol::frame::Decoder;

use super::{
    rate::Used,
    stream::Stream,
    subscription::{Cursor, Floor, Subscription},
};
use crate::{format::Format, guest::Guest, metrics::CloseReason};

/// No entry in this turn's list.
pub(crate) const UNTOUCHED: u32 = u32::MAX;

/// Why a connection is on its way out, and when we stop waiting for the peer.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Closing {
    pub(crate) reason: CloseReason,
    pub(crate) until_s: u32,
    /// False when the peer closed first: the socket goes as soon as our answer is written.
    pub(crate) await_peer: bool,
}

/// What stands between a connection and head. It exists only while something does.
#[derive(Debug, Default)]
pub(crate) struct Outbox {
    /// The rest of the frame that the socket took in part.
    pub(crate) rest: Bytes,
    /// Answers to the client, complete frames.
    pub(crate) answers: Vec<u8>,
    /// One for each subscription, in the same order.
    pub(crate) cursors: Vec<Cursor>,
    /// Sequences of subjects that came by another subscription: not sent again. While there are any,
    /// the connection stays off the fast path.
    pub(crate) floors: Vec<Floor>,
    /// Nothing is on its way: it is here until pages have been read for it, or until feeds have
    /// passed what it has had already.
    pub(crate) is_waiting: bool,
    /// It is told that it is live again when it has been sent what it missed.
    pub(crate) owes_live: bool,
    /// The client has said more than we read, because it does not take our answers.
    pub(crate) is_reading_paused: bool,
    /// When the socket last took a byte, in the shard's seconds.
    pub(crate) progress_s: u32,
}

/// What the client has used of what it may do.
#[derive(Debug, Default)]
pub(crate) struct Rates {
    pub(super) messages: Used,
    pub(super) channels: Used,
    pub(super) publishes: Used,
    pub(super) auths: Used,
}

/// See the module. Kept small: an idle, subscribed connection is this and one subscription.
#[derive(Debug)]
pub(crate) struct Connection {
    pub(crate) stream: Stream,
    /// Head of this turn's list of feeds that have something for it.
    pub(crate) touched: u32,
    pub(crate) serial: u64,
    pub(crate) decoder: Decoder,
    pub(crate) subscriptions: Vec<Subscription>,
    pub(crate) outbox: Option<Box<Outbox>>,
    pub(crate) closing: Option<Closing>,
    /// When the client was last heard, in the shard's seconds.
    pub(crate) heard_s: u32,
    /// Since when it has had no subscription; meaningless while it has one.
    pub(crate) unsubscribed_s: u32,
    /// When it was opened, in the shard's seconds of real time.
    pub(crate) opened_s: u32,
    /// When its token is to be looked at, in the shard's seconds of real time.
    pub(crate) look_s: u32,
    pub(crate) rates: Rates,
    /// Pings in this second.
    pub(crate) pings: u16,
    /// Publications that were not acknowledged yet.
    pub(crate) publishing: u8,
    /// A token is being checked.
    pub(crate) is_checking: bool,
    /// The client knows that its token ends.
    pub(crate) was_warned: bool,
    pub(crate) strikes: u16,
    pub(crate) format: Format,
    pub(crate) guest: Box<Guest>,
}

/// What a socket did with the bytes it was offered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Written {
    /// It took them all.
    All,
    /// It took this many and blocks.
    Part(usize),
    /// It is gone.
    Gone,
}

/// What a read brought.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Got {
    /// So many bytes; of a TLS connection none, when it said much that was not for us.
    Bytes(usize),
    /// Nothing for now.
    Nothing,
    /// The end: the peer left, or the socket failed.
    End(CloseReason),
}

impl Connection {
    /// Offers one piece; asks again until the socket blocks, so that it will tell when it is ready.
    pub(crate) fn write(&mut self, bytes: &[u8], writes: &mut u64) -> Written {
        let mut done = 0;
        while done < bytes.len() {
            *writes += 1;
            match self.stream.write(&bytes[done..]) {
                Ok(0) => return Written::Gone,
                Ok(n) => done += n,
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => return Written::Part(done),
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(_) => return Written::Gone,
            }
        }
        Written::All
    }

    /// Offers several pieces in one call.
    pub(crate) fn write_all(&mut self, mut pieces: &mut [IoSlice<'_>], writes: &mut u64) -> Written {
        let mut done = 0;
        IoSlice::advance_slices(&mut pieces, 0);
        while !pieces.is_empty() {
            *writes += 1;
            match self.stream.write_vectored(pieces) {
                Ok(0) => return Written::Gone,
                Ok(n) => {
                    done += n;
                    IoSlice::advance_slices(&mut pieces, n);
                }
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => return Written::Part(done),
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(_) => return Written::Gone,
            }
        }
        Written::All
    }

    pub(crate) fn read(&mut self, into: &mut [u8]) -> Got {
        match self.stream.read(into) {
            Ok(0) => Got::End(CloseReason::PeerGone),
            Ok(n) => Got::Bytes(n),
            Err(e) if e.kind() == io::ErrorKind::WouldBlock => Got::Nothing,
            Err(e) if e.kind() == io::ErrorKind::Interrupted => Got::Bytes(0),
            Err(e) if e.kind() == io::ErrorKind::ConnectionReset => Got::End(CloseReason::PeerGone),
            Err(_) => Got::End(CloseReason::IoError),
        }
    }

    /// Whether the position of its one channel is the position of all it gets, where frames can have one.
    pub(crate) fn has_own_ids(&self) -> bool {
        self.format == Format::Events && self.subscriptions.len() == 1
    }

    pub(crate) fn find(&self, feed: u32) -> Option<usize> {
        self.subscriptions.iter().position(|s| s.feed == feed)
    }

    /// Whether it has been sent everything there is.
    pub(crate) fn is_at_head(&self) -> bool {
        let is_done = |outbox: &Outbox| outbox.is_waiting && outbox.cursors.iter().all(|cursor| cursor.past.is_none());
        self.outbox.as_deref().is_none_or(is_done)
    }

    /// Chains of a channel and how far it has had them, from polls before.
    pub(crate) fn had(&self, channel: &str) -> &[(u64, u64)] {
        match &self.stream {
            Stream::Pipe(pipe) => pipe.had(channel),
            Stream::Plain(_) | Stream::Tls(..) => &[],
        }
    }

    /// Whether it must not get everything that its feeds publish.
    pub(crate) fn is_choosy(&self) -> bool {
        matches!(&self.stream, Stream::Pipe(pipe) if pipe.has_had())
    }

    /// Whether a frame can be written past the outbox.
    pub(crate) fn is_between_frames(&self) -> bool {
        self.outbox.as_ref().is_none_or(|outbox| outbox.is_waiting)
    }

    /// Bytes of answers that the client has not taken; past the bound it is not read any more.
    pub(crate) fn unanswered(&self) -> usize {
        self.outbox.as_ref().map_or(0, |outbox| outbox.answers.len())
    }
}
