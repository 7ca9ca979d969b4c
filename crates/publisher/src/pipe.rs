//! `odin-publisher pipe`: publishes lines of JSON from standard input. The form of a line is in the command's long help.

use std::borrow::Cow;
use std::collections::HashMap;
use std::time::Duration;

use bytes::Bytes;
use odin_publisher::{Message, Subject, Template};
use serde_json::value::RawValue;
use tokio_util::sync::CancellationToken;

use crate::args::{LineArgs, Payload, PipeArgs};
use crate::feed::{self, Entry};
use crate::report::Report;
use crate::session::{self, Session, Setup};

pub(crate) async fn run(args: &PipeArgs, stop: CancellationToken) -> anyhow::Result<Report> {
    let mapping = Mapping::new(&args.line);
    let setup = Setup {
        command: "pipe",
        nats: &args.nats,
        publish: &args.publish,
        trace: &args.trace,
        report: &args.report,
        example: mapping.example(),
        total_bytes: None,
    };
    let strict = args.line.strict;
    session::run(setup, stop, async |session: &Session| {
        let records = feed::spawn(move |give| {
            let parse = |line: &[u8]| mapping.message(line).map(|message| Entry { message, at_us: None });
            feed::read_lines(std::io::stdin().lock(), parse, give);
        })?;
        feed::pump(session, records, None, strict).await
    })
    .await
}

/// How a line becomes a message.
#[derive(Clone, Debug)]
pub(crate) struct Mapping {
    template: Option<Template>,
    payload: Payload,
}

/// The members of a line, or of its data.
#[derive(Default, Debug)]
pub(crate) struct Members<'a>(HashMap<Cow<'a, str>, &'a RawValue>);

/// A line taken apart.
#[derive(Debug)]
pub(crate) struct Line<'a> {
    whole: &'a [u8],
    members: Members<'a>,
    /// The members of `data`, if it is an object.
    data: Members<'a>,
}

impl Mapping {
    pub(crate) fn new(args: &LineArgs) -> Mapping {
        Mapping { template: args.subject_template.clone(), payload: args.payload }
    }

    /// A subject like those of the messages, if there is a template.
    pub(crate) fn example(&self) -> Option<Subject> {
        self.template.as_ref().and_then(|template| template.fill(|_| Some("x".to_owned())).ok())
    }

    fn message(&self, line: &[u8]) -> Result<Message, String> {
        self.make(&Line::parse(line)?)
    }

    /// Makes a message of a line.
    pub(crate) fn make(&self, line: &Line<'_>) -> Result<Message, String> {
        let subject = self.subject(line)?;
        let mut message = Message::new(subject, self.payload(line)?);
        message.id = line.text("id").or_else(|| line.members.text("nonce")).or_else(|| line.data.text("nonce"));
        if let Some(ttl) = line.members.0.get("ttlSeconds") {
            let seconds: u64 = serde_json::from_str(ttl.get())
                .map_err(|_| "member \"ttlSeconds\" is not a whole number of seconds".to_owned())?;
            message.ttl = Some(Duration::from_secs(seconds));
        }
        Ok(message)
    }

    fn subject(&self, line: &Line<'_>) -> Result<Subject, String> {
        if let Some(template) = &self.template {
            return template.fill(|field| line.either(field)).map_err(|error| error.to_string());
        }
        let subject = if let Some(subject) = line.members.text("subject") {
            Subject::parse(&subject).map_err(|error| error.to_string())?
        } else if let Some(channel) = line.members.text("channel") {
            channel_subject(&channel)?
        } else if let Some(token) = line.members.text("token") {
            channel_subject(&format!("price:{token}"))?
        } else {
            return Err("none of \"subject\", \"channel\" and \"token\" is there, and no --subject-template".to_owned());
        };
        Ok(subject)
    }

    fn payload(&self, line: &Line<'_>) -> Result<Bytes, String> {
        let data = line.members.0.get("data").map(|data| Bytes::copy_from_slice(data.get().as_bytes()));
        match (self.payload, data) {
            (Payload::Data | Payload::Auto, Some(data)) => Ok(data),
            (Payload::Line, _) => Ok(Bytes::copy_from_slice(line.whole)),
            (Payload::Auto, None) if self.template.is_some() => Ok(Bytes::copy_from_slice(line.whole)),
            (Payload::Data | Payload::Auto, None) => Err("member \"data\" is missing".to_owned()),
        }
    }
}

impl<'a> Line<'a> {
    /// Takes a line apart.
    pub(crate) fn parse(line: &'a [u8]) -> Result<Line<'a>, String> {
        let members = Members::parse(line).map_err(|error| match error.classify() {
            serde_json::error::Category::Data => "not a JSON object".to_owned(),
            _ => format!("not JSON at byte {}", error.column()),
        })?;
        let data = members.0.get("data").and_then(|data| Members::parse(data.get().as_bytes()).ok());
        Ok(Line { whole: line, data: data.unwrap_or_default(), members })
    }

    /// A member of the line, or else of its data, as text.
    pub(crate) fn either(&self, name: &str) -> Option<String> {
        self.members.text(name).or_else(|| self.data.text(name))
    }

    fn text(&self, name: &str) -> Option<String> {
        self.members.text(name)
    }
}

impl<'a> Members<'a> {
    fn parse(object: &'a [u8]) -> serde_json::Result<Members<'a>> {
        /// Borrows keys without escapes.
        #[derive(serde::Deserialize, PartialEq, Eq, Hash)]
        struct Key<'a>(#[serde(borrow)] Cow<'a, str>);
        let members: HashMap<Key<'a>, &'a RawValue> = serde_json::from_slice(object)?;
        Ok(Members(members.into_iter().map(|(key, value)| (key.0, value)).collect()))
    }

