//! Log lines about what goes on for long, or what strangers can bring about as often as they like: one now and then says
//! how many others there were.

use std::{
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::time::Instant;

/// The time between two of these lines.
const PAUSE: Duration = Duration::from_secs(10);

/// See the module. One for each kind of trouble.
#[derive(Debug, Default)]
pub(crate) struct Seldom(Mutex<Said>);

#[derive(Debug, Default)]
struct Said {
    next: Option<Instant>,
    held_back: u64,
}

impl Seldom {
    /// Logs, if it is time to: `line` is given how many lines were held back since the last one.
    pub(crate) fn log(&self, line: impl FnOnce(u64)) {
        let mut said = self.said();
        let now = Instant::now();
        if said.next.is_some_and(|next| now < next) {
            said.held_back += 1;
            return;
        }
        said.next = Some(now + PAUSE);
        let held_back = std::mem::take(&mut said.held_back);
        drop(said);
        line(held_back);
    }

    /// The trouble is over: the next one is news.
    pub(crate) fn reset(&self) {
        *self.said() = Said::default();
    }

    fn said(&self) -> MutexGuard<'_, Said> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_flood_is_a_line_now_and_then_with_its_size() {
        let (seldom, lines) = (Seldom::default(), RefCell::new(Vec::new()));
        let log = || seldom.log(|held_back| lines.borrow_mut().push(held_back));
        for _ in 0..1000 {
            log();
        }
        tokio::time::advance(PAUSE).await;
        log();
        log();
        tokio::time::advance(PAUSE).await;
        log();
        log();
        seldom.reset();
        log();
        assert_eq!(lines.take(), [0, 999, 1, 0]);
    }
}
