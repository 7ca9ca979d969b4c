//! Channel names: parsed once by an allow-list grammar, then trusted.
//!
//! A name never becomes a NATS subject by itself; the gateway's rules map it.

use std::borrow::Borrow;
use std::fmt;
use std::str::FromStr;

/// Longest channel name, in bytes.
pub const MAX_CHANNEL_BYTES: usize = 128;
/// Most segments of a channel name.
pub const MAX_SEGMENTS: usize = 4;
/// Longest segment, in bytes.
pub const MAX_SEGMENT_BYTES: usize = 64;

/// A valid channel name: one to four segments joined by `:`, of `A-Z a-z 0-9 _ -`.
///
/// The last segment may be exactly `*` if another one stands before it: a pattern.
///
/// ```
/// use odin_protocol::Channel;
///
/// let every_price = Channel::parse("price:*")?;
/// assert!(every_price.matches(&Channel::parse("price:BTC")?));
/// assert!(Channel::parse("price:>").is_err());
/// # Ok::<(), odin_protocol::ChannelError>(())
/// ```
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub struct Channel(Box<str>);

/// Why a text is not a channel name. It never repeats the text.
#[derive(Copy, Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ChannelError {
    /// More than [`MAX_CHANNEL_BYTES`].
    #[error("channel name longer than {MAX_CHANNEL_BYTES} bytes")]
    TooLong,
    /// Nothing between two `:`, or nothing at all.
    #[error("channel name with an empty segment")]
    EmptySegment,
    /// More than [`MAX_SEGMENTS`].
    #[error("channel name with more than {MAX_SEGMENTS} segments")]
    TooManySegments,
    /// A segment of more than [`MAX_SEGMENT_BYTES`].
    #[error("channel segment longer than {MAX_SEGMENT_BYTES} bytes")]
    SegmentTooLong,
    /// A character outside `A-Z a-z 0-9 _ -`.
    #[error("channel name with a character other than A-Z, a-z, 0-9, _ and -")]
    Character,
    /// A `*` that is not the whole last segment, or has no segment before it.
    #[error("channel pattern whose * is not the whole last segment after another one")]
    Wildcard,
}

impl Channel {
    /// Checks a text against the grammar.
    ///
    /// # Errors
    /// The first rule the text breaks.
    pub fn parse(text: &str) -> Result<Channel, ChannelError> {
        if text.len() > MAX_CHANNEL_BYTES {
            return Err(ChannelError::TooLong);
        }
        let mut segments = text.split(':').enumerate().peekable();
        while let Some((index, segment)) = segments.next() {
            let is_last = segments.peek().is_none();
            check_segment(index, segment, is_last)?;
        }
        Ok(Channel(text.into()))
    }

    /// The whole name.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether the last segment is `*`.
    pub fn is_pattern(&self) -> bool {
        self.0.ends_with('*')
    }

    /// The segments in order: one to four.
    pub fn segments(&self) -> impl Iterator<Item = &str> {
        self.0.split(':')
    }

    /// Whether a subscription to this channel covers `other`: the same name, or a pattern whose `*` stands
    /// for exactly one segment of a name that is no pattern.
    pub fn matches(&self, other: &Channel) -> bool {
        if self == other {
            return true;
        }
        let Some(prefix) = self.0.strip_suffix('*') else {
            return false;
        };
        other.0.strip_prefix(prefix).is_some_and(|last| last != "*" && !last.contains(':'))
    }
}

fn check_segment(index: usize, segment: &str, is_last: bool) -> Result<(), ChannelError> {
    if index >= MAX_SEGMENTS {
        return Err(ChannelError::TooManySegments);
    }
    if segment.is_empty() {
        return Err(ChannelError::EmptySegment);
    }
    if segment == "*" && is_last && index > 0 {
        return Ok(());
    }
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-');
    match segment.bytes().find(|byte| !is_plain(*byte)) {
        Some(b'*') => Err(ChannelError::Wildcard),
        Some(_) => Err(ChannelError::Character),
        None if segment.len() > MAX_SEGMENT_BYTES => Err(ChannelError::SegmentTooLong),
        None => Ok(()),
    }
}

impl FromStr for Channel {
    type Err = ChannelError;

    fn from_str(text: &str) -> Result<Channel, ChannelError> {
        Channel::parse(text)
    }
}

impl fmt::Display for Channel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl AsRef<str> for Channel {
    fn as_ref(&self) -> &str {
        &self.0
    }
}

impl Borrow<str> for Channel {
    fn borrow(&self) -> &str {
        &self.0
    }
}
