//! What is different between two configurations, by name. Values are not told: some are secrets.

use super::Config;
use super::options::{Draft, OPTIONS};
use super::value::Field;

/// Keys of the options that differ, and `rules` and `api_keys` with what was added (`+`), removed (`-`) or changed (`~`).
pub fn differences(before: &Config, after: &Config) -> Vec<String> {
    let (mut old, mut new) = (Draft::from(before), Draft::from(after));
    let mut names: Vec<String> = Vec::new();
    for opt in OPTIONS {
        let is_same = match ((opt.field)(&mut old), (opt.field)(&mut new)) {
            (Field::SecretOrNone(old), Field::SecretOrNone(new)) => old == new,
            (Field::Urls(old), Field::Urls(new)) => old == new,
            (old, new) => old.show() == new.show(),
        };
        if !is_same {
            names.push(opt.key.to_owned());
        }
    }
    let rules = |config: &Config| config.rules.sources().map(|rule| (rule.channel.clone(), rule.clone())).collect();
    names.extend(of_list("rules", rules(before), rules(after)));
    let keys = |config: &Config| config.auth.api_keys.iter().map(|key| (key.sub.clone(), key.clone())).collect();
    names.extend(of_list("api_keys", keys(before), keys(after)));
    names
}

fn of_list<T: PartialEq>(name: &str, before: Vec<(String, T)>, after: Vec<(String, T)>) -> Vec<String> {
    let find = |list: &[(String, T)], key: &str| list.iter().position(|(other, _)| other == key);
    let mut changes = Vec::new();
    for (key, old) in &before {
        match find(&after, key) {
            None => changes.push(format!("{name} -{key}")),
            Some(index) if after[index].1 != *old => changes.push(format!("{name} ~{key}")),
            Some(_) => {}
        }
    }
    let added = after.iter().filter(|(key, _)| find(&before, key).is_none());
    changes.extend(added.map(|(key, _)| format!("{name} +{key}")));
    changes
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Secret;
    use crate::rules::Rules;

    #[test]
    fn names_what_changed_and_tells_no_secret() {
        let before = Config::default();
        assert!(differences(&before, &before).is_empty());
        let mut after = before.clone();
        after.limits.strikes = 3;
        after.auth.hs256_secret = Some(Secret::new("hunter2"));
        let mut sources = Rules::default_sources();
        sources.remove(0);
        sources[0].client_mode = false;
        after.rules = Rules::new(sources, &after.stream).expect("valid");
        let expected = ["auth.hs256_secret", "limits.strikes", "rules -price:{token}", "rules ~volume:{token}"];
        assert_eq!(differences(&before, &after), expected);
        let mut other = after.clone();
        other.auth.hs256_secret = Some(Secret::new("hunter3"));
        assert_eq!(differences(&after, &other), ["auth.hs256_secret"]);
    }
}