    /// A member that is text or a number, as text.
    fn text(&self, name: &str) -> Option<String> {
        let raw = self.0.get(name)?.get();
        match raw.as_bytes().first()? {
            b'"' => serde_json::from_str(raw).ok(),
            b'-' | b'0'..=b'9' => Some(raw.to_owned()),
            _ => None,
        }
    }
}

/// The one subject of a channel, where it has only one.
fn channel_subject(channel: &str) -> Result<Subject, String> {
    let token = |template: &str, value: &str| {
        let template = Template::parse(template).expect("the templates are constants and valid");
        template.fill(|_| Some(value.to_owned())).map_err(|error| error.to_string())
    };
    match channel.split_once(':') {
        Some(("price", id)) => token("odin.tokens.{token}.price", id),
        Some(("volume", id)) => token("odin.tokens.{token}.volume", id),
        Some(("watchlist", symbol)) => token("odin.tokens.{symbol}.quote", symbol),
        Some(("market", kind)) => token("odin.market.{kind}", kind),
        Some(("prices", "batch")) => token("odin.tokens.batch.update", ""),
        Some(("system", "health")) => token("odin.system.health", ""),
        _ => {
            let shown: String = channel.chars().take(64).collect();
            Err(format!("channel {shown:?} has no one subject: give \"subject\" instead"))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plain() -> Mapping {
        Mapping { template: None, payload: Payload::Auto }
    }

    fn templated(payload: Payload) -> Mapping {
        Mapping { template: Some(Template::parse("odin.tokens.{tokenId}.price").unwrap()), payload }
    }

    #[test]
    fn takes_subject_channel_or_token() {
        for (line, subject) in [
            (r#"{"subject":"odin.a.b","data":1}"#, "odin.a.b"),
            (r#"{"channel":"price:BTC","data":1}"#, "odin.tokens.BTC.price"),
            (r#"{"channel":"volume:BTC","data":1}"#, "odin.tokens.BTC.volume"),
            (r#"{"channel":"watchlist:BTC","data":1}"#, "odin.tokens.BTC.quote"),
            (r#"{"channel":"market:summary","data":1}"#, "odin.market.summary"),
            (r#"{"channel":"prices:batch","data":1}"#, "odin.tokens.batch.update"),
            (r#"{"channel":"system:health","data":1}"#, "odin.system.health"),
            (r#"{"token":"ETH","data":1}"#, "odin.tokens.ETH.price"),
        ] {
            assert_eq!(plain().message(line.as_bytes()).unwrap().subject.as_str(), subject, "{line}");
        }
    }

    #[test]
    fn leaves_the_payload_as_it_stands() {
        let message = plain().message(br#"{"token":"BTC", "data": {"price": 1.50,"x":"\u00e4"} }"#).unwrap();
        assert_eq!(message.payload, br#"{"price": 1.50,"x":"\u00e4"}"#.as_slice());
    }

    #[test]
    fn fills_the_template_from_the_line_or_its_data() {
        let whole = br#"{"tokenId":"BTC","price":1}"#;
        let message = templated(Payload::Auto).message(whole).unwrap();
        assert_eq!((message.subject.as_str(), &message.payload[..]), ("odin.tokens.BTC.price", &whole[..]));
        let nested = br#"{"data":{"tokenId":7}}"#;
        let message = templated(Payload::Auto).message(nested).unwrap();
        assert_eq!((message.subject.as_str(), &message.payload[..]), ("odin.tokens.7.price", &br#"{"tokenId":7}"#[..]));
        assert_eq!(templated(Payload::Line).message(nested).unwrap().payload, nested.as_slice());
        assert!(templated(Payload::Data).message(whole).is_err());
    }

    #[test]
    fn finds_the_id_wherever_it_is() {
        for (line, id) in [
            (r#"{"token":"B","id":"i","nonce":"n","data":{"nonce":"d"}}"#, Some("i")),
            (r#"{"token":"B","nonce":"n","data":{"nonce":"d"}}"#, Some("n")),
            (r#"{"token":"B","data":{"nonce":"d"}}"#, Some("d")),
            (r#"{"token":"B","data":5}"#, None),
        ] {
            assert_eq!(plain().message(line.as_bytes()).unwrap().id.as_deref(), id, "{line}");
        }
        let message = plain().message(br#"{"token":"B","ttlSeconds":60,"data":1}"#).unwrap();
        assert_eq!(message.ttl, Some(Duration::from_secs(60)));
    }

    #[test]
    fn says_what_is_wrong_with_a_line() {
        for (line, reason) in [
            ("nonsense", "not JSON at byte"),
            (r#"{"token":"B","data":{}"#, "not JSON at byte"),
            (r#"["a"]"#, "not a JSON object"),
            (r#"{"data":1}"#, "none of \"subject\""),
            (r#"{"token":"B"}"#, "member \"data\" is missing"),
            (r#"{"token":"a.b","data":1}"#, "field \"token\" is \"a.b\""),
            (r#"{"subject":"a.*","data":1}"#, "subject \"a.*\" contains '*'"),
            (r#"{"channel":"signals:all","data":1}"#, "channel \"signals:all\" has no one subject"),
            (r#"{"token":"B","ttlSeconds":"x","data":1}"#, "member \"ttlSeconds\""),
        ] {
            let refused = plain().message(line.as_bytes()).unwrap_err();
            assert!(refused.starts_with(reason), "{line}: {refused}");
        }
        assert!(templated(Payload::Auto).message(b"{}").unwrap_err().starts_with("field \"tokenId\""));
    }
}
