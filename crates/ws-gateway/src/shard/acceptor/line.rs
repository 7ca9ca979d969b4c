//! Handshakes that have not asked for anything yet, in the order in which they came. When there are as many handshakes
//! as there may be, the one that has waited longest makes room: a good client needs two round trips, so it is long gone
//! from here, while a crowd that is slow on purpose only pushes out its own.

use std::{cell::Cell, collections::VecDeque, rc::Rc};

use tokio::task::AbortHandle;

/// Entries of handshakes that are over, above which they are looked for.
const STALE: usize = 1024;

/// Says that a handshake has asked, and is not to be pushed out any more.
#[derive(Debug, Clone, Default)]
pub(super) struct Asked(Rc<Cell<bool>>);

impl Asked {
    pub(super) fn set(&self) {
        self.0.set(true);
    }
}

#[derive(Debug)]
struct Waiting {
    task: AbortHandle,
    asked: Asked,
}

impl Waiting {
    fn is_over(&self) -> bool {
        self.asked.0.get() || self.task.is_finished()
    }
}

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Line {
    waiting: VecDeque<Waiting>,
    /// Entries that there may be before the next cleaning.
    limit: usize,
}

impl Line {
    pub(super) fn push(&mut self, task: AbortHandle, asked: Asked) {
        while self.waiting.front().is_some_and(Waiting::is_over) {
            self.waiting.pop_front();
        }
        if self.waiting.len() >= self.limit {
            self.waiting.retain(|waiting| !waiting.is_over());
            self.limit = 2 * self.waiting.len() + STALE;
        }
        self.waiting.push_back(Waiting { task, asked });
    }

    /// Ends the handshake that has waited longest. False: all of them have asked.
    pub(super) fn push_out(&mut self) -> bool {
        while let Some(first) = self.waiting.pop_front() {
            if !first.is_over() {
                first.task.abort();
                return true;
            }
        }
        false
    }
}

#[cfg(test)]
mod tests {
    use tokio::task::{JoinHandle, LocalSet, spawn_local};

    use super::*;

    fn wait(line: &mut Line) -> (JoinHandle<()>, Asked) {
        let asked = Asked::default();
        let task = spawn_local(std::future::pending());
        line.push(task.abort_handle(), asked.clone());
        (task, asked)
    }

    #[tokio::test]
    async fn the_oldest_that_has_not_asked_makes_room() {
        LocalSet::new()
            .run_until(async {
                let mut line = Line::default();
                let [(first, asked), (second, _), (third, _)] = [(); 3].map(|()| wait(&mut line));
                asked.set();
                assert!(line.push_out());
                assert!(second.await.expect_err("pushed out").is_cancelled());
                third.abort();
                let _ = third.await;
                assert!(!line.push_out(), "one has asked, one is over");
                assert!(!first.is_finished());
            })
            .await;
    }

    #[tokio::test]
    async fn those_that_are_over_are_forgotten_behind_one_that_is_not() {
        LocalSet::new()
            .run_until(async {
                let mut line = Line::default();
                let (_first, _) = wait(&mut line);
                for _ in 0..20 * STALE {
                    wait(&mut line).1.set();
                }
                assert!(line.waiting.len() <= 2 * STALE, "{}", line.waiting.len());
                assert!(line.push_out() && !line.push_out());
            })
            .await;
    }
}
