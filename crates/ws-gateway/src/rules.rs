//! Channel rules: which channel leads to which NATS subject, for whom, and in which delivery mode.
//!
//! A rule is a pair of templates. What a client asks for is matched against the channel template; the subject is then
//! built from the *rule's* text, with each variable replaced by one segment that the channel grammar has already
//! cleaned. Client text never becomes a NATS subject in any other way, and no wildcard comes out of it: a `*` in the
//! subject is there because the operator wrote it, or because the rule says `pattern = true`.
//!
//! Everything that could go wrong here is found when the rules are built, not when a client subscribes.

mod defaults;
mod fault;
mod filter;
mod naming;
mod subject;
mod template;

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use odin_protocol::channel::Channel;
use odin_protocol::error::ErrorCode;
use odin_protocol::message::Mode;
use serde::{Deserialize, Serialize};

use crate::config::Stream;
use crate::identity::Identity;

pub use fault::{RuleError, RuleFault};
pub use filter::Filter;
pub use naming::Naming;
pub(crate) use subject::{covers, overlaps, subject_fault};
use template::Template;

/// The only variable that is filled from the signed-in user instead of from the channel.
pub const OWNER_VARIABLE: &str = "sub";

/// Who may subscribe to the channels of a rule.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Access {
    /// Everyone, signed in or not.
    Public,
    /// Every signed-in user.
    SignedIn,
    /// Signed-in users of one of these tiers.
    Tiers(Vec<String>),
    /// Only the user whose id is `{sub}` in the subject.
    Owner,
    /// Operators.
    Admin,
}

/// A rule as written in the configuration file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RuleSource {
    /// Channel template: segments joined by `:`, each a literal or a `{variable}`.
    pub channel: String,
    /// Subject template: tokens joined by `.`, each a literal, a `{variable}`, or `*` for "any, told apart by key".
    pub subject: String,
    /// Who may subscribe. Has no default, so that nothing is public by omission.
    pub access: Access,
    /// `latest` or `all`.
    pub mode: Mode,
    /// Whether a client may ask for the other mode.
    #[serde(default, skip_serializing_if = "is_false")]
    pub client_mode: bool,
    /// Whether `*` may stand for the last segment (`price:*`); that segment must be a variable without `values`.
    #[serde(default, skip_serializing_if = "is_false")]
    pub pattern: bool,
    /// Variables that take only these values.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub values: BTreeMap<String, Vec<String>>,
    /// Narrows the publications of the subject by their payload.
    #[serde(default, rename = "where", skip_serializing_if = "Option::is_none")]
    pub filter: Option<Filter>,
    /// Subscribers are told when nothing was published for longer, for example `30s`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_silence: Option<String>,
    /// Who may publish to the channels of the rule, besides those who speak NATS. Nobody when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub publish: Option<Access>,
    /// Who else may subscribe, and gets everything late.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub delayed: Option<Delayed>,
}

/// The same publications for others, later: read from the stream when their time has come.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Delayed {
    /// Who gets them late. Whom the rule lets in by its own `access` gets them at once.
    pub access: Access,
    /// How late, for example `15m`; less than the stream keeps.
    pub by: String,
}

impl Delayed {
    /// The time in `by`. None also for one that is no time, which [`Rules::new`] has refused.
    fn time(&self) -> Option<Duration> {
        humantime::parse_duration(&self.by).ok()
    }
}

impl RuleSource {
    /// A rule without any option.
    pub fn new(channel: &str, subject: &str, access: Access, mode: Mode) -> RuleSource {
        RuleSource {
            channel: channel.to_owned(),
            subject: subject.to_owned(),
            access,
            mode,
            client_mode: false,
            pattern: false,
            values: BTreeMap::new(),
            filter: None,
            max_silence: None,
            publish: None,
            delayed: None,
        }
    }

    /// The time in `max_silence`. None also for one that is no time, which [`Rules::new`] has refused.
    fn silence(&self) -> Option<Duration> {
        self.max_silence.as_deref().and_then(|text| humantime::parse_duration(text).ok())
    }
}

