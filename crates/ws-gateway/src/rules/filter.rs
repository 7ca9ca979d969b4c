//! Narrows the publications of a subject by one member of the payload.

use serde::{Deserialize, Serialize};

/// Only publications whose payload has the member `field` with the text `equals` are delivered.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Filter {
    /// Name of a member of the payload's outermost object.
    pub field: String,
    /// The string it must hold, compared byte for byte.
    pub equals: String,
}

impl Filter {
    /// Whether the payload passes. Anything but a JSON object does not.
    pub fn matches(&self, payload: &[u8]) -> bool {
        let members: Result<serde_json::Map<String, serde_json::Value>, _> = serde_json::from_slice(payload);
        members.is_ok_and(|members| members.get(&self.field).and_then(|value| value.as_str()) == Some(&self.equals))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn passes_only_the_very_text_in_the_outermost_object() {
        let high = Filter { field: "severity".into(), equals: "high".into() };
        assert!(high.matches(br#"{"a":1,"severity":"high"}"#));
        for other in [r#"{"severity":"low"}"#, r#"{"x":{"severity":"high"}}"#, r#"["severity","high"]"#, "7", "{"] {
            assert!(!high.matches(other.as_bytes()), "{other}");
        }
    }
}
