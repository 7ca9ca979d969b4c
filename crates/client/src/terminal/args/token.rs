//! What `odin token` is told.

use std::path::PathBuf;
use std::time::{Duration, SystemTime};

use clap::{ArgGroup, Args as Group, Subcommand};
use jsonwebtoken::Algorithm;
use odin_client::protocol::{Channel, Secret};
use serde_json::{Map, Value};

use super::sign_in::secret;

#[derive(Debug, Group)]
#[command(args_conflicts_with_subcommands = true, subcommand_negates_reqs = true)]
pub(crate) struct Token {
    #[command(subcommand)]
    pub(crate) command: Option<TokenCommand>,
    /// Show what a token says, without a check of its signature; - reads it from standard input
    #[arg(long, exclusive = true, value_name = "TOKEN|-", value_parser = secret)]
    pub(crate) inspect: Option<Secret>,
    #[command(flatten)]
    pub(crate) key: Key,
    #[command(flatten)]
    pub(crate) claims: Claims,
}

#[derive(Debug, Subcommand)]
pub(crate) enum TokenCommand {
    /// Print a new random API key, and on standard error its hash for the gateway's config
    ApiKey,
}

/// What to sign with.
#[derive(Debug, Group)]
#[command(group = ArgGroup::new("signed_with").args(["secret", "secret_file", "key_file", "inspect"]).required(true))]
pub(crate) struct Key {
    /// Sign with this shared secret; others on this machine can see it here
    #[arg(long, value_name = "TEXT", value_parser = secret)]
    pub(crate) secret: Option<Secret>,
    /// Sign with the shared secret in this file, without the line's end
    #[arg(long, value_name = "FILE")]
    pub(crate) secret_file: Option<PathBuf>,
    /// Sign with the private key in this file: PEM, RSA, P-256, P-384 or Ed25519, in PKCS #8
    #[arg(long, value_name = "FILE")]
    pub(crate) key_file: Option<PathBuf>,
    /// Algorithm [default: HS256, RS256, ES256, ES384 or EdDSA, as the key is]
    #[arg(long, value_name = "NAME", value_parser = algorithm)]
    pub(crate) alg: Option<Algorithm>,
    /// Name of the key, for the gateway to find it by
    #[arg(long, value_name = "NAME")]
    pub(crate) kid: Option<String>,
}

/// What the token says.
#[derive(Debug, Group)]
pub(crate) struct Claims {
    /// The user
    #[arg(long, value_name = "USER", required_unless_present = "inspect")]
    pub(crate) sub: Option<String>,
    /// The user's name, for people
    #[arg(long)]
    pub(crate) name: Option<String>,
    /// The user's tier
    #[arg(long)]
    pub(crate) tier: Option<String>,
    /// The user may do everything
    #[arg(long)]
    pub(crate) admin: bool,
    /// Channels and patterns that the user may have, such as price:BTC or 'price:*'
    #[arg(long, value_name = "PATTERN", num_args = 1.., value_delimiter = ',', value_parser = pattern)]
    pub(crate) allow: Vec<String>,
    /// Channels and patterns that the user may not have; they count more
    #[arg(long, value_name = "PATTERN", num_args = 1.., value_delimiter = ',', value_parser = pattern)]
    pub(crate) deny: Vec<String>,
    /// How long it lives, such as 15m or 1h; or never to expire
    #[arg(long, value_name = "TIME|never", default_value = "1h", value_parser = life)]
    pub(crate) expires_in: Life,
    /// When its life begins: a time from now, such as 5m, or a moment, such as 2030-01-01T00:00:00Z
    #[arg(long, value_name = "TIME", value_parser = moment)]
    pub(crate) not_before: Option<Moment>,
    /// Who made it
    #[arg(long, value_name = "NAME")]
    pub(crate) issuer: Option<String>,
    /// Whom it is for; several separated by commas
    #[arg(long, value_name = "NAME", value_delimiter = ',')]
    pub(crate) audience: Vec<String>,
    /// Its own name, by which it can be revoked [default: a new UUID]
    #[arg(long, value_name = "ID")]
    pub(crate) jti: Option<String>,
    /// More claims, a JSON object; they count more than all others
    #[arg(long, value_name = "JSON", value_parser = object)]
    pub(crate) claims: Option<Map<String, Value>>,
}

