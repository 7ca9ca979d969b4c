//! From what was given to a usable configuration, or to the list of everything that is wrong with it.

use std::collections::HashMap;
use std::fmt;
use std::path::PathBuf;

use serde::de::DeserializeOwned;

use super::options::{CONFIG_VARIABLE, Draft, OPTIONS, Opt};
use super::value::Raw;
use super::{Config, check};

/// The key of the list of rules in the file.
const RULES_KEY: &str = "rules";

/// The key of the list of API keys, in the file and in `auth.api_keys_file`.
pub(super) const API_KEYS_KEY: &str = "api_keys";

/// What was given, in all ways. Nothing is read from the outside.
#[derive(Clone, Default)]
pub struct Inputs {
    /// Flags: option key and text.
    pub flags: Vec<(String, String)>,
    /// The whole environment; only `ODIN_*` matters. An empty variable counts as not set.
    pub environment: Vec<(String, String)>,
    /// The file: its name, for messages, and its text.
    pub file: Option<(PathBuf, String)>,
}

/// Where a value came from.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Source {
    /// Nobody gave one.
    Default,
    /// The file.
    File(PathBuf),
    /// A variable of this name.
    Variable(String),
    /// A flag of this name, without dashes.
    Flag(String),
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Source::Default => f.write_str("default"),
            Source::File(path) => write!(f, "{}", path.display()),
            Source::Variable(name) => f.write_str(name),
            Source::Flag(name) => write!(f, "--{name}"),
        }
    }
}

/// One thing that is wrong.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{source_name}: {}{message}", if key.is_empty() { String::new() } else { format!("{key}: ") })]
pub struct Problem {
    /// Where the value came from.
    pub source_name: Source,
    /// The option's key; empty where the file as a whole is meant.
    pub key: String,
    /// What is wrong with it. Never the value of a secret.
    pub message: String,
}

/// Everything that is wrong with a configuration.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("invalid configuration, {} problem(s):{}", problems.len(), problems.iter().map(|p| format!("\n  {p}")).collect::<String>())]
pub struct ConfigError {
    /// At least one.
    pub problems: Vec<Problem>,
}

/// The draft, where each value came from, and what was wrong so far.
pub(super) struct Build {
    pub(super) draft: Draft,
    origins: HashMap<&'static str, Source>,
    problems: Vec<Problem>,
}

/// Builds the configuration: flag > variable > file > default.
///
/// # Errors
/// All bad values at once, of all sources, overridden ones too; then, where each value is good by itself, the bad
/// combinations.
pub fn build(inputs: &Inputs) -> Result<Config, ConfigError> {
    let mut build = Build { draft: Draft::new(), origins: HashMap::new(), problems: Vec::new() };
    if let Some((path, text)) = &inputs.file {
        build.read_file(path, text);
    }
    build.read_environment(&inputs.environment);
    for (key, value) in &inputs.flags {
        match find(key) {
            Some(opt) => build.set(opt, &Raw::Text(value), Source::Flag(opt.flag())),
            None => build.problem(Source::Flag(key.clone()), key, "unknown option"),
        }
    }
    check::check(&mut build);
    if build.problems.is_empty() { Ok(build.draft.config) } else { Err(ConfigError { problems: build.problems }) }
}

impl Build {
    fn read_file(&mut self, path: &std::path::Path, text: &str) {
        let source = Source::File(path.to_owned());
        let table = match toml::from_str::<toml::Table>(text) {
            Ok(table) => table,
            // The parser's message shows the line, and that line could hold a password.
            Err(error) => {
                let line = error.span().map_or(0, |span| text[..span.start.min(text.len())].lines().count().max(1));
                return self.problem(source, "", &format!("invalid toml near line {line}: {}", error.message()));
            }
        };
        for (name, value) in &table {
            match value {
                _ if name == RULES_KEY => self.draft.rules = self.read_list(RULES_KEY, value, &source),
                _ if name == API_KEYS_KEY => {
                    self.draft.config.auth.api_keys = self.read_list(API_KEYS_KEY, value, &source);
                }
                toml::Value::Table(inner) if find(name).is_none() => {
                    for (inner_name, value) in inner {
                        self.read_key(&format!("{name}.{inner_name}"), value, &source);
                    }
                }
                value => self.read_key(name, value, &source),
            }
        }
    }

