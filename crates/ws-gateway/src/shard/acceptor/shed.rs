//! Sending connections away without a handshake.
//!
//! Whoever is sent away must not take anything from those who may stay. So no request is parsed, there is no buffer
//! while a socket is waited for, and the tasks are counted apart from handshakes: however many there are, they take no
//! place that a good handshake could have. What one costs is two system calls and a small task; beyond [`ANSWERS`] of
//! them, as many as a silent crowd can hold, a connection is reset and costs nothing but its accept. A storm that is
//! still too much for the thread waits in the kernel's backlog, where it is the kernel that drops it.
//!
//! On an address that speaks TLS an answer would cost a TLS handshake, a hundred times as much as all the rest: there
//! everybody who is sent away is reset.

use std::{cell::Cell, io, rc::Rc, time::Duration};

use tokio::{io::AsyncWriteExt, net::TcpStream, task::spawn_local};

use super::Turnstile;
use crate::http::Refusal;

/// Answers under way on one shard.
const ANSWERS: usize = 256;

/// What is read of the request at most. What is left in the socket makes the kernel reset it, and the answer may be
/// lost; a request of this size is no browser's.
const READ_BYTES: usize = 4096;

/// The answers under way.
#[derive(Debug, Default)]
pub(super) struct Shed(Rc<Cell<usize>>);

impl Shed {
    /// Answers in the background, for as long as `limit` at most – or resets the connection. Must be called in a
    /// `LocalSet`.
    pub(super) fn send_away(&self, stream: TcpStream, refusal: &Refusal, limit: Duration, turnstile: &Turnstile) {
        if self.0.get() >= ANSWERS {
            return reset(stream);
        }
        let place = Place::take(&self.0);
        let (bytes, turnstile) = (refusal.to_bytes(), turnstile.clone());
        spawn_local(async move {
            let _place = place;
            // Whoever does not ask, or does not take the answer, misses it.
            let _ = tokio::time::timeout(limit, async {
                stream.readable().await?;
                turnstile.pass().await;
                answer(stream, &bytes).await
            })
            .await;
        });
    }
}

#[derive(Debug)]
struct Place(Rc<Cell<usize>>);

impl Place {
    fn take(count: &Rc<Cell<usize>>) -> Self {
        count.set(count.get() + 1);
        Self(count.clone())
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.0.set(self.0.get() - 1);
    }
}

/// Ends a connection with a reset: nothing of it stays in the kernel.
pub(super) fn reset(stream: TcpStream) {
    // Without it the connection ends in another way.
    let _ = stream.set_zero_linger();
}

/// Answers the request that has come, whatever it is.
pub(super) async fn answer(mut stream: TcpStream, bytes: &[u8]) -> io::Result<()> {
    loop {
        stream.readable().await?;
        match stream.try_read(&mut [0; READ_BYTES]) {
            Ok(0) => return Ok(()),
            Ok(_) => break,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(error) => return Err(error),
        }
    }
    stream.write_all(bytes).await?;
    stream.shutdown().await
}