fn is_false(value: &bool) -> bool {
    !*value
}

/// What a channel stands for: the answer of [`Rules::resolve`]. Two that are equal are one feed.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Topic {
    /// The channel as the client named it.
    pub channel: Channel,
    /// NATS subject or filter, for example `odin.tokens.*.price`. Without the live prefix.
    pub subject: String,
    /// The rule's delivery mode.
    pub mode: Mode,
    /// Whether the client may choose the other mode.
    pub client_may_choose_mode: bool,
    /// Narrows the publications by payload.
    pub filter: Option<Filter>,
    /// From a publication's subject back to the names in its update.
    pub naming: Naming,
    /// Subscribers are told when nothing was published for longer.
    pub max_silence: Option<Duration>,
    /// Everything comes so much later.
    pub delay: Option<Duration>,
}

impl Topic {
    /// Whether whoever gets this pattern gets everything of `other` by it, at the same time.
    pub(crate) fn carries(&self, other: &Topic) -> bool {
        self.channel.is_pattern() && self.channel.matches(&other.channel) && self.delay == other.delay
    }
}

/// Why a channel was refused: a code and a text that are safe to send to the client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// Machine-readable reason.
    pub code: ErrorCode,
    /// Names the channel and the reason.
    pub message: String,
}

impl Refusal {
    fn new(code: ErrorCode, message: String) -> Refusal {
        Refusal { code, message }
    }
}

/// The usable rules: checked, and free of overlaps, so that at most one rule matches a channel.
#[derive(Clone, PartialEq, Eq)]
pub struct Rules {
    rules: Vec<Rule>,
}

#[derive(Clone, PartialEq, Eq)]
struct Rule {
    source: RuleSource,
    template: Template,
}

impl Rules {
    /// Checks the rules and makes them usable with this stream.
    ///
    /// # Errors
    /// Every fault of every rule, in the order of the rules.
    pub fn new(sources: Vec<RuleSource>, stream: &Stream) -> Result<Rules, Vec<RuleError>> {
        let mut errors = Vec::new();
        let mut rules: Vec<(usize, Rule)> = Vec::with_capacity(sources.len());
        for (index, source) in sources.into_iter().enumerate() {
            let number = index + 1;
            let channel = source.channel.clone();
            let mut faults = Vec::new();
            let template = Template::parse(&source, &mut faults);
            if let Some(text) = source.max_silence.clone()
                && source.silence().is_none_or(|time| time < Duration::from_secs(1))
            {
                faults.push(RuleFault::Silence(text));
            }
            if let Some(delayed) = &source.delayed {
                let fits = |time| time >= Duration::from_secs(1) && time < stream.max_age;
                if !delayed.time().is_some_and(fits) {
                    faults.push(RuleFault::Delay(delayed.by.clone()));
                }
                if matches!(source.access, Access::Public | Access::Owner) || delayed.access == Access::Owner {
                    faults.push(RuleFault::DelayAccess);
                }
            }
            if let Some(template) = template {
                template.check_reach(&stream.subjects, &stream.reserved(), &mut faults);
                if source.publish.as_ref().is_some_and(|access| !template.can_publish(access)) {
                    faults.push(RuleFault::Publish);
                }
                for (earlier, rule) in &rules {
                    if rule.template.overlaps(&template) {
                        faults.push(RuleFault::Overlap(*earlier, rule.source.channel.clone()));
                    }
                }
                rules.push((number, Rule { source, template }));
            }
            errors.extend(faults.into_iter().map(|fault| RuleError { number, channel: channel.clone(), fault }));
        }
        if errors.is_empty() {
            Ok(Rules { rules: rules.into_iter().map(|(_, rule)| rule).collect() })
        } else {
            Err(errors)
        }
    }

    /// The rules that apply when the configuration lists none.
    pub fn default_sources() -> Vec<RuleSource> {
        defaults::sources()
    }

    /// The rules as written.
    pub fn sources(&self) -> impl Iterator<Item = &RuleSource> {
        self.rules.iter().map(|rule| &rule.source)
    }

