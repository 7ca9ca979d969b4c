//! A stream as it is against a stream as wanted, field by field. Only fields that odin relies on are compared and
//! changed: placement, descriptions and foreign metadata are the operator's.

use std::fmt;
use std::time::Duration;

use async_nats::jetstream::stream::{Compression, Config};

/// One field that is not as wanted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Difference {
    /// Name of the field, as NATS calls it.
    pub field: &'static str,
    /// As it should be.
    pub wanted: String,
    /// As it is.
    pub found: String,
    /// Whether the server lets it be changed; otherwise the stream has to be created anew.
    pub can_be_updated: bool,
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: wanted {}, found {}", self.field, self.wanted, self.found)?;
        if !self.can_be_updated {
            f.write_str(" (cannot be changed, the stream has to be created anew)")?;
        }
        Ok(())
    }
}

/// How to get at one field of a configuration.
struct Field {
    name: &'static str,
    can_be_updated: bool,
    show: fn(&Config) -> String,
    copy: fn(&Config, &mut Config),
}

macro_rules! field {
    ($name:literal, $can_be_updated:literal, $field:ident, $show:expr) => {
        Field {
            name: $name,
            can_be_updated: $can_be_updated,
            show: |config| ($show)(config),
            copy: |from, to| to.$field = from.$field.clone(),
        }
    };
}

/// Every field that odin relies on.
const FIELDS: &[Field] = &[
    field!("subjects", true, subjects, |c: &Config| sorted(&c.subjects).join(", ")),
    field!("storage", false, storage, |c: &Config| format!("{:?}", c.storage).to_lowercase()),
    field!("num_replicas", true, num_replicas, |c: &Config| c.num_replicas.to_string()),
    field!("retention", false, retention, |c: &Config| format!("{:?}", c.retention).to_lowercase()),
    field!("discard", true, discard, |c: &Config| format!("{:?}", c.discard).to_lowercase()),
    field!("max_age", true, max_age, |c: &Config| age(c.max_age)),
    field!("max_bytes", true, max_bytes, |c: &Config| limit(c.max_bytes)),
    field!("max_msgs", true, max_messages, |c: &Config| limit(c.max_messages)),
    field!("max_msgs_per_subject", true, max_messages_per_subject, |c: &Config| limit(c.max_messages_per_subject)),
    field!("max_msg_size", true, max_message_size, |c: &Config| limit(c.max_message_size.into())),
    field!("duplicate_window", true, duplicate_window, |c: &Config| age(c.duplicate_window)),
    field!("allow_direct", true, allow_direct, |c: &Config| c.allow_direct.to_string()),
    field!("mirror_direct", true, mirror_direct, |c: &Config| c.mirror_direct.to_string()),
    field!("allow_msg_ttl", true, allow_message_ttl, |c: &Config| c.allow_message_ttl.to_string()),
    field!("allow_rollup_hdrs", true, allow_rollup, |c: &Config| c.allow_rollup.to_string()),
    field!("deny_delete", true, deny_delete, |c: &Config| c.deny_delete.to_string()),
    field!("deny_purge", true, deny_purge, |c: &Config| c.deny_purge.to_string()),
    field!("compression", true, compression, |c: &Config| match c.compression {
        Some(Compression::S2) => "s2".to_owned(),
        Some(Compression::None) | None => "none".to_owned(),
    }),
    field!("republish", true, republish, |c: &Config| match &c.republish {
        Some(rule) if rule.headers_only => format!("{} -> {}, headers only", rule.source, rule.destination),
        Some(rule) => format!("{} -> {}", rule.source, rule.destination),
        None => "none".to_owned(),
    }),
];

/// What is not as wanted, in the order of the fields.
pub(super) fn differences(wanted: &Config, found: &Config) -> Vec<Difference> {
    let different = |field: &Field| {
        let (wanted_text, found_text) = ((field.show)(wanted), (field.show)(found));
        // The server lets these two be switched on, but never off again.
        let stays = (field.name.starts_with("deny_") || field.name == "allow_msg_ttl") && found_text == "true";
        (wanted_text != found_text).then_some(Difference {
            field: field.name,
            wanted: wanted_text,
            found: found_text,
            can_be_updated: field.can_be_updated && !stays,
        })
    };
    FIELDS.iter().filter_map(different).collect()
}

