//! odin's client: subscribes to channels of a gateway and stays subscribed.
//!
//! - **It comes back.** A lost connection is made again with full jitter, on the next of several addresses, as the close
//!   code says; subscriptions are asked for again from where they stopped.
//! - **It proves what it got.** Every update names the one before it. The overlap of a resume is dropped. What is
//!   missing is an [`Event::Gap`], announced by the gateway or not; what came twice is an [`Event::Repeated`]. A
//!   subscription that could not continue says so (`is_anew` of [`Event::Subscribed`]). What a gateway must not do is
//!   counted in [`Stats::violations`].
//! - **It knows how fresh it is.** [`Freshness`] says which channels may be old, or that all are.
//! - **It can be continued by another program.** An [`Event::Checkpoint`] is a position that the application has
//!   reached once it has taken the event; [`Subscription::with_since`] begins there.
//! - **It signs in.** With a [`TokenSource`] it asks for nothing before the gateway has accepted a token, takes a fresh
//!   one for every connection, and refreshes it in time without touching the subscriptions. It keeps no token.
//! - **It publishes.** [`Client::publish`] sends a value once and gives its sequence, or says that nobody knows.
//! - **It is bounded.** Events wait in a queue of fixed size; when it is full the socket is not read. At most
//!   [`cursor_map::MAX_CHAINS`] chains are kept.
//!
//! From a draining gateway it goes when that closes the connection, at the moment of the drain window the gateway has
//! picked, and resumes on the next one: nothing is lost by waiting, and reconnects stay spread. It does not hold two
//! connections at once.
//!
//! | module | one thing |
//! |---|---|
//! | [`Client`], [`Events`] | the application's ends |
//! | `task`, `transport`, `tls` | the connection: one task, one socket |
//! | `state` | what to do when: a state machine without I/O and clock |
//! | [`TokenSource`] | where tokens come from |
//! | [`Freshness`] | what is stale |
//! | [`cursor_map`], [`chain`] | what was delivered, what is missing, where to come back to |
//! | [`backoff`] | how long to wait |
//!
//! ```no_run
//! use odin_client::{Client, Event, Options};
//!
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! let (client, mut events) = Client::connect(Options::default())?;
//! client.subscribe(["price:BTC", "price:ETH"]).await?;
//! while let Some(event) = events.recv().await {
//!     match event {
//!         Event::Update(update) => println!("{} {}", update.channel, update.data),
//!         Event::Gap(gap) => println!("{} missed up to {}", gap.channel, gap.until),
//!         _ => {}
//!     }
//! }
//! # Ok(())
//! # }
//! ```

mod address;
pub mod backoff;
pub mod chain;
mod client;
pub mod cursor_map;
mod event;
mod freshness;
pub mod options;
mod parting;
mod publish;
mod state;
mod stats;
mod task;
mod text;
#[cfg_attr(not(feature = "tls"), path = "tls/absent.rs")]
mod tls;
mod token;
mod transport;

pub use backoff::Backoff;
pub use client::{Client, Events, RequestError};
pub use event::{Connected, Event, Gap, Refusal};
pub use freshness::{Freshness, Staleness};
pub use options::{Options, OptionsError, Subscription, SubscriptionError};
pub use parting::{AuthFailure, Parting};
pub use publish::{MAX_PUBLISHES, PUBLISH_TIMEOUT, PublishError, Published};
pub use stats::Stats;
pub use text::printable;
pub use token::{MAX_TOKEN_BYTES, TokenError, TokenSource};

pub use odin_protocol as protocol;
