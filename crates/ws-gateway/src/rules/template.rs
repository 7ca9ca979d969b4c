//! A rule's two templates, parsed: match a channel, build its subject, compare with another rule.

use super::subject::{covers, overlaps, subject_fault};
use super::{Access, OWNER_VARIABLE, RuleFault, RuleSource};

/// Most segments a channel has, as the channel grammar says.
const MAX_SEGMENTS: usize = 4;
/// Longest segment of a channel in bytes, as the channel grammar says.
const MAX_SEGMENT_BYTES: usize = 64;

/// One segment of a channel template.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Segment {
    Literal(Box<str>),
    /// Any segment, or one of `values`.
    Variable {
        name: Box<str>,
        values: Option<Vec<String>>,
    },
}

/// One token of a subject template.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Token {
    Literal(Box<str>),
    /// The channel's segment at this index.
    Segment(usize),
    /// The signed-in user's id.
    Owner,
    /// `*`: any, and part of the update's key.
    Any,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Template {
    pub(super) channel: Vec<Segment>,
    pub(super) subject: Vec<Token>,
    pub(super) pattern: bool,
}

impl Template {
    /// Parses both templates; `None` when they are too broken to compare with others. Faults go to `faults`.
    pub(super) fn parse(source: &RuleSource, faults: &mut Vec<RuleFault>) -> Option<Template> {
        if matches!(&source.access, Access::Tiers(tiers) if tiers.is_empty()) {
            faults.push(RuleFault::NoTiers);
        }
        if source.filter.as_ref().is_some_and(|filter| filter.field.is_empty()) {
            faults.push(RuleFault::Filter);
        }
        let channel = parse_channel(source, faults);
        let subject = parse_subject(source, channel.as_deref().unwrap_or_default(), channel.is_some(), faults);
        let (channel, subject) = (channel?, subject?);

        let has_owner = subject.contains(&Token::Owner);
        if has_owner != (source.access == Access::Owner) {
            faults.push(RuleFault::OwnerMismatch);
        }
        let last_is_open = matches!(channel.last(), Some(Segment::Variable { values: None, .. }));
        if source.pattern && !(channel.len() > 1 && last_is_open) {
            faults.push(RuleFault::Pattern);
        }
        Some(Template { channel, subject, pattern: source.pattern })
    }

    /// Checks that the subject stays where it may be.
    pub(super) fn check_reach(&self, subjects: &[String], reserved: &[&str], faults: &mut Vec<RuleFault>) {
        let widest = self.widest_subject();
        if !subjects.iter().any(|outer| covers(outer, &widest)) {
            faults.push(RuleFault::OutsideStream(widest.clone(), subjects.to_vec()));
        }
        for own in reserved {
            if overlaps(own, &widest) {
                faults.push(RuleFault::Reserved(widest.clone(), (*own).to_owned()));
            }
        }
    }

    /// Whether a channel names one subject, for whoever passes `access`.
    pub(super) fn can_publish(&self, access: &Access) -> bool {
        let has_owner = self.subject.contains(&Token::Owner);
        !self.subject.contains(&Token::Any) && has_owner == (*access == Access::Owner)
    }

    /// The filter that matches every subject this rule can give.
    fn widest_subject(&self) -> String {
        let token = |token: &Token| match token {
            Token::Literal(text) => text.to_string(),
            Token::Segment(_) | Token::Owner | Token::Any => "*".to_owned(),
        };
        self.subject.iter().map(token).collect::<Vec<_>>().join(".")
    }

    /// Whether some channel, pattern or not, matches both.
    pub(super) fn overlaps(&self, other: &Template) -> bool {
        self.channel.len() == other.channel.len()
            && self.channel.iter().zip(&other.channel).all(|(left, right)| match (left, right) {
                (Segment::Literal(left), Segment::Literal(right)) => left == right,
                (Segment::Literal(text), Segment::Variable { values, .. })
                | (Segment::Variable { values, .. }, Segment::Literal(text)) => {
                    values.as_ref().is_none_or(|values| values.iter().any(|value| **value == **text))
                }
                (Segment::Variable { values: left, .. }, Segment::Variable { values: right, .. }) => {
                    match (left, right) {
                        (Some(left), Some(right)) => left.iter().any(|value| right.contains(value)),
                        _ => true,
                    }
                }
            })
    }

    /// Whether a channel with these segments is this rule's. `*` as last segment matches any last variable, so that a
    /// pattern that the rule does not allow can be refused by name.
    pub(super) fn matches(&self, segments: &[&str]) -> bool {
        self.channel.len() == segments.len()
            && self.channel.iter().zip(segments).all(|(segment, text)| match segment {
                Segment::Literal(literal) => **literal == **text,
                Segment::Variable { values, .. } => {
                    *text == "*" || values.as_ref().is_none_or(|values| values.iter().any(|value| value == text))
                }
            })
    }

