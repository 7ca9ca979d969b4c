//! MessagePack to JSON and back.
//!
//! Reading trusts no length: a container must fit into the bytes that are left, nesting is counted on an
//! explicit stack, and nothing is allocated for what was only announced. Only what JSON can say is accepted.

use super::text;
use super::walk::Sink;

/// Why bytes are not a MessagePack value that JSON can say.
#[derive(Copy, Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum MsgPackError {
    /// The value, or something in it, is longer than the bytes that are left.
    #[error("MessagePack value is cut short")]
    Truncated,
    /// Bytes after the value.
    #[error("bytes after the MessagePack value")]
    Trailing,
    /// Binary, extension or timestamp, or the byte 0xc1 that has no meaning.
    #[error("MessagePack type that JSON does not have")]
    Type,
    /// A map member whose name is not a string.
    #[error("MessagePack map key that is not a string")]
    Key,
    /// NaN or an infinity.
    #[error("MessagePack number that is not finite")]
    NotFinite,
    /// A string that is not UTF-8.
    #[error("MessagePack string that is not UTF-8")]
    NotUtf8,
    /// Nested deeper than allowed.
    #[error("MessagePack value nests too deep")]
    TooDeep,
}

/// Appends one MessagePack value to `out` as JSON. After an error `out` holds what was read so far.
pub(crate) fn to_json(bytes: &[u8], max_depth: usize, out: &mut Vec<u8>) -> Result<(), MsgPackError> {
    let mut input = Input { rest: bytes };
    let mut open: Vec<Container> = Vec::new();
    loop {
        let expects_key = open.last_mut().is_some_and(|container| container.separate(out));
        match input.value(expects_key, out)? {
            Value::Scalar => {}
            Value::Container(container) => {
                if open.len() == max_depth {
                    return Err(MsgPackError::TooDeep);
                }
                out.push(container.opening());
                open.push(container);
            }
        }
        while let Some(finished) = open.pop_if(|container| container.left == 0) {
            out.push(finished.closing());
        }
        if open.is_empty() {
            break;
        }
    }
    if input.rest.is_empty() { Ok(()) } else { Err(MsgPackError::Trailing) }
}

/// A map or array being read. `left` counts values: a map member is two of them.
struct Container {
    is_map: bool,
    is_first: bool,
    left: u64,
}

impl Container {
    /// Writes what stands between two values and counts the next one; true if that one is a key.
    fn separate(&mut self, out: &mut Vec<u8>) -> bool {
        let is_key = self.is_map && self.left.is_multiple_of(2);
        if self.is_map && !is_key {
            out.push(b':');
        } else if !self.is_first {
            out.push(b',');
        }
        self.is_first = false;
        self.left -= 1;
        is_key
    }

    fn opening(&self) -> u8 {
        if self.is_map { b'{' } else { b'[' }
    }

    fn closing(&self) -> u8 {
        if self.is_map { b'}' } else { b']' }
    }
}

enum Value {
    Scalar,
    Container(Container),
}

struct Input<'a> {
    rest: &'a [u8],
}

impl<'a> Input<'a> {
    /// Reads one marker with its value; of a container, the header only.
    fn value(&mut self, expects_key: bool, out: &mut Vec<u8>) -> Result<Value, MsgPackError> {
        let [marker] = self.array()?;
        let is_str = matches!(marker, 0xa0..=0xbf | 0xd9..=0xdb);
        if expects_key && !is_str {
            return Err(MsgPackError::Key);
        }
        match marker {
            0x00..=0x7f => text::put_u64(marker.into(), out),
            0xe0..=0xff => text::put_i64((marker as i8).into(), out),
            0x80..=0x8f => return self.container(true, (marker & 0x0f).into()),
            0x90..=0x9f => return self.container(false, (marker & 0x0f).into()),
            0xa0..=0xbf => self.string((marker & 0x1f).into(), out)?,
            0xc0 => out.extend_from_slice(b"null"),
            0xc2 => out.extend_from_slice(b"false"),
            0xc3 => out.extend_from_slice(b"true"),
            0xca => put_float(f32::from_be_bytes(self.array()?), f32::is_finite, out)?,
            0xcb => put_float(f64::from_be_bytes(self.array()?), f64::is_finite, out)?,
            0xcc..=0xcf | 0xd9..=0xdf => return self.sized(marker, out),
            0xd0 => text::put_i64(i8::from_be_bytes(self.array()?).into(), out),
            0xd1 => text::put_i64(i16::from_be_bytes(self.array()?).into(), out),
            0xd2 => text::put_i64(i32::from_be_bytes(self.array()?).into(), out),
            0xd3 => text::put_i64(i64::from_be_bytes(self.array()?), out),
            0xc1 | 0xc4..=0xc9 | 0xd4..=0xd8 => return Err(MsgPackError::Type),
        }
        Ok(Value::Scalar)
    }

    /// Markers followed by an unsigned integer: the value itself, or the length of a string or container.
    fn sized(&mut self, marker: u8, out: &mut Vec<u8>) -> Result<Value, MsgPackError> {
        let number = match marker {
            0xcc | 0xd9 => self.array::<1>()?[0].into(),
            0xcd | 0xda | 0xdc | 0xde => u16::from_be_bytes(self.array()?).into(),
            0xce | 0xdb | 0xdd | 0xdf => u32::from_be_bytes(self.array()?).into(),
            _ => u64::from_be_bytes(self.array()?),
        };
        match marker {
            0xcc..=0xcf => text::put_u64(number, out),
            0xd9..=0xdb => self.string(number, out)?,
            0xdc | 0xdd => return self.container(false, number),
            _ => return self.container(true, number),
        }
        Ok(Value::Scalar)
    }

