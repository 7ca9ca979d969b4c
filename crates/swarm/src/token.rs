//! Tokens of signed-in clients.

use std::time::{SystemTime, UNIX_EPOCH};

use jsonwebtoken::{EncodingKey, Header, encode};
use odin_protocol::Secret;
use serde::Serialize;

use crate::args::Args;

/// How long a token lives beyond the run.
const SPARE_S: u64 = 3600;

/// Where tokens come from. `Debug` shows none.
pub struct Tokens {
    kind: Kind,
}

enum Kind {
    Same(Secret),
    Made { key: Box<EncodingKey>, users: u32, tier: String, life_s: u64 },
}

#[derive(Serialize)]
struct Claims<'a> {
    sub: String,
    tier: &'a str,
    iat: u64,
    exp: u64,
}

impl Tokens {
    /// As the options say; `None` if nobody signs in.
    ///
    /// # Errors
    /// The secret is shorter than gateways allow.
    pub fn new(args: &Args) -> Result<Option<Tokens>, String> {
        if let Some(token) = &args.token {
            return Ok(Some(Tokens { kind: Kind::Same(token.clone()) }));
        }
        let Some(secret) = &args.secret else { return Ok(None) };
        if secret.expose().len() < 32 {
            return Err("--secret is shorter than 32 bytes".to_owned());
        }
        let key = Box::new(EncodingKey::from_secret(secret.expose().as_bytes()));
        let life_s = (args.duration + args.settle).as_secs() + SPARE_S;
        Ok(Some(Tokens { kind: Kind::Made { key, users: args.users, tier: args.tier.clone(), life_s } }))
    }

    /// A fresh token of a client, by its number among all.
    ///
    /// # Panics
    /// Never: what is signed is plain text.
    pub fn of(&self, client: u32) -> Secret {
        match &self.kind {
            Kind::Same(token) => token.clone(),
            Kind::Made { key, users, tier, life_s } => {
                let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
                let claims = Claims { sub: format!("swarm-{}", client % users), tier, iat: now, exp: now + life_s };
                Secret::new(encode(&Header::default(), &claims, key).expect("a claim is text"))
            }
        }
    }
}

impl std::fmt::Debug for Tokens {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Tokens(***)")
    }
}
