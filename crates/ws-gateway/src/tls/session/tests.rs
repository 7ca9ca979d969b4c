use std::{cmp, collections::VecDeque};

use rand::{RngExt, SeedableRng, rngs::StdRng};
use rustls::{ALL_VERSIONS, ClientConnection, SupportedProtocolVersion, version::TLS13};

use super::{
    super::fixture::{Certificate, localhost},
    *,
};

/// The most that a session may keep of what goes out.
const MAX_OUTGOING_BYTES: usize = RECORD_BYTES + OVERHEAD_BYTES;

/// The server's end of a connection: takes and gives as little as it is told.
struct Wire {
    to_server: VecDeque<u8>,
    to_client: VecDeque<u8>,
    /// Bytes that fit into the socket's buffer towards the client.
    room: usize,
    /// Bytes that one call reads or writes at most.
    piece: usize,
    has_ended: bool,
}

impl Read for Wire {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let n = into.len().min(self.piece).min(self.to_server.len());
        match n {
            0 if self.has_ended => Ok(0),
            0 => Err(ErrorKind::WouldBlock.into()),
            n => self.to_server.read(&mut into[..n]),
        }
    }
}

impl Write for Wire {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let n = bytes.len().min(self.piece).min(self.room.saturating_sub(self.to_client.len()));
        match n {
            0 => Err(ErrorKind::WouldBlock.into()),
            n => self.to_client.write(&bytes[..n]),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// A session and its client.
struct Pair {
    session: Session,
    client: ClientConnection,
    wire: Wire,
}

impl Pair {
    /// Before the handshake.
    fn fresh(version: &'static SupportedProtocolVersion, piece: usize) -> Self {
        let certificate = Certificate::new();
        let client = ClientConnection::new(certificate.client(&[version]), localhost()).expect("a client");
        let session = Session::new(&certificate.tls()).expect("a session");
        let (to_server, to_client) = (VecDeque::new(), VecDeque::new());
        let wire = Wire { to_server, to_client, room: usize::MAX, piece, has_ended: false };
        Self { session, client, wire }
    }

    fn connected(version: &'static SupportedProtocolVersion, piece: usize) -> Self {
        let mut pair = Self::fresh(version, piece);
        while pair.client.is_handshaking() || pair.session.tls.is_handshaking() {
            pair.client_sends();
            if let Err(error) = pair.session.shake_hands(&mut pair.wire) {
                assert_eq!(error.kind(), ErrorKind::WouldBlock);
            }
            pair.client_reads();
        }
        pair
    }

    fn client_sends(&mut self) {
        while self.client.wants_write() {
            self.client.write_tls(&mut self.wire.to_server).expect("room");
        }
    }

    /// What has come to the client.
    fn client_reads(&mut self) -> Vec<u8> {
        let mut plain = Vec::new();
        while !self.wire.to_client.is_empty() {
            self.client.read_tls(&mut self.wire.to_client).expect("readable");
            self.client.process_new_packets().expect("valid");
            let _ = self.client.reader().read_to_end(&mut plain);
        }
        plain
    }

    /// What the server reads with buffers of this size, to the end of what there is.
    fn server_reads(&mut self, size: usize) -> Vec<u8> {
        let mut plain = Vec::new();
        loop {
            let mut buffer = vec![0; size];
            match self.session.read(&mut self.wire, &mut buffer) {
                Ok(0) => return plain,
                Ok(n) => {
                    plain.extend_from_slice(&buffer[..n]);
                    if self.session.is_drained() {
                        return plain;
                    }
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => {
                    assert_eq!(error.kind(), ErrorKind::WouldBlock);
                    return plain;
                }
            }
        }
    }

    /// Writes all of it; the client reads meanwhile. Gives what it read.
    fn server_writes(&mut self, bytes: &[u8]) -> Vec<u8> {
        let (mut done, mut plain) = (0, Vec::new());
        while done < bytes.len() || !self.session.is_flushed() {
            let result = match &bytes[done..] {
                [] => self.session.flush(&mut self.wire).map(|()| 0),
                rest => self.session.write(&mut self.wire, &[IoSlice::new(rest)]),
            };
            match result {
                Ok(n) => done += n,
                Err(error) => assert_eq!(error.kind(), ErrorKind::WouldBlock),
            }
            assert!(self.session.outgoing.len() <= MAX_OUTGOING_BYTES, "{}", self.session.outgoing.len());
            plain.extend(self.client_reads());
        }
        plain.extend(self.client_reads());
        plain
    }
}

/// Bytes that are nowhere the same.
fn pattern(len: usize) -> Vec<u8> {
    (0..len).map(|n| (n * 31 % 251) as u8 ^ (n >> 8) as u8).collect()
}

#[test]
fn carries_bytes_both_ways_however_they_are_cut() {
    for version in ALL_VERSIONS {
        for piece in [1, 7, 1000, usize::MAX] {
            let mut pair = Pair::connected(version, piece);
            let bytes = pattern(100_000);
            pair.wire.room = 5_000;
            assert_eq!(pair.server_writes(&bytes), bytes, "{version:?} {piece}");
            for part in bytes.chunks(30_000) {
                pair.client.writer().write_all(part).expect("taken");
                pair.client_sends();
                assert_eq!(pair.server_reads(cmp::min(piece, 10_000)), part, "{version:?} {piece}");
            }
            assert!(pair.session.is_flushed() && pair.session.is_drained());
        }
    }
}

#[test]
fn keeps_nothing_when_nothing_waits() {
    for version in ALL_VERSIONS {
        let mut pair = Pair::connected(version, usize::MAX);
        pair.server_writes(&pattern(40_000));
        pair.client.writer().write_all(&pattern(40_000)).expect("taken");
        pair.client_sends();
        pair.server_reads(4096);
        let Session { incoming, plain, outgoing, .. } = &pair.session;
        assert_eq!((incoming.capacity(), plain.capacity(), outgoing.capacity()), (0, 0, 0), "{version:?}");
    }
}

#[test]
fn writes_several_pieces_as_one() {
    let mut pair = Pair::connected(&TLS13, usize::MAX);
    let bytes = pattern(RECORD_BYTES + 100);
    let pieces = [&bytes[..10], &bytes[10..10], &bytes[10..10_000], &bytes[10_000..]].map(IoSlice::new);
    let n = pair.session.write(&mut pair.wire, &pieces).expect("written");
    assert_eq!(n, RECORD_BYTES);
    assert_eq!(pair.client_reads(), &bytes[..n]);
}

/// Checklist 32: a peer that does not read.
#[test]
fn takes_no_more_than_a_record_for_a_socket_that_blocks() {
    for version in ALL_VERSIONS {
        let mut pair = Pair::connected(version, usize::MAX);
        pair.wire.room = 20_000;
        let bytes = pattern(100_000);
        let mut done = 0;
        let refused = loop {
            match pair.session.write(&mut pair.wire, &[IoSlice::new(&bytes[done..])]) {
                Ok(n) => done += n,
                Err(error) => break error,
            }
        };
        assert_eq!(refused.kind(), ErrorKind::WouldBlock);
        assert_eq!(done, 2 * RECORD_BYTES);
        assert!(!pair.session.is_flushed() && pair.session.outgoing.len() <= MAX_OUTGOING_BYTES);
        assert_eq!(pair.session.flush(&mut pair.wire).expect_err("still blocked").kind(), ErrorKind::WouldBlock);
        let mut plain = pair.client_reads();
        pair.session.flush(&mut pair.wire).expect("there is room");
        plain.extend(pair.client_reads());
        assert_eq!(plain, &bytes[..done]);
    }
}

#[test]
fn delivers_what_came_before_the_end() {
    for version in ALL_VERSIONS {
        let mut pair = Pair::connected(version, usize::MAX);
        pair.client.writer().write_all(b"the last words").expect("taken");
        pair.client.send_close_notify();
        pair.client_sends();
        // Not the peer's any more.
        pair.wire.to_server.extend(*b"garbage");
        let mut buffer = [0; 4096];
        assert_eq!(pair.session.read(&mut pair.wire, &mut buffer).expect("bytes"), 14);
        assert!(!pair.session.is_drained(), "the socket has nothing to tell any more");
        assert_eq!(pair.session.read(&mut pair.wire, &mut buffer).expect("the end"), 0);
        // Our side is open.
        assert_eq!(pair.server_writes(b"bye"), b"bye");
    }
}

#[test]
fn an_end_without_a_word_is_an_end() {
    for piece in [1, usize::MAX] {
        let mut pair = Pair::connected(&TLS13, piece);
        pair.client.writer().write_all(b"the last words").expect("taken");
        pair.client_sends();
        pair.wire.to_server.pop_back();
        pair.wire.has_ended = true;
        assert_eq!(pair.server_reads(4096), b"", "no whole record");
        assert!(pair.session.has_ended && !pair.session.is_drained());
        let mut pair = Pair::fresh(&TLS13, piece);
        pair.wire.has_ended = true;
        let error = pair.session.shake_hands(&mut pair.wire).expect_err("nobody is there");
        assert_eq!(error.kind(), ErrorKind::UnexpectedEof);
    }
}

#[test]
fn says_goodbye_once_and_nothing_after() {
    for version in ALL_VERSIONS {
        let mut pair = Pair::connected(version, usize::MAX);
        pair.session.close(&mut pair.wire).expect("sent");
        pair.session.close(&mut pair.wire).expect("sent before");
        pair.client.read_tls(&mut pair.wire.to_client).expect("readable");
        let state = pair.client.process_new_packets().expect("valid");
        assert!(state.peer_has_closed() && pair.wire.to_client.is_empty());
        let error = pair.session.write(&mut pair.wire, &[IoSlice::new(b"x")]).expect_err("closed");
        assert_eq!(error.kind(), ErrorKind::BrokenPipe);
    }
}

#[test]
fn says_goodbye_behind_what_waits() {
    for version in ALL_VERSIONS {
        let mut pair = Pair::connected(version, usize::MAX);
        pair.wire.room = 100;
        let bytes = pattern(5000);
        assert_eq!(pair.session.write(&mut pair.wire, &[IoSlice::new(&bytes)]).expect("taken"), 5000);
        assert_eq!(pair.session.close(&mut pair.wire).expect_err("it waits").kind(), ErrorKind::WouldBlock);
        pair.wire.room = usize::MAX;
        pair.session.flush(&mut pair.wire).expect("there is room");
        assert!(pair.session.is_flushed());
        assert_eq!(pair.client_reads(), bytes);
        assert_eq!(pair.client.reader().read(&mut [0; 1]).expect("an end with a word"), 0);
    }
}

/// Checklist 3: bytes that were changed, lost or repeated on the way, at any time.
#[test]
fn survives_whatever_comes() {
    for seed in 0..400 {
        let mut random = StdRng::seed_from_u64(seed);
        let version = ALL_VERSIONS[random.random_range(0..ALL_VERSIONS.len())];
        let mut pair = Pair::fresh(version, random.random_range(1..2000));
        for _ in 0..random.random_range(1..30) {
            if !pair.client.is_handshaking() {
                let _ = pair.client.writer().write_all(&pattern(random.random_range(0..3000)));
                if random.random_bool(0.1) {
                    let _ = pair.client.refresh_traffic_keys();
                }
            }
            pair.client_sends();
            let len = pair.wire.to_server.len();
            if len > 0 && random.random_bool(0.2) {
                let at = random.random_range(0..len);
                match random.random_range(0..4) {
                    0 => pair.wire.to_server[at] ^= 1 << random.random_range(0..8),
                    1 => drop(pair.wire.to_server.remove(at)),
                    2 => pair.wire.to_server.insert(at, random.random()),
                    _ => pair.wire.to_server.truncate(at),
                }
            }
            if pair.session.tls.is_handshaking() {
                let _ = pair.session.shake_hands(&mut pair.wire);
            } else {
                let _ = pair.session.read(&mut pair.wire, &mut vec![0; random.random_range(1..5000)]);
                let _ = pair.session.write(&mut pair.wire, &[IoSlice::new(&pattern(random.random_range(1..20_000)))]);
            }
            let waits = [pair.session.incoming.len(), pair.session.plain.len(), pair.session.outgoing.len()];
            assert!(waits.iter().all(|bytes| *bytes <= MAX_INCOMING_BYTES + READ_BYTES), "{seed}: {waits:?}");
            while pair.client.read_tls(&mut pair.wire.to_client).is_ok_and(|n| n > 0) {
                if pair.client.process_new_packets().is_err() {
                    break;
                }
                let _ = pair.client.reader().read_to_end(&mut Vec::new());
            }
        }
        let _ = pair.session.close(&mut pair.wire);
    }
}

/// Checklist 3: garbage on the port of TLS.
#[test]
fn refuses_garbage_with_an_alert_and_looks_at_nothing_after() {
    let garbage: [&[u8]; 5] = [
        b"GET /ws HTTP/1.1\r\nHost: odin\r\n\r\n",
        &[0; 100],
        &[0xFF; 20_000],
        b"\x16\x03\x01\x00\x05\x01\x00\x00\x01\x00",
        b"\x15\x03\x03\x00\x02\x02\x28",
    ];
    for bytes in garbage {
        for piece in [1, usize::MAX] {
            let mut pair = Pair::fresh(&TLS13, piece);
            pair.wire.to_server.extend(bytes);
            let error = pair.session.shake_hands(&mut pair.wire).expect_err("no TLS");
            assert_eq!(error.kind(), ErrorKind::InvalidData, "{bytes:?}");
            let is_alert = pair.wire.to_client.front() == Some(&0x15);
            assert!(is_alert || bytes[0] == 0x15, "{:?}", pair.wire.to_client);
            let error = pair.session.read(&mut pair.wire, &mut [0; 10]).expect_err("broken");
            assert_eq!(error.kind(), ErrorKind::InvalidData);
        }
    }
    for version in ALL_VERSIONS {
        let mut pair = Pair::connected(version, usize::MAX);
        pair.client.writer().write_all(b"good").expect("taken");
        pair.client_sends();
        pair.wire.to_server.extend(b"\x17\x03\x03\x00\x20 this was never encrypted by anybody");
        let mut buffer = [0; 100];
        assert_eq!(pair.session.read(&mut pair.wire, &mut buffer).expect("what was good"), 4);
        assert!(!pair.session.is_drained());
        let error = pair.session.read(&mut pair.wire, &mut buffer).expect_err("broken");
        assert_eq!(error.kind(), ErrorKind::InvalidData);
        let error = pair.session.write(&mut pair.wire, &[IoSlice::new(b"x")]).expect_err("broken");
        assert_eq!(error.kind(), ErrorKind::BrokenPipe);
        pair.session.close(&mut pair.wire).expect("nothing to say");
    }
}

/// Checklist 3: a ClientHello that goes on and on.
#[test]
fn keeps_a_bounded_part_of_an_endless_handshake() {
    for piece in [100, usize::MAX] {
        let mut pair = Pair::fresh(&TLS13, piece);
        // Of 16 MiB, in records of the largest size.
        let mut record = b"\x16\x03\x01\x40\x00".to_vec();
        record.resize(5 + 0x4000, 0);
        record[5..9].copy_from_slice(b"\x01\xFF\xFF\xFF");
        let mut most = 0;
        let error = loop {
            pair.wire.to_server.extend(&record);
            record[5..9].fill(0);
            match pair.session.shake_hands(&mut pair.wire) {
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                Err(error) => break error,
                Ok(()) => panic!("no handshake"),
            }
            most = most.max(pair.session.incoming.len());
        };
        assert_eq!(error.kind(), ErrorKind::InvalidData);
        assert!(most <= MAX_INCOMING_BYTES + READ_BYTES, "{most}");
    }
}

/// Checklist 26: records without anything in them.
#[test]
fn stays_not_for_long_with_a_peer_that_says_nothing_much() {
    let mut pair = Pair::connected(&TLS13, usize::MAX);
    // An empty record, as it would go on the wire, is not to be had from this client: one byte, and no room for it.
    for _ in 0..20_000 {
        pair.client.writer().write_all(b"x").expect("taken");
        pair.client_sends();
    }
    let before = pair.wire.to_server.len();
    let mut buffer = [0; 64 * 1024];
    let n = pair.session.read(&mut pair.wire, &mut buffer).expect("bytes");
    assert!(before - pair.wire.to_server.len() <= READS * READ_BYTES);
    assert!(n > 0 && !pair.session.is_drained(), "it has more to ask for");
}

/// Attack: fresh keys again and again, and a message of that kind cut in two while we write.
#[test]
fn goes_on_when_the_peer_changes_its_keys() {
    for piece in [1, usize::MAX] {
        let mut pair = Pair::connected(&TLS13, piece);
        for round in 0..20_u8 {
            pair.client.refresh_traffic_keys().expect("in order");
            pair.client.writer().write_all(&[round; 100]).expect("taken");
            pair.client_sends();
            let rest = pair.wire.to_server.split_off(3);
            assert_eq!(pair.server_reads(4096), b"");
            assert_eq!(pair.server_writes(&[round; 50]), [round; 50]);
            pair.wire.to_server.extend(rest);
            assert_eq!(pair.server_reads(4096), [round; 100]);
            assert_eq!(pair.server_writes(&[round; 50]), [round; 50]);
        }
    }
}

/// What a connection costs that has nothing to say, beside its socket.
#[test]
fn is_small() {
    assert!(size_of::<Session>() <= 1280, "{}", size_of::<Session>());
}