    /// The NATS subject of a channel with these segments; `None` when the user's id cannot be a subject token.
    pub(super) fn subject(&self, segments: &[&str], owner: Option<&str>) -> Option<String> {
        let mut subject = String::new();
        for token in &self.subject {
            if !subject.is_empty() {
                subject.push('.');
            }
            subject.push_str(match token {
                Token::Literal(text) => text,
                Token::Segment(index) => segments[*index],
                // The id comes from a token somebody else signed: it gets no dot, no wildcard, no space through.
                Token::Owner => owner.filter(|id| is_segment(id))?,
                Token::Any => "*",
            });
        }
        Some(subject)
    }
}

/// Whether the text is one segment of a channel: 1–64 of `[A-Za-z0-9_-]`. Such a text is also one plain subject token.
pub(super) fn is_segment(text: &str) -> bool {
    (1..=MAX_SEGMENT_BYTES).contains(&text.len())
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-')
}

/// `{name}` → `name`, if the whole text is that.
fn variable(text: &str) -> Option<&str> {
    text.strip_prefix('{')?.strip_suffix('}').filter(|name| is_segment(name))
}

fn parse_channel(source: &RuleSource, faults: &mut Vec<RuleFault>) -> Option<Vec<Segment>> {
    let before = faults.len();
    let mut segments: Vec<Segment> = Vec::new();
    for text in source.channel.split(':') {
        if let Some(name) = variable(text) {
            if name == OWNER_VARIABLE {
                faults.push(RuleFault::OwnerInChannel);
            }
            let twice =
                |segment: &Segment| matches!(segment, Segment::Variable { name: other, .. } if **other == *name);
            if segments.iter().any(twice) {
                faults.push(RuleFault::Channel(format!("{{{name}}} is there twice")));
            }
            segments.push(Segment::Variable { name: name.into(), values: source.values.get(name).cloned() });
        } else if is_segment(text) {
            segments.push(Segment::Literal(text.into()));
        } else {
            faults.push(RuleFault::Channel(format!("{text:?} is neither a segment nor a {{variable}}")));
        }
    }
    if segments.len() > MAX_SEGMENTS {
        faults.push(RuleFault::Channel(format!("{} segments, at most {MAX_SEGMENTS}", segments.len())));
    }
    for (name, values) in &source.values {
        let known = |segment: &Segment| matches!(segment, Segment::Variable { name: other, .. } if **other == **name);
        if !segments.iter().any(known) {
            faults.push(RuleFault::Values(format!("the channel has no {{{name}}}")));
        }
        if values.is_empty() {
            faults.push(RuleFault::Values(format!("{name} has none")));
        }
        for value in values.iter().filter(|value| !is_segment(value)) {
            faults.push(RuleFault::Values(format!("{name} = {value:?} is no channel segment")));
        }
    }
    (faults.len() == before).then_some(segments)
}

fn parse_subject(
    source: &RuleSource,
    channel: &[Segment],
    channel_is_known: bool,
    faults: &mut Vec<RuleFault>,
) -> Option<Vec<Token>> {
    let before = faults.len();
    let subject = &source.subject;
    let mut tokens = Vec::new();
    let mut plain = Vec::new();
    for text in subject.split('.') {
        let Some(name) = variable(text) else {
            plain.push(text);
            tokens.push(if text == "*" { Token::Any } else { Token::Literal(text.into()) });
            continue;
        };
        plain.push("*");
        let is_it = |segment: &Segment| matches!(segment, Segment::Variable { name: other, .. } if **other == *name);
        if name == OWNER_VARIABLE {
            tokens.push(Token::Owner);
        } else if let Some(index) = channel.iter().position(is_it) {
            tokens.push(Token::Segment(index));
        } else if channel_is_known {
            faults.push(RuleFault::Unbound { variable: name.to_owned(), subject: subject.clone() });
        }
    }
    let plain = plain.join(".");
    if let Some(fault) = subject_fault(&plain) {
        faults.push(RuleFault::Subject(subject.clone(), fault.to_owned()));
    } else if plain.ends_with('>') {
        // A key has one part for each `*`; behind `>` it would have any number.
        faults.push(RuleFault::Subject(subject.clone(), "> is not possible, write one * for each token".to_owned()));
    }
    let mut once = |name: &str, wanted: &Token, least: usize| {
        let found = tokens.iter().filter(|token| *token == wanted).count();
        if !(least..=1).contains(&found) {
            faults.push(RuleFault::Variable { variable: name.to_owned(), subject: subject.clone(), found });
        }
    };
    for (index, segment) in channel.iter().enumerate() {
        if let Segment::Variable { name, .. } = segment {
            once(name, &Token::Segment(index), 1);
        }
    }
    once(OWNER_VARIABLE, &Token::Owner, 0);
    (faults.len() == before).then_some(tokens)
}
