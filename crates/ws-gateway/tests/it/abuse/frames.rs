//! Hostile frames.

use std::time::Duration;

use odin_protocol::{close::CloseCode, frame::Violation};

use super::Scene;
use crate::support::{Client, Gateway, Received, frame};

/// Attack: a frame without a mask, which could poison a proxy's cache.
#[tokio::test]
async fn refuses_unmasked_frames() {
    let scene = Scene::new().await;
    scene.violates(b"\x81\x0F{\"type\":\"ping\"}", Violation::Unmasked).await;
    scene.violates(b"\x88\x02\x03\xE8", Violation::Unmasked).await;
    let counted = "odin_gateway_connections_closed_total{reason=\"protocol_error\"}";
    scene.gateway.metric_becomes(counted, 2).await;
    scene.leaves_all_unharmed().await;
}

/// Attack: reserved bits and opcodes that nobody agreed on.
#[tokio::test]
async fn refuses_reserved_bits_and_opcodes() {
    let scene = Scene::new().await;
    for bit in [0x40, 0x20, 0x10] {
        scene.violates(&frame(0x81 | bit, b"{}"), Violation::ReservedBit).await;
        scene.violates(&frame(0x89 | bit, b""), Violation::ReservedBit).await;
    }
    for opcode in [0x3, 0x7, 0xB, 0xF] {
        scene.violates(&frame(0x80 | opcode, b""), Violation::ReservedOpcode).await;
    }
    scene.leaves_all_unharmed().await;
}

/// Attack: control frames that are long or in pieces.
#[tokio::test]
async fn refuses_long_and_fragmented_control_frames() {
    let scene = Scene::new().await;
    for opcode in [0x8, 0x9, 0xA] {
        scene.violates(&frame(0x80 | opcode, &[0; 126]), Violation::ControlTooLong).await;
        scene.violates(&frame(opcode, b"x"), Violation::FragmentedControl).await;
    }
    scene.leaves_all_unharmed().await;
}

/// Attack: lengths that no machine has memory for, or that are written longer than they are.
#[tokio::test]
async fn refuses_absurd_lengths_as_soon_as_they_are_declared() {
    let scene = Scene::new().await;
    let declare = |head: &[u8], length: u64| [head, &length.to_be_bytes()[..]].concat();
    scene.violates(&declare(&[0x82, 0xFF], 1 << 63), Violation::LengthOutOfRange).await;
    scene.violates(&declare(&[0x82, 0xFF], u64::MAX), Violation::LengthOutOfRange).await;
    scene.violates(&declare(&[0x82, 0xFF], (1 << 63) - 1), Violation::MessageTooBig).await;
    scene.violates(&declare(&[0x82, 0xFF], 1 << 32), Violation::MessageTooBig).await;
    scene.violates(&declare(&[0x82, 0xFF], 125), Violation::LengthNotMinimal).await;
    scene.violates(&declare(&[0x82, 0xFF], 65_535), Violation::LengthNotMinimal).await;
    scene.violates(b"\x82\xFE\x00\x7D", Violation::LengthNotMinimal).await;
    scene.leaves_all_unharmed().await;
}

/// Attack: a message over the limit, in one frame or in many.
#[tokio::test]
async fn refuses_messages_over_the_limit() {
    let scene = Scene::new().await;
    let text = vec![b'x'; 65_537];
    scene.violates(&frame(0x81, &text), Violation::MessageTooBig).await;
    let mut pieces = frame(0x01, &text[..40_000]);
    pieces.extend(frame(0x00, &text[..40_000]));
    scene.violates(&pieces, Violation::MessageTooBig).await;
    scene.gateway.metric_becomes("odin_gateway_connections_closed_total{reason=\"too_big\"}", 2).await;
    scene.leaves_all_unharmed().await;
}

/// Attack: declare 64 KiB, send a byte, and fall silent.
#[tokio::test]
async fn closes_whoever_never_finishes_a_message() {
    let gateway = Gateway::without_nats(|config| {
        config.heartbeat.interval = Duration::from_secs(1);
        config.heartbeat.timeout = Duration::from_secs(2);
    });
    let mut client = Client::connect(&gateway).await;
    let whole = frame(0x81, &vec![b'x'; 65_536]);
    client.send_raw(&whole[..15]).await;
    client.answers_pings = false;
    client.closed_with(CloseCode::HeartbeatTimeout).await;
    gateway.metric_becomes("odin_gateway_connections", 0).await;
}

/// Attack: a message of endless empty fragments.
#[tokio::test]
async fn refuses_messages_of_too_many_fragments() {
    let scene = Scene::new().await;
    let mut flood = frame(0x01, b"");
    for _ in 0..300 {
        flood.extend(frame(0x00, b""));
    }
    scene.violates(&flood, Violation::TooManyFragments).await;
    scene.leaves_all_unharmed().await;
}

/// Attack: fragments of nothing, and a message inside another.
#[tokio::test]
async fn refuses_fragments_out_of_order() {
    let scene = Scene::new().await;
    scene.violates(&frame(0x80, b"x"), Violation::UnexpectedContinuation).await;
    scene.violates(&frame(0x00, b"x"), Violation::UnexpectedContinuation).await;
    let nested = [frame(0x01, b"{"), frame(0x81, b"{}")].concat();
    scene.violates(&nested, Violation::UnfinishedMessage).await;
    scene.leaves_all_unharmed().await;
}

