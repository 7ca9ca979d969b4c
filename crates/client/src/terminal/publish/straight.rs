//! Straight to the stream of a NATS server, by subject or by the channel of the default rules.

use std::io::{self, Write};

use odin_client::protocol::Channel;
use odin_publisher::{Auth, Message, Options, Publisher, Subject};

use super::{
    super::{args::Publish, exit::Exit, tally::millis},
    LIMIT,
};

/// Publishes and prints the acknowledgement.
pub(super) async fn publish(args: Publish, subject: Subject, payload: String) -> anyhow::Result<Exit> {
    let options = Options {
        urls: args.nats_url,
        auth: args.nats_creds.map_or(Auth::None, Auth::CredentialsFile),
        name: "odin publish".to_owned(),
        retry_window: LIMIT,
        ..Options::default()
    };
    let publisher = Publisher::connect(options).await?;
    let message = Message { id: args.id, ..Message::new(subject.clone(), payload) };
    let published = publisher.publish_message(message).await?.await?;
    let mut out = io::stdout().lock();
    if args.json {
        let ack = serde_json::json!({
            "subject": subject.as_str(),
            "seq": published.sequence,
            "duplicate": published.duplicate,
            "attempts": published.attempts,
        });
        writeln!(out, "{ack}")?;
    } else {
        let stored = if published.duplicate { "was stored before" } else { "stored" };
        let took = millis(published.latency);
        writeln!(
            out,
            "{stored} on {} as seq {} ({took}, attempts {})",
            subject.as_str(),
            published.sequence,
            published.attempts
        )?;
    }
    Ok(Exit::Done)
}

/// The subject that was meant: given as such, or as a channel under the gateway's default rules.
pub(super) fn subject(target: &str) -> Result<Subject, String> {
    if !target.contains(':') {
        return Subject::parse(target).map_err(|error| error.to_string());
    }
    let channel = Channel::parse(target).map_err(|error| error.to_string())?;
    let segments: Vec<&str> = channel.segments().collect();
    let subject = match segments[..] {
        ["price", token] if token != "*" => format!("odin.tokens.{token}.price"),
        ["volume", token] if token != "*" => format!("odin.tokens.{token}.volume"),
        ["prices", "batch"] => "odin.tokens.batch.update".to_owned(),
        ["market", kind] if kind != "*" => format!("odin.market.{kind}"),
        ["watchlist", symbol] if symbol != "*" => format!("odin.tokens.{symbol}.quote"),
        ["system", "health"] => "odin.system.health".to_owned(),
        _ => return Err(format!("channel {channel} does not stand for one subject: give the subject itself")),
    };
    Subject::parse(&subject).map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_the_subject_of_a_channel() {
        for (target, expected) in [
            ("odin.tokens.BTC.price", "odin.tokens.BTC.price"),
            ("price:BTC", "odin.tokens.BTC.price"),
            ("prices:batch", "odin.tokens.batch.update"),
            ("market:summary", "odin.market.summary"),
        ] {
            assert_eq!(subject(target).expect(target).as_str(), expected);
        }
    }

    #[test]
    fn refuses_what_is_not_one_subject() {
        for target in ["price:*", "signals:all", "trades:", "price:>", "odin.tokens.*.price", ""] {
            assert!(subject(target).is_err(), "{target}");
        }
    }
}
