//! What stands in the control stream: subjects and bodies.
//!
//! Below the stream's first subject, `log.>` is the log that every gateway reads: `log.user.<key>` and `log.token.<key>`
//! are revocations, one for each, of which the stream keeps the last; `log.once.<uuid>` are orders to be carried out
//! once. `slot.>` is what users have taken of a strict limit, and no business of the log.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::revocations::{Revocation, RevocationId};
use crate::cluster::MAX_SUB_BYTES;
use crate::config::Config;

/// How long an order to be carried out once can be read. A gateway that is cut off for longer never hears of it.
pub(super) const ORDER_LIFE: Duration = Duration::from_secs(60);

/// Characters of a message for people.
pub(crate) const MAX_MESSAGE_CHARS: usize = 1024;

/// The subjects of a control stream.
#[derive(Debug, Clone)]
pub(crate) struct Subjects {
    prefix: String,
}

/// One message of the log.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case", rename_all_fields = "camelCase")]
pub(super) enum Record {
    /// The token is not believed until then.
    RevokeToken { jti: Box<str>, until_ms: i64 },
    /// Neither is what the user brings, or what was made before a time.
    RevokeUser {
        sub: Box<str>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        issued_before_ms: Option<i64>,
        until_ms: i64,
    },
    /// The revocation on this subject does not count any more.
    Lift,
    /// The user's connections end.
    Disconnect { sub: Box<str> },
    /// People are told something: the user's, or all.
    Notice {
        #[serde(default, skip_serializing_if = "Option::is_none")]
        sub: Option<Box<str>>,
        message: Box<str>,
    },
}

/// Where a message of the log stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Place {
    /// There is one for each token and user.
    Revocation(RevocationId),
    /// With the order's id.
    Once(Box<str>),
}

impl Subjects {
    /// Those of the configured stream.
    pub(crate) fn of(config: &Config) -> Self {
        let first = config.control_stream.subjects.first().map_or("", String::as_str);
        Self { prefix: first.trim_end_matches('>').trim_end_matches('.').to_owned() }
    }

    /// Everything that the log is made of.
    pub(super) fn log(&self) -> String {
        format!("{}.log.>", self.prefix)
    }

    pub(super) fn revocation(&self, id: RevocationId) -> String {
        format!("{}.log.{id}", self.prefix)
    }

    pub(super) fn once(&self, id: &str) -> String {
        format!("{}.log.once.{id}", self.prefix)
    }

    /// The slots of one user: their subjects are this with a number behind it.
    pub(crate) fn slots(&self, key: crate::cluster::Key) -> String {
        format!("{}.slot.{key}.", self.prefix)
    }

    /// What a subject of the log is for.
    pub(super) fn place(&self, subject: &str) -> Option<Place> {
        let place = subject.strip_prefix(&self.prefix)?.strip_prefix(".log.")?;
        match place.strip_prefix("once.") {
            Some(id) => (!id.contains('.') && id.len() <= 64).then(|| Place::Once(id.into())),
            None => place.parse().ok().map(Place::Revocation),
        }
    }
}

impl Record {
    /// What a body says, if it is one that a gateway wrote.
    pub(super) fn parse(body: &[u8]) -> Option<Self> {
        let record: Self = serde_json::from_slice(body).ok()?;
        let is_name = |name: &str| !name.is_empty() && name.len() <= MAX_SUB_BYTES;
        let is_sane = match &record {
            Self::RevokeToken { jti, .. } => is_name(jti),
            Self::RevokeUser { sub, .. } | Self::Disconnect { sub } => is_name(sub),
            Self::Lift => true,
            Self::Notice { sub, message } => {
                sub.as_deref().is_none_or(is_name) && message.chars().count() <= MAX_MESSAGE_CHARS
            }
        };
        is_sane.then_some(record)
    }

    pub(super) fn of(revocation: &Revocation, until_ms: i64) -> Self {
        match revocation {
            Revocation::Token { id } => Self::RevokeToken { jti: (&**id).into(), until_ms },
            Revocation::User { sub, issued_before_ms } => {
                Self::RevokeUser { sub: (&**sub).into(), issued_before_ms: *issued_before_ms, until_ms }
            }
        }
    }

    pub(super) fn body(&self) -> Vec<u8> {
        serde_json::to_vec(self).expect("strings and numbers only")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cluster::Key;

    #[test]
    fn subjects_tell_what_stands_there() {
        let subjects = Subjects::of(&Config::default());
        let id = RevocationId::User(Key::of("a.b.> *"));
        assert_eq!(subjects.log(), "odinctl.log.>");
        assert_eq!(subjects.place(&subjects.revocation(id)), Some(Place::Revocation(id)));
        assert_eq!(subjects.place(&subjects.once("x-1")), Some(Place::Once("x-1".into())));
        for subject in
            ["odinctl.log", "odinctl.log.x", "odinctl.log.user.x", "odinctl.slot.x.1", "x", "odinctl.log.once.a.b"]
        {
            assert_eq!(subjects.place(subject), None, "{subject}");
        }
    }

    #[test]
    fn bodies_are_read_as_they_are_written() {
        let records = [
            Record::of(&Revocation::Token { id: "t".into() }, 5),
            Record::of(&Revocation::User { sub: "a".into(), issued_before_ms: None }, 5),
            Record::of(&Revocation::User { sub: "a".into(), issued_before_ms: Some(-1) }, 5),
            Record::Lift,
            Record::Disconnect { sub: "a".into() },
            Record::Notice { sub: None, message: "\"".into() },
        ];
        for record in records {
            assert_eq!(Record::parse(&record.body()), Some(record));
        }
        assert_eq!(
            String::from_utf8(Record::of(&Revocation::Token { id: "t".into() }, 5).body()).as_deref(),
            Ok(r#"{"type":"revoke_token","jti":"t","untilMs":5}"#)
        );
    }

    /// Attack: somebody writes to the control stream what no gateway would.
    #[test]
    fn nothing_else_is_an_order() {
        let long = "x".repeat(MAX_SUB_BYTES + 1);
        let bodies = [
            String::new(),
            "null".to_owned(),
            "[".repeat(10_000),
            r#"{"type":"reboot"}"#.to_owned(),
            r#"{"type":"disconnect","sub":""}"#.to_owned(),
            r#"{"type":"disconnect","sub":7}"#.to_owned(),
            format!(r#"{{"type":"disconnect","sub":"{long}"}}"#),
            format!(r#"{{"type":"notice","message":"{long}"}}"#),
            r#"{"type":"revoke_user","sub":"a"}"#.to_owned(),
        ];
        for body in bodies {
            assert_eq!(Record::parse(body.as_bytes()), None, "{body:.40}");
        }
    }
}
