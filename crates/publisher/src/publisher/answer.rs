//! What a server says to one attempt, and whether trying again can help.

use std::borrow::Cow;

use async_nats::{Message, StatusCode};
use serde::Deserialize;

/// JetStream's codes that pass by themselves: elections, catching up, an id still being proposed.
const TRANSIENT: [u64; 12] = [
    10004, // cluster incomplete
    10006, // cluster not active
    10007, // cluster not assigned
    10008, // system temporarily unavailable
    10009, // not the leader
    10023, // insufficient resources
    10041, // raft
    10118, // stream offline
    10158, // duplicate message id is in process
    10163, // last sequence per subject not ready
    10167, // too many requests
    10194, // stream offline, with a reason
];
const WRONG_LAST_SEQUENCE: [u64; 2] = [10071, 10164];
const MESSAGE_EXCEEDS_MAXIMUM: u64 = 10054;

/// One answer, sorted by what to do about it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Answer {
    /// Stored, now or by an earlier attempt.
    Stored { sequence: u64, duplicate: bool },
    /// Nobody listens on the subject: no stream, or no leader at the moment.
    NoResponders,
    /// Not stored by this attempt; another may succeed.
    Transient { code: u64, description: String },
    /// Something else is the last of the subject.
    WrongLastSequence { description: String },
    /// Over the stream's limit.
    TooLarge { description: String },
    /// Not stored, and never will be.
    Rejected { code: u64, description: String },
    /// Not an acknowledgement: something else answers on this subject. Nothing is known about the message.
    Unreadable,
}

#[derive(Deserialize)]
struct Body<'a> {
    #[serde(default)]
    seq: u64,
    #[serde(default)]
    duplicate: bool,
    #[serde(borrow)]
    error: Option<Fault<'a>>,
}

#[derive(Deserialize)]
struct Fault<'a> {
    #[serde(default)]
    code: u64,
    #[serde(default)]
    err_code: u64,
    #[serde(borrow, default)]
    description: Cow<'a, str>,
}

impl Answer {
    /// Reads the message that came to an attempt's reply subject.
    pub(crate) fn read(message: &Message) -> Answer {
        match message.status {
            Some(StatusCode::NO_RESPONDERS) => Answer::NoResponders,
            Some(status) if status != StatusCode::OK => Answer::Transient {
                code: u64::from(status.as_u16()),
                description: message.description.clone().unwrap_or_default(),
            },
            _ => Answer::parse(&message.payload),
        }
    }

    fn parse(body: &[u8]) -> Answer {
        match serde_json::from_slice::<Body<'_>>(body) {
            Ok(Body { error: Some(fault), .. }) => fault.into(),
            Ok(Body { seq, duplicate, error: None }) if seq > 0 => Answer::Stored { sequence: seq, duplicate },
            _ => Answer::Unreadable,
        }
    }
}

impl From<Fault<'_>> for Answer {
    fn from(fault: Fault<'_>) -> Answer {
        let description = fault.description.into_owned();
        match fault.err_code {
            code if WRONG_LAST_SEQUENCE.contains(&code) => Answer::WrongLastSequence { description },
            MESSAGE_EXCEEDS_MAXIMUM => Answer::TooLarge { description },
            code if TRANSIENT.contains(&code) => Answer::Transient { code, description },
            // an old server without codes: only the HTTP-like number speaks
            0 if fault.code >= 500 || fault.code == 429 => Answer::Transient { code: fault.code, description },
            0 => Answer::Rejected { code: fault.code, description },
            code => Answer::Rejected { code, description },
        }
    }
}

/// The subject in a server's "permissions violation" text, if it is one about publishing.
pub(crate) fn forbidden_subject(text: &str) -> Option<&str> {
    let lower = text.to_ascii_lowercase();
    let at = lower.find("permissions violation for publish")?;
    let rest = text.get(at..)?;
    let to = rest.find(" to \"")? + 5;
    let subject = rest.get(to..)?;
    subject.get(..subject.find('"')?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_acknowledgements() {
        assert_eq!(Answer::parse(br#"{"stream":"ODIN","seq":7}"#), Answer::Stored { sequence: 7, duplicate: false });
        assert_eq!(
            Answer::parse(br#"{"stream":"ODIN","domain":"x","seq":7,"duplicate":true}"#),
            Answer::Stored { sequence: 7, duplicate: true }
        );
    }

    #[test]
    fn sorts_errors_by_what_to_do() {
        let answer = |code: u64, err_code: u64| {
            let body = format!(r#"{{"error":{{"code":{code},"err_code":{err_code},"description":"d\"x"}}}}"#);
            Answer::parse(body.as_bytes())
        };
        let description = || "d\"x".to_owned();
        assert_eq!(answer(400, 10071), Answer::WrongLastSequence { description: description() });
        assert_eq!(answer(400, 10054), Answer::TooLarge { description: description() });
        assert_eq!(answer(503, 10008), Answer::Transient { code: 10008, description: description() });
        assert_eq!(answer(503, 10077), Answer::Rejected { code: 10077, description: description() });
        assert_eq!(answer(503, 0), Answer::Transient { code: 503, description: description() });
        assert_eq!(answer(400, 0), Answer::Rejected { code: 400, description: description() });
    }

    #[test]
    fn knows_when_somebody_else_answered() {
        for body in [&b""[..], b"+ACK", b"{}", b"[]", b"{\"seq\":0}"] {
            assert_eq!(Answer::parse(body), Answer::Unreadable);
        }
    }

    #[test]
    fn finds_the_forbidden_subject() {
        assert_eq!(forbidden_subject("Permissions Violation for Publish to \"odin.a\""), Some("odin.a"));
        assert_eq!(forbidden_subject("Permissions Violation for Subscription to \"odin.a\""), None);
        assert_eq!(forbidden_subject("Permissions Violation for Publish to \"odin"), None);
    }
}
