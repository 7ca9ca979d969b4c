//! How messages are written on a connection: a codec, and what frames it.
//!
//! WebSocket frames are those of RFC 6455. An event stream has server-sent events (WHATWG HTML §9.2): each message is
//! an event's `data` in JSON, a position its `id`, a ping a comment, a close an event of that name.

use bytes::Bytes;
use odin_protocol::{
    Cursor,
    close::{CloseCode, Reconnect},
    codec::Codec,
    frame::{self, Opcode},
    message::ServerMessage,
};
use serde::Serialize;

/// See the module.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub enum Format {
    /// WebSocket, `odin.v1.json`.
    Json,
    /// WebSocket, `odin.v1.msgpack`.
    MsgPack,
    /// Server-sent events.
    Events,
}

/// The data of a `close` event.
#[derive(Debug, Serialize)]
struct Close<'a> {
    code: u16,
    name: &'a str,
    reason: &'a str,
}

impl Format {
    /// All of them, in the order of [`Format::index`].
    pub const ALL: [Format; 3] = [Format::Json, Format::MsgPack, Format::Events];

    /// Its place in an array that has one entry for each.
    pub(crate) const fn index(self) -> usize {
        self as usize
    }

    pub(crate) const fn codec(self) -> Codec {
        match self {
            Format::Json | Format::Events => Codec::Json,
            Format::MsgPack => Codec::MsgPack,
        }
    }

    /// Whether the client can say something after its request.
    pub(crate) const fn is_two_way(self) -> bool {
        !matches!(self, Format::Events)
    }

    /// A whole frame around an encoded message.
    pub(crate) fn frame(self, message: &[u8]) -> Bytes {
        let mut frame = Vec::with_capacity(message.len() + 10);
        self.append_frame(message, &mut frame);
        frame.into()
    }

    fn append_frame(self, message: &[u8], out: &mut Vec<u8>) {
        match self {
            Format::Json => frame::encode_frame(Opcode::Text, message, out),
            Format::MsgPack => frame::encode_frame(Opcode::Binary, message, out),
            Format::Events => {
                out.extend_from_slice(b"data: ");
                // A line break would end the field. In JSON it is white space; inside strings it cannot be.
                out.extend(message.iter().map(|byte| if matches!(byte, b'\n' | b'\r') { b' ' } else { *byte }));
                out.extend_from_slice(b"\n\n");
            }
        }
    }

    /// Appends a message as one frame. The position of a checkpoint is the event's `id`.
    pub(crate) fn append(self, message: &ServerMessage, out: &mut Vec<u8>) {
        let mut body = Vec::with_capacity(128);
        message.encode(self.codec(), &mut body);
        if let (Format::Events, ServerMessage::Checkpoint { cursor }) = (self, message) {
            out.extend_from_slice(format!("id: {cursor}\n").as_bytes());
        }
        self.append_frame(&body, out);
    }

    /// Appends what says that the connection lives.
    pub(crate) fn append_ping(self, out: &mut Vec<u8>) {
        match self {
            Format::Json | Format::MsgPack => frame::encode_frame(Opcode::Ping, &[], out),
            Format::Events => out.extend_from_slice(b":\n\n"),
        }
    }

    /// Appends the last word of a connection.
    pub(crate) fn append_close(self, code: u16, reason: &str, out: &mut Vec<u8>) {
        match self {
            Format::Json | Format::MsgPack => frame::encode_close(code, reason, out),
            Format::Events => {
                let name = CloseCode::from_u16(code).map_or("", CloseCode::name);
                let data = serde_json::to_string(&Close { code, name, reason }).expect("a number and texts");
                let retry_ms = retry_ms(Reconnect::for_code(code));
                out.extend_from_slice(format!("retry: {retry_ms}\nevent: close\ndata: {data}\n\n").as_bytes());
            }
        }
    }
}

/// When an `EventSource` that knows nothing of close codes is to come back, in milliseconds. Drawn anew each time.
pub(crate) fn retry_ms(when: Reconnect) -> u64 {
    match when {
        Reconnect::Soon => rand::random_range(500..=3_000),
        Reconnect::Later => rand::random_range(5_000..=15_000),
        // It cannot be told not to. By then the answer is an HTTP error, which ends it.
        Reconnect::Never => rand::random_range(60_000..=120_000),
    }
}

/// An event with its `id`: the position behind it.
pub(crate) fn with_id(cursor: Cursor, event: &[u8]) -> Bytes {
    [format!("id: {cursor}\n").as_bytes(), event].concat().into()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn events(write: impl FnOnce(&mut Vec<u8>)) -> String {
        let mut out = Vec::new();
        write(&mut out);
        String::from_utf8(out).expect("text")
    }

    #[test]
    fn an_event_is_one_line_of_json() {
        let message = "{\"a\":\n 1,\r\n\"b\":\"\\n\"}";
        let frame = Format::Events.frame(message.as_bytes());
        assert_eq!(frame, "data: {\"a\":  1,  \"b\":\"\\n\"}\n\n".as_bytes());
    }

    #[test]
    fn a_checkpoint_is_an_id() {
        let cursor = "1.k3j9x2m4.1042.1767225600000".to_owned();
        let text = events(|out| Format::Events.append(&ServerMessage::Checkpoint { cursor }, out));
        let mut lines = text.lines();
        assert_eq!(lines.next(), Some("id: 1.k3j9x2m4.1042.1767225600000"));
        assert_eq!(lines.next(), Some(r#"data: {"type":"checkpoint","cursor":"1.k3j9x2m4.1042.1767225600000"}"#));
    }

    #[test]
    fn a_close_is_an_event_of_its_own() {
        let text = events(|out| Format::Events.append_close(1012, "service restart", out));
        let (retry, rest) = text.split_once('\n').expect("lines");
        let retry: u64 = retry.strip_prefix("retry: ").expect("a wait").parse().expect("a number");
        assert!((500..=3_000).contains(&retry));
        assert_eq!(
            rest,
            "event: close\ndata: {\"code\":1012,\"name\":\"service_restart\",\"reason\":\"service restart\"}\n\n"
        );
    }

    #[test]
    fn a_ping_is_a_comment() {
        assert_eq!(events(|out| Format::Events.append_ping(out)), ":\n\n");
    }
}
