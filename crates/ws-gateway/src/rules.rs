//! Channel rules: which channel leads to which NATS subject, for whom, and in which delivery mode.
//!
//! A rule is a pair of templates. What a client asks for is matched against the channel template; the subject is then
//! built from the *rule's* text, with each variable replaced by one segment that the channel grammar has already
//! cleaned. Client text never becomes a NATS subject in any other way, and no wildcard comes out of it: a `*` in the
//! subject is there because the operator wrote it, or because the rule says `pattern = true`.
//!
//! Everything that could go wrong here is found when the rules are built, not when a client subscribes.

mod defaults;
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
}

impl RuleSource {
    /// The time in `max_silence`. None also for one that is no time, which [`Rules::new`] has refused.
    fn silence(&self) -> Option<Duration> {
        self.max_silence.as_deref().and_then(|text| humantime::parse_duration(text).ok())
    }
}

fn is_false(value: &bool) -> bool {
    !*value
}

/// Who is asking. Grows when authentication exists.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Identity {
    /// Nobody has signed in on this connection.
    Anonymous,
}

/// What a channel stands for: the answer of [`Rules::resolve`].
#[derive(Clone, Debug, PartialEq, Eq)]
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

/// A rule that cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("rule {number} ({channel:?}): {fault}")]
pub struct RuleError {
    /// Position in the list, from 1.
    pub number: usize,
    /// Its channel template, to find it by.
    pub channel: String,
    /// What is wrong.
    pub fault: RuleFault,
}

/// What can be wrong with a rule.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RuleFault {
    /// The channel template does not follow the channel grammar.
    #[error("invalid channel template: {0}")]
    Channel(String),
    /// The subject template is not a subject.
    #[error("invalid subject template {0:?}: {1}")]
    Subject(String, String),
    /// A variable of the channel does not appear exactly once in the subject.
    #[error("variable {{{variable}}} must appear exactly once in subject {subject:?}, found {found} times")]
    Variable {
        /// Name of the variable.
        variable: String,
        /// The subject template.
        subject: String,
        /// How often it is there.
        found: usize,
    },
    /// The subject has a variable that the channel does not have.
    #[error("subject {subject:?} uses {{{variable}}}, which the channel does not have")]
    Unbound {
        /// Name of the variable.
        variable: String,
        /// The subject template.
        subject: String,
    },
    /// `{sub}` in the channel: a client could name another user.
    #[error("{{sub}} is the signed-in user and cannot be part of the channel")]
    OwnerInChannel,
    /// `access = "owner"` and `{sub}` belong together.
    #[error("access \"owner\" and {{sub}} in the subject need each other")]
    OwnerMismatch,
    /// `pattern = true` where no pattern is possible.
    #[error("pattern needs a variable without values as last segment after another one")]
    Pattern,
    /// `values` names an unknown variable, or holds something that is no channel segment.
    #[error("invalid values: {0}")]
    Values(String),
    /// `access = { tiers = [] }` lets nobody in.
    #[error("access lists no tier")]
    NoTiers,
    /// `where` without a field.
    #[error("where needs the name of a field")]
    Filter,
    /// `max_silence` is no time, or less than a second.
    #[error("invalid max_silence {0:?}: expected a time of at least 1s")]
    Silence(String),
    /// The stream does not store this subject.
    #[error("subject {0:?} lies outside the stream's subjects {1:?}")]
    OutsideStream(String, Vec<String>),
    /// The subject is one the gateways use among themselves.
    #[error("subject {0:?} covers {1:?}, which is odin's own")]
    Reserved(String, String),
    /// Some channel matches this rule and an earlier one.
    #[error("overlaps with rule {0} ({1:?}): some channel matches both")]
    Overlap(usize, String),
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
    /// Checks the rules and makes them usable. `subjects` are the stream's; `reserved` are subjects within them that no
    /// client may see.
    ///
    /// # Errors
    /// Every fault of every rule, in the order of the rules.
    pub fn new(sources: Vec<RuleSource>, subjects: &[String], reserved: &[&str]) -> Result<Rules, Vec<RuleError>> {
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
            if let Some(template) = template {
                template.check_reach(subjects, reserved, &mut faults);
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
    /// `unknown_channel` when no rule matches or the rule has no pattern; `auth_required` when the rule wants a user.
    pub fn resolve(&self, channel: &Channel, identity: &Identity) -> Result<Topic, Refusal> {
        let text = channel.as_str();
        let segments: Vec<&str> = text.split(':').collect();
        let Some(rule) = self.rules.iter().find(|rule| rule.template.matches(&segments)) else {
            return Err(Refusal::new(ErrorCode::UnknownChannel, format!("no rule for channel {text}")));
        };
        if channel.is_pattern() && !rule.source.pattern {
            return Err(Refusal::new(ErrorCode::UnknownChannel, format!("no pattern allowed in channel {text}")));
        }
        let owner: Option<&str> = match (&rule.source.access, identity) {
            (Access::Public, _) => None,
            (_, Identity::Anonymous) => {
                let message = format!("channel {text} needs a signed-in user");
                return Err(Refusal::new(ErrorCode::AuthRequired, message));
            }
        };
        let Some(subject) = rule.template.subject(&segments, owner) else {
            return Err(Refusal::new(ErrorCode::Forbidden, format!("channel {text} is not available to this user")));
        };
        let naming = Naming::new(&rule.template, &segments, &subject, text);
        Ok(Topic {
            channel: channel.clone(),
            subject,
            mode: rule.source.mode,
            client_may_choose_mode: rule.source.client_mode,
            filter: rule.source.filter.clone(),
            naming,
            max_silence: rule.source.silence(),
        })
    }
}

impl fmt::Debug for Rules {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.sources()).finish()
    }
}

#[cfg(test)]
mod tests;
