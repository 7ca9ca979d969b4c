//! How an operator's order gets into the control stream. Nothing is done here: every gateway, this one too, does what it
//! reads there.

use crate::clock::now_ms;
use std::{sync::Arc, time::Duration};

use tokio::sync::watch;
use uuid::Uuid;

use super::{
    Letter, Link, Revocation, RevocationId, Revocations, StoreError,
    record::{ORDER_LIFE, Record, Subjects},
};
use crate::current::Current;

/// See the module.
#[derive(Debug, Clone)]
pub(crate) struct Orders {
    link: Link,
    current: watch::Receiver<Arc<Current>>,
    revocations: Arc<Revocations>,
}

/// An order that the stream has stored: every gateway will read it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Issued {
    pub(crate) id: String,
    pub(crate) seq: u64,
}

impl Orders {
    pub(crate) fn new(link: Link, current: watch::Receiver<Arc<Current>>, revocations: Arc<Revocations>) -> Self {
        Self { link, current, revocations }
    }

    /// What is revoked, as far as this gateway has read it.
    pub(crate) fn revocations(&self) -> &Revocations {
        &self.revocations
    }

    /// The longest that a revocation can be kept: as long as tokens live.
    pub(crate) fn longest_life(&self) -> Duration {
        self.current.borrow().config.control_stream.max_age
    }

    /// Revokes, in place of what was revoked of the same token or user before. A `life` longer than
    /// [`longest_life`](Self::longest_life) is cut to it.
    ///
    /// # Errors
    /// See [`StoreError`]. Repeated, it does no harm.
    ///
    /// # Cancel safety
    /// Cancel safe, but nobody knows then whether it was revoked. So it is with all orders.
    pub(crate) async fn revoke(&self, revocation: &Revocation, life: Option<Duration>) -> Result<Issued, StoreError> {
        let longest = self.longest_life();
        let life = life.unwrap_or(longest).min(longest);
        let until_ms = now_ms().saturating_add(i64::try_from(life.as_millis()).unwrap_or(i64::MAX));
        let id = revocation.id();
        self.store(self.subjects().revocation(id), id.to_string(), &Record::of(revocation, until_ms), life).await
    }

    /// Takes a revocation back.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub(crate) async fn lift(&self, id: RevocationId) -> Result<Issued, StoreError> {
        // Kept as long as any revocation, or a gateway that was cut off could miss it and go on refusing.
        let life = self.longest_life();
        self.store(self.subjects().revocation(id), id.to_string(), &Record::Lift, life).await
    }

    /// Ends all connections of a user.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub(crate) async fn disconnect(&self, sub: &str) -> Result<Issued, StoreError> {
        self.store_once(&Record::Disconnect { sub: sub.into() }).await
    }

    /// Tells people something: those of one user, or all.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub(crate) async fn notify(&self, sub: Option<&str>, message: &str) -> Result<Issued, StoreError> {
        self.store_once(&Record::Notice { sub: sub.map(Into::into), message: message.into() }).await
    }

    fn subjects(&self) -> Subjects {
        Subjects::of(&self.current.borrow().config)
    }

    async fn store_once(&self, record: &Record) -> Result<Issued, StoreError> {
        let id = Uuid::now_v7().simple().to_string();
        self.store(self.subjects().once(&id), id, record, ORDER_LIFE).await
    }

    async fn store(&self, subject: String, id: String, record: &Record, life: Duration) -> Result<Issued, StoreError> {
        let timeout = self.current.borrow().config.nats.request_timeout;
        let letter = Letter { subject, payload: record.body(), life: Some(life), expected: None };
        let seq = self.link.store(letter, timeout).await?;
        Ok(Issued { id, seq })
    }
}
