//! The members of an object, read one by one so that a bad one hides no other.

use std::borrow::Cow;
use std::fmt;

use serde::de::{Deserializer as _, MapAccess, Visitor};
use serde_json::value::RawValue;

use crate::codec::validate_payload;
use crate::error::ErrorCode;

/// What is wrong with a message, before it is known whose request it was.
pub(super) struct Fault {
    pub(super) code: ErrorCode,
    pub(super) message: String,
}

impl From<&str> for Fault {
    fn from(message: &str) -> Fault {
        message.to_owned().into()
    }
}

impl From<String> for Fault {
    fn from(message: String) -> Fault {
        Fault { code: ErrorCode::InvalidMessage, message }
    }
}

/// The known members of one object, each still text, so that one that is wrong hides no other one.
pub(super) struct Members<'a, const N: usize> {
    names: &'a [&'static str; N],
    pub(super) values: [Option<&'a RawValue>; N],
    pub(super) repeated: Option<&'static str>,
    bad_value: bool,
}

impl<'a, const N: usize> Members<'a, N> {
    /// Reads the members of an object; after a fault of syntax, those before it.
    pub(super) fn read(text: &'a str, names: &'a [&'static str; N]) -> (Members<'a, N>, Result<(), Fault>) {
        let mut members = Members { names, values: [None; N], repeated: None, bad_value: false };
        let mut from = serde_json::Deserializer::from_str(text);
        let outcome = from.deserialize_map(Filler(&mut members)).and_then(|()| from.end());
        let outcome = outcome.map_err(|fault| {
            if fault.is_data() {
                Fault::from("message is not an object")
            } else {
                Fault::from(format!("message is not JSON at column {}", fault.column()))
            }
        });
        (members, outcome)
    }

    pub(super) fn check(&self) -> Result<(), Fault> {
        if let Some(name) = self.repeated {
            return Err(format!("member {name:?} appears twice").into());
        }
        if self.bad_value {
            return Err("member that nests too deep, or has a number or string outside the \
                        range of a double or of Unicode"
                .into());
        }
        Ok(())
    }

    /// The text of a member; null counts as absent.
    pub(super) fn raw(&self, name: &str) -> Option<&'a RawValue> {
        let at = self.names.iter().position(|known| *known == name)?;
        self.values[at].filter(|value| value.get() != "null")
    }

    /// An optional member of a type that reads itself.
    pub(super) fn optional<T: serde::Deserialize<'a>>(&self, name: &str, expected: &str) -> Result<Option<T>, Fault> {
        let Some(raw) = self.raw(name) else {
            return Ok(None);
        };
        match serde_json::from_str(raw.get()) {
            Ok(value) => Ok(Some(value)),
            Err(_) => Err(format!("member {name:?} is not {expected}").into()),
        }
    }

    pub(super) fn required<T: serde::Deserialize<'a>>(&self, name: &str, expected: &str) -> Result<T, Fault> {
        self.optional(name, expected)?.ok_or_else(|| format!("member {name:?} is missing").into())
    }
}

struct Filler<'m, 'a, const N: usize>(&'m mut Members<'a, N>);

impl<'a, const N: usize> Visitor<'a> for Filler<'_, 'a, N> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'a>>(self, mut from: A) -> Result<(), A::Error> {
        let members = self.0;
        while let Some(name) = from.next_key::<Cow<'_, str>>()? {
            let value: &RawValue = from.next_value()?;
            members.bad_value |= validate_payload(value.get().as_bytes()).is_err();
            let Some(at) = members.names.iter().position(|known| *known == name) else {
                continue;
            };
            if members.values[at].replace(value).is_some() {
                members.repeated.get_or_insert(members.names[at]);
            }
        }
        Ok(())
    }
}