    fn read_key(&mut self, key: &str, value: &toml::Value, source: &Source) {
        match find(key) {
            Some(opt) => self.set(opt, &Raw::Toml(value), source.clone()),
            None => self.problem(source.clone(), key, "unknown key"),
        }
    }

    /// The tables of a list; of those that are wrong, what is wrong is noted.
    fn read_list<T: DeserializeOwned>(&mut self, key: &'static str, value: &toml::Value, source: &Source) -> Vec<T> {
        self.origins.insert(key, source.clone());
        let Some(items) = value.as_array() else {
            self.problem(source.clone(), key, &format!("expected tables, each beginning with [[{key}]]"));
            return Vec::new();
        };
        let mut list = Vec::with_capacity(items.len());
        for (index, item) in items.iter().enumerate() {
            match T::deserialize(item.clone()) {
                Ok(item) => list.push(item),
                Err(error) => self.problem(source.clone(), &format!("{key}[{}]", index + 1), error.message()),
            }
        }
        list
    }

    fn read_environment(&mut self, environment: &[(String, String)]) {
        for (name, value) in environment {
            if !name.starts_with("ODIN_") || name == CONFIG_VARIABLE || value.is_empty() || is_service_link(name, value)
            {
                continue;
            }
            let source = Source::Variable(name.clone());
            match OPTIONS.iter().find(|opt| opt.variable() == *name) {
                Some(opt) => self.set(opt, &Raw::Text(value), source),
                None => self.problem(source, "", "no option belongs to this variable"),
            }
        }
    }

    fn set(&mut self, opt: &'static Opt, raw: &Raw<'_>, source: Source) {
        match (opt.field)(&mut self.draft).read(raw, opt.bounds) {
            Ok(()) => {
                self.origins.insert(opt.key, source);
            }
            Err(_) if opt.is_secret() && matches!(raw, Raw::Text(_)) => self.problem(source, opt.key, "invalid value"),
            Err(message) => self.problem(source, opt.key, &message),
        }
    }

    fn problem(&mut self, source_name: Source, key: &str, message: &str) {
        self.problems.push(Problem { source_name, key: key.to_owned(), message: message.to_owned() });
    }

    /// Whether nothing was wrong so far.
    pub(super) fn is_good(&self) -> bool {
        self.problems.is_empty()
    }

    /// Reports a value that is good by itself but not together with others.
    pub(super) fn conflict(&mut self, key: &'static str, message: &str) {
        let source = self.origins.get(key).cloned().unwrap_or(Source::Default);
        self.problem(source, key, message);
    }
}

fn find(key: &str) -> Option<&'static Opt> {
    OPTIONS.iter().find(|opt| opt.key == key)
}

/// Kubernetes gives every pod variables for every service of its namespace; for a service named `odin`, or `odin-…`,
/// they begin with `ODIN_`. They are not meant for us.
fn is_service_link(name: &str, value: &str) -> bool {
    let is_url = ["tcp://", "udp://", "sctp://"].iter().any(|scheme| value.starts_with(scheme));
    let numbered = name.split_once("_PORT_").is_some_and(|(_, rest)| {
        let (number, rest) = rest.split_once('_').unwrap_or((rest, ""));
        let protocol = rest.split('_').next().unwrap_or_default();
        number.parse::<u16>().is_ok() && ["TCP", "UDP", "SCTP"].contains(&protocol)
    });
    (name.ends_with("_PORT") && is_url) || numbered || name.ends_with("_SERVICE_HOST") || name.contains("_SERVICE_PORT")
}

impl fmt::Debug for Inputs {
    /// Without values: some are secrets.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let file = self.file.as_ref().map(|(path, _)| path);
        f.debug_struct("Inputs").field("flags", &self.flags.len()).field("file", &file).finish_non_exhaustive()
    }
}

#[cfg(test)]
#[path = "build_tests.rs"]
mod tests;