/// Attack: text that is not UTF-8, also where a fragment cuts it.
#[tokio::test]
async fn refuses_text_that_is_not_utf8() {
    let scene = Scene::new().await;
    for text in [&b"\xFF"[..], b"ok \xC3\x28", b"\xED\xA0\x80", b"\xF4\x90\x80\x80", b"\xC0\xAF", b"cut \xE2\x82"] {
        scene.violates(&frame(0x81, text), Violation::InvalidUtf8).await;
    }
    let split = [frame(0x01, b"\xE2\x82"), frame(0x80, b"x")].concat();
    scene.violates(&split, Violation::InvalidUtf8).await;
    scene.gateway.metric_becomes("odin_gateway_connections_closed_total{reason=\"invalid_utf8\"}", 7).await;
    // Split inside a character, but whole in the end: the message is read, and is no JSON.
    let mut client = Client::connect(&scene.gateway).await;
    client.send_raw(&[frame(0x01, b"\"\xE2\x82"), frame(0x80, b"\xAC\"")].concat()).await;
    client.error().await;
    drop(client);
    scene.leaves_all_unharmed().await;
}

/// Attack: close frames that no endpoint may send.
#[tokio::test]
async fn refuses_close_frames_that_are_none() {
    let scene = Scene::new().await;
    scene.violates(&frame(0x88, b"\x03"), Violation::CloseTooShort).await;
    for code in [0u16, 999, 1004, 1005, 1006, 1015, 1016, 2999, 5000, 65_535] {
        scene.violates(&frame(0x88, &code.to_be_bytes()), Violation::InvalidCloseCode).await;
    }
    scene.violates(&frame(0x88, b"\x03\xE8\xFF"), Violation::InvalidCloseReason).await;
    scene.leaves_all_unharmed().await;
}

/// Attack: pings without end, each of which wants an answer.
#[tokio::test]
async fn answers_few_of_many_pings_and_closes_on_a_flood() {
    let scene = Scene::new().await;
    let mut client = Client::connect(&scene.gateway).await;
    // Many in one packet: one answer, to the last that is within the limit.
    let pings: Vec<u8> = (0..50u8).flat_map(|n| frame(0x89, &[n])).collect();
    client.send_raw(&pings).await;
    client.ping(1).await;
    let mut pongs = 0;
    loop {
        match client.next().await {
            Received::Pong(_) => pongs += 1,
            Received::Message(_) => break,
            other => panic!("unexpected {other:?}"),
        }
    }
    assert!(pongs <= 10, "{pongs} answers to 50 pings");
    // Pongs that nobody asked for are ignored.
    let unasked: Vec<u8> = (0..50u8).flat_map(|n| frame(0x8A, &[n])).collect();
    client.send_raw(&unasked).await;
    assert!(client.sync(2).await.is_empty());
    drop(client);
    let flood: Vec<u8> = (0..2000).flat_map(|_| frame(0x89, b"flood")).collect();
    scene.is_closed(&flood, CloseCode::PolicyViolation.code(), CloseCode::PolicyViolation.reason()).await;
    scene.gateway.metric_becomes("odin_gateway_connections_closed_total{reason=\"rate_limited\"}", 1).await;
    scene.leaves_all_unharmed().await;
}

/// Attack: frames one byte at a time, to make each read cost as much as possible.
#[tokio::test]
async fn reads_frames_however_they_are_cut() {
    let scene = Scene::new().await;
    let mut client = Client::connect(&scene.gateway).await;
    client.stream.set_nodelay(true).expect("set");
    let mut bytes = frame(0x81, br#"{"type":"ping","id":1}"#);
    bytes.extend(frame(0x89, b"ping"));
    bytes.extend(frame(0x01, br#"{"type":"pi"#));
    bytes.extend(frame(0x80, br#"ng","id":2}"#));
    for byte in bytes {
        client.send_raw(&[byte]).await;
    }
    let mut answers = Vec::new();
    while answers.len() < 3 {
        match client.next().await {
            Received::Pong(payload) => answers.push(format!("{payload:?}")),
            Received::Message(message) => answers.push(format!("{message:?}")),
            other => panic!("unexpected {other:?}"),
        }
    }
    assert!(answers[0].contains("Number(1)") && answers[2].contains("Number(2)"), "{answers:?}");
    drop(client);
    scene.leaves_all_unharmed().await;
}

/// Attack: go on talking after the gateway has closed, and never answer its close.
#[tokio::test]
async fn does_not_listen_to_whoever_it_has_closed() {
    let scene = Scene::new().await;
    let mut client = Client::connect(&scene.gateway).await;
    let mut bytes = frame(0x80, b"x");
    for n in 0..1000 {
        bytes.extend(frame(0x81, format!(r#"{{"type":"ping","id":{n}}}"#).as_bytes()));
    }
    client.send_raw(&bytes).await;
    assert!(matches!(client.next().await, Received::Close(Some(1002), _)), "and no pong before it");
    // The client keeps its side open; the gateway does not wait for ever.
    scene.leaves_all_unharmed().await;
}
