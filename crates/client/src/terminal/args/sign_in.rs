//! As whom to talk to a gateway: a token, or the file that holds one.

use std::convert::Infallible;
use std::ffi::OsString;

use clap::{ArgMatches, Args as Group, Command, FromArgMatches, error::ErrorKind, parser::ValueSource};
use odin_client::{TokenSource, protocol::Secret};

/// Where tokens come from; nothing: the connection is anonymous.
#[derive(Debug, Clone)]
pub(crate) struct SignIn {
    pub(crate) source: Option<TokenSource>,
}

/// As typed. What stands on the command line counts more than the environment, also between the two.
#[derive(Debug, Group)]
struct TypedSignIn {
    /// Sign in with this token; others on this machine can see it here, but not in the environment
    #[arg(long, env = "ODIN_TOKEN", hide_env_values = true, value_name = "TOKEN", value_parser = secret)]
    token: Option<Secret>,
    /// Sign in with what this file holds, read anew for each connection and each refresh
    #[arg(long, env = "ODIN_TOKEN_FILE", value_name = "FILE")]
    token_file: Option<OsString>,
}

/// As it is, and never shown.
pub(super) fn secret(text: &str) -> Result<Secret, Infallible> {
    Ok(Secret::new(text))
}

impl FromArgMatches for SignIn {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, clap::Error> {
        SignIn::from_arg_matches_mut(&mut matches.clone())
    }

    fn from_arg_matches_mut(matches: &mut ArgMatches) -> Result<Self, clap::Error> {
        let is_typed = |id| matches.value_source(id) == Some(ValueSource::CommandLine);
        let (has_token, has_file) = (is_typed("token"), is_typed("token_file"));
        let TypedSignIn { token, token_file } = TypedSignIn::from_arg_matches_mut(matches)?;
        // an empty variable is a way to unset it
        let token = token.filter(|token| has_token || !token.expose().is_empty());
        let token_file = token_file.filter(|path| has_file || !path.is_empty());
        let source = match (token, token_file) {
            (Some(_), Some(_)) if has_token == has_file => {
                return Err(clap::Error::raw(
                    ErrorKind::ArgumentConflict,
                    "a token and a file that holds one are given: which one counts?\n",
                ));
            }
            (Some(token), file) if has_token || file.is_none() => Some(TokenSource::constant(token.expose())),
            (_, file) => file.map(TokenSource::file),
        };
        Ok(SignIn { source })
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), clap::Error> {
        *self = SignIn::from_arg_matches(matches)?;
        Ok(())
    }
}

impl Group for SignIn {
    fn augment_args(command: Command) -> Command {
        TypedSignIn::augment_args(command)
    }

    fn augment_args_for_update(command: Command) -> Command {
        TypedSignIn::augment_args_for_update(command)
    }
}

#[cfg(test)]
mod tests {
    use clap::{CommandFactory, Parser};

    use super::super::{Args, Command as Odin};

    fn source(args: &[&str]) -> Result<String, String> {
        let args = ["odin", "tail", "price:BTC"].into_iter().chain(args.iter().copied());
        match Args::try_parse_from(args).map_err(|error| error.to_string())?.command {
            Odin::Tail(tail) => Ok(format!("{:?}", tail.gateway.link.sign_in.source)),
            _ => panic!("not tail"),
        }
    }

    #[test]
    fn takes_a_token_or_a_file_and_not_both() {
        assert_eq!(source(&["--token", "secret"]), Ok("Some(TokenSource::constant(***))".to_owned()));
        assert_eq!(source(&["--token-file", "f"]), Ok("Some(TokenSource::file(\"f\"))".to_owned()));
        let both = source(&["--token", "secret", "--token-file", "f"]).expect_err("which one?");
        assert!(both.contains("which one counts") && !both.contains("secret"), "{both}");
    }

    /// Checklist 17: the value in the environment is nobody's business.
    #[test]
    fn the_help_does_not_show_a_token() {
        let command = Args::command();
        let tail = command.find_subcommand("tail").expect("a command");
        let token = tail.get_arguments().find(|arg| arg.get_id() == "token").expect("an option");
        assert!(token.is_hide_env_values_set());
    }
}
