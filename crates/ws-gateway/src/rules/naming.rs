//! From a publication's subject back to what its update is called: the channel and, where the channel does not say it,
//! the key.

use std::borrow::Cow;

use super::template::{Template, Token, is_segment};

/// Longest channel in bytes, as the channel grammar says.
const MAX_CHANNEL_BYTES: usize = 128;

/// Names the publications of one topic.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Naming {
    /// The topic's subject or filter, whole.
    subject: Box<str>,
    /// The channel, or its beginning up to the segment that the pattern leaves open.
    channel: Box<str>,
    /// The same subject by tokens; empty when it has no wildcard.
    parts: Box<[Part]>,
}

/// What one token of the subject says.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Part {
    /// Nothing: it is always this.
    Fixed(Box<str>),
    /// The last segment of the channel.
    Channel,
    /// A part of the key.
    Key,
}

impl Naming {
    pub(super) fn new(template: &Template, segments: &[&str], subject: &str, channel: &str) -> Naming {
        // Only the last segment can be open, and only in a rule that allows patterns.
        let open = (template.pattern && segments.last() == Some(&"*")).then(|| segments.len() - 1);
        let part = |(token, text): (&Token, &str)| match token {
            Token::Any => Part::Key,
            Token::Segment(index) if Some(*index) == open => Part::Channel,
            _ => Part::Fixed(text.into()),
        };
        let mut parts: Box<[Part]> = template.subject.iter().zip(subject.split('.')).map(part).collect();
        if parts.iter().all(|part| matches!(part, Part::Fixed(_))) {
            parts = Box::default();
        }
        let channel = if open.is_some() { channel.strip_suffix('*').unwrap_or(channel) } else { channel };
        Naming { subject: subject.into(), channel: channel.into(), parts }
    }

    /// The channel and the key of a publication on `subject` (without the live prefix). The key joins the tokens that
    /// stand for the rule's `*` by dots: `signals:all` on `odin.signals.momentum.BTC` has the key `momentum.BTC`.
    ///
    /// `None` when the subject is not this topic's, or when it would give a channel that no client can subscribe to:
    /// such a publication is unmapped.
    pub fn name<'a>(&'a self, subject: &str) -> Option<(Cow<'a, str>, Option<String>)> {
        if self.parts.is_empty() {
            return (*self.subject == *subject).then_some((Cow::Borrowed(&*self.channel), None));
        }
        let mut channel = Cow::Borrowed(&*self.channel);
        let mut key: Option<String> = None;
        let mut tokens = subject.split('.');
        for part in &self.parts {
            let token = tokens.next().filter(|token| !token.is_empty())?;
            match part {
                Part::Fixed(text) if **text == *token => {}
                Part::Fixed(_) => return None,
                Part::Channel if is_segment(token) => channel.to_mut().push_str(token),
                Part::Channel => return None,
                Part::Key => match &mut key {
                    Some(key) => {
                        key.push('.');
                        key.push_str(token);
                    }
                    None => key = Some(token.to_owned()),
                },
            }
        }
        (tokens.next().is_none() && channel.len() <= MAX_CHANNEL_BYTES).then_some((channel, key))
    }
}
