//! Whether a limit of messages for each subject may have taken something before it was read.
//!
//! With at most k messages kept of a subject, an unread one is dropped by the k-th after it. At that
//! moment k unread ones of the subject are stored, and whenever one of them is dropped another one has
//! come. So until nothing is pending any more, at least k of the subject are read – which is what is
//! counted here, from where messages may have piled up: a new consumer, or k of them pending.
//!
//! A stream that keeps one message of each subject is left out: there, every message takes another's
//! place, and nobody can tell whether that one was read.

use std::{collections::HashMap, sync::Arc};

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Backlog {
    /// Messages the stream keeps of a subject; 0 for no limit.
    most: u64,
    /// None while nothing has piled up.
    read: Option<HashMap<Arc<str>, u64>>,
}

impl Backlog {
    /// A consumer begins; `most` is the stream's limit of messages for each subject, not positive for
    /// none.
    pub(super) fn begin(most: i64) -> Self {
        let most = u64::try_from(most).unwrap_or(0);
        Self { most, read: (most > 1).then(HashMap::new) }
    }

    /// A message came, and `pending` more were stored when it was sent. True: one before it may have
    /// been dropped.
    pub(super) fn has_lost(&mut self, subject: &Arc<str>, pending: u64) -> bool {
        if self.read.is_none() && self.most > 1 && pending + 1 >= self.most {
            self.read = Some(HashMap::new());
        }
        let Some(read) = &mut self.read else {
            return false;
        };
        let count = read.entry(subject.clone()).or_default();
        *count += 1;
        let has_lost = *count >= self.most;
        self.settle(pending);
        has_lost
    }

    /// Something else came: what has piled up may be read by now.
    pub(super) fn settle(&mut self, pending: u64) {
        if pending == 0 {
            self.read = None;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_nothing_where_there_is_no_limit() {
        for most in [-1, 0, 1] {
            let mut backlog = Backlog::begin(most);
            assert!((0..100).all(|pending| !backlog.has_lost(&"a".into(), pending)));
        }
    }

    #[test]
    fn finds_a_subject_that_may_have_lost_one_at_the_beginning() {
        let mut backlog = Backlog::begin(3);
        assert!(!backlog.has_lost(&"a".into(), 5));
        assert!(!backlog.has_lost(&"b".into(), 4));
        assert!(!backlog.has_lost(&"a".into(), 3));
        assert!(backlog.has_lost(&"a".into(), 2));
    }

    #[test]
    fn counts_again_when_messages_pile_up() {
        let mut backlog = Backlog::begin(3);
        backlog.settle(0);
        for _ in 0..10 {
            assert!(!backlog.has_lost(&"a".into(), 1), "as many as that are not lost");
        }
        assert!(!backlog.has_lost(&"a".into(), 2));
        assert!(!backlog.has_lost(&"a".into(), 1));
        assert!(backlog.has_lost(&"a".into(), 0));
    }
}
