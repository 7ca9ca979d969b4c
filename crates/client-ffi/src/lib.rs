//! odin's client for Swift, Kotlin and Python: [`odin_client`] behind a small interface, bound by UniFFI.
//!
//! - **One listener, one thread.** [`OdinListener::on_event`] is called from a thread of the client's own, one event
//!   after the other. While it works, at most `event_queue` events wait; then the socket is not read, and the gateway
//!   merges (mode latest) or keeps the place (mode all). Nothing piles up in the app.
//! - **One small runtime.** A client has a tokio runtime of one thread, which ends with it.
//! - **Nothing escapes.** An exception of the listener is an event, one of the token source a failed sign-in. No panic
//!   crosses the border.
//! - **It can be continued.** [`OdinClient::cursor`] is a position behind which the listener has heard everything.
//!
//! What it does not do: read `data` (the app gets the publisher's JSON as text), keep cursors or tokens, and run in the
//! background of a phone, which stops an app's sockets: it comes back and resumes when the app does.
//!
//! | module | one thing |
//! |---|---|
//! | `client` | the object an app holds |
//! | `event` | what the listener is told |
//! | `options`, `error` | what the app says at the start; why a request came to nothing |
//! | `engine` | the threads |
//! | `positions` | the cursors |

mod client;
mod engine;
mod error;
mod event;
mod options;
mod positions;

pub use client::{OdinClient, OdinPublished};
pub use error::{OdinPublishError, OdinRequestError};
pub use event::{OdinEvent, OdinListener, OdinListenerError, OdinUpdate};
pub use options::{
    DEFAULT_EVENT_QUEUE, MAX_EVENT_QUEUE, OdinCodec, OdinConnectError, OdinMode, OdinOptions, OdinTokenError,
    OdinTokenSource,
};

uniffi::setup_scaffolding!("odin_client");
