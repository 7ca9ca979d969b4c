//! Reading vectors and turning bytes into hex.

use std::fmt::Write as _;
use std::path::PathBuf;

use odin_protocol::{ClientMessage, Codec, ServerMessage};
use serde::de::DeserializeOwned;

pub(crate) fn vectors<T: DeserializeOwned>(file: &str) -> Vec<T> {
    let text = read(&format!("vectors/{file}"));
    let cases: Vec<T> = serde_json::from_str(&text).unwrap_or_else(|fault| panic!("{file}: {fault}"));
    assert!(!cases.is_empty(), "{file} is empty");
    cases
}

pub(crate) fn path(relative: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join(relative)
}

pub(crate) fn read(relative: &str) -> String {
    std::fs::read_to_string(path(relative)).unwrap_or_else(|fault| panic!("{relative}: {fault}"))
}

pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        write!(text, "{byte:02x}").expect("a string takes everything");
        text
    })
}

pub(crate) fn unhex(text: &str) -> Vec<u8> {
    assert!(text.len().is_multiple_of(2), "odd hex");
    let digits: Vec<u8> = text.chars().map(|c| c.to_digit(16).expect("hex") as u8).collect();
    digits.chunks(2).map(|pair| pair[0] << 4 | pair[1]).collect()
}

pub(crate) fn encode_server(message: &ServerMessage, codec: Codec) -> Vec<u8> {
    let mut out = Vec::new();
    message.encode(codec, &mut out);
    out
}

pub(crate) fn client_text(message: &ClientMessage) -> String {
    String::from_utf8(message.encode(Codec::Json)).expect("JSON is UTF-8")
}

pub(crate) fn server_text(message: &ServerMessage) -> String {
    String::from_utf8(encode_server(message, Codec::Json)).expect("JSON is UTF-8")
}
