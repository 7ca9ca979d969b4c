//! Acknowledged, deduplicated, ordered publishing into odin's stream.
//!
//! [`Publisher`] keeps four promises, as long as the stream's duplicate window is at least the one it was told
//! ([`Options::duplicate_window`]):
//!
//! - **acknowledged**: every message ends in exactly one answer, stored ([`Published`]) or an error by cause
//!   ([`PublishError`]); one that may or may not be stored is said to be [`PublishError::Unknown`], never guessed;
//! - **once**: every message has a `Nats-Msg-Id` and is sent again only under that id and only within the duplicate window,
//!   so a retry is never stored twice;
//! - **in order per subject**: one message of a subject is in flight at a time; different subjects are pipelined;
//! - **bounded**: so many messages and bytes are accepted and not yet answered, then callers wait
//!   ([`Publisher::publish`]) or are told so ([`Publisher::try_publish`]).
//!
//! A message may belong to a trace ([`Message::with_context`]), or begin one ([`Options::traces`]): its headers say so to
//! whoever receives it.
//!
//! It does not create streams, does not publish without an acknowledgement and does not look inside payloads.
//!
//! [`market`] is the simulator's model: prices, volumes, signals and users, from a seed, without clock or I/O.
//!
//! ```no_run
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! use odin_publisher::{Options, Publisher};
//!
//! let publisher = Publisher::connect(Options { urls: vec!["nats://127.0.0.1:4222".into()], ..Options::default() }).await?;
//! // accepted: waits only while too much is in flight
//! let ack = publisher.publish("odin.tokens.BTC.price", r#"{"price":64250.5}"#).await?;
//! // stored
//! let published = ack.await?;
//! println!("stored as {}", published.sequence);
//! publisher.close(std::time::Duration::from_secs(5)).await;
//! # Ok(())
//! # }
//! ```

pub mod market;
mod publisher;
mod stats;
mod subject;

/// Spans, and the way to a collector, for [`Traces`] and [`Message::with_context`].
pub use odin_telemetry as telemetry;
pub use publisher::{
    Ack, Auth, ConnectError, Message, Options, OptionsError, PublishError, Published, Publisher, StreamCheck,
    StreamError, Tls, Traces, new_message_id,
};
pub use stats::{Refusals, Stats};
pub use subject::{Subject, SubjectError, Template, TemplateError};
