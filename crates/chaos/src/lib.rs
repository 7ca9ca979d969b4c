//! Proof that odin loses nothing, repeats nothing and reorders nothing, whatever breaks.
//!
//! A cluster of three nats-servers with a replicated stream, gateways in front of it, each on wires of its own,
//! a publisher that counts, and clients in every mode ([`client`]). Faults are injected under load ([`fault`]);
//! after each the publisher pauses, and every client's history is compared with what the stream has stored
//! ([`check`]), which is read by a way of its own ([`ledger`]). The clients speak the protocol by themselves, so
//! that a fault of the client library cannot hide one of the gateway; the library's clients run beside them.

pub mod arena;
pub mod attack;
pub mod check;
pub mod client;
pub mod door;
pub mod fault;
pub mod history;
pub mod ledger;
pub mod library;
pub mod link;
pub mod load;
pub mod report;
pub mod rolling;
pub mod run;
pub mod socket;
pub mod storm;
