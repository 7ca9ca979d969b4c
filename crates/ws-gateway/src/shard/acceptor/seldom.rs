//! Log lines about what strangers can bring about as often as they like: one now and then says how many there were.

use std::{cell::Cell, time::Duration};

use tokio::time::Instant;

/// The time between two of these lines.
const PAUSE: Duration = Duration::from_secs(10);

/// See the module. One for each kind of line.
#[derive(Debug, Default)]
pub(super) struct Seldom {
    next: Cell<Option<Instant>>,
    held_back: Cell<u64>,
}

impl Seldom {
    /// Logs, if it is time to: `line` is given how many lines were held back since the last one.
    pub(super) fn log(&self, line: impl FnOnce(u64)) {
        let now = Instant::now();
        if self.next.get().is_some_and(|next| now < next) {
            self.held_back.set(self.held_back.get() + 1);
            return;
        }
        self.next.set(Some(now + PAUSE));
        line(self.held_back.take());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_flood_is_a_line_now_and_then_with_its_size() {
        let (seldom, lines) = (Seldom::default(), Cell::new(Vec::new()));
        let log = || {
            seldom.log(|held_back| {
                let mut said = lines.take();
                said.push(held_back);
                lines.set(said);
            })
        };
        for _ in 0..1000 {
            log();
        }
        tokio::time::advance(PAUSE).await;
        log();
        log();
        tokio::time::advance(PAUSE).await;
        log();
        assert_eq!(lines.take(), [0, 999, 1]);
    }
}
