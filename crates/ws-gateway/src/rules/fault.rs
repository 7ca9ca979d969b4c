//! What can be wrong with a rule.

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
    /// `delayed.by` is no time, or not less than the stream keeps.
    #[error("invalid delayed.by {0:?}: expected a time of at least 1s and less than stream.max_age")]
    Delay(String),
    /// `delayed` where everybody is let in at once, or where each user has a subject of his own.
    #[error("delayed has no meaning with access \"public\" or \"owner\"")]
    DelayAccess,
    /// `publish` where it is not clear to which subject.
    #[error("publish needs a subject without *, and {{sub}} in it if only the owner may")]
    Publish,
    /// Some channel matches this rule and an earlier one.
    #[error("overlaps with rule {0} ({1:?}): some channel matches both")]
    Overlap(usize, String),
}
