//! Lines typed into our standard input, by a person or a test.
//!
//! Read by a thread of its own: a runtime would wait at its end for a read that nobody finishes.

use std::io::{BufRead as _, Read as _};

use tokio::sync::mpsc;

/// Longest line taken; an order is shorter by far.
const LINE_BYTES: u64 = 1024 * 1024;
/// Lines read ahead; then the writer waits.
const LINES: usize = 64;

/// Standard input, line by line, without the line ends. The channel ends with the input, with a line that is too long
/// and with bytes that are not UTF-8, of which the last item tells.
pub(crate) fn lines() -> mpsc::Receiver<Result<String, String>> {
    let (sender, receiver) = mpsc::channel(LINES);
    // Detached: it ends with the input or with the process.
    std::thread::spawn(move || {
        let mut input = std::io::stdin().lock();
        loop {
            let mut line = String::new();
            let read = input.by_ref().take(LINE_BYTES).read_line(&mut line);
            let item = match read {
                Ok(0) => return,
                Ok(_) if line.ends_with('\n') || (line.len() as u64) < LINE_BYTES => Ok(line.trim_end().to_owned()),
                Ok(_) => Err(format!("a line of more than {LINE_BYTES} bytes")),
                Err(error) => Err(error.to_string()),
            };
            let is_last = item.is_err();
            if sender.blocking_send(item).is_err() || is_last {
                return;
            }
        }
    });
    receiver
}