/// How long a token lives; `None`: for ever.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Life(pub(crate) Option<Duration>);

/// A point in time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Moment {
    FromNow(Duration),
    At(SystemTime),
}

fn algorithm(text: &str) -> Result<Algorithm, String> {
    text.parse().map_err(|_| "not an algorithm for tokens".to_owned())
}

/// A channel or pattern, or `*` for all.
fn pattern(text: &str) -> Result<String, String> {
    if text != "*" {
        Channel::parse(text).map_err(|error| error.to_string())?;
    }
    Ok(text.to_owned())
}

fn life(text: &str) -> Result<Life, String> {
    match text {
        "never" => Ok(Life(None)),
        _ => humantime::parse_duration(text).map(|life| Life(Some(life))).map_err(|error| error.to_string()),
    }
}

fn moment(text: &str) -> Result<Moment, String> {
    match humantime::parse_duration(text) {
        Ok(wait) => Ok(Moment::FromNow(wait)),
        Err(error) => humantime::parse_rfc3339(text).map(Moment::At).map_err(|_| error.to_string()),
    }
}

fn object(text: &str) -> Result<Map<String, Value>, String> {
    serde_json::from_str(text).map_err(|error| format!("not a JSON object: {error}"))
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::super::{Args, Command};
    use super::*;

    fn parse(args: &[&str]) -> Result<Token, String> {
        let args = ["odin", "token"].into_iter().chain(args.iter().copied());
        match Args::try_parse_from(args).map_err(|error| error.to_string())?.command {
            Command::Token(token) => Ok(*token),
            _ => panic!("not token"),
        }
    }

    #[test]
    fn needs_a_user_and_one_key() {
        assert!(parse(&["--sub", "u", "--secret", "s"]).is_ok());
        for missing in [&["--sub", "u"][..], &["--secret", "s"], &["--sub", "u", "--secret", "s", "--key-file", "f"]] {
            assert!(parse(missing).is_err(), "{missing:?}");
        }
        assert!(parse(&["--inspect", "a.b.c"]).expect("alone").inspect.is_some());
        assert!(parse(&["--inspect", "a.b.c", "--sub", "u"]).is_err());
        assert!(matches!(parse(&["api-key"]).expect("alone").command, Some(TokenCommand::ApiKey)));
    }

    #[test]
    fn reads_lists_times_and_claims() {
        let token = parse(&[
            "--sub",
            "u",
            "--secret",
            "s",
            "--allow",
            "price:*",
            "signals:all",
            "--allow",
            "chat:x,*",
            "--expires-in",
            "never",
            "--not-before",
            "2030-01-01T00:00:00Z",
            "--claims",
            r#"{"a":1}"#,
        ]);
        let Claims { allow, expires_in, not_before, claims, .. } = token.expect("valid").claims;
        assert_eq!(allow, ["price:*", "signals:all", "chat:x", "*"]);
        assert_eq!(expires_in, Life(None));
        assert!(matches!(not_before, Some(Moment::At(_))));
        assert_eq!(claims.expect("given").len(), 1);
        assert_eq!(moment("5m"), Ok(Moment::FromNow(Duration::from_secs(300))));
    }

    #[test]
    fn refuses_what_makes_no_sense() {
        let more =
            |args: &[&str]| parse(&["--sub", "u", "--secret", "s"].iter().chain(args).copied().collect::<Vec<_>>());
        for args in [
            ["--allow", "price:>"],
            ["--deny", ""],
            ["--expires-in", "soon"],
            ["--not-before", "yesterday"],
            ["--claims", "[]"],
            ["--alg", "none"],
        ] {
            assert!(more(&args).is_err(), "{args:?}");
        }
    }

    /// Checklist 17: neither secret nor token in what the arguments show of themselves.
    #[test]
    fn debug_shows_no_secret() {
        let shown = format!("{:?}", parse(&["--sub", "u", "--secret", "hidden"]).expect("valid"));
        assert!(shown.contains("***") && !shown.contains("hidden"), "{shown}");
    }
}