    /// What `channel` stands for when `identity` asks for it.
    ///
    /// # Errors
    /// `unknown_channel` when no rule matches or the rule has no pattern; `auth_required` when the rule wants a user;
    /// `forbidden` when this user may not have it.
    pub fn resolve(&self, channel: &Channel, identity: &Identity) -> Result<Topic, Refusal> {
        let (rule, segments) = self.find(channel)?;
        if channel.is_pattern() && !rule.source.pattern {
            return Err(Refusal::new(ErrorCode::UnknownChannel, format!("no pattern allowed in channel {channel}")));
        }
        let delay = match (rule.source.access.check(channel, identity), &rule.source.delayed) {
            (Ok(()), _) => None,
            (Err(_), Some(delayed)) if delayed.access.check(channel, identity).is_ok() => delayed.time(),
            (Err(refusal), _) => return Err(refusal),
        };
        let subject = rule.subject(channel, &segments, identity)?;
        let naming = Naming::new(&rule.template, &segments, &subject, channel.as_str());
        Ok(Topic {
            channel: channel.clone(),
            subject,
            mode: rule.source.mode,
            client_may_choose_mode: rule.source.client_mode,
            filter: rule.source.filter.clone(),
            naming,
            max_silence: rule.source.silence(),
            delay,
        })
    }

    /// The subject to which `identity` publishes when it names `channel`.
    ///
    /// # Errors
    /// As for [`resolve`](Self::resolve), and `unsupported` when nobody publishes to the channel through a gateway.
    pub fn publish_subject(&self, channel: &Channel, identity: &Identity) -> Result<String, Refusal> {
        let (rule, segments) = self.find(channel)?;
        let Some(access) = rule.source.publish.as_ref().filter(|_| !channel.is_pattern()) else {
            let message = format!("channel {channel} takes no publications from clients");
            return Err(Refusal::new(ErrorCode::Unsupported, message));
        };
        access.check(channel, identity)?;
        rule.subject(channel, &segments, identity)
    }

    fn find<'a>(&self, channel: &'a Channel) -> Result<(&Rule, Vec<&'a str>), Refusal> {
        let segments: Vec<&str> = channel.segments().collect();
        match self.rules.iter().find(|rule| rule.template.matches(&segments)) {
            Some(rule) => Ok((rule, segments)),
            None => Err(Refusal::new(ErrorCode::UnknownChannel, format!("no rule for channel {channel}"))),
        }
    }
}

impl Rule {
    fn subject(&self, channel: &Channel, segments: &[&str], identity: &Identity) -> Result<String, Refusal> {
        let owner = identity.user().map(|user| user.sub.as_str());
        self.template.subject(segments, owner).ok_or_else(|| {
            Refusal::new(ErrorCode::Forbidden, format!("channel {channel} is not available to this user"))
        })
    }
}

impl Access {
    /// Whether `identity` may have `channel`.
    ///
    /// # Errors
    /// `auth_required` without a user, `forbidden` for this one.
    fn check(&self, channel: &Channel, identity: &Identity) -> Result<(), Refusal> {
        let Some(user) = identity.user() else {
            if *self == Access::Public {
                return Ok(());
            }
            return Err(Refusal::new(ErrorCode::AuthRequired, format!("channel {channel} needs a signed-in user")));
        };
        let is_in = match self {
            // Whose it is, is in the subject.
            Access::Public | Access::SignedIn | Access::Owner => true,
            Access::Tiers(tiers) => user.is_admin || user.tier.as_ref().is_some_and(|tier| tiers.contains(tier)),
            Access::Admin => user.is_admin,
        };
        let is_allowed = user.allow.as_ref().is_none_or(|allow| allow.covers(channel));
        if is_in && is_allowed && !user.deny.touches(channel) {
            Ok(())
        } else {
            Err(Refusal::new(ErrorCode::Forbidden, format!("channel {channel} is not for this user")))
        }
    }
}

impl fmt::Debug for Rules {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.sources()).finish()
    }
}

#[cfg(test)]
mod tests;
