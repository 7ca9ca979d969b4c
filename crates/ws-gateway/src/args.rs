//! What a person types. Nothing is judged here but the shape: values stay text until [`crate::config::build`], which
//! reports all that is wrong at once.

use std::ffi::OsString;
use std::net::SocketAddr;
use std::path::PathBuf;

use clap::{Arg, ArgAction, ArgMatches, Command, ValueEnum, ValueHint, value_parser};
use clap_complete::Shell;

use crate::config::{CONFIG_VARIABLE, Inputs, OPTIONS, Problem, Source};
use crate::health::Question;

/// What was typed.
#[derive(Debug)]
pub struct Args {
    /// What to do.
    pub action: Action,
    /// `--config`: the file to read.
    pub config_file: Option<PathBuf>,
    /// Option key and text of every flag.
    pub flags: Vec<(String, String)>,
}

/// What to do.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// Run the gateway.
    Serve,
    /// Say whether the configuration is valid.
    CheckConfig,
    /// Print the effective configuration.
    PrintConfig(Format),
    /// Create or verify the streams.
    Provision {
        /// Change what can be changed.
        update: bool,
    },
    /// Ask a running gateway how it is.
    Health {
        /// Whom; without it the one of the configuration.
        address: Option<SocketAddr>,
        /// What.
        question: Question,
    },
    /// Print a completion script.
    Completions(Shell),
}

/// How to print the configuration.
#[derive(Copy, Clone, Debug, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// As a file that `--config` takes.
    Toml,
    /// As one object.
    Json,
}

impl Args {
    /// Reads the command line, program name first.
    ///
    /// # Errors
    /// A wrong command line, or a request for help or the version: `clap` knows how to print all of them.
    pub fn parse(line: impl IntoIterator<Item = impl Into<OsString> + Clone>) -> Result<Args, clap::Error> {
        let matches = command().try_get_matches_from(line)?;
        let (name, matches) = matches.subcommand().expect("clap demands a command");
        let action = match name {
            "serve" => Action::Serve,
            "check-config" => Action::CheckConfig,
            "print-config" => Action::PrintConfig(*matches.get_one("format").expect("it has a default")),
            "provision" => Action::Provision { update: matches.get_flag("update") },
            "health" => Action::Health {
                address: matches.get_one("address").copied(),
                question: if matches.get_flag("live") { Question::Live } else { Question::Ready },
            },
            "completions" => {
                let shell = *matches.get_one("shell").expect("clap demands it");
                return Ok(Args { action: Action::Completions(shell), config_file: None, flags: Vec::new() });
            }
            other => unreachable!("clap knows no command {other}"),
        };
        Ok(Args { action, config_file: matches.get_one("config").cloned(), flags: flags(matches) })
    }

    /// All that was given, together with the environment and the file that `--config` or its variable names.
    ///
    /// # Errors
    /// When that file cannot be read, or is not UTF-8.
    pub fn inputs(&self, environment: impl Iterator<Item = (OsString, OsString)>) -> Result<Inputs, Problem> {
        // What is not UTF-8 cannot be one of ours, except as a value that then is reported as wrong.
        let environment: Vec<(String, String)> = environment
            .filter_map(|(name, value)| Some((name.into_string().ok()?, value.to_string_lossy().into_owned())))
            .collect();
        let variable = environment.iter().find(|(name, value)| name == CONFIG_VARIABLE && !value.is_empty());
        let named = match (self.config_file.clone(), variable) {
            (Some(path), _) => Some((path, Source::Flag("config".to_owned()))),
            (None, Some((name, value))) => Some((PathBuf::from(value), Source::Variable(name.clone()))),
            (None, None) => None,
        };
        let file = named.map(|(path, source_name)| match std::fs::read_to_string(&path) {
            Ok(text) => Ok((path, text)),
            Err(error) => {
                let message = format!("cannot read {}: {error}", path.display());
                Err(Problem { source_name, key: String::new(), message })
            }
        });
        Ok(Inputs { flags: self.flags.clone(), environment, file: file.transpose()? })
    }
}

