//! `odin token`: tokens and API keys for development, and what a token says. It is no identity provider: it keeps
//! nothing, and revokes nothing.

mod api_key;
mod claims;
mod inspect;
mod key;

use std::io::{self, Read, Write};
use std::time::SystemTime;

use anyhow::Context;
use odin_client::MAX_TOKEN_BYTES;

use super::{
    args::{Token, TokenCommand},
    exit::Exit,
    note::note,
};

/// Makes, or shows.
pub(crate) fn run(args: Token) -> anyhow::Result<Exit> {
    let mut out = io::stdout().lock();
    if let Some(TokenCommand::ApiKey) = args.command {
        let key = api_key::generate()?;
        writeln!(out, "{}", key.text)?;
        note(format_args!("{}", key.hash));
        return Ok(Exit::Done);
    }
    let now = SystemTime::now();
    let outcome = match args.inspect {
        Some(token) if token.expose() == "-" => {
            let mut text = String::new();
            let limit = 2 * MAX_TOKEN_BYTES as u64;
            io::stdin().lock().take(limit).read_to_string(&mut text).context("cannot read standard input")?;
            inspect::show(&text, now)
        }
        Some(token) => inspect::show(token.expose(), now),
        None => {
            let claims = claims::build(args.claims, now);
            claims.and_then(|claims| key::sign(&args.key, &claims)).map(|token| (token, Vec::new()))
        }
    };
    match outcome {
        Ok((text, notes)) => {
            writeln!(out, "{text}")?;
            notes.iter().for_each(|line| note(format_args!("odin: {line}")));
            Ok(Exit::Done)
        }
        Err(reason) => {
            note(format_args!("odin: {reason}"));
            Ok(Exit::Usage)
        }
    }
}