/// The stream as it is, with odin's fields as wanted.
pub(super) fn merged(wanted: &Config, mut found: Config) -> Config {
    for field in FIELDS {
        (field.copy)(wanted, &mut found);
    }
    found
}

fn sorted(subjects: &[String]) -> Vec<&str> {
    let mut subjects: Vec<&str> = subjects.iter().map(String::as_str).collect();
    subjects.sort_unstable();
    subjects
}

fn age(age: Duration) -> String {
    if age.is_zero() { "unlimited".to_owned() } else { humantime::format_duration(age).to_string() }
}

/// NATS says both 0 and -1 for "no limit".
fn limit(limit: i64) -> String {
    if limit <= 0 { "unlimited".to_owned() } else { limit.to_string() }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use super::*;
    use crate::config;
    use crate::provision::plan;

    fn publications() -> Config {
        let [publications, ..] = plan::streams(&config::Config::default());
        publications
    }

    #[test]
    fn the_plan_is_the_documented_one() {
        let [publications, state, control] = plan::streams(&config::Config::default());
        let text = |config: &Config, name: &str| {
            let field = FIELDS.iter().find(|field| field.name == name).expect("a field");
            (field.show)(config)
        };
        for (name, value) in [
            ("subjects", "odin.>"),
            ("storage", "file"),
            ("retention", "limits"),
            ("discard", "old"),
            ("max_age", "1h"),
            ("max_msgs_per_subject", "unlimited"),
            ("max_msg_size", "65536"),
            ("duplicate_window", "1m"),
            ("allow_direct", "true"),
            ("mirror_direct", "false"),
            ("allow_msg_ttl", "true"),
            ("allow_rollup_hdrs", "false"),
            ("deny_delete", "true"),
            ("deny_purge", "true"),
            ("compression", "none"),
            ("republish", "odin.> -> live.odin.>"),
        ] {
            assert_eq!(text(&publications, name), value, "{name}");
        }
        assert_eq!(text(&state, "republish"), "odinlast.> -> live.odinlast.>");
        assert_eq!((text(&state, "max_msgs_per_subject"), text(&state, "max_age")), ("1".into(), "unlimited".into()));
        assert_eq!((text(&control, "max_msgs_per_subject"), text(&control, "max_age")), ("1".into(), "1day".into()));
        assert_eq!((text(&control, "discard"), text(&state, "discard")), ("new".into(), "old".into()));
    }

    #[test]
    fn names_every_field_that_differs() {
        let wanted = publications();
        let found = Config { num_replicas: 3, republish: None, max_age: Duration::ZERO, ..publications() };
        let names: Vec<_> = differences(&wanted, &found).iter().map(|difference| difference.field).collect();
        assert_eq!(names, ["num_replicas", "max_age", "republish"]);
        assert_eq!(differences(&wanted, &wanted), []);
    }

    #[test]
    fn leaves_what_belongs_to_the_operator() {
        let metadata = HashMap::from([("odin_epoch".to_owned(), "e".to_owned()), ("team".to_owned(), "x".to_owned())]);
        let description = Some("ours".to_owned());
        let found =
            Config { metadata: metadata.clone(), description: description.clone(), num_replicas: 3, ..publications() };
        let merged = merged(&publications(), found);
        assert_eq!((merged.metadata, merged.description, merged.num_replicas), (metadata, description, 1));
    }

    #[test]
    fn says_what_cannot_be_changed() {
        use async_nats::jetstream::stream::StorageType;
        let found = Config { storage: StorageType::Memory, ..publications() };
        let differences = differences(&publications(), &found);
        assert!(!differences[0].can_be_updated);
        assert_eq!(
            differences[0].to_string(),
            "storage: wanted file, found memory (cannot be changed, the stream has to be created anew)"
        );
    }
}