/// The command line, with a flag for each option.
pub fn command() -> Command {
    let with_options = |name: &'static str, about: &'static str| {
        let config = Arg::new("config").long("config").value_name("FILE").value_parser(value_parser!(PathBuf));
        let help = format!("TOML file with options [env: {CONFIG_VARIABLE}]");
        let config = config.value_hint(ValueHint::FilePath).help(help);
        Command::new(name).about(about).arg(config).args(OPTIONS.iter().map(|opt| {
            let default = match opt.default_value() {
                toml::Value::String(text) if text.is_empty() => String::new(),
                value => format!(" [default: {value}]"),
            };
            let heading = if opt.table().is_empty() { "general" } else { opt.table() };
            Arg::new(opt.key)
                .long(opt.flag())
                .value_name(opt.value_name())
                .help(format!("{} [env: {}]{default}", opt.help, opt.variable()))
                .help_heading(heading)
                .allow_hyphen_values(true)
                .action(ArgAction::Set)
        }))
    };
    let format = Arg::new("format").long("format").value_parser(value_parser!(Format)).default_value("toml");
    let update = Arg::new("update").long("update").action(ArgAction::SetTrue);
    let live = Arg::new("live").long("live").action(ArgAction::SetTrue);
    let address = Arg::new("address").long("address").value_name("ADDRESS").value_parser(value_parser!(SocketAddr));
    let shell = Arg::new("shell").required(true).value_parser(value_parser!(Shell));
    Command::new("ws-gateway")
        .version(env!("CARGO_PKG_VERSION"))
        .about("Streams publications from NATS JetStream to WebSocket clients")
        .subcommand_required(true)
        .arg_required_else_help(true)
        .subcommand(with_options("serve", "Run the gateway until SIGTERM or SIGINT; a second signal ends it at once. SIGHUP reads the configuration again"))
        .subcommand(with_options("check-config", "Say everything that is wrong with the configuration"))
        .subcommand(
            with_options("print-config", "Print the effective configuration, secrets masked")
                .arg(format.help("Shape of the output")),
        )
        .subcommand(
            with_options("provision", "Create the JetStream streams, or verify those that exist")
                .arg(update.help("Change what differs and can be changed")),
        )
        .subcommand(
            with_options("health", "Ask a running gateway whether it is ready; exit code 0 if it is, else 1")
                .arg(live.help("Ask whether it runs at all"))
                .arg(address.help("Admin address of the gateway, instead of the configured one")),
        )
        .subcommand(Command::new("completions").about("Print a completion script").arg(shell.help("For this shell")))
}

fn flags(matches: &ArgMatches) -> Vec<(String, String)> {
    let given =
        OPTIONS.iter().filter_map(|opt| Some((opt.key.to_owned(), matches.get_one::<String>(opt.key)?.clone())));
    given.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_sound() {
        command().debug_assert();
    }

    #[test]
    fn every_option_is_a_flag_of_every_command_that_reads_it() {
        for name in ["serve", "check-config", "print-config", "provision"] {
            let command = command();
            let command = command.find_subcommand(name).expect("it exists");
            for opt in OPTIONS {
                assert!(
                    command.get_arguments().any(|arg| arg.get_long() == Some(&opt.flag())),
                    "{name} --{}",
                    opt.flag()
                );
            }
        }
    }

    #[test]
    fn flags_keep_their_text() {
        let args = Args::parse(["ws-gateway", "serve", "--limits-strikes", "-x", "--config", "a.toml"]).expect("valid");
        assert_eq!(args.action, Action::Serve);
        assert_eq!(args.flags, [("limits.strikes".to_owned(), "-x".to_owned())]);
        assert_eq!(args.config_file, Some(PathBuf::from("a.toml")));
    }

    #[test]
    fn the_flag_beats_the_variable_for_the_file() {
        let environment = || [("ODIN_CONFIG".into(), "/nonexistent/variable.toml".into())].into_iter();
        let args = |line: &[&str]| Args::parse(line).expect("valid");
        let problem = args(&["ws-gateway", "serve", "--config", "/nonexistent/flag.toml"]).inputs(environment());
        let problem = problem.expect_err("it does not exist").to_string();
        assert!(problem.starts_with("--config: cannot read /nonexistent/flag.toml"), "{problem}");
        let problem = args(&["ws-gateway", "serve"]).inputs(environment()).expect_err("it does not exist").to_string();
        assert!(problem.starts_with("ODIN_CONFIG: cannot read /nonexistent/variable.toml"), "{problem}");
    }
}
