//! `odin publish`: one message, acknowledged by the stream.

use std::io::{self, Read, Write};
use std::time::Duration;

use anyhow::Context;
use odin_client::protocol::{Channel, validate_payload};
use odin_publisher::{Auth, Message, Options, Publisher, Subject};

use super::{args::Publish, exit::Exit, note::note, tally::millis};

/// How long one message is tried.
const RETRY_WINDOW: Duration = Duration::from_secs(10);

/// Publishes and prints the acknowledgement.
pub(crate) async fn run(args: Publish) -> anyhow::Result<Exit> {
    let subject = match subject(&args.target) {
        Ok(subject) => subject,
        Err(reason) => {
            note(format_args!("odin: {reason}"));
            return Ok(Exit::Usage);
        }
    };
    let payload = match args.payload.as_deref() {
        None | Some("-") => {
            let mut text = Vec::new();
            io::stdin().lock().read_to_end(&mut text).context("cannot read standard input")?;
            text
        }
        Some(text) => text.as_bytes().to_vec(),
    };
    if let Err(error) = validate_payload(&payload) {
        note(format_args!("odin: message is not what a gateway passes on: {error}"));
        return Ok(Exit::Usage);
    }
    let options = Options {
        urls: args.nats_url,
        auth: args.nats_creds.map_or(Auth::None, Auth::CredentialsFile),
        name: "odin publish".to_owned(),
        retry_window: RETRY_WINDOW,
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
fn subject(target: &str) -> Result<Subject, String> {
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
