//! A WebSocket echo server: how to use the decoder and the encoder, and the server that `loadtest/autobahn` is tried on.
//!
//! ```text
//! cargo run --release -p odin-protocol --example echo -- 127.0.0.1:9001
//! ```
//!
//! One thread per connection and blocking reads, so that nothing distracts from the protocol. It shakes hands with
//! whoever asks and has no timeouts: not a server for the internet.

use std::{
    env,
    io::{self, BufRead, BufReader, Read, Write},
    net::{Shutdown, TcpListener, TcpStream},
    thread,
    time::Duration,
};

use base64::{Engine, engine::general_purpose::STANDARD};
use odin_protocol::frame::{Decoder, Limits, Message, Opcode, encode_close, encode_frame};
use sha1::{Digest, Sha1};

/// Enough for the largest messages of the Autobahn test suite: 16 MiB, or 4 MiB in fragments of 64 bytes and an empty
/// one to end them.
const LIMITS: Limits = Limits { message_bytes: 16 << 20, fragments: (1 << 16) + 1 };

/// Bytes read at once. Messages of any size pass through it; it does not bound them.
const SCRATCH_BYTES: usize = 64 << 10;

/// How long a client may take to end its half of the connection after ours has ended.
const LINGER: Duration = Duration::from_secs(1);

fn main() -> io::Result<()> {
    let address = env::args().nth(1).unwrap_or_else(|| "127.0.0.1:9001".to_owned());
    let listener = TcpListener::bind(address)?;
    println!("listening on ws://{}", listener.local_addr()?);
    for stream in listener.incoming() {
        let stream = stream?;
        thread::spawn(move || {
            if let Err(error) = serve(stream) {
                eprintln!("connection lost: {error}");
            }
        });
    }
    Ok(())
}

/// Shakes hands, echoes until one side is done, closes.
fn serve(mut stream: TcpStream) -> io::Result<()> {
    stream.set_nodelay(true)?;
    // Frames may arrive in the same packet as the handshake: what the reader has read too much is decoded first.
    let mut reader = BufReader::new(stream.try_clone()?);
    let key = handshake(&mut reader)?;
    let accept = STANDARD.encode(Sha1::digest(key + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"));
    write!(
        stream,
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Server: odin-echo\r\nSec-WebSocket-Accept: {accept}\r\n\r\n"
    )?;

    let mut decoder = Decoder::default();
    let mut scratch = vec![0; SCRATCH_BYTES];
    let mut answer = Vec::new();
    while !decoder.is_over() {
        let received = reader.read(&mut scratch)?;
        if received == 0 {
            return Ok(());
        }
        answer.clear();
        echo(&mut decoder, &mut scratch[..received], &mut answer);
        stream.write_all(&answer)?;
    }

    // The server ends the TCP connection first (RFC 6455 §7.1.1), and reads on so that the client's last bytes do not
    // reset it before the close frame has been read.
    stream.shutdown(Shutdown::Write)?;
    stream.set_read_timeout(Some(LINGER))?;
    while matches!(reader.read(&mut scratch), Ok(received) if received > 0) {}
    Ok(())
}

/// Decodes what has arrived and encodes what there is to answer.
fn echo(decoder: &mut Decoder, received: &mut [u8], answer: &mut Vec<u8>) {
    let mut messages = decoder.read(received, &LIMITS);
    while let Some(message) = messages.next() {
        match message {
            Ok(Message::Text(text)) => encode_frame(Opcode::Text, text.as_bytes(), answer),
            Ok(Message::Binary(bytes)) => encode_frame(Opcode::Binary, bytes, answer),
            Ok(Message::Ping(payload)) => encode_frame(Opcode::Pong, payload, answer),
            Ok(Message::Pong(_)) => {}
            Ok(Message::Close(Some((code, _)))) => encode_close(code, "", answer),
            Ok(Message::Close(None)) => encode_frame(Opcode::Close, b"", answer),
            Err(violation) => encode_close(violation.close_code(), violation.name(), answer),
        }
    }
}

/// Reads the request and returns its key.
fn handshake(reader: &mut impl BufRead) -> io::Result<String> {
    let mut key = None;
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line)? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        match line.trim_end().split_once(':') {
            Some((name, value)) if name.eq_ignore_ascii_case("sec-websocket-key") => {
                key = Some(value.trim().to_owned());
            }
            None if line.trim_end().is_empty() => break,
            _ => {}
        }
    }
    key.ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, "request without sec-websocket-key"))
}
