//! Where tasks of a shard's thread leave what the shard itself has to deal with.

use std::{cell::RefCell, rc::Rc};

use tokio::sync::Notify;

/// See the module. It is as full as there are tasks that put something in, and those are bounded where they begin.
#[derive(Debug)]
pub(super) struct Mailbox<T>(Rc<Shared<T>>);

#[derive(Debug)]
struct Shared<T> {
    waiting: RefCell<Vec<T>>,
    filled: Notify,
}

impl<T> Mailbox<T> {
    /// Waits until there is something.
    ///
    /// # Cancel safety
    /// Cancel safe: nothing is taken.
    pub(super) async fn filled(&self) {
        self.0.filled.notified().await;
    }

    /// All there is.
    pub(super) fn take(&self) -> Vec<T> {
        self.0.waiting.take()
    }

    /// How much there is.
    pub(super) fn len(&self) -> usize {
        self.0.waiting.borrow().len()
    }

    /// Leaves something, and wakes the shard.
    pub(super) fn push(&self, item: T) {
        self.0.waiting.borrow_mut().push(item);
        self.0.filled.notify_one();
    }
}

impl<T> Default for Mailbox<T> {
    fn default() -> Self {
        Self(Rc::new(Shared { waiting: RefCell::default(), filled: Notify::new() }))
    }
}

impl<T> Clone for Mailbox<T> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}
