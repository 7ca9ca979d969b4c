//! The client an app holds.

use std::fmt;
use std::sync::Arc;

use odin_client::{Client, MAX_PUBLISHES, Options, Subscription};
use tokio::sync::Semaphore;

use crate::{
    engine::{self, Engine},
    error::{OdinPublishError, OdinRequestError},
    event::OdinListener,
    options::{OdinConnectError, OdinMode, OdinOptions},
    positions::Positions,
};

/// A publication that the stream has stored.
#[derive(Clone, Debug, PartialEq, Eq, uniffi::Record)]
pub struct OdinPublished {
    /// As asked for.
    pub channel: String,
    /// Its sequence.
    pub seq: u64,
    /// Identity of the stream the sequence belongs to.
    pub epoch: String,
}

/// A client of one or several gateways. It connects, comes back and resumes by itself; the listener hears of it.
///
/// It ends with [`OdinClient::close`], or when the app lets go of it. A listener that holds the client keeps it alive:
/// hold it weakly there, or close it.
#[derive(uniffi::Object)]
pub struct OdinClient {
    client: Client,
    engine: Engine,
    positions: Arc<Positions>,
    /// Publications under way.
    publishes: Semaphore,
}

#[uniffi::export]
impl OdinClient {
    /// Starts a client, which connects in the background.
    ///
    /// # Errors
    /// [`OdinConnectError`].
    #[uniffi::constructor]
    pub fn connect(options: OdinOptions, listener: Arc<dyn OdinListener>) -> Result<Arc<OdinClient>, OdinConnectError> {
        let options = Options::try_from(options)?;
        let positions = Arc::new(Positions::default());
        let (client, engine) = engine::start(options, listener, Arc::clone(&positions))?;
        Ok(Arc::new(OdinClient { client, engine, positions, publishes: Semaphore::new(MAX_PUBLISHES) }))
    }

    /// Subscribes to a channel or pattern, from a cursor on if one is given, in a mode where the gateway leaves the
    /// choice. Subscribed or Error of the listener answers, and after every reconnect it is asked for again by itself.
    /// One that is subscribed already begins anew if the options differ.
    ///
    /// Returns when the client has taken the request; while many wait, so does this one.
    ///
    /// # Errors
    /// [`OdinRequestError`].
    ///
    /// # Cancel safety
    /// Cancelled before it is done, it asks for nothing.
    #[uniffi::method(default(since = None, mode = None))]
    pub async fn subscribe(
        &self,
        channel: String,
        since: Option<String>,
        mode: Option<OdinMode>,
    ) -> Result<(), OdinRequestError> {
        let mut subscription = Subscription::new(&channel)?;
        if let Some(cursor) = since {
            subscription = subscription.with_since(cursor)?;
        }
        if let Some(mode) = mode {
            subscription = subscription.with_mode(mode.into());
        }
        Ok(self.client.subscribe_with([subscription]).await?)
    }

    /// Ends a subscription; Unsubscribed of the listener answers. Nothing of it is read once the client has taken the
    /// request; what waits for the listener is still told.
    ///
    /// # Errors
    /// [`OdinRequestError`].
    ///
    /// # Cancel safety
    /// Cancelled before it is done, it ends nothing.
    pub async fn unsubscribe(&self, channel: String) -> Result<(), OdinRequestError> {
        Ok(self.client.unsubscribe([channel]).await?)
    }

    /// Publishes one JSON value to a channel, where the gateway allows it, and waits until the stream has stored it.
    /// Without a connection it waits for one. Sixteen may be under way; a further one is Busy.
    ///
    /// # Errors
    /// [`OdinPublishError`]. After Unknown it may be stored or not: it is never sent a second time.
    ///
    /// # Cancel safety
    /// Cancelled before it was sent, it publishes nothing; cancelled later, it may be stored or not.
    pub async fn publish(&self, channel: String, json: String) -> Result<OdinPublished, OdinPublishError> {
        let _place = self.publishes.try_acquire().map_err(|_| OdinPublishError::Busy)?;
        let published = self.client.publish(&channel, &json).await?;
        Ok(OdinPublished { channel: published.channel, seq: published.seq, epoch: published.epoch.to_string() })
    }

    /// The cursor of a subscription: everything up to it has been told to the listener, which has returned. Given to
    /// [`OdinClient::subscribe`] another time, it continues there. Absent if the subscription has not begun.
    pub fn cursor(&self, channel: String) -> Option<String> {
        self.positions.since(&channel)
    }

    /// Says goodbye to the gateway and ends the client, for which it takes two seconds at most; returns when the
    /// listener has been told what waits for it, Closed at the end, and nothing of the app is called any more. A
    /// listener that does not return is waited for two seconds.
    ///
    /// # Cancel safety
    /// Once begun the client ends, whether or not somebody waits.
    pub async fn close(&self) {
        self.client.close().await;
        self.engine.end().await;
    }
}

/// An app that lets go of the client without closing it.
impl Drop for OdinClient {
    fn drop(&mut self) {
        let client = self.client.clone();
        self.engine.spawn(async move { client.close().await });
    }
}

impl fmt::Debug for OdinClient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OdinClient").field("client", &self.client).finish_non_exhaustive()
    }
}
