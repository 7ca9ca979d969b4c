//! One pass over a JSON value, to check it or to write it down otherwise.
//!
//! The depth is counted before the reader goes deeper, so the stack is as bounded as the nesting.

use std::fmt;

use serde::de::{DeserializeSeed, MapAccess, SeqAccess, Visitor};

use super::PayloadError;

/// Where the parts of a JSON value go as they are read.
pub(super) trait Sink {
    fn null(&mut self);
    fn bool(&mut self, value: bool);
    fn u64(&mut self, value: u64);
    fn i64(&mut self, value: i64);
    fn f64(&mut self, value: f64);
    fn str(&mut self, value: &str);
    /// Returns a mark that `end` is given back.
    fn begin(&mut self) -> usize;
    fn end(&mut self, mark: usize, is_map: bool, len: usize);
}

/// The sink of a mere check.
pub(super) struct Nothing;

impl Sink for Nothing {
    fn null(&mut self) {}
    fn bool(&mut self, _: bool) {}
    fn u64(&mut self, _: u64) {}
    fn i64(&mut self, _: i64) {}
    fn f64(&mut self, _: f64) {}
    fn str(&mut self, _: &str) {}
    fn begin(&mut self) -> usize {
        0
    }
    fn end(&mut self, _: usize, _: bool, _: usize) {}
}

/// Reads exactly one JSON value, nested at most `depth_left` deep, into a sink.
///
/// Into bytes it becomes MessagePack: integers that fit 64 bits stay integers in their shortest form, every other
/// number becomes a double.
pub(super) fn walk<S: Sink>(json: &str, depth_left: usize, sink: &mut S) -> Result<(), PayloadError> {
    let mut from = serde_json::Deserializer::from_str(json);
    let walk = Walk { sink, depth_left };
    walk.deserialize(&mut from).and_then(|()| from.end()).map_err(|fault| {
        // The walk's own error is the only one that is not about syntax.
        if fault.is_data() {
            PayloadError::TooDeep
        } else {
            PayloadError::NotJson { line: fault.line(), column: fault.column() }
        }
    })
}

struct Walk<'a, S> {
    sink: &'a mut S,
    depth_left: usize,
}

impl<S: Sink> Walk<'_, S> {
    fn inner(&mut self) -> Walk<'_, S> {
        Walk { sink: self.sink, depth_left: self.depth_left - 1 }
    }

    fn check_depth<E: serde::de::Error>(&self) -> Result<(), E> {
        if self.depth_left == 0 {
            return Err(E::custom("too deep"));
        }
        Ok(())
    }
}

impl<'de, S: Sink> DeserializeSeed<'de> for Walk<'_, S> {
    type Value = ();

    fn deserialize<D: serde::Deserializer<'de>>(self, from: D) -> Result<(), D::Error> {
        from.deserialize_any(self)
    }
}

impl<'de, S: Sink> Visitor<'de> for Walk<'_, S> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_unit<E>(self) -> Result<(), E> {
        self.sink.null();
        Ok(())
    }

    fn visit_bool<E>(self, value: bool) -> Result<(), E> {
        self.sink.bool(value);
        Ok(())
    }

    fn visit_u64<E>(self, value: u64) -> Result<(), E> {
        self.sink.u64(value);
        Ok(())
    }

    fn visit_i64<E>(self, value: i64) -> Result<(), E> {
        self.sink.i64(value);
        Ok(())
    }

    fn visit_f64<E>(self, value: f64) -> Result<(), E> {
        self.sink.f64(value);
        Ok(())
    }

    fn visit_str<E>(self, value: &str) -> Result<(), E> {
        self.sink.str(value);
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(mut self, mut items: A) -> Result<(), A::Error> {
        self.check_depth()?;
        let mark = self.sink.begin();
        let mut len = 0;
        while items.next_element_seed(self.inner())?.is_some() {
            len += 1;
        }
        self.sink.end(mark, false, len);
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(mut self, mut members: A) -> Result<(), A::Error> {
        self.check_depth()?;
        let mark = self.sink.begin();
        let mut len = 0;
        while members.next_key_seed(Key(self.sink))?.is_some() {
            members.next_value_seed(self.inner())?;
            len += 1;
        }
        self.sink.end(mark, true, len);
        Ok(())
    }
}

struct Key<'a, S>(&'a mut S);

impl<'de, S: Sink> DeserializeSeed<'de> for Key<'_, S> {
    type Value = ();

    fn deserialize<D: serde::Deserializer<'de>>(self, from: D) -> Result<(), D::Error> {
        from.deserialize_str(self)
    }
}

impl<S: Sink> Visitor<'_> for Key<'_, S> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a member name")
    }

    fn visit_str<E>(self, name: &str) -> Result<(), E> {
        self.0.str(name);
        Ok(())
    }
}