    fn container(&self, is_map: bool, len: u64) -> Result<Value, MsgPackError> {
        let left = if is_map { len * 2 } else { len };
        // Every value takes a byte at least, so a longer announcement is a lie.
        if left > self.rest.len() as u64 {
            return Err(MsgPackError::Truncated);
        }
        Ok(Value::Container(Container { is_map, is_first: true, left }))
    }

    fn string(&mut self, len: u64, out: &mut Vec<u8>) -> Result<(), MsgPackError> {
        let len = usize::try_from(len).map_err(|_| MsgPackError::Truncated)?;
        let (bytes, rest) = self.rest.split_at_checked(len).ok_or(MsgPackError::Truncated)?;
        self.rest = rest;
        let string = std::str::from_utf8(bytes).map_err(|_| MsgPackError::NotUtf8)?;
        text::put_str(string, out);
        Ok(())
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], MsgPackError> {
        let (array, rest) = self.rest.split_first_chunk::<N>().ok_or(MsgPackError::Truncated)?;
        self.rest = rest;
        Ok(*array)
    }
}

fn put_float<F: Copy + serde::Serialize>(
    number: F,
    is_finite: fn(F) -> bool,
    out: &mut Vec<u8>,
) -> Result<(), MsgPackError> {
    if !is_finite(number) {
        return Err(MsgPackError::NotFinite);
    }
    serde_json::to_writer(out, &number).expect("a finite number is JSON and memory takes it");
    Ok(())
}

impl Sink for Vec<u8> {
    fn null(&mut self) {
        self.push(0xc0);
    }

    fn bool(&mut self, value: bool) {
        self.push(if value { 0xc3 } else { 0xc2 });
    }

    fn u64(&mut self, value: u64) {
        put_u64(value, self);
    }

    fn i64(&mut self, value: i64) {
        put_i64(value, self);
    }

    fn f64(&mut self, value: f64) {
        self.push(0xcb);
        self.extend_from_slice(&value.to_be_bytes());
    }

    fn str(&mut self, value: &str) {
        put_str(value, self);
    }

    fn begin(&mut self) -> usize {
        // The length comes last in JSON and first in MessagePack: most containers are short and need this one byte.
        self.push(0);
        self.len() - 1
    }

    fn end(&mut self, mark: usize, is_map: bool, len: usize) {
        let (short, long) = if is_map { (0x80, 0xde) } else { (0x90, 0xdc) };
        if let Ok(len @ 0..=15) = u8::try_from(len) {
            self[mark] = short | len;
        } else if let Ok(len) = u16::try_from(len) {
            self[mark] = long;
            self.splice(mark + 1..mark + 1, len.to_be_bytes());
        } else {
            let len = u32::try_from(len).expect("a payload is far smaller than 4 GiB");
            self[mark] = long + 1;
            self.splice(mark + 1..mark + 1, len.to_be_bytes());
        }
    }
}

pub(super) fn put_str(value: &str, out: &mut Vec<u8>) {
    match value.len() {
        len @ 0..=31 => out.push(0xa0 | len as u8),
        len @ 32..=0xff => out.extend_from_slice(&[0xd9, len as u8]),
        len @ 0x100..=0xffff => {
            out.push(0xda);
            out.extend_from_slice(&(len as u16).to_be_bytes());
        }
        len => {
            let len = u32::try_from(len).expect("a string of a message is far smaller than 4 GiB");
            out.push(0xdb);
            out.extend_from_slice(&len.to_be_bytes());
        }
    }
    out.extend_from_slice(value.as_bytes());
}

pub(super) fn put_u64(value: u64, out: &mut Vec<u8>) {
    match value {
        0..=0x7f => out.push(value as u8),
        0x80..=0xff => out.extend_from_slice(&[0xcc, value as u8]),
        0x100..=0xffff => {
            out.push(0xcd);
            out.extend_from_slice(&(value as u16).to_be_bytes());
        }
        0x1_0000..=0xffff_ffff => {
            out.push(0xce);
            out.extend_from_slice(&(value as u32).to_be_bytes());
        }
        _ => {
            out.push(0xcf);
            out.extend_from_slice(&value.to_be_bytes());
        }
    }
}

pub(super) fn put_i64(value: i64, out: &mut Vec<u8>) {
    match value {
        0.. => put_u64(value.unsigned_abs(), out),
        -32..=-1 => out.push(value as u8),
        -0x80..=-33 => out.extend_from_slice(&[0xd0, value as u8]),
        -0x8000..=-0x81 => {
            out.push(0xd1);
            out.extend_from_slice(&(value as i16).to_be_bytes());
        }
        -0x8000_0000..=-0x8001 => {
            out.push(0xd2);
            out.extend_from_slice(&(value as i32).to_be_bytes());
        }
        _ => {
            out.push(0xd3);
            out.extend_from_slice(&value.to_be_bytes());
        }
    }
}
