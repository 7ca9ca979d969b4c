//! Who waits for everything accepted before: jobs are counted by epoch, and every flush begins a new one.

use std::collections::VecDeque;

use tokio::sync::oneshot;

/// The epochs that are not over, the current one last. Bounded by the callers that wait.
#[derive(Debug)]
pub(crate) struct Flushes {
    epochs: VecDeque<Epoch>,
    first: u64,
}

/// The jobs accepted between two flushes, and who waits for them.
#[derive(Default, Debug)]
struct Epoch {
    live: u64,
    waiters: Vec<oneshot::Sender<()>>,
}

impl Flushes {
    pub(crate) fn new() -> Flushes {
        Flushes { epochs: VecDeque::from([Epoch::default()]), first: 0 }
    }

    /// A job was accepted; gives its epoch.
    pub(crate) fn begin(&mut self) -> u64 {
        self.current().live += 1;
        self.first + self.epochs.len() as u64 - 1
    }

    /// A job of this epoch was settled.
    pub(crate) fn end(&mut self, epoch: u64) {
        let at = usize::try_from(epoch - self.first).ok();
        if let Some(epoch) = at.and_then(|at| self.epochs.get_mut(at)) {
            epoch.live -= 1;
        }
        self.tell();
    }

    /// Tells `waiter` when everything accepted so far is settled.
    pub(crate) fn wait(&mut self, waiter: oneshot::Sender<()>) {
        self.current().waiters.push(waiter);
        self.epochs.push_back(Epoch::default());
        self.tell();
    }

    fn current(&mut self) -> &mut Epoch {
        self.epochs.back_mut().expect("there is always a current epoch")
    }

    fn tell(&mut self) {
        while self.epochs.len() > 1 && self.epochs.front().is_some_and(|epoch| epoch.live == 0) {
            for waiter in self.epochs.pop_front().into_iter().flat_map(|epoch| epoch.waiters) {
                // whoever flushed may have given up waiting
                let _ = waiter.send(());
            }
            self.first += 1;
        }
    }
}
