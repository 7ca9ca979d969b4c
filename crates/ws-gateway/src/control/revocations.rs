//! Which tokens and users are not believed any more.
//!
//! What is in force is what the control stream holds, as far as this gateway has read it: one revocation for each token
//! and for each user, the latest. There are as many as fit into the stream, and none outlives its end.

use std::{
    collections::HashMap,
    sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard},
};

use crate::clock::now_ms;
use crate::{cluster::Key, identity::User};

/// What has ended is remembered for so long, in case it was this clock that was ahead.
const GRACE_MS: i64 = 3_600_000;

/// Tokens that were revoked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Revocation {
    /// The token with this id.
    Token {
        /// Its `jti`.
        id: Arc<str>,
    },
    /// All tokens of a user, or those made before a time.
    User {
        /// The user.
        sub: Arc<str>,
        /// Tokens made before, in milliseconds since 1970; `None`: all, whenever they are made.
        issued_before_ms: Option<i64>,
    },
}

/// The name of a revocation: whose it is. There is one for each token and for each user.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum RevocationId {
    /// Of the token with this key.
    Token(Key),
    /// Of the user with this key.
    User(Key),
}

/// All revocations in force, for every thread.
#[derive(Debug, Default)]
pub(crate) struct Revocations(RwLock<HashMap<RevocationId, InForce>>);

/// One of them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct InForce {
    pub(crate) revocation: Revocation,
    /// Until when, in milliseconds since 1970.
    pub(crate) until_ms: i64,
}

impl Revocations {
    fn read(&self) -> RwLockReadGuard<'_, HashMap<RevocationId, InForce>> {
        // Nothing in there can panic half-way.
        self.0.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, HashMap<RevocationId, InForce>> {
        self.0.write().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether this token is revoked.
    pub(crate) fn cover(&self, user: &User) -> bool {
        let in_force = self.read();
        if in_force.is_empty() {
            return false;
        }
        let ids = [
            Some(RevocationId::User(Key::of(&user.sub))),
            user.token_id.as_deref().map(|id| RevocationId::Token(Key::of(id))),
        ];
        let mut found = ids.into_iter().flatten().filter_map(|id| in_force.get(&id));
        found.any(|found| found.revocation.covers(user) && found.until_ms > now_ms())
    }

    /// Has a revocation in force, in place of the one of the same name. Says whether that changes anything.
    pub(super) fn put(&self, revocation: Revocation, until_ms: i64) -> bool {
        let new = InForce { revocation, until_ms };
        let mut in_force = self.write();
        let id = new.revocation.id();
        if in_force.get(&id) == Some(&new) {
            return false;
        }
        in_force.insert(id, new);
        true
    }

    /// Takes one back. Says whether there was one.
    pub(super) fn lift(&self, id: RevocationId) -> bool {
        self.write().remove(&id).is_some()
    }

    /// Forgets those that have ended an hour ago, and gives how many are in force.
    pub(super) fn prune(&self, now_ms: i64) -> usize {
        let mut in_force = self.write();
        in_force.retain(|_, found| found.until_ms > now_ms.saturating_sub(GRACE_MS));
        in_force.values().filter(|found| found.until_ms > now_ms).count()
    }

    /// The one of this name.
    pub(crate) fn get(&self, id: RevocationId) -> Option<InForce> {
        self.read().get(&id).filter(|found| found.until_ms > now_ms()).cloned()
    }

    /// At most `limit` of them in the order of their names, those behind `after`, and how many there are in all.
    pub(crate) fn list(&self, after: Option<RevocationId>, limit: usize) -> (Vec<(RevocationId, InForce)>, usize) {
        let now_ms = now_ms();
        let in_force = self.read();
        let mut ids: Vec<_> = in_force.iter().filter(|(_, found)| found.until_ms > now_ms).map(|(id, _)| *id).collect();
        let all = ids.len();
        ids.retain(|id| after.is_none_or(|after| *id > after));
        ids.sort_unstable();
        ids.truncate(limit);
        (ids.into_iter().map(|id| (id, in_force[&id].clone())).collect(), all)
    }
}

impl Revocation {
    /// Its name.
    pub(crate) fn id(&self) -> RevocationId {
        match self {
            Self::Token { id } => RevocationId::Token(Key::of(id)),
            Self::User { sub, .. } => RevocationId::User(Key::of(sub)),
        }
    }

