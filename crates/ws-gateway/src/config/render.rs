//! The configuration in writing: for `print-config`, for the annotated file, for the manual.

use std::fmt::Write;

use super::Config;
use super::options::{Draft, OPTIONS, Opt};
use crate::rules::RuleSource;

/// The effective configuration as a TOML file, secrets masked.
pub fn to_toml(config: &Config) -> String {
    let mut text = String::new();
    write_options(&mut text, &mut Draft::from(config), |_, _| {});
    write_rules(&mut text, config.rules.sources());
    text
}

/// The effective configuration as one JSON object, secrets masked.
pub fn to_json(config: &Config) -> serde_json::Value {
    let mut draft = Draft::from(config);
    let mut root = serde_json::Map::new();
    for opt in OPTIONS {
        let value = serde_json::to_value(opt.show(&mut draft)).unwrap_or_default();
        let table = match opt.table() {
            "" => Some(&mut root),
            table => root.entry(table).or_insert_with(|| serde_json::json!({})).as_object_mut(),
        };
        if let Some(table) = table {
            table.insert(opt.name().to_owned(), value);
        }
    }
    let rules = config.rules.sources().map(|rule| serde_json::to_value(rule).unwrap_or_default());
    root.insert("rules".to_owned(), rules.collect());
    root.into()
}

/// The effective options in pieces that fit into one log line each, secrets masked: the name of the file's table, empty
/// for the outermost, and a JSON object. The rules are only counted.
pub fn by_table(config: &Config) -> Vec<(String, serde_json::Value)> {
    let mut outermost = serde_json::Map::new();
    let mut tables = Vec::new();
    for (name, value) in to_json(config).as_object().into_iter().flatten() {
        match value {
            serde_json::Value::Object(_) => tables.push((name.clone(), value.clone())),
            serde_json::Value::Array(rules) => drop(outermost.insert(name.clone(), rules.len().into())),
            scalar => drop(outermost.insert(name.clone(), scalar.clone())),
        }
    }
    tables.insert(0, (String::new(), outermost.into()));
    tables
}

/// The defaults as a TOML file in which every option is explained: `deploy/odin.toml`.
pub fn annotated_toml() -> String {
    let mut text = String::from(
        "# Every option of ws-gateway with its default. A flag (--limits-message-bytes) beats a variable\n\
         # (ODIN_LIMITS_MESSAGE_BYTES), which beats this file. Unknown keys are errors. Sizes and times need a unit.\n\
         # `ws-gateway check-config --config <this file>` says what is wrong, all of it at once.\n\n",
    );
    let mut draft = Draft::new();
    write_options(&mut text, &mut draft, |text, opt| {
        let _ = writeln!(text, "# {}", opt.help);
    });
    text.push_str(
        "\n# Which channel leads to which subject, for whom (public, signed_in, owner, admin, { tiers = [...] }), and in\n\
         # which mode (latest, all). {variables} are filled from the channel, {sub} from the signed-in user; a * in the\n\
         # subject is told apart by the update's key. client_mode: the client may choose the mode. pattern: * may stand\n\
         # for the last segment. values: what a variable may be. where: a member of the payload and what it must say.\n\
         # A file that has rules replaces all of these.\n",
    );
    write_rules(&mut text, draft.rules.iter());
    text
}

/// The table of all options for the manual, in Markdown.
pub fn markdown_table() -> String {
    let mut text = String::from("| key | flag | variable | default | meaning |\n|---|---|---|---|---|\n");
    for opt in OPTIONS {
        let default = opt.default_value().to_string().replace('|', "\\|");
        let (flag, variable) = (opt.flag(), opt.variable());
        let _ = writeln!(text, "| `{}` | `--{flag}` | `{variable}` | `{default}` | {} |", opt.key, opt.help);
    }
    text
}

fn write_options(text: &mut String, draft: &mut Draft, annotate: impl Fn(&mut String, &Opt)) {
    let mut table = "";
    for opt in OPTIONS {
        if opt.table() != table {
            table = opt.table();
            let _ = writeln!(text, "\n[{table}]");
        }
        annotate(text, opt);
        let _ = writeln!(text, "{} = {}", opt.name(), opt.show(draft));
    }
}

fn write_rules<'a>(text: &mut String, rules: impl Iterator<Item = &'a RuleSource>) {
    for rule in rules {
        // Written by hand, so that a rule stays within its own paragraph.
        let value = toml::Value::try_from(rule).unwrap_or_else(|_| toml::Table::new().into());
        text.push_str("\n[[rules]]\n");
        let mut keys: Vec<_> = value.as_table().into_iter().flatten().collect();
        keys.sort_by_key(|(key, _)| RULE_KEYS.iter().position(|known| known == key));
        for (key, value) in keys {
            let _ = writeln!(text, "{key} = {value}");
        }
    }
}

/// The order in which a rule is easiest to read.
const RULE_KEYS: [&str; 8] = ["channel", "subject", "access", "mode", "client_mode", "pattern", "values", "where"];
