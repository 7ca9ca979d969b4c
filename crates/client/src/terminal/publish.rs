//! `odin publish`: one message, acknowledged by the stream.

mod straight;
mod through_gateway;

use std::io::{self, Read};
use std::time::Duration;

use anyhow::Context;
use odin_client::protocol::validate_payload;
use odin_publisher::Subject;

use super::{
    args::{Link, Publish},
    exit::Exit,
    note::note,
};

/// How long one message is tried.
const LIMIT: Duration = Duration::from_secs(10);

/// Where it goes.
enum Way {
    Straight(Subject),
    Through(Link),
}

/// Publishes and prints the acknowledgement.
pub(crate) async fn run(mut args: Publish) -> anyhow::Result<Exit> {
    let way = match args.via.link.take() {
        Some(link) => Way::Through(link),
        None => match straight::subject(&args.target) {
            Ok(subject) => Way::Straight(subject),
            Err(reason) => {
                note(format_args!("odin: {reason}"));
                return Ok(Exit::Usage);
            }
        },
    };
    let payload = match args.payload.as_deref() {
        None | Some("-") => {
            let mut text = Vec::new();
            io::stdin().lock().read_to_end(&mut text).context("cannot read standard input")?;
            text
        }
        Some(text) => text.as_bytes().to_vec(),
    };
    let checked = validate_payload(&payload).map_err(|error| error.to_string());
    let payload = match checked.and_then(|()| String::from_utf8(payload).map_err(|error| error.to_string())) {
        Ok(payload) => payload,
        Err(error) => {
            note(format_args!("odin: message is not what a gateway passes on: {error}"));
            return Ok(Exit::Usage);
        }
    };
    match way {
        Way::Through(link) => through_gateway::publish(&link, &args.target, &payload, args.json).await,
        Way::Straight(subject) => straight::publish(args, subject, payload).await,
    }
}