    /// Whether it means this token.
    pub(crate) fn covers(&self, user: &User) -> bool {
        match self {
            Self::Token { id } => user.token_id.as_deref() == Some(id),
            Self::User { sub, issued_before_ms } => {
                // A token that does not say when it was made may have been made before.
                let is_older = |before| user.issued_at_ms.is_none_or(|issued| issued < before);
                user.sub == **sub && issued_before_ms.is_none_or(is_older)
            }
        }
    }
}

/// `token.<key>` or `user.<key>`: how operators name it, and the end of its subject.
impl std::fmt::Display for RevocationId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Token(key) => write!(f, "token.{key}"),
            Self::User(key) => write!(f, "user.{key}"),
        }
    }
}

impl std::str::FromStr for RevocationId {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        match text.split_once('.') {
            Some(("token", key)) => key.parse().map(Self::Token).map_err(|_| ()),
            Some(("user", key)) => key.parse().map(Self::User).map_err(|_| ()),
            _ => Err(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn user(sub: &str, token: Option<&str>, issued_at_ms: Option<i64>) -> User {
        User { sub: sub.to_owned(), token_id: token.map(str::to_owned), issued_at_ms, ..User::default() }
    }

    fn of_user(sub: &str, issued_before_ms: Option<i64>) -> Revocation {
        Revocation::User { sub: sub.into(), issued_before_ms }
    }

    /// Checklist 19: a revoked user, and a revoked token, whoever brings it.
    #[test]
    fn a_token_is_revoked_by_its_id_by_its_user_or_by_its_age() {
        let (revocations, later) = (Revocations::default(), now_ms() + 60_000);
        assert!(!revocations.cover(&user("a", Some("t"), None)));
        revocations.put(Revocation::Token { id: "t".into() }, later);
        assert!(revocations.cover(&user("a", Some("t"), None)) && revocations.cover(&user("b", Some("t"), None)));
        assert!(!revocations.cover(&user("t", None, None)), "a user is no token");
        revocations.put(of_user("b", Some(1_000)), later);
        assert!(revocations.cover(&user("b", None, Some(999))));
        assert!(revocations.cover(&user("b", None, None)), "nobody knows when it was made");
        assert!(!revocations.cover(&user("b", None, Some(1_000))));
        revocations.put(of_user("b", None), later);
        assert!(revocations.cover(&user("b", None, Some(i64::MAX))), "the latest counts");
    }

    #[test]
    fn none_outlives_its_end_nor_its_lifting() {
        let revocations = Revocations::default();
        revocations.put(of_user("a", None), now_ms() - 1);
        assert!(!revocations.cover(&user("a", None, None)));
        assert_eq!(revocations.list(None, 9), (vec![], 0));
        assert_eq!((revocations.prune(now_ms()), revocations.read().len()), (0, 1), "the clock may have been wrong");
        assert_eq!((revocations.prune(now_ms() + GRACE_MS), revocations.read().len()), (0, 0));
        let later = now_ms() + 60_000;
        assert!(revocations.put(of_user("a", None), later) && !revocations.put(of_user("a", None), later));
        assert!(revocations.lift(of_user("a", None).id()) && !revocations.lift(of_user("a", None).id()));
        assert!(!revocations.cover(&user("a", None, None)));
    }

    #[test]
    fn are_listed_in_pages() {
        let revocations = Revocations::default();
        for i in 0..5 {
            revocations.put(of_user(&i.to_string(), None), i64::MAX);
        }
        let (first, all) = revocations.list(None, 3);
        let (second, _) = revocations.list(Some(first[2].0), 3);
        assert_eq!((first.len(), second.len(), all), (3, 2, 5));
        assert!(first.iter().all(|(id, _)| *id < second[0].0));
    }

    #[test]
    fn a_name_is_read_as_it_is_written() {
        for id in [RevocationId::Token(Key::of("x")), RevocationId::User(Key::of("x"))] {
            assert_eq!(id.to_string().parse(), Ok(id));
        }
        for text in ["", "user", "user.", "user.x", "slot.2bd806c97f0e00af1a1fc3328fa763a9", "user.*", "user.>"] {
            assert_eq!(text.parse::<RevocationId>(), Err(()), "{text}");
        }
    }
}
