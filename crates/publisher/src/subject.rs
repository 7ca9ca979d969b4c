//! Subjects a message may be published on, and templates that make them from the fields of a message.
//!
//! Narrower than NATS: printable ASCII, no wildcards, no empty tokens, nothing of the server's own.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use thiserror::Error;

/// Longest subject, in bytes.
pub(crate) const MAX_SUBJECT_BYTES: usize = 199;
/// Longest value a template puts into a subject, in bytes: the longest segment of a channel.
const MAX_VALUE_BYTES: usize = 64;
/// First tokens that belong to the server or to replies.
const RESERVED: [&str; 2] = ["$", "_INBOX"];

/// A subject that can be published on: checked once, then trusted. A clone costs a reference count.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub struct Subject(Arc<str>);

/// Why a text is not a subject to publish on.
#[derive(Clone, PartialEq, Eq, Debug, Error)]
pub enum SubjectError {
    /// Nothing there.
    #[error("subject is empty")]
    Empty,
    /// Longer than 199 bytes.
    #[error("subject {subject:?}… is {bytes} bytes long, at most {MAX_SUBJECT_BYTES} bytes are allowed")]
    TooLong {
        /// The first 32 characters.
        subject: String,
        /// Its length.
        bytes: usize,
    },
    /// Two dots in a row, or one at an end.
    #[error("subject {0:?} has an empty token")]
    EmptyToken(String),
    /// A character that is not printable ASCII, or one of space, `*` and `>`.
    #[error("subject {subject:?} contains {character:?}, which cannot be published on")]
    Character {
        /// The whole subject.
        subject: String,
        /// The first bad character.
        character: char,
    },
    /// Begins with `$` or `_INBOX`.
    #[error("subject {0:?} belongs to the server")]
    Reserved(String),
}

impl Subject {
    /// Checks `text`.
    ///
    /// # Errors
    /// [`SubjectError`]: empty, over 199 bytes, an empty token, a character other than printable ASCII without space, `*`
    /// and `>`, or a first token of the server's own (`$…`, `_INBOX…`).
    pub fn parse(text: &str) -> Result<Subject, SubjectError> {
        if text.is_empty() {
            return Err(SubjectError::Empty);
        }
        if text.len() > MAX_SUBJECT_BYTES {
            return Err(SubjectError::TooLong { subject: text.chars().take(32).collect(), bytes: text.len() });
        }
        if let Some(character) = text.chars().find(|c| !c.is_ascii_graphic() || matches!(c, '*' | '>')) {
            return Err(SubjectError::Character { subject: text.to_owned(), character });
        }
        if text.split('.').any(str::is_empty) {
            return Err(SubjectError::EmptyToken(text.to_owned()));
        }
        if RESERVED.iter().any(|prefix| text.starts_with(prefix)) {
            return Err(SubjectError::Reserved(text.to_owned()));
        }
        Ok(Subject(text.into()))
    }

    /// The subject's text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for Subject {
    type Err = SubjectError;

    fn from_str(text: &str) -> Result<Subject, SubjectError> {
        Subject::parse(text)
    }
}

impl AsRef<str> for Subject {
    fn as_ref(&self) -> &str {
        &self.0
    }
}

/// A subject with holes: `odin.tokens.{tokenId}.price`. The values come from the fields of a message.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Template {
    parts: Vec<Part>,
}

#[derive(Clone, PartialEq, Eq, Debug)]
enum Part {
    Text(String),
    Field(String),
}

/// Why a template is not one, or cannot be filled.
#[derive(Clone, PartialEq, Eq, Debug, Error)]
pub enum TemplateError {
    /// A brace without its partner, or nothing between them.
    #[error("subject template {0:?} has a brace without a field, as in \"odin.tokens.{{tokenId}}.price\"")]
    Brace(String),
    /// Not a subject even with good values.
    #[error("invalid subject template: {0}")]
    Subject(#[from] SubjectError),
    /// The message has no such field, or it is neither text nor a number.
    #[error("field {0:?}, wanted for the subject, is missing or not a text")]
    Missing(String),
    /// The value cannot be one token of a subject.
    #[error("field {field:?} is {value:?}: a subject's token is 1 to {MAX_VALUE_BYTES} bytes of A-Z a-z 0-9 _ -")]
    Value {
        /// The field's name.
        field: String,
        /// The first 64 characters of the value.
        value: String,
    },
}

impl Template {
    /// Reads a template: text with field names in braces.
    ///
    /// # Errors
    /// [`TemplateError::Brace`] or [`TemplateError::Subject`] (checked with `x` for every field).
    pub fn parse(text: &str) -> Result<Template, TemplateError> {
        let bad = || TemplateError::Brace(text.to_owned());
        let mut parts = Vec::new();
        let mut rest = text;
        while !rest.is_empty() {
            let (plain, more) = rest.split_once('{').unwrap_or((rest, ""));
            if plain.contains('}') || (more.is_empty() && plain.len() != rest.len()) {
                return Err(bad());
            }
            if !plain.is_empty() {
                parts.push(Part::Text(plain.to_owned()));
            }
            if plain.len() == rest.len() {
                break;
            }
            let (field, after) = more.split_once('}').ok_or_else(bad)?;
            if field.is_empty() || field.contains('{') {
                return Err(bad());
            }
            parts.push(Part::Field(field.to_owned()));
            rest = after;
        }
        let template = Template { parts };
        template.fill(|_| Some("x".to_owned()))?;
        Ok(template)
    }

