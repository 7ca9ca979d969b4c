//! How much of a turn strangers may have: so many accepts, handshakes and refusals go through between two rounds of
//! fan-out, and the rest waits its turn. A storm at the door is then a queue at the door, and not a delay for those
//! inside; what does not fit into the queue waits in the kernel's backlog.

use std::{cell::Cell, rc::Rc};

use tokio::sync::{Notify, Semaphore};

/// Passes in a turn. One costs up to 0.1 ms, so that together they are a small part of a round of fan-out.
const PASSES: usize = 4;

/// See the module.
#[derive(Debug, Clone)]
pub(in crate::shard) struct Turnstile(Rc<Shared>);

#[derive(Debug)]
struct Shared {
    passes: Semaphore,
    waiting: Cell<usize>,
    wanted: Notify,
}

impl Default for Turnstile {
    fn default() -> Self {
        let (passes, waiting, wanted) = (Semaphore::new(PASSES), Cell::new(0), Notify::new());
        Self(Rc::new(Shared { passes, waiting, wanted }))
    }
}

impl Turnstile {
    /// Waits for a pass, first come first served.
    ///
    /// # Cancel safety
    /// Cancel safe: who leaves the queue uses no pass.
    pub(super) async fn pass(&self) {
        if let Ok(pass) = self.0.passes.try_acquire() {
            return pass.forget();
        }
        let _waiting = Waiting::begin(&self.0.waiting);
        self.0.wanted.notify_one();
        self.0.passes.acquire().await.expect("never closed").forget();
    }

    /// Waits until somebody waits for the next turn.
    ///
    /// # Cancel safety
    /// Cancel safe: it is asked again in each turn.
    pub(in crate::shard) async fn wanted(&self) {
        self.0.wanted.notified().await;
    }

    /// A turn is over: there are as many passes again.
    pub(in crate::shard) fn turn(&self) {
        let used = PASSES - self.0.passes.available_permits().min(PASSES);
        self.0.passes.add_permits(used);
        if self.0.waiting.get() > used {
            self.0.wanted.notify_one();
        }
    }
}

struct Waiting<'a>(&'a Cell<usize>);

impl<'a> Waiting<'a> {
    fn begin(waiting: &'a Cell<usize>) -> Self {
        waiting.set(waiting.get() + 1);
        Self(waiting)
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.set(self.0.get() - 1);
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;

    use super::*;

    /// How many of `count` get through at once.
    fn passed(turnstile: &Turnstile, count: usize) -> usize {
        (0..count).filter(|_| turnstile.pass().now_or_never().is_some()).count()
    }

    #[test]
    fn lets_so_many_through_in_each_turn() {
        let turnstile = Turnstile::default();
        for _ in 0..3 {
            assert_eq!(passed(&turnstile, 100), PASSES);
            assert!(turnstile.wanted().now_or_never().is_some(), "somebody was held up");
            turnstile.turn();
        }
        turnstile.turn();
        assert_eq!(passed(&turnstile, 100), PASSES, "what was not used is not saved");
    }

    #[tokio::test]
    async fn those_who_wait_go_first_and_nobody_is_forgotten() {
        let turnstile = Turnstile::default();
        assert_eq!(passed(&turnstile, PASSES), PASSES);
        let through = Cell::new(0);
        let everybody = futures_util::future::join_all((0..100).map(|_| async {
            turnstile.pass().await;
            through.set(through.get() + 1);
        }));
        let turns = async {
            for turn in 1..=100 / PASSES {
                turnstile.wanted().await;
                turnstile.turn();
                tokio::task::yield_now().await;
                assert!(through.get() <= turn * PASSES);
            }
        };
        tokio::join!(everybody, turns);
        assert_eq!(through.get(), 100);
    }
}