    /// The names of the fields it needs, in order.
    pub fn fields(&self) -> impl Iterator<Item = &str> {
        self.parts.iter().filter_map(|part| match part {
            Part::Field(name) => Some(name.as_str()),
            Part::Text(_) => None,
        })
    }

    /// Makes the subject, asking `value` for each field.
    ///
    /// # Errors
    /// [`TemplateError::Missing`] or [`TemplateError::Value`] by the field, [`TemplateError::Subject`] if the whole is too
    /// long.
    pub fn fill(&self, mut value: impl FnMut(&str) -> Option<String>) -> Result<Subject, TemplateError> {
        let mut subject = String::with_capacity(48);
        for part in &self.parts {
            match part {
                Part::Text(text) => subject.push_str(text),
                Part::Field(field) => {
                    let value = value(field).ok_or_else(|| TemplateError::Missing(field.clone()))?;
                    if !is_token(&value) {
                        let value = value.chars().take(MAX_VALUE_BYTES).collect();
                        return Err(TemplateError::Value { field: field.clone(), value });
                    }
                    subject.push_str(&value);
                }
            }
        }
        Ok(Subject::parse(&subject)?)
    }
}

impl FromStr for Template {
    type Err = TemplateError;

    fn from_str(text: &str) -> Result<Template, TemplateError> {
        Template::parse(text)
    }
}

/// Whether `text` can be one token of a subject and one segment of a channel.
fn is_token(text: &str) -> bool {
    (1..=MAX_VALUE_BYTES).contains(&text.len())
        && text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_' || b == b'-')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn takes_a_plain_subject() {
        assert_eq!(Subject::parse("odin.tokens.BTC.price").unwrap().as_str(), "odin.tokens.BTC.price");
        assert!(Subject::parse(&"a".repeat(199)).is_ok());
    }

    #[test]
    fn refuses_what_is_not_a_subject() {
        assert_eq!(Subject::parse(""), Err(SubjectError::Empty));
        for text in [".a", "a.", "a..b", "."] {
            assert_eq!(Subject::parse(text), Err(SubjectError::EmptyToken(text.into())), "{text}");
        }
        for (text, character) in
            [("a b", ' '), ("a.*", '*'), ("a.>", '>'), ("a\r\nb", '\r'), ("a\0", '\0'), ("prіce", 'і')]
        {
            let refused = Subject::parse(text).unwrap_err();
            assert_eq!(refused, SubjectError::Character { subject: text.into(), character }, "{text}");
        }
        for text in ["$JS.API.STREAM.PURGE.ODIN", "$SYS.x", "_INBOX.a"] {
            assert_eq!(Subject::parse(text), Err(SubjectError::Reserved(text.into())), "{text}");
        }
        assert!(matches!(Subject::parse(&"a".repeat(200)), Err(SubjectError::TooLong { bytes: 200, .. })));
    }

    #[test]
    fn fills_a_template_from_fields() {
        let template = Template::parse("odin.{kind}.{tokenId}.price").unwrap();
        assert_eq!(template.fields().collect::<Vec<_>>(), ["kind", "tokenId"]);
        let subject = template.fill(|field| Some(format!("{field}1"))).unwrap();
        assert_eq!(subject.as_str(), "odin.kind1.tokenId1.price");
        assert_eq!(Template::parse("odin.x").unwrap().fill(|_| None).unwrap().as_str(), "odin.x");
    }

    #[test]
    fn refuses_broken_templates() {
        for text in ["odin.{", "odin.}", "odin.{}", "odin.{a", "a}.b", "odin.{a{b}}"] {
            assert!(matches!(Template::parse(text), Err(TemplateError::Brace(_))), "{text}");
        }
        for text in ["", "odin..{a}", "odin.*.{a}", "$JS.{a}"] {
            assert!(matches!(Template::parse(text), Err(TemplateError::Subject(_))), "{text}");
        }
    }

    #[test]
    fn refuses_values_that_would_change_the_shape_of_a_subject() {
        let template = Template::parse("odin.tokens.{t}.price").unwrap();
        for value in ["", "a.b", ">", "*", "a b", "ä", &"a".repeat(65)] {
            let refused = template.fill(|_| Some(value.to_owned())).unwrap_err();
            assert!(matches!(refused, TemplateError::Value { .. }), "{value}: {refused}");
        }
        assert_eq!(template.fill(|_| None), Err(TemplateError::Missing("t".into())));
    }
}
